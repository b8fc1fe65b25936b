package prism

import (
	"fmt"
	"testing"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/optim"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/safetensors/goldentest"
)

// golden is a model that begins with the parameters of a golden file, and the
// file's batch.
type golden struct {
	goldenCase
	goldentest.File
	t     *testing.T
	model *Model
	batch *backbone.Batch
}

// eachGolden runs a test on every golden file.
func eachGolden(t *testing.T, test func(s *gotorch.Session, g *golden)) {
	for _, c := range goldenCases {
		t.Run(c.backbone, func(t *testing.T) {
			torchtest.Run(t, func(s *gotorch.Session) { test(s, openGolden(t, s, c)) })
		})
	}
}

func openGolden(t *testing.T, s *gotorch.Session, c goldenCase) *golden {
	t.Helper()
	g := &golden{goldenCase: c, File: goldentest.Open(t, c.file), t: t}
	g.load(s)
	g.lay(s)
	return g
}

// load makes the model.
func (g *golden) load(s *gotorch.Session) {
	g.t.Helper()
	blank := Features{Vectors: make([]float32, (goldenItems+1)*12)}
	m, err := New(s, g.config(), []Features{blank, blank})
	if err != nil {
		g.t.Fatal(err)
	}
	var params []Tensor
	for _, p := range m.Parameters() {
		params = append(params, Tensor{p.Name, p.Tensor.Shape(), g.Floats("param." + g.reference(p.Name))})
	}
	if err := m.ImportParameters(params); err != nil {
		g.t.Fatal(err)
	}
	g.model = m
}

// lay makes the batch.
func (g *golden) lay(s *gotorch.Session) {
	g.t.Helper()
	items := g.Ints("input.item_ids")
	sequences := make([][]int32, goldenUsers)
	lengths := make([]int, goldenUsers)
	for i := range sequences {
		for _, item := range items[i*goldenLength : (i+1)*goldenLength] {
			if item != 0 {
				sequences[i] = append(sequences[i], int32(item))
			}
		}
		lengths[i] = len(sequences[i])
	}
	batch, err := backbone.NewBatch(s, backbone.Pad(lengths, goldenLength), sequences, goldenLength)
	if err != nil {
		g.t.Fatal(err)
	}
	g.batch = batch
}

// noise replays the noise of one step.
func (g *golden) noise(s *gotorch.Session, step int) backbone.Noise {
	next := 0
	return func(shape ...int64) *gotorch.Tensor {
		name := fmt.Sprintf("step%d.noise.%02d", step, next)
		next++
		return s.FromFloat32(g.Floats(name), shape...)
	}
}

// goldenStep is what one training step computes before its gradients, in
// evaluation mode.
type goldenStep struct {
	hidden                      *gotorch.Tensor
	interaction, recommendation *gotorch.Tensor
	regularization              *gotorch.Tensor // nil when the backbone has none
	total                       *gotorch.Tensor
}

func (g *golden) forward(s *gotorch.Session, step int) goldenStep {
	out := g.model.Forward(g.batch, Pass{Mode: nn.Eval, Losses: true, Noise: g.noise(s, step)})
	positive := s.FromInt64(g.Ints("input.positive_ids"))
	negative := s.FromInt64(g.Ints("input.negative_ids"))
	states := out.Hidden.Reshape(goldenUsers*goldenLength, -1)
	score := func(items *gotorch.Tensor) *gotorch.Tensor {
		return g.model.backbone.Score(states, items.Unsqueeze(1)).Squeeze(1)
	}
	target := positive.Ne(0).To(gotorch.Float32)
	mean := func(losses *gotorch.Tensor) *gotorch.Tensor { return losses.Mul(target).Sum().Div(target.Sum()) }

	result := goldenStep{hidden: out.Hidden, interaction: out.Interaction, recommendation: mean(g.loss(score(positive), score(negative)))}
	result.total = result.interaction.Add(result.recommendation)
	if r, ok := g.model.backbone.(backbone.Regularizer); ok {
		result.regularization = mean(r.Regularization(states, positive, negative))
		result.total = result.total.Add(result.regularization)
	}
	return result
}

func TestReferenceReproducesPublishedForward(t *testing.T) {
	eachGolden(t, func(s *gotorch.Session, g *golden) {
		step := g.forward(s, 0)
		for i, part := range step.hidden.Chunk(len(g.states), -1) {
			g.Near(g.states[i], part.Contiguous().Float32s(), g.Floats(g.states[i]), 1e-5, 1e-5)
		}
		g.Near("interaction_loss", step.interaction.Float32s(), g.Floats("out.interaction_loss"), 1e-5, 1e-5)
		g.Near("recommendation_loss", step.recommendation.Float32s(), g.Floats("out.recommendation_loss"), 1e-5, 1e-5)
		if step.regularization != nil {
			g.Near("pvn_loss", step.regularization.Float32s(), g.Floats("out.pvn_loss"), 1e-5, 1e-5)
		}
		g.Near("full_scores", g.fullScores(s, step.hidden).Float32s(), g.Floats("out.full_scores"), 1e-5, 1e-5)
		g.Near("total loss", step.total.Float32s(), g.Floats("step0.loss"), 1e-5, 1e-5)
	})
}

// fullScores are those of all rows of the item table by the last column.
func (g *golden) fullScores(s *gotorch.Session, hidden *gotorch.Tensor) *gotorch.Tensor {
	states := backbone.At(hidden, s.Arange(goldenLength-1, goldenUsers*goldenLength, goldenLength))
	scores := g.model.backbone.ScoreRange(states, 0, goldenItems+2)
	if g.distance {
		return scores.Neg()
	}
	return scores
}

func TestReferenceReproducesPublishedGradients(t *testing.T) {
	eachGolden(t, func(s *gotorch.Session, g *golden) {
		g.forward(s, 0).total.Backward()
		for _, p := range g.model.Parameters() {
			got, want := p.Tensor.Grad().Float32s(), g.Floats("grad."+g.reference(p.Name))
			if g.isFlat(p.Name) {
				g.Near("gradient of "+p.Name, got, make([]float32, len(got)), 1e-7, 0)
				continue
			}
			g.Near("gradient of "+p.Name, got, want, 1e-8+1e-4*goldentest.Largest(want), 0)
		}
	})
}

func TestReferenceReproducesThreePublishedSteps(t *testing.T) {
	eachGolden(t, func(s *gotorch.Session, g *golden) {
		adam, err := optim.NewAdam(s, g.model.Parameters(), optim.AdamOptions{LearningRate: 1e-3})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			name := fmt.Sprintf("step%d.loss", i)
			step := g.forward(s, i)
			g.Near(name, step.total.Float32s(), g.Floats(name), 1e-5, 1e-5)
			adam.ZeroGrad()
			step.total.Backward()
			adam.Step()
		}
		for _, p := range g.model.Parameters() {
			if !g.isFlat(p.Name) {
				g.Near(p.Name+" after three steps", p.Tensor.Float32s(), g.Floats("after3."+g.reference(p.Name)), 1e-5, 0)
			}
		}
	})
}
