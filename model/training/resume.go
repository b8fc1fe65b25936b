package training

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch/optim"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/safetensors"
)

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
	n := len(t.history) * t.steps()
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

// take reads and checks everything before it changes anything.
func (t *trainer) take(file *safetensors.File) error {
	var s checkpointState
	if err := json.Unmarshal([]byte(file.Metadata()[stateKey]), &s); err != nil {
		return fmt.Errorf("its state: %w", err)
	}
	if s.Fingerprint != t.fingerprint {
		return errors.New("it belongs to other data, settings, device or libtorch")
	}
	if err := intact(file, s.Digest); err != nil {
		return err
	}
	r := checkpointReader{file: file}
	parameters, moments := r.tensors(parameterPrefix), r.moments(s.Steps)
	best := prism.Snapshot{Config: s.Best, Tensors: r.tensors(bestPrefix)}
	middle := r.middle(s)
	if r.err != nil {
		return r.err
	}
	if err := t.checkHistory(s.History, len(best.Tensors) > 0); err != nil {
		return err
	}
	if err := t.checkMiddle(middle, len(s.History)); err != nil {
		return err
	}
	if err := t.restore(parameters, moments); err != nil {
		return err
	}
	t.history, t.best, t.middle = s.History, best, middle
	return nil
}

// restore sets parameters and moments, or neither.
func (t *trainer) restore(parameters []prism.Tensor, moments optim.State) error {
	before := t.model.ExportParameters()
	if err := t.model.ImportParameters(parameters); err != nil {
		return err
	}
	if err := t.adam.Import(moments); err != nil {
		return errors.Join(err, t.model.ImportParameters(before))
	}
	return nil
}

// intact compares the tensors with their digest.
func intact(file *safetensors.File, digest string) error {
	var tensors []safetensors.Tensor
	for _, name := range file.Names() {
		tensor, err := file.Tensor(name)
		if err != nil {
			return err
		}
		tensors = append(tensors, tensor)
	}
	if digestOf(tensors) != digest {
		return errors.New("its tensors are not those that were written")
	}
	return nil
}

// checkHistory reports what no training writes about whole epochs. The best one
// must be there if any was judged.
func (t *trainer) checkHistory(history []Epoch, best bool) error {
	if len(history) > t.config.Epochs {
		return fmt.Errorf("it is of %d epochs: want at most %d", len(history), t.config.Epochs)
	}
	judged := false
	for i, e := range history {
		if e.Epoch != i+1 {
			return fmt.Errorf("its epoch %d is numbered %d", i+1, e.Epoch)
		}
		judged = judged || e.Best
	}
	if judged != best {
		return fmt.Errorf("it has a best epoch: %t, and that epoch's model: %t", judged, best)
	}
	return nil
}

// midEpoch is where a checkpoint within an epoch goes on.
type midEpoch struct {
	done      int
	generator []byte
	losses    record
	intents   []int32 // nil but for a paired backbone
}

// checkMiddle reports what no training writes within an epoch: all but the last
// of its steps are done, and no optimizer step in part.
func (t *trainer) checkMiddle(m *midEpoch, epochs int) error {
	if m == nil {
		if epochs == 0 {
			return errors.New("it holds no step")
		}
		return nil
	}
	if m.done < 0 || m.done >= t.steps() || m.done%t.config.AccumulateSteps != 0 || epochs >= t.config.Epochs {
		return fmt.Errorf("%d steps are done in epoch %d: want fewer than %d, a multiple of %d, in one of %d epochs",
			m.done, epochs+1, t.steps(), t.config.AccumulateSteps, t.config.Epochs)
	}
	if err := m.losses.check(m.done); err != nil {
		return err
	}
	if err := t.checkIntents(m.intents); err != nil {
		return err
	}
	return t.session.Generator().SetState(m.generator) // an epoch sets it anew
}

func (t *trainer) checkIntents(intents []int32) error {
	want := 0
	if backbone.LearnsFromPairs(t.config.Model.Backbone) {
		want = len(t.examples)
	}
	if len(intents) != want {
		return fmt.Errorf("it has intents of %d examples: want %d", len(intents), want)
	}
	for i, intent := range intents {
		if intent < 0 || int(intent) >= want { // there are at most as many as examples
			return fmt.Errorf("example %d has the intent %d: want 0…%d", i, intent, want-1)
		}
	}
	return nil
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

// checkpointReader keeps the first error.
type checkpointReader struct {
	file *safetensors.File
	err  error
}

func (r *checkpointReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// tensors are those of a prefix, in the order of the file.
func (r *checkpointReader) tensors(prefix string) []prism.Tensor {
	var out []prism.Tensor
	for _, full := range r.file.Names() {
		if name, ok := strings.CutPrefix(full, prefix); ok {
			out = append(out, r.tensor(prefix, name))
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

// middle is nil when the checkpoint was written between two epochs.
func (r *checkpointReader) middle(s checkpointState) *midEpoch {
	if s.Done == 0 {
		return nil
	}
	m := &midEpoch{done: s.Done, generator: s.Generator, losses: r.tensor("", lossesName).Values}
	if !slices.Contains(r.file.Names(), intentsName) {
		return m
	}
	wide, err := r.file.Int64(intentsName)
	r.fail(err)
	for _, intent := range wide {
		m.intents = append(m.intents, int32(intent))
	}
	return m
}
