package prism

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/optim"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/safetensors"
)

// The file holds what the published PRISM computes on a tiny input, with its
// two crashes mended.
const goldenFile = "testdata/sasrec_prism.safetensors"

const (
	goldenUsers  = 6
	goldenLength = 8
	goldenItems  = 40
)

type golden struct {
	t    *testing.T
	file *safetensors.File
}

func openGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	file, err := safetensors.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return golden{t, file}
}

func (g golden) floats(name string) []float32 {
	g.t.Helper()
	values, err := g.file.Float32(name)
	if err != nil {
		g.t.Fatal(err)
	}
	return values
}

func (g golden) ints(name string) []int64 {
	g.t.Helper()
	values, err := g.file.Int64(name)
	if err != nil {
		g.t.Fatal(err)
	}
	return values
}

// reference is a parameter's name in the published code.
func reference(name string) string {
	return strings.NewReplacer(
		"backbone.items.", "item_embeddings.",
		"backbone.positions.", "position_embeddings.",
		"backbone.norm.", "LayerNorm.",
		"backbone.layers.", "item_encoder.layer.",
		".query.", ".attention.query.", ".key.", ".attention.key.", ".value.", ".attention.value.",
		".output.", ".attention.dense.", ".attention_norm.", ".attention.LayerNorm.",
		"experts.unique_image.inner.", "interaction_expert_layer.interaction_experts.0.expert_model.fc1.",
		"experts.unique_image.outer.", "interaction_expert_layer.interaction_experts.0.expert_model.fc2.",
		"experts.unique_text.inner.", "interaction_expert_layer.interaction_experts.1.expert_model.fc1.",
		"experts.unique_text.outer.", "interaction_expert_layer.interaction_experts.1.expert_model.fc2.",
		"experts.synergy.inner.", "interaction_expert_layer.interaction_experts.2.expert_model.fc1.",
		"experts.synergy.outer.", "interaction_expert_layer.interaction_experts.2.expert_model.fc2.",
		"experts.redundancy.inner.", "interaction_expert_layer.interaction_experts.3.expert_model.fc1.",
		"experts.redundancy.outer.", "interaction_expert_layer.interaction_experts.3.expert_model.fc2.",
		"gate.inner.", "adaptive_fusion_layer.adaptive_fusion_mlp.mlp.network.0.",
		"gate.outer.", "adaptive_fusion_layer.adaptive_fusion_mlp.mlp.network.3.",
		".inner.", ".intermediate.dense_1.", ".outer.", ".intermediate.dense_2.", ".forward_norm.", ".intermediate.LayerNorm.",
		"modalities.0.image.projection.", "fc_mean_image.", "modalities.0.text.projection.", "fc_mean_text.",
		"modalities.0.image.table", "image_mean_embeddings.weight", "modalities.0.text.table", "text_mean_embeddings.weight",
	).Replace(name)
}

func goldenConfig() Config {
	c := Default()
	c.Mode, c.Items = Reference, goldenItems
	c.Hidden, c.Layers, c.Heads, c.MaxLength, c.GateHidden = 16, 2, 2, goldenLength, 32
	c.Modalities = []Modality{{"image", 12, DefaultLambda}, {"text", 12, DefaultLambda}}
	return c
}

// goldenStep is one training step of the published code in evaluation mode.
type goldenStep struct {
	golden
	model *Model
	batch *backbone.Batch
}

func newGoldenStep(t *testing.T, s *gotorch.Session) goldenStep {
	g := openGolden(t)
	config := goldenConfig()
	blank := Features{Vectors: make([]float32, (goldenItems+1)*12)}
	m, err := New(s, config, []Features{blank, blank})
	if err != nil {
		t.Fatal(err)
	}
	var params []Tensor
	for _, p := range m.Parameters() {
		params = append(params, Tensor{p.Name, p.Tensor.Shape(), g.floats("param." + reference(p.Name))})
	}
	if err := m.ImportParameters(params); err != nil {
		t.Fatal(err)
	}
	return goldenStep{g, m, g.batch(s, config)}
}

func (g golden) batch(s *gotorch.Session, c Config) *backbone.Batch {
	g.t.Helper()
	items := g.ints("input.item_ids")
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
	batch, err := backbone.NewBatch(s, backbone.Pad(lengths, goldenLength), sequences, c.MaxLength)
	if err != nil {
		g.t.Fatal(err)
	}
	return batch
}

