package training

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/ranking"
)

// Loss is what the model is trained to do with the next item.
type Loss string

const (
	// BCE tells the next item from drawn ones: softplus(-s⁺) + the mean of softplus(s⁻). Cheap.
	BCE Loss = "bce"
	// BPR ranks the next item before drawn ones: the mean of softplus(s⁻ - s⁺) (Rendle et al., UAI 2009).
	BPR Loss = "bpr"
	// CE is the cross-entropy over all items. Dearer, and better on every data set that we know of.
	CE Loss = "ce"
	// SampledCE is the cross-entropy over the next item and drawn ones, whose scores stand for those of all items.
	SampledCE Loss = "sampled_ce"
)

// Losses are all losses.
func Losses() []Loss { return []Loss{BCE, BPR, CE, SampledCE} }

// drawn reports whether a loss compares with drawn items.
func (l Loss) drawn() bool { return l != CE }

// Sharing says which targets are compared with the same drawn items.
type Sharing string

// Ways of sharing negatives.
const (
	PerTarget   Sharing = "target"   // every target has its own
	PerSequence Sharing = "sequence" // the targets of one sequence share theirs
	PerBatch    Sharing = "batch"    // all targets of a step share theirs, which costs one matrix product
)

// Rejection says which items are no negatives for a user.
type Rejection string

// What is rejected.
const (
	RejectTrain Rejection = "train" // what the user had in training
	RejectAll   Rejection = "all"   // held-out answers too, as the published code does; it leaks them
	RejectNone  Rejection = "none"  // nothing
)

// Examples says what one training example is.
type Examples string

// Kinds of examples.
const (
	Sequences Examples = "sequence" // a user's newest window, with a target at every place
	Prefixes  Examples = "prefix"   // every prefix of a user's items, with one target
)

// Precision is that of the arithmetic.
type Precision string

const (
	// FP32 is single precision throughout.
	FP32 Precision = "fp32"
	// TF32 lets a GPU round the factors of matrix products to ten bits; elsewhere it is FP32.
	TF32 Precision = "tf32"
	// BF16 computes matrix products in bfloat16 and keeps parameters, sums and losses in single precision.
	BF16 Precision = "bf16"
)

// Decay is how the learning rate falls after the warm-up.
type Decay string

// The decays.
const (
	ConstantRate Decay = "none"
	LinearDecay  Decay = "linear"
	CosineDecay  Decay = "cosine"
)

// Config is everything but the data that decides the result of a training. An
// empty Examples, Sharing, Reject or MonitorMode follows from the rest: see
// resolved.
type Config struct {
	Model        prism.Config       // Items and Modalities are set from the data
	LambdaUnique map[string]float64 // by modality; prism.DefaultLambda for those not in it

	Examples Examples // empty: prefixes for a backbone that learns from pairs, else sequences

	Loss            Loss
	Negatives       int       // items that are drawn by every loss but CE
	Sharing         Sharing   // of the negatives; empty: by batch for SampledCE, else by target
	Reject          Rejection // which items are no negatives; empty: RejectAll in mode reference, else RejectTrain
	CorrectSampling bool      // SampledCE: raise drawn scores by log((items-1)/negatives), so that they stand for all items

	Optimizer       string // "adam", or "adamw", whose weight decay is decoupled
	LearningRate    float64
	WeightDecay     float64 // adam: L2, added to the gradient
	WarmupSteps     int     // optimizer steps over which the rate rises from 0
	Decay           Decay
	FinalRate       float64 // share of the learning rate that is left at the end of a decay
	ClipNorm        float64 // greatest norm of all gradients together; 0: no limit
	BatchSize       int     // examples
	AccumulateSteps int     // batches of one optimizer step, which weigh as many targets as they have

	Epochs      int     // at most
	EvalEvery   int     // epochs between validations
	Patience    int     // validations without a better one after which training stops; 0: never
	Monitor     string  // validation metric, such as "ndcg@20", or "loss", the training loss
	MonitorMode string  // "max" or "min"; empty: min for loss, else max
	MinDelta    float64 // a value must be better by more than this to count as better

	Seed      int64 // of parameters, order, dropout and negatives
	Precision Precision
	Threads   int // inside one operator; it changes the last bits of sums, hence part of the result
}

// Default is what a training does when nothing else is asked for: the settings
// with which reference numbers were measured.
func Default() Config {
	return Config{
		Model: prism.Default(),
		Loss:  CE, Negatives: 1, CorrectSampling: true,
		Optimizer: "adam", LearningRate: 1e-3, Decay: ConstantRate, BatchSize: 256, AccumulateSteps: 1,
		Epochs: 200, EvalEvery: 1, Patience: 10, Monitor: "ndcg@20",
		Seed: 42, Precision: FP32, Threads: 2,
	}
}

// resolved is the configuration with what was left empty.
func (c Config) resolved() Config {
	if c.Examples == "" {
		c.Examples = Sequences
		if backbone.LearnsFromPairs(c.Model.Backbone) {
			c.Examples = Prefixes
		}
	}
	if c.Sharing == "" {
		c.Sharing = PerTarget
		if c.Loss == SampledCE {
			c.Sharing = PerBatch
		}
	}
	if c.Reject == "" {
		c.Reject = RejectTrain
		if c.Model.Mode == prism.Reference {
			c.Reject = RejectAll
		}
	}
	if c.MonitorMode == "" {
		c.MonitorMode = "max"
		if c.Monitor == lossMonitor {
			c.MonitorMode = "min"
		}
	}
	return c
}

