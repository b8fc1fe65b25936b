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
	"slices"

	"github.com/prismflow/prismflow/model/gotorch/optim"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/safetensors"
)

// A checkpoint holds everything that the steps still to come depend on: the
// parameters, Adam's moments, the history, the best model so far, and within an
// epoch the state of the generator, the losses so far and the intents. The order
// follows from seed and epoch. It fits only a training of the same data,
// configuration, device type and libtorch, which its fingerprint says.
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
	History     []Epoch          `json:"history"`
	Steps       map[string]int64 `json:"steps"` // Adam's, by parameter
	Best        prism.Config     `json:"best"`
	Done        int              `json:"done"`      // steps of the epoch in progress
	Generator   []byte           `json:"generator"` // its state, within an epoch
}

// midEpoch is where a checkpoint within an epoch goes on.
type midEpoch struct {
	done      int
	generator []byte
	losses    []float32
	intents   []int32
}

// goOn takes up an epoch that was begun.
func (p *pass) goOn(m *midEpoch) error {
	t := p.trainer
	if err := t.session.Generator().SetState(m.generator); err != nil {
		return err
	}
	t.session.NoGrad(func() {
		t.session.Scoped(func() {
			t.losses.Narrow(0, 0, int64(m.done)).CopyFrom(t.session.FromFloat32(m.losses, int64(m.done), recordColumns))
		})
	})
	p.done, p.checked, p.intents = m.done, m.done, m.intents
	return nil
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
	text, err := json.Marshal(s)
	return string(text), tensors, err
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
		t.resumed = t.stepsDone()
		t.logf("going on after %d steps, %d whole epochs, by the checkpoint in %s", t.resumed, len(t.history), t.options.Resume)
	}
	return nil
}

func (t *trainer) stepsDone() int {
	n := 0
	if len(t.history) > 0 {
		n = int(t.history[len(t.history)-1].Steps)
	}
	if t.middle != nil {
		n += t.middle.done
	}
	return n
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
	middle := r.middle(s, len(t.examples))
	if r.err != nil {
		return r.err
	}
	if err := t.adam.Import(moments); err != nil {
		return err
	}
	if err := t.model.ImportParameters(parameters); err != nil {
		return err
	}
	t.history, t.best, t.middle = s.History, best, middle
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
	r.fail(errors.Join(err, valuesErr))
	t := prism.Tensor{Name: name, Values: values}
	for _, d := range info.Shape {
		t.Shape = append(t.Shape, int64(d))
	}
	return t
}

// middle is nil when the checkpoint was written between two epochs.
func (r *checkpointReader) middle(s checkpointState, examples int) *midEpoch {
	if s.Done == 0 {
		return nil
	}
	m := &midEpoch{done: s.Done, generator: s.Generator, losses: r.tensor("", lossesName).Values}
	if len(m.losses) != s.Done*recordColumns {
		r.fail(fmt.Errorf("%d losses of %d steps", len(m.losses), s.Done))
	}
	if !slices.Contains(r.file.Names(), intentsName) {
		return m
	}
	wide, err := r.file.Int64(intentsName)
	r.fail(err)
	if len(wide) != examples {
		r.fail(fmt.Errorf("intents of %d examples: want %d", len(wide), examples))
	}
	for _, intent := range wide {
		m.intents = append(m.intents, int32(intent))
	}
	return m
}

func (r *checkpointReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
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