// noise replays the noise of one step.
func (g golden) noise(s *gotorch.Session, step int) backbone.Noise {
	next := 0
	return func(shape ...int64) *gotorch.Tensor {
		name := "step" + string(rune('0'+step)) + ".noise.0" + string(rune('0'+next))
		next++
		return s.FromFloat32(g.floats(name), shape...)
	}
}

// forward gives the output and the recommendation loss.
func (g goldenStep) forward(s *gotorch.Session, step int) (Output, *gotorch.Tensor) {
	out := g.model.Forward(g.batch, Pass{Mode: nn.Eval, Losses: true, Noise: g.noise(s, step)})
	positive := s.FromInt64(g.ints("input.positive_ids"), goldenUsers*goldenLength)
	negative := s.FromInt64(g.ints("input.negative_ids"), goldenUsers*goldenLength)
	states := out.Hidden.Reshape(goldenUsers*goldenLength, -1)
	wanted := g.model.backbone.Score(states, positive.Unsqueeze(1)).Squeeze(1)
	unwanted := g.model.backbone.Score(states, negative.Unsqueeze(1)).Squeeze(1)
	target := positive.Ne(0).To(gotorch.Float32)
	loss := wanted.Neg().Softplus().Add(unwanted.Softplus()).Mul(target).Sum().Div(target.Sum())
	return out, loss
}

func TestReferenceReproducesPublishedForward(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		g := newGoldenStep(t, s)
		out, loss := g.forward(s, 0)
		g.near("sequence_output", out.Hidden.Float32s(), g.floats("out.sequence_output"), 1e-5, 1e-5)
		g.near("interaction_loss", out.Interaction.Float32s(), g.floats("out.interaction_loss"), 1e-5, 1e-5)
		g.near("recommendation_loss", loss.Float32s(), g.floats("out.recommendation_loss"), 1e-5, 1e-5)
		states := backbone.At(out.Hidden, g.model.lastColumn(s))
		g.near("full_scores", g.model.backbone.ScoreRange(states, 0, goldenItems+2).Float32s(), g.floats("out.full_scores"), 1e-5, 1e-5)
		g.near("total loss", out.Interaction.Add(loss).Float32s(), g.floats("step0.loss"), 1e-5, 1e-5)
	})
}

func (m *Model) lastColumn(s *gotorch.Session) *gotorch.Tensor {
	return s.Arange(goldenLength-1, goldenUsers*goldenLength, goldenLength)
}

func TestReferenceReproducesPublishedGradients(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		g := newGoldenStep(t, s)
		out, loss := g.forward(s, 0)
		out.Interaction.Add(loss).Backward()
		for _, p := range g.model.Parameters() {
			got, want := p.Tensor.Grad().Float32s(), g.floats("grad."+reference(p.Name))
			if strings.HasSuffix(p.Name, "key.bias") { // zero in theory; what stands there is rounding
				g.near("gradient of "+p.Name, got, make([]float32, len(got)), 1e-7, 0)
				continue
			}
			g.near("gradient of "+p.Name, got, want, 1e-8+1e-4*largest(want), 0)
		}
	})
}

func TestReferenceReproducesThreePublishedSteps(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		g := newGoldenStep(t, s)
		adam, err := optim.NewAdam(s, g.model.Parameters(), optim.AdamOptions{LearningRate: 1e-3})
		if err != nil {
			t.Fatal(err)
		}
		for step, name := range []string{"step0.loss", "step1.loss", "step2.loss"} {
			out, loss := g.forward(s, step)
			total := out.Interaction.Add(loss)
			g.near(name, total.Float32s(), g.floats(name), 1e-5, 1e-5)
			adam.ZeroGrad()
			total.Backward()
			adam.Step()
		}
		for _, p := range g.model.Parameters() {
			if !strings.HasSuffix(p.Name, "key.bias") {
				g.near(p.Name+" after three steps", p.Tensor.Float32s(), g.floats("after3."+reference(p.Name)), 1e-5, 0)
			}
		}
	})
}

// near reports the worst element beyond absolute + relative·|want|.
func (g golden) near(what string, got, want []float32, absolute, relative float64) {
	g.t.Helper()
	if len(got) != len(want) {
		g.t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	worst, at := 0.0, -1
	for i := range want {
		excess := math.Abs(float64(got[i])-float64(want[i])) - absolute - relative*math.Abs(float64(want[i]))
		if !(excess <= worst) {
			worst, at = excess, i
		}
	}
	if at >= 0 {
		g.t.Errorf("%s: element %d is %v, want %v", what, at, got[at], want[at])
	}
}

func largest(values []float32) float64 {
	most := 0.0
	for _, v := range values {
		most = max(most, math.Abs(float64(v)))
	}
	return most
}
