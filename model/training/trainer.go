package training

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
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
	Device   string               // "auto", "cpu", "cuda", "cuda:1"; empty means auto
	Resume   string               // a directory for checkpoints, which are taken up again; empty: none
	Progress func(Progress)       // nil, or called after each step and each epoch, on the training goroutine
	Logf     func(string, ...any) // nil, or told what a person may want to know, such as a checkpoint that does not fit
}

// Progress is how far a training is.
type Progress struct {
	Epoch, Epochs  int // the one in progress, from 1, of at most
	Step, Steps    int // done in this epoch
	Loss           float64
	UsersPerSecond float64
	Finished       *Epoch // set once an epoch is over and validated
}

// Epoch is one finished epoch.
type Epoch struct {
	Epoch          int      `json:"epoch"` // from 1
	Steps          int64    `json:"steps"` // since the start
	Loss           float64  `json:"loss"`  // total, mean over the targets
	Recommendation float64  `json:"recommendation"`
	Interaction    float64  `json:"interaction"` // weighted PRISM losses
	LearningRate   float64  `json:"learning_rate"`
	Value          *float64 `json:"value"` // of Config.Monitor; nil when there is nothing to validate with
	Best           bool     `json:"best"`  // best so far
}

// Result is a finished training.
type Result struct {
	Model   prism.Snapshot // of the best epoch, or of the last one when there was no validation
	History []Epoch
	Best    int    // the epoch that was kept
	Device  string // on which it ran
	Torch   string // version of libtorch
	Resumed int    // the epoch after which an earlier attempt was taken up; 0: from the start
}

// Train fits a model. It stops with ctx's error when that ends, and leaves a
// checkpoint of the last whole epoch if it may.
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
	t := &trainer{config: config, options: options, data: data, session: session}
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
	config  Config
	options Options
	data    Data
	session *gotorch.Session

	model     *prism.Model
	adam      *optim.Adam
	layout    func(sequences [][]int32) backbone.Rows
	objective *objective
	examples  []example
	cases     []ranking.Case

	history []Epoch
	best    prism.Snapshot

	fingerprint string // of what a checkpoint must belong to; set when there may be checkpoints
	resumed     int    // the epoch after which a checkpoint was taken up
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
		if err := t.save(); err != nil {
			return err
		}
	}
	return nil
}

func (t *trainer) setUp() error {
	features := make([]prism.Features, len(t.data.Modalities))
	for i, m := range t.data.Modalities {
		features[i] = prism.Features{Vectors: m.Vectors, Present: m.Present}
	}
	var err error
	if t.model, err = prism.New(t.session, t.config.model(t.data), features); err != nil {
		return err
	}
	t.layout = t.model.Layout
	t.adam, err = optim.NewAdam(t.session, t.model.Parameters(), optim.AdamOptions{LearningRate: t.config.LearningRate, WeightDecay: t.config.WeightDecay})
	if err != nil {
		return err
	}
	t.objective = &objective{config: t.config, backbone: t.model.Backbone(), items: int64(t.data.Items)}
	if t.config.Loss == BCE {
		reference := t.config.Model.Mode == prism.Reference
		t.objective.negatives = newNegatives(t.session, t.data.Users, t.model.Config().Rows()-1, reference)
	}
	t.examples = newExamples(t.data.Users, t.config.Model.MaxLength)
	t.cases = validationCases(t.data.Users)
	return nil
}

// validationCases ask for the item that followed the training part.
func validationCases(users []User) []ranking.Case {
	var cases []ranking.Case
	for i := range users {
		if users[i].Valid > 0 {
			cases = append(cases, ranking.Case{Query: ranking.Query{User: int(users[i].ID), History: users[i].Train}, Answer: users[i].Valid})
		}
	}
	return cases
}

func (t *trainer) finished() bool {
	done := len(t.history)
	stale := done - t.bestEpoch()
	return done >= t.config.Epochs || (t.config.Patience > 0 && len(t.cases) > 0 && stale >= t.config.Patience)
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

// epoch goes over all examples once, in an order and with random numbers that
// follow from seed and epoch alone, so that a resumed training needs no more
// than parameters and moments.
func (t *trainer) epoch(ctx context.Context) error {
	number := len(t.history) + 1
	random := rand.New(rand.NewPCG(uint64(t.config.Seed), uint64(number)))
	if err := t.session.Generator().Seed(random.Uint64()); err != nil {
		return err
	}
	order := random.Perm(len(t.examples))
	p := newPace(number, t.config.Epochs, (len(order)+t.config.BatchSize-1)/t.config.BatchSize, t.options.Progress)
	for from := 0; from < len(order); from += t.config.BatchSize {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("epoch %d: %w", number, err)
		}
		batch := make([]example, 0, t.config.BatchSize)
		for _, i := range order[from:min(from+t.config.BatchSize, len(order))] {
			batch = append(batch, t.examples[i])
		}
		losses, err := t.step(batch)
		if err != nil {
			return fmt.Errorf("epoch %d, step %d of %d: %w", number, p.step+1, p.steps, err)
		}
		p.add(losses, len(batch))
	}
	return t.endEpoch(ctx, p)
}

