package training

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/prismflow/prismflow/model/gotorch/optim"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/safetensors"
)

// A checkpoint holds everything that the epochs still to come depend on: the
// parameters, Adam's moments, the history, and the best model so far. Order and
// random numbers follow from seed and epoch. It fits only a training of the same
// data, configuration, device type and libtorch, which its fingerprint says.
const checkpointFile = "training.safetensors"

// The tensors of a checkpoint are named by these and what they belong to.
const (
	parameterPrefix = "parameter/"
	firstPrefix     = "first/"
	secondPrefix    = "second/"
	bestPrefix      = "best/"
	stateKey        = "state"
)

// checkpointState is the part of a checkpoint that is not tensors.
type checkpointState struct {
	Fingerprint string           `json:"fingerprint"`
	History     []Epoch          `json:"history"`
	Steps       map[string]int64 `json:"steps"` // Adam's, by parameter
	Best        prism.Config     `json:"best"`
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

// save writes the checkpoint beside the last one and takes its place.
func (t *trainer) save() error {
	if t.options.Resume == "" {
		return nil
	}
	state, tensors, err := t.checkpoint()
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
func replaceFile(path string, write func(*os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
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

func (t *trainer) checkpoint() (state string, tensors []safetensors.Tensor, err error) {
	s := checkpointState{Fingerprint: t.fingerprint, History: t.history, Steps: map[string]int64{}, Best: t.best.Config}
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
	text, err := json.Marshal(s)
	return string(text), tensors, err
}

// resume takes up a checkpoint if there is one that fits. One that does not, or
// is broken, costs the epochs that it held and nothing else.
func (t *trainer) resume() error {
	if t.options.Resume == "" {
		return nil
	}
	if err := t.identify(); err != nil {
		return err
	}
	err := t.load(filepath.Join(t.options.Resume, checkpointFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		t.logf("starting from the first epoch: the checkpoint in %s cannot be used: %v", t.options.Resume, err)
	default:
		t.resumed = len(t.history)
		t.logf("going on after epoch %d, whose checkpoint was in %s", t.resumed, t.options.Resume)
	}
	return nil
}

func (t *trainer) logf(format string, args ...any) {
	if t.options.Logf != nil {
		t.options.Logf(format, args...)
	}
}

func (t *trainer) load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	file, err := safetensors.Open(f, info.Size())
	if err != nil {
		return err
	}
	return t.take(file)
}

// take reads everything before it changes anything.
func (t *trainer) take(file *safetensors.File) error {
	var s checkpointState
	if err := json.Unmarshal([]byte(file.Metadata()[stateKey]), &s); err != nil {
		return fmt.Errorf("its state: %w", err)
	}
	if s.Fingerprint != t.fingerprint {
		return errors.New("it belongs to other data, settings, device or libtorch")
	}
	r := checkpointReader{file: file}
	parameters, moments := r.tensors(parameterPrefix), r.moments(s.Steps)
	best := prism.Snapshot{Config: s.Best, Tensors: r.tensors(bestPrefix)}
	if r.err != nil {
		return r.err
	}
	if err := t.adam.Import(moments); err != nil {
		return err
	}
	if err := t.model.ImportParameters(parameters); err != nil {
		return err
	}
	t.history, t.best = s.History, best
	return nil
}

// checkpointReader keeps the first error.
type checkpointReader struct {
	file *safetensors.File
	err  error
}

// tensors are those of a prefix, in the order of the file.
func (r *checkpointReader) tensors(prefix string) []prism.Tensor {
	var out []prism.Tensor
	for _, name := range r.file.Names() {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			out = append(out, r.tensor(prefix, name[len(prefix):]))
		}
	}
	return out
}

func (r *checkpointReader) tensor(prefix, name string) prism.Tensor {
	info, err := r.file.Info(prefix + name)
	values, valuesErr := r.file.Float32(prefix + name)
	if r.err == nil {
		r.err = errors.Join(err, valuesErr)
	}
	t := prism.Tensor{Name: name, Values: values}
	for _, d := range info.Shape {
		t.Shape = append(t.Shape, int64(d))
	}
	return t
}

func (r *checkpointReader) moments(steps map[string]int64) optim.State {
	var state optim.State
	for _, first := range r.tensors(firstPrefix) {
		second := r.tensor(secondPrefix, first.Name)
		state.Moments = append(state.Moments, optim.Moments{
			Name: first.Name, Step: steps[first.Name], Shape: first.Shape, First: first.Values, Second: second.Values,
		})
	}
	return state
}

func ints(shape []int64) []int {
	out := make([]int, len(shape))
	for i, d := range shape {
		out[i] = int(d)
	}
	return out
}
