package training

import (
	"context"
	"fmt"
	"time"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/optim"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/ranking"
)

// Options are what cannot change the result, apart from the last bits that a
// device decides.
type Options struct {
	Device          string               // "auto", "cpu", "cuda", "cuda:1"; empty means auto
	Resume          string               // a directory for checkpoints, which are taken up again; empty: none
	CheckpointEvery time.Duration        // within an epoch; 0: only after each
	Progress        func(Progress)       // nil, or called as steps and epochs are done, on the training goroutine
	Logf            func(string, ...any) // nil, or told what a person may want to know, such as a checkpoint that does not fit
}

// Result is a finished training.
type Result struct {
	Model   prism.Snapshot // of the best epoch, or of the last one when there was no validation
	History []Epoch
	Best    int    // the epoch that was kept
	Device  string // on which it ran
	Torch   string // version of libtorch
	Resumed int    // steps that an earlier attempt had done; 0: from the start
}

// Train fits a model. It stops with ctx's error when that ends, and leaves a
// checkpoint to go on from if it may.
func Train(ctx context.Context, lib *gotorch.Library, data Data, config Config, options Options) (*Result, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	if err := data.Validate(); err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	if options.Device == "" {
		options.Device = "auto"
	}
	session, err := lib.NewSession(gotorch.SessionOptions{Device: options.Device, Threads: config.Threads, Seed: uint64(config.Seed)})
	if err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	t := &trainer{config: config.resolved(), options: options, data: data, session: session}
	err = t.inSession(ctx)
	if closeErr := session.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	return t.result(), nil
}

// trainer is a training in progress.
type trainer struct {
	config  Config // resolved
	options Options
	data    Data
	session *gotorch.Session

	model      *prism.Model
	parameters []nn.Named
	adam       *optim.Adam
	layout     func(sequences [][]int32) backbone.Rows
	fill       backbone.Fill
	objective  *objective
	examples   []example
	cases      []ranking.Case

	graphs  map[stepShape]*capturable
	losses  *gotorch.Tensor // float32 [steps, recordColumns]: of the epoch in progress
	history []Epoch
	best    prism.Snapshot

	fingerprint string    // of what a checkpoint must belong to; set when there may be checkpoints
	middle      *midEpoch // where a checkpoint within an epoch goes on; nil: at its start
	resumed     int
}

// inSession runs the training on the session's thread.
func (t *trainer) inSession(ctx context.Context) error {
	var inner error
	if err := t.session.Run(func() { inner = t.run(ctx) }); err != nil {
		return err
	}
	return inner
}

func (t *trainer) run(ctx context.Context) (err error) {
	t.session.Scoped(func() { err = t.setUp() })
	if err != nil {
		return err
	}
	if err := t.resume(); err != nil {
		return err
	}
	for !t.finished() {
		if err := t.epoch(ctx); err != nil {
			return err
		}
		if err := t.save(nil); err != nil {
			return err
		}
	}
	return nil
}

func (t *trainer) setUp() error {
	if t.session.Device().Type == gotorch.CUDA {
		t.session.AllowTF32(t.config.Precision == TF32)
	}
	features := make([]prism.Features, len(t.data.Modalities))
	for i, m := range t.data.Modalities {
		features[i] = prism.Features{Vectors: m.Vectors, Present: m.Present}
	}
	var err error
	if t.model, err = prism.New(t.session, t.config.model(t.data), features); err != nil {
		return err
	}
	t.layout, t.fill, t.graphs = t.model.Layout, backbone.Exact, map[stepShape]*capturable{}
	if t.session.Device().Type == gotorch.CUDA && t.config.Model.Mode != prism.Reference {
		t.fillUp()
	}
	t.parameters = t.model.Parameters()
	t.adam, err = optim.NewAdam(t.session, t.parameters, optim.AdamOptions{
		LearningRate: t.config.LearningRate, WeightDecay: t.config.WeightDecay, Decoupled: t.config.Optimizer == "adamw",
	})
	if err != nil {
		return err
	}
	t.examples = newExamples(t.data.Users, t.config.Model.MaxLength, t.config.Examples)
	t.cases = validationCases(t.data.Users)
	t.objective = t.newObjective()
	t.losses = t.session.Zeros(int64(t.steps()), recordColumns)
	t.session.Persist(t.losses)
	return nil
}

func (t *trainer) newObjective() *objective {
	o := &objective{config: t.config, backbone: t.model.Backbone(), items: int64(t.data.Items), logits: maxLogits(t.session.Device())}
	_, regularized := o.backbone.(backbone.Regularizer)
	if t.config.Loss.drawn() || regularized {
		o.negatives = newNegatives(t.session, t.data.Users, t.model.Config().Rows()-1, t.config.Reject)
	}
	return o
}

// finished reports whether the last epoch is done, or patience is at an end.
func (t *trainer) finished() bool {
	return len(t.history) >= t.config.Epochs || (t.config.Patience > 0 && t.stale() >= t.config.Patience)
}

// stale is the number of values since the best one.
func (t *trainer) stale() int {
	n := 0
	for _, e := range t.history[t.bestEpoch():] {
		if e.Value != nil {
			n++
		}
	}
	return n
}

// bestEpoch is the number of the best one so far, 0 before the first.
func (t *trainer) bestEpoch() int {
	for i := len(t.history) - 1; i >= 0; i-- {
		if t.history[i].Best {
			return i + 1
		}
	}
	return 0
}

// improves reports whether a value is better than the best one by more than
// MinDelta; without validation every epoch is.
func (t *trainer) improves(value *float64) bool {
	best := t.bestEpoch()
	if value == nil || best == 0 || t.history[best-1].Value == nil {
		return true
	}
	gain := *value - *t.history[best-1].Value
	if t.config.MonitorMode == "min" {
		gain = -gain
	}
	return gain > t.config.MinDelta
}

func (t *trainer) logf(format string, args ...any) {
	if t.options.Logf != nil {
		t.options.Logf(format, args...)
	}
}

func (t *trainer) result() *Result {
	return &Result{
		Model: t.best, History: t.history, Best: t.bestEpoch(), Resumed: t.resumed,
		Device: t.session.Device().String(), Torch: t.session.Library().Installation().Version,
	}
}
