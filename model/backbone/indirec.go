package backbone

import (
	"fmt"
	"math"
	"strings"

	"github.com/prismflow/prismflow/model/cluster"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// InDiRecName is how New knows InDiRec.
const InDiRecName = "indirec"

// InDiRec is what only the backbone indirec reads.
type InDiRec struct {
	Intents         int     `json:"intents"`          // clusters of training examples
	Steps           int     `json:"steps"`            // of the diffusion
	Schedule        string  `json:"schedule"`         // of its noise: exp, linear, cosine or sqrt
	Denoiser        string  `json:"denoiser"`         // mlp1, one linear layer, or mlp2, two with GELU between them
	Guidance        float64 `json:"guidance"`         // weight of the condition in the reverse process
	Unconditional   float64 `json:"unconditional"`    // probability with which training leaves the condition out
	Similarity      string  `json:"similarity"`       // of the contrast: dot or cosine
	Temperature     float64 `json:"temperature"`      // of the contrast
	ContrastWeight  float64 `json:"contrast_weight"`  // of the contrastive loss; 0: not computed
	DiffusionWeight float64 `json:"diffusion_weight"` // of the denoising loss; 0: not computed
}

// The values of InDiRec.Denoiser and InDiRec.Similarity.
const (
	OneLayer  = "mlp1"
	TwoLayers = "mlp2"
	Dot       = "dot"
	Cosine    = "cosine"
)

// DefaultInDiRec is the setting of the published code.
func DefaultInDiRec() InDiRec {
	return InDiRec{
		Intents: 256, Steps: 200, Schedule: "exp", Denoiser: OneLayer, Guidance: 2, Unconditional: 0.1,
		Similarity: Dot, Temperature: 1, ContrastWeight: 0.2, DiffusionWeight: 1,
	}
}

// maxSteps bounds the memory of the reverse process, which has a matrix a step.
const maxSteps = 10_000

// Validate lists what is wrong with the settings of a model of a hidden size.
func (c InDiRec) Validate(hidden int) []error {
	var problems []error
	add := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	add(hidden%2 == 0, "hidden = %d: want an even number, half of it sines and half cosines", hidden)
	add(c.Intents >= 1, "intents = %d: want at least 1", c.Intents)
	add(c.Steps >= 1 && c.Steps <= maxSteps, "steps = %d: want 1…%d", c.Steps, maxSteps)
	add(c.betas() != nil, "schedule = %q: want %s", c.Schedule, strings.Join(scheduleNames(), " or "))
	add(c.Denoiser == OneLayer || c.Denoiser == TwoLayers, "denoiser = %q: want %s or %s", c.Denoiser, OneLayer, TwoLayers)
	add(c.Unconditional >= 0 && c.Unconditional <= 1, "unconditional = %v: want 0…1", c.Unconditional)
	add(c.Similarity == Dot || c.Similarity == Cosine, "similarity = %q: want %s or %s", c.Similarity, Dot, Cosine)
	add(c.Temperature > 0 && !math.IsInf(c.Temperature, 0), "temperature = %v: want more than 0", c.Temperature)
	for _, v := range []struct {
		name  string
		value float64
	}{{"guidance", c.Guidance}, {"contrast_weight", c.ContrastWeight}, {"diffusion_weight", c.DiffusionWeight}} {
		add(v.value >= 0 && !math.IsInf(v.value, 0), "%s = %v: want 0 or more", v.name, v.value)
	}
	return problems
}

func scheduleNames() []string {
	names := make([]string, len(schedules))
	for i, s := range schedules {
		names[i] = s.name
	}
	return names
}

// betas is the schedule that is named, or nil.
func (c InDiRec) betas() func(steps int) []float64 {
	for _, s := range schedules {
		if s.name == c.Schedule {
			return s.betas
		}
	}
	return nil
}

func (c InDiRec) schedule() schedule { return newSchedule(c.betas()(c.Steps)) }

// denoiser is the widths of the denoiser's layers.
func (c InDiRec) denoiser(hidden int) []int {
	if c.Denoiser == TwoLayers {
		return []int{3 * hidden, 2 * hidden, hidden}
	}
	return []int{3 * hidden, hidden}
}

// indirec is SASRec trained beside a diffusion that, given a sequence of the same
// intent, makes the item that comes next; what it makes is contrasted with the
// sequence's own state (InDiRec: Qu and Nobuhara, Intent-aware Diffusion with
// Contrastive Learning for Sequential Recommendation, SIGIR 2025). Items are
// scored by SASRec alone, and the diffusion shares its item table.
type indirec struct {
	*sasrec
	settings  InDiRec
	diffusion *diffusion
}

func newInDiRec(s *gotorch.Session, c Config) Backbone {
	return &indirec{sasrec: newSASRec(s, c).(*sasrec), settings: c.InDiRec, diffusion: newDiffusion(s, c)}
}

func (m *indirec) Parameters() []nn.Named {
	return append(m.sasrec.Parameters(), nn.Prefix("diffusion", m.diffusion)...)
}

// intentIterations is the published number. Its five restarts find clusters
// tighter by a part in 3000, which is not worth their time in every epoch.
const intentIterations = 20

// Cluster groups the states of training examples by k-means. Each call starts
// afresh, so an epoch depends on parameters and seed alone and a resumed
// training needs no more.
func (m *indirec) Cluster(states *gotorch.Tensor) []int32 {
	intents := make([]int32, states.Size(0))
	states.Session().Scoped(func() {
		grouped, err := cluster.KMeans(states, cluster.Options{Clusters: m.settings.Intents, Iterations: intentIterations})
		if err != nil {
			panic(&gotorch.Error{Op: "finding intents", Args: []string{states.String()}, Msg: err.Error()})
		}
		for i, intent := range grouped.Assignments.Int64s() {
			intents[i] = int32(intent)
		}
	})
	return intents
}

// PairLoss contrasts with one encoding of the partners, without gradients, where
// the published code encodes them a second time.
func (m *indirec) PairLoss(states, targets, partners *gotorch.Tensor, noise Noise) *gotorch.Tensor {
	items := m.items.Forward(targets)
	loss := states.Session().Scalar(0)
	if weight := m.settings.DiffusionWeight; weight > 0 {
		drawn := m.diffusion.draw(items, m.settings.Unconditional, noise)
		loss = loss.Add(m.denoisingLoss(items, partners, drawn).Mul(weight))
	}
	if weight := m.settings.ContrastWeight; weight > 0 {
		views := m.diffusion.sample(partners, noise)
		loss = loss.Add(m.contrast(views, states, targets).Mul(weight))
	}
	return loss
}

// denoisingLoss has gradients for the items on both sides.
func (m *indirec) denoisingLoss(items, partners *gotorch.Tensor, drawn corruption) *gotorch.Tensor {
	return m.diffusion.denoised(items, partners, drawn).Sub(items).Square().Mean()
}

// contrast is InfoNCE over states and what the diffusion made for them, [n, D]
// each: every vector is to be closer to its other form than to vectors with
// another target. Those with the same target take no part.
func (m *indirec) contrast(views, states, targets *gotorch.Tensor) *gotorch.Tensor {
	if m.settings.Similarity == Cosine {
		views, states = unit(views), unit(states)
	}
	s := states.Session()
	all := s.Cat(0, views, states)
	logits := all.MatMul(all.T()).Div(m.settings.Temperature)
	logits = logits.MaskedFill(sameTarget(targets), math.Inf(-1))
	closeness := views.Mul(states).Sum(-1).Div(m.settings.Temperature)
	return logits.LogSumExp(-1).Mean().Sub(closeness.Mean())
}

// sameTarget is true, in bool [2n, 2n], for two vectors with one target unless they
// are the two forms of one example.
func sameTarget(targets *gotorch.Tensor) *gotorch.Tensor {
	s := targets.Session()
	same := targets.Unsqueeze(1).Eq(targets)
	others := same.LogicalAnd(s.Eye(targets.Size(0)).Eq(0))
	return s.Cat(0, s.Cat(1, same, others), s.Cat(1, others, same))
}

// unit gives rows length 1; those near 0 stay near 0.
func unit(rows *gotorch.Tensor) *gotorch.Tensor {
	const least = 1e-8
	return rows.Div(rows.NormKeep(-1).Clamp(least, nil))
}
