package training

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/safetensors"
)

// A checkpoint holds everything that the steps still to come depend on: the
// parameters, Adam's moments, the history, the best model so far, and within an
// epoch the state of the generator, the losses so far and the intents. The order
// follows from seed and epoch. It fits only a training of the same data,
// configuration, device type and libtorch, which its fingerprint says, and only
// as it was written, which its digest says.
const checkpointFile = "training.safetensors"

// The tensors of a checkpoint are named by these and what they belong to.
const (
	parameterPrefix = "parameter/"
	firstPrefix     = "first/"
	secondPrefix    = "second/"
	bestPrefix      = "best/"
	lossesName      = "epoch/losses"
	intentsName     = "epoch/intents"
	stateKey        = "state"
)

// checkpointState is the part of a checkpoint that is not tensors.
type checkpointState struct {
	Fingerprint string           `json:"fingerprint"`
	Digest      string           `json:"digest"` // of the tensors
	History     []Epoch          `json:"history"`
	Steps       map[string]int64 `json:"steps"` // Adam's, by parameter
	Best        prism.Config     `json:"best"`
	Done        int              `json:"done"`      // steps of the epoch in progress
	Generator   []byte           `json:"generator"` // its state, within an epoch
}

// identify sets the fingerprint.
func (t *trainer) identify() error {
	h := sha256.New()
	encoder := json.NewEncoder(h)
	err := errors.Join(
		encoder.Encode(t.config), encoder.Encode(t.data.Items), encoder.Encode(t.data.Users),
		encoder.Encode([]string{t.session.Device().Type.String(), t.session.Library().Installation().Version}),
	)
	for _, m := range t.data.Modalities {
		err = errors.Join(err, encoder.Encode([]any{m.Name, m.Size, m.Present}), hashFloats(h, m.Vectors))
	}
	t.fingerprint = hex.EncodeToString(h.Sum(nil))
	return err
}

// hashFloats writes values little-endian: as JSON, tables of features take
// longer than an epoch.
func hashFloats(w io.Writer, values []float32) error {
	buffer := make([]byte, 0, 1<<16)
	for len(values) > 0 {
		n := min(len(values), cap(buffer)/4)
		buffer = buffer[:0]
		for _, v := range values[:n] {
			buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
		}
		if _, err := w.Write(buffer); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

// save writes the checkpoint beside the last one and takes its place: within an
// epoch, or with nil between two.
func (t *trainer) save(p *pass) error {
	if t.options.Resume == "" {
		return nil
	}
	state, tensors, err := t.checkpoint(p)
	if err != nil {
		return fmt.Errorf("making a checkpoint: %w", err)
	}
	path := filepath.Join(t.options.Resume, checkpointFile)
	if err := replaceFile(path, func(f *os.File) error {
		return safetensors.Write(f, map[string]string{stateKey: state}, tensors)
	}); err != nil {
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	return nil
}

// replaceFile writes a file so that there is always a whole one under its name.
// Its mode is what the umask leaves, so that whoever shares the directory can go
// on from it; that of os.CreateTemp is for its owner alone.
func replaceFile(path string, write func(*os.File) error) (err error) {
	f, err := os.OpenFile(path+"."+rand.Text()+".tmp", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (t *trainer) checkpoint(p *pass) (state string, tensors []safetensors.Tensor, err error) {
	s := checkpointState{Fingerprint: t.fingerprint, History: t.history, Steps: map[string]int64{}, Best: t.best.Config}
	if p != nil {
		if tensors, err = p.describe(&s); err != nil {
			return "", nil, err
		}
	}
	add := func(prefix string, list []prism.Tensor) {
		for _, p := range list {
			tensors = append(tensors, safetensors.FromFloat32(prefix+p.Name, ints(p.Shape), p.Values))
		}
	}
	add(parameterPrefix, t.model.ExportParameters())
	add(bestPrefix, t.best.Tensors)
	for _, m := range t.adam.Export().Moments {
		s.Steps[m.Name] = m.Step
		add(firstPrefix, []prism.Tensor{{Name: m.Name, Shape: m.Shape, Values: m.First}})
		add(secondPrefix, []prism.Tensor{{Name: m.Name, Shape: m.Shape, Values: m.Second}})
	}
	s.Digest = digestOf(tensors)
	text, err := json.Marshal(s)
	return string(text), tensors, err
}

// digestOf is a hash of tensors with their names, in any order.
func digestOf(tensors []safetensors.Tensor) string {
	byName := slices.SortedFunc(slices.Values(tensors), func(a, b safetensors.Tensor) int { return cmp.Compare(a.Name, b.Name) })
	h := sha256.New()
	for _, t := range byName {
		fmt.Fprintf(h, "%q %s %v\n", t.Name, t.DType, t.Shape)
		h.Write(t.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// describe adds what the rest of an epoch depends on.
func (p *pass) describe(s *checkpointState) (tensors []safetensors.Tensor, err error) {
	s.Done = p.done
	if s.Generator, err = p.trainer.session.Generator().State(); err != nil {
		return nil, err
	}
	tensors = append(tensors, safetensors.FromFloat32(lossesName, []int{p.done, recordColumns}, p.trainer.readLosses(p.done)))
	if p.intents != nil {
		wide := make([]int64, len(p.intents))
		for i, intent := range p.intents {
			wide[i] = int64(intent)
		}
		tensors = append(tensors, safetensors.FromInt64(intentsName, []int{len(wide)}, wide))
	}
	return tensors, nil
}

func ints(shape []int64) []int {
	out := make([]int, len(shape))
	for i, d := range shape {
		out[i] = int(d)
	}
	return out
}
