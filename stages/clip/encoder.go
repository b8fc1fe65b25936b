package clip

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/model/clip"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/stages"
)

// An encoder makes vectors with a model, as long as they come out of it. It is
// for one goroutine.
type encoder interface {
	// images takes rows preprocessed pictures side by side, and returns their
	// vectors side by side.
	images(pixels []float32, rows int) ([]float32, error)
	// texts takes tokens.
	texts(ids [][]int64) ([]float32, error)
	// cuda says whether a GPU does the work.
	cuda() bool
	close() error
}

// errOutOfMemory says that a batch is too large for the device.
var errOutOfMemory = errors.New("the device has not enough memory")

type opener func(context.Context, *stages.Env, *Embed, model) (encoder, error)

// A torchEncoder is a model on libtorch.
type torchEncoder struct {
	session *gotorch.Session
	model   *clip.Model
	shape   [3]int64 // of a picture
}

// openTorch loads the model's weights.
func openTorch(ctx context.Context, env *stages.Env, e *Embed, m model) (encoder, error) {
	lib, err := gotorch.Open(ctx, env.Torch)
	if err != nil {
		return nil, fmt.Errorf("embedding needs libtorch: %w", err)
	}
	for _, advice := range lib.Advice() {
		env.Log.Warn().Msg(advice)
	}
	session, err := lib.NewSession(gotorch.SessionOptions{Device: e.Device.Value, Threads: e.Threads.Value})
	if err != nil {
		return nil, err
	}
	channels, height, width := m.preprocess.Shape()
	t := &torchEncoder{session: session, shape: [3]int64{int64(channels), int64(height), int64(width)}}
	var failure error
	err = session.Run(func() { t.model, failure = clip.Load(session, m.files, m.config, clip.Precision(e.Precision)) })
	if err := errors.Join(err, failure); err != nil {
		return nil, errors.Join(fmt.Errorf("weights: %w", err), session.Close())
	}
	env.Version("libtorch", lib.Installation().Version)
	env.Version("device", session.Device().String())
	return t, nil
}

func (t *torchEncoder) images(pixels []float32, rows int) ([]float32, error) {
	return t.run(func() (*gotorch.Tensor, error) {
		return t.model.Images(t.session.FromFloat32(pixels, int64(rows), t.shape[0], t.shape[1], t.shape[2]))
	})
}

func (t *torchEncoder) texts(ids [][]int64) ([]float32, error) {
	return t.run(func() (*gotorch.Tensor, error) { return t.model.Texts(ids) })
}

func (t *torchEncoder) run(encode func() (*gotorch.Tensor, error)) (vectors []float32, err error) {
	var refused error
	failed := t.session.Run(func() {
		var out *gotorch.Tensor
		if out, refused = encode(); refused == nil {
			vectors = out.Float32s()
		}
	})
	var torch *gotorch.Error
	if errors.As(failed, &torch) && strings.Contains(torch.Msg, "out of memory") {
		// What the failed batch took is free, and in pieces of the wrong size.
		emptied := t.session.Run(func() { t.session.EmptyCache() })
		return nil, errors.Join(fmt.Errorf("%w: %w", errOutOfMemory, failed), emptied)
	}
	return vectors, errors.Join(failed, refused)
}

func (t *torchEncoder) cuda() bool { return t.session.Device().Type == gotorch.CUDA }

func (t *torchEncoder) close() error { return t.session.Close() }