func (t *trainer) endEpoch(ctx context.Context, p *pace) error {
	e := Epoch{
		Epoch: p.epoch, Steps: int64(p.steps) * int64(p.epoch), LearningRate: t.adam.LearningRate(),
		Loss: p.mean(p.sum.recommendation + p.sum.interaction), Recommendation: p.mean(p.sum.recommendation), Interaction: p.mean(p.sum.interaction),
	}
	t.model.Prepare()
	defer t.model.Release()
	value, err := t.validate(ctx)
	if err != nil {
		return fmt.Errorf("validating epoch %d: %w", p.epoch, err)
	}
	e.Value = value
	e.Best = t.improves(value)
	if e.Best {
		if t.best, err = t.model.Export(); err != nil {
			return err
		}
	}
	t.history = append(t.history, e)
	p.finish(&e)
	return nil
}

// improves reports whether a value is strictly better than all before; without
// validation every epoch is.
func (t *trainer) improves(value *float64) bool {
	best := t.bestEpoch()
	return value == nil || best == 0 || *value > *t.history[best-1].Value
}

// validate ranks every user's next item among all items that the user has not
// had.
func (t *trainer) validate(ctx context.Context) (*float64, error) {
	if len(t.cases) == 0 {
		return nil, nil
	}
	want, err := parseMonitor(t.config.Monitor)
	if err != nil {
		return nil, err
	}
	options := ranking.DefaultOptions(t.data.Items)
	options.Workers = 1 // the session is this goroutine's
	ranks, err := ranking.Evaluate(ctx, t.model.Scorer(), t.cases, options)
	if err != nil {
		return nil, err
	}
	sum := 0.0
	for _, rank := range ranks {
		sum += rank.Value(want.metric, want.k)
	}
	value := sum / float64(len(ranks))
	return &value, nil
}

// stepLosses are means over a step's targets, and their number.
type stepLosses struct {
	recommendation, interaction float64
	targets                     int
}

// step makes one optimizer step on a batch of examples.
func (t *trainer) step(examples []example) (losses stepLosses, err error) {
	t.session.Scoped(func() {
		inputs := make([][]int32, len(examples))
		for i, e := range examples {
			inputs[i] = e.inputs()
		}
		var batch *backbone.Batch
		if batch, err = backbone.NewBatch(t.session, t.layout(inputs), inputs, t.config.Model.MaxLength); err == nil {
			losses, err = t.update(batch, examples)
		}
	})
	return losses, err
}

func (t *trainer) update(batch *backbone.Batch, examples []example) (stepLosses, error) {
	t.adam.ZeroGrad()
	out := t.model.Forward(batch, prism.Pass{Mode: nn.Train, Losses: true})
	items, users := flatten(examples)
	value, loss := t.objective.loss(targets{
		states: backbone.At(out.Hidden, batch.Tokens),
		items:  t.session.FromInt64(items),
		users:  t.session.FromInt64(users),
	})
	losses := stepLosses{recommendation: value.Item(), targets: len(items)}
	if out.Interaction != nil {
		losses.interaction = out.Interaction.Detach().Item()
		loss = loss.Add(out.Interaction)
	}
	if total := losses.recommendation + losses.interaction; math.IsNaN(total) || math.IsInf(total, 0) {
		return losses, fmt.Errorf("%w: recommendation %v, interaction %v; a lower learning_rate often helps", ErrDiverged, losses.recommendation, losses.interaction)
	}
	loss.Backward()
	t.adam.Step()
	return losses, nil
}

// ErrDiverged is wrapped when a loss is infinite or not a number.
var ErrDiverged = errors.New("the loss has diverged")

// flatten gives the targets and their users, in the order of Batch.Tokens.
func flatten(examples []example) (items, users []int64) {
	for _, e := range examples {
		for _, item := range e.targets() {
			items = append(items, int64(item))
			users = append(users, int64(e.user))
		}
	}
	return items, users
}

func (t *trainer) result() *Result {
	return &Result{
		Model: t.best, History: t.history, Best: t.bestEpoch(), Resumed: t.resumed,
		Device: t.session.Device().String(), Torch: t.session.Library().Installation().Version,
	}
}

// pace adds up an epoch's losses and tells how far it is.
type pace struct {
	epoch, epochs, steps int
	tell                 func(Progress)
	begun                time.Time

	step, users int
	sum         stepLosses // losses times targets
}

func newPace(epoch, epochs, steps int, tell func(Progress)) *pace {
	if tell == nil {
		tell = func(Progress) {}
	}
	return &pace{epoch: epoch, epochs: epochs, steps: steps, tell: tell, begun: time.Now()}
}

func (p *pace) add(l stepLosses, users int) {
	n := float64(l.targets)
	p.sum.recommendation += l.recommendation * n
	p.sum.interaction += l.interaction * n
	p.sum.targets += l.targets
	p.step++
	p.users += users
	p.tell(p.progress())
}

func (p *pace) finish(e *Epoch) {
	progress := p.progress()
	progress.Finished = e
	p.tell(progress)
}

func (p *pace) progress() Progress {
	return Progress{
		Epoch: p.epoch, Epochs: p.epochs, Step: p.step, Steps: p.steps,
		Loss:           p.mean(p.sum.recommendation + p.sum.interaction),
		UsersPerSecond: float64(p.users) / time.Since(p.begun).Seconds(),
	}
}

func (p *pace) mean(sum float64) float64 { return sum / float64(p.sum.targets) }
