package clip

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sourcegraph/conc/pool"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/picture"
)

// pictures decodes the pictures that are to be embedded, each once.
func (p *pipeline) pictures(ctx context.Context) error {
	side := &p.plan.sides[image]
	if len(side.missing) == 0 {
		return nil
	}
	free := make(chan *batch, batchesInFlight)
	for range batchesInFlight {
		free <- newPictureBatch(p.rows[image], p.model.values(), free)
	}
	decoders := pool.New().WithMaxGoroutines(p.workers)
	defer decoders.Wait()
	filler := filler{pipeline: p, free: free, rows: p.rows[image]}
	taken := map[stages.MemoKey]bool{}
	for row, err := range p.stage.Images.Rows() {
		if err != nil {
			return fmt.Errorf("reading images: %w", err)
		}
		if row.SHA256 == "" {
			continue
		}
		key, err := pictureKey(row.SHA256)
		if err != nil {
			return fmt.Errorf("reading images: item %.60q: %w", row.Item, err)
		}
		if _, isMissing := side.missing[key]; !isMissing || taken[key] {
			continue
		}
		taken[key] = true
		if sum := sha256.Sum256(row.Bytes); hex.EncodeToString(sum[:]) != strings.ToLower(row.SHA256) {
			return fmt.Errorf("reading images: the bytes of item %.60q have the sha256 %x, and its row says %s", row.Item, sum, row.SHA256)
		}
		b, at, err := filler.place(ctx, key)
		if err != nil {
			return err
		}
		decoders.Go(func() {
			b.failures[at] = p.decode(b.row(at), row.Bytes)
			p.leave(ctx, b)
		})
	}
	return filler.end(ctx)
}

// A filler hands out places in batches of pictures.
type filler struct {
	pipeline *pipeline
	free     <-chan *batch
	rows     int
	current  *batch
}

func (f *filler) place(ctx context.Context, key stages.MemoKey) (*batch, int, error) {
	if f.current != nil && len(f.current.keys) == f.rows {
		f.end(ctx)
	}
	if f.current == nil {
		select {
		case f.current = <-f.free:
			f.current.start()
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	return f.current, f.current.add(key), nil
}

// end says that the batch that is filling gets no more pictures.
func (f *filler) end(ctx context.Context) error {
	if f.current != nil {
		f.pipeline.leave(ctx, f.current)
		f.current = nil
	}
	return ctx.Err()
}

// leave sends a batch on when it is whole. Where the run has ended, nobody waits
// for it.
func (p *pipeline) leave(ctx context.Context, b *batch) {
	if b.leave() {
		_ = p.send(ctx, b)
	}
}

// decode makes a picture's pixels. An error is the picture's fault.
func (p *pipeline) decode(pixels []float32, data []byte) error {
	return p.stage.decoder.Use(data, picture.Limits{}, func(rgb picture.RGB) error {
		return p.model.preprocess.Pixels(pixels, rgb.Pix, rgb.Width, rgb.Height)
	})
}

// maxTold bounds how many pictures are logged one by one.
const maxTold = 10

func (p *pipeline) tellFailure(m modality, key stages.MemoKey, failure error) {
	if failure == nil || m != image {
		return
	}
	if p.told++; p.told <= maxTold {
		p.env.Log.Warn().Str("item", p.plan.first(image, key)).Err(failure).Msg("picture cannot be decoded and counts as absent")
	}
}

// verdict says whether too many pictures are broken.
func (p *pipeline) verdict() error {
	broken := p.plan.broken(image)
	if broken == 0 {
		return nil
	}
	having := p.plan.having(image)
	summary := fmt.Sprintf("%d of %d pictures cannot be decoded: %s", broken, having, p.plan.causes())
	if float64(broken) > p.stage.MaxBroken*float64(having) {
		return fmt.Errorf("%s; that is more than max_broken = %v allows. What is embedded is kept", summary, p.stage.MaxBroken)
	}
	p.env.Log.Warn().Msg(summary)
	return nil
}

// causes counts the pictures that cannot be decoded by the reason.
func (p *plan) causes() string {
	counts, examples := map[string]int{}, map[string]string{}
	for _, failure := range p.sides[image].failed {
		cause := "other reasons"
		for _, kind := range []error{picture.ErrFormat, picture.ErrTruncated, picture.ErrTooLarge} {
			if errors.Is(failure.cause, kind) {
				cause = kind.Error()
			}
		}
		for _, at := range failure.items {
			counts[cause]++
			if name := p.items[at].item; examples[cause] == "" || name < examples[cause] {
				examples[cause] = name
			}
		}
	}
	var parts []string
	for _, cause := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s (such as that of item %.60q)", counts[cause], cause, examples[cause]))
	}
	return strings.Join(parts, "; ")
}