// Validate lists everything that is wrong with the configuration, without the
// data.
func (c Config) Validate() error {
	p := problems(c.Model.ValidateSettings())
	p.oneOf("examples", string(c.Examples), "", string(Sequences), string(Prefixes))
	p.oneOf("loss", string(c.Loss), string(BCE), string(BPR), string(CE), string(SampledCE))
	p.oneOf("sharing", string(c.Sharing), "", string(PerTarget), string(PerSequence), string(PerBatch))
	p.oneOf("reject", string(c.Reject), "", string(RejectTrain), string(RejectAll), string(RejectNone))
	p.oneOf("optimizer", c.Optimizer, "adam", "adamw")
	p.oneOf("decay", string(c.Decay), string(ConstantRate), string(LinearDecay), string(CosineDecay))
	p.oneOf("monitor_mode", c.MonitorMode, "", "max", "min")
	p.oneOf("precision", string(c.Precision), string(FP32), string(TF32), string(BF16))
	p.atLeast("negatives", c.Negatives, 1)
	p.atLeast("warmup_steps", c.WarmupSteps, 0)
	p.atLeast("batch_size", c.BatchSize, 1)
	p.atLeast("accumulate_steps", c.AccumulateSteps, 1)
	p.atLeast("epochs", c.Epochs, 1)
	p.atLeast("eval_every", c.EvalEvery, 1)
	p.atLeast("patience", c.Patience, 0)
	p.require(c.LearningRate > 0 && c.LearningRate <= 1, "learning_rate = %v: want more than 0 and at most 1", c.LearningRate)
	p.require(c.WeightDecay >= 0 && c.WeightDecay < 1, "weight_decay = %v: want 0 or more and less than 1", c.WeightDecay)
	p.require(c.FinalRate >= 0 && c.FinalRate <= 1, "final_rate = %v: want 0…1", c.FinalRate)
	p.require(c.ClipNorm >= 0 && !math.IsInf(c.ClipNorm, 1), "clip_norm = %v: want 0 (no limit) or more", c.ClipNorm)
	p.require(c.MinDelta >= 0 && !math.IsInf(c.MinDelta, 1), "min_delta = %v: want 0 or more", c.MinDelta)
	p.require(c.Threads >= 1 && c.Threads <= maxThreads, "threads = %d: want 1…%d", c.Threads, maxThreads)
	if backbone.LearnsFromPairs(c.Model.Backbone) {
		p.require(c.resolved().Examples == Prefixes, "examples = %q: the backbone %s learns from prefixes: want %q", c.Examples, c.Model.Backbone, Prefixes)
	}
	if _, err := parseMonitor(c.Monitor); err != nil {
		p = append(p, err)
	}
	for _, name := range slices.Sorted(maps.Keys(c.LambdaUnique)) {
		p.require(c.LambdaUnique[name] >= 0 && !math.IsInf(c.LambdaUnique[name], 1), "lambda_unique_%s = %v: want 0 or more", name, c.LambdaUnique[name])
	}
	return errors.Join(p...)
}

const maxThreads = 1024

// problems collects what is wrong, each as "name = value: what is wanted".
type problems []error

func (p *problems) require(ok bool, format string, args ...any) {
	if !ok {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

func (p *problems) oneOf(name, value string, allowed ...string) {
	p.require(slices.Contains(allowed, value), "%s = %q: want %s", name, value, strings.Join(slices.DeleteFunc(allowed, isEmpty), ", "))
}

func isEmpty(s string) bool { return s == "" }

func (p *problems) atLeast(name string, value, least int) {
	p.require(value >= least, "%s = %d: want %d or more", name, value, least)
}

// lossMonitor watches the training loss instead of a validation metric.
const lossMonitor = "loss"

// A monitor is one metric at one k; none when it is the training loss.
type monitor struct {
	metric ranking.Metric
	k      int
}

func parseMonitor(text string) (monitor, error) {
	if text == lossMonitor {
		return monitor{}, nil
	}
	name, at, ok := strings.Cut(text, "@")
	k, err := strconv.Atoi(at)
	metric := ranking.Metric(name)
	if !ok || err != nil || k < 1 || metric.Validate() != nil {
		return monitor{}, fmt.Errorf("monitor = %q: want recall, ndcg or mrr, an @ and a cut-off, such as ndcg@20, or %s", text, lossMonitor)
	}
	return monitor{metric, k}, nil
}

// model is the model's configuration for the data in hand.
func (c Config) model(data Data) prism.Config {
	m := c.Model
	m.Items = data.Items
	m.Modalities = nil
	for _, modality := range data.Modalities {
		lambda, ok := c.LambdaUnique[modality.Name]
		if !ok {
			lambda = prism.DefaultLambda
		}
		m.Modalities = append(m.Modalities, prism.Modality{Name: modality.Name, Size: modality.Size, LambdaUnique: lambda})
	}
	return m
}
