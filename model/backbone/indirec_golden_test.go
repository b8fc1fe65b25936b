package backbone

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/optim"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/safetensors/goldentest"
)

// indirecFile holds what the published InDiRec computes on a tiny input.
const indirecFile = "testdata/indirec_base.safetensors"

const (
	publishedUsers  = 6
	publishedLength = 8
	publishedRows   = 42
	publishedHidden = 16
	publishedSteps  = 20
)

// publishedStep is a training step of the published InDiRec in evaluation mode.
type publishedStep struct {
	goldentest.File
	t                   *testing.T
	model               *indirec
	sequences, partners *Batch
	targets             *gotorch.Tensor
}

func publishedConfig() Config {
	settings := DefaultInDiRec()
	settings.Steps = publishedSteps
	return Config{
		Rows: publishedRows, Hidden: publishedHidden, Layers: 2, Heads: 2, MaxLength: publishedLength,
		Reference: true, InDiRec: settings,
	}
}

func newPublishedStep(t *testing.T, s *gotorch.Session) *publishedStep {
	t.Helper()
	model, err := New(s, InDiRecName, publishedConfig())
	if err != nil {
		t.Fatal(err)
	}
	p := &publishedStep{File: goldentest.Open(t, indirecFile), t: t, model: model.(*indirec)}
	s.NoGrad(func() {
		for _, param := range model.Parameters() {
			param.Tensor.CopyFrom(s.FromFloat32(p.Floats("param."+publishedName(param.Name)), param.Tensor.Shape()...))
		}
	})
	p.sequences, p.partners = p.batch(s, "input.sequence"), p.batch(s, "input.same_intent_sequence")
	p.targets = s.FromInt64(p.Ints("input.target"))
	return p
}

// publishedName is a parameter's name in the published code.
func publishedName(name string) string {
	return strings.NewReplacer(
		"diffusion.denoise.0.", "diffuser.0.",
		"diffusion.step.0.", "step_mlp.1.", "diffusion.step.1.", "step_mlp.3.",
		"diffusion.none", "none_embedding.weight",
		"items.", "item_embeddings.",
		"positions.", "seq_model.position_embeddings.",
		"layers.", "seq_model.item_encoder.layer.",
		".query.", ".attention.query.", ".key.", ".attention.key.", ".value.", ".attention.value.",
		".output.", ".attention.dense.", ".attention_norm.", ".attention.LayerNorm.",
		".inner.", ".intermediate.dense_1.", ".outer.", ".intermediate.dense_2.", ".forward_norm.", ".intermediate.LayerNorm.",
		"norm.", "seq_model.LayerNorm.",
	).Replace(name)
}

func (p *publishedStep) batch(s *gotorch.Session, name string) *Batch {
	p.t.Helper()
	items := p.Ints(name)
	sequences, lengths := make([][]int32, publishedUsers), make([]int, publishedUsers)
	for i := range sequences {
		for _, item := range items[i*publishedLength : (i+1)*publishedLength] {
			if item != 0 {
				sequences[i] = append(sequences[i], int32(item))
			}
		}
		lengths[i] = len(sequences[i])
	}
	batch, err := NewBatch(s, Pad(lengths, publishedLength), sequences, publishedLength)
	if err != nil {
		p.t.Fatal(err)
	}
	return batch
}

// noise replays what the published code drew in a step, from a number on.
func (p *publishedStep) noise(s *gotorch.Session, step, next int) Noise {
	return func(shape ...int64) *gotorch.Tensor {
		name := fmt.Sprintf("step%d.noise.%02d", step, next)
		next++
		return s.FromFloat32(p.Floats(name), shape...)
	}
}

func (p *publishedStep) corruption(s *gotorch.Session, step int) corruption {
	return corruption{
		steps: s.FromInt64(p.Ints("input.timestep")),
		keep:  s.FromFloat32(p.Floats("input.guidance_keep"), publishedUsers, 1).Gt(0),
		noise: p.noise(s, step, 0)(publishedUsers, publishedHidden),
	}
}

func (p *publishedStep) encode(b *Batch) *gotorch.Tensor {
	return p.model.Encode(b, p.model.Embed(b), nn.Eval)
}

// publishedLosses are those of a step, not weighted.
type publishedLosses struct{ recommendation, denoising, contrastive *gotorch.Tensor }

func (l publishedLosses) total() *gotorch.Tensor {
	settings := publishedConfig().InDiRec
	return l.recommendation.Add(l.denoising.Mul(settings.DiffusionWeight)).Add(l.contrastive.Mul(settings.ContrastWeight))
}

// forward is a step whose views are drawn step by step, as the published code
// draws them. The recommendation loss is the trainer's; the published code has
// all rows of the table compete, padding and mask included.
func (p *publishedStep) forward(s *gotorch.Session, step int) publishedLosses {
	states := At(p.encode(p.sequences), p.sequences.Newest)
	partners := At(p.encode(p.partners), p.partners.Newest)
	scores := p.model.ScoreRange(states, 0, publishedRows)
	chosen := scores.Gather(1, p.targets.Unsqueeze(1))
	return publishedLosses{
		recommendation: scores.LogSumExp(-1).Mean().Sub(chosen.Mean()),
		denoising:      p.model.denoisingLoss(p.model.items.Forward(p.targets), partners, p.corruption(s, step)),
		contrastive:    p.model.contrast(p.views(s, partners, step), states, p.targets),
	}
}

func (p *publishedStep) views(s *gotorch.Session, partners *gotorch.Tensor, step int) (views *gotorch.Tensor) {
	s.NoGrad(func() {
		d := p.model.diffusion
		views = d.walk(d.guided(partners), partners.Shape(), p.noise(s, step, 1))
	})
	return views
}

func TestInDiRecReproducesPublishedForward(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		p := newPublishedStep(t, s)
		d := p.model.diffusion
		hidden := p.encode(p.sequences)
		p.near("sequence_output", hidden, "out.sequence_output")
		p.near("full_scores", p.model.ScoreRange(At(hidden, p.sequences.Newest), 0, publishedRows), "out.full_scores")

		partners := At(p.encode(p.partners), p.partners.Newest)
		drawn := p.corruption(s, 0)
		p.near("guidance", s.Where(drawn.keep, partners, d.none), "out.guidance")
		p.near("predicted_x0", d.denoised(p.model.items.Forward(p.targets), partners, drawn), "out.predicted_x0")
		p.near("sampled_x0", p.views(s, partners, 0), "out.sampled_x0")

		losses := p.forward(s, 0)
		p.near("recommendation", losses.recommendation, "out.recommendation_loss")
		p.near("denoising", losses.denoising, "out.diffusion_loss")
		p.near("contrast", losses.contrastive, "out.contrastive_loss")
		p.near("total", losses.total(), "step0.loss")
	})
}

func TestInDiRecReproducesPublishedGradients(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		p := newPublishedStep(t, s)
		p.forward(s, 0).total().Backward()
		p.near("gradient norm", gradientNorm(s, p.model.Parameters()), "out.grad_norm")
		optim.ClipGradNorm(s, p.model.Parameters(), 1)
		for _, param := range p.model.Parameters() {
			if strings.HasSuffix(param.Name, "key.bias") { // zero in theory; what stands there is rounding
				continue
			}
			want := p.Floats("clipped_grad." + publishedName(param.Name))
			p.Near("gradient of "+param.Name, param.Tensor.Grad().Float32s(), want, 1e-4*goldentest.Largest(want), 0)
		}
	})
}

func gradientNorm(s *gotorch.Session, params []nn.Named) *gotorch.Tensor {
	norms := make([]*gotorch.Tensor, len(params))
	for i, param := range params {
		norms[i] = param.Tensor.Grad().Norm()
	}
	return s.Stack(0, norms...).Norm()
}

func TestInDiRecReproducesThreePublishedSteps(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		p := newPublishedStep(t, s)
		adam, err := optim.NewAdam(s, p.model.Parameters(), optim.AdamOptions{LearningRate: 1e-3, Decoupled: true})
		if err != nil {
			t.Fatal(err)
		}
		for step := range 3 {
			loss := p.forward(s, step).total()
			p.near(fmt.Sprintf("loss of step %d", step), loss, fmt.Sprintf("step%d.loss", step))
			adam.ZeroGrad()
			loss.Backward()
			optim.ClipGradNorm(s, p.model.Parameters(), 1)
			adam.Step()
		}
		for _, param := range p.model.Parameters() {
			if !strings.HasSuffix(param.Name, "key.bias") {
				p.Near(param.Name+" after three steps", param.Tensor.Float32s(), p.Floats("after3."+publishedName(param.Name)), 1e-5, 0)
			}
		}
	})
}

// The published code computes 1 - ᾱ and 1 - exp(…) in float32, where the smallest
// have few digits.
func TestSchedulesArePublished(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		p := newPublishedStep(t, s)
		for _, named := range schedules {
			for _, steps := range []int{20, 200} {
				prefix := fmt.Sprintf("schedule.%s.%d.", named.name, steps)
				betas := named.betas(steps)
				p.Near(prefix+"betas", narrow(betas), p.Floats(prefix+"betas"), 3e-7, 2e-5)
				if named.name == "sqrt" { // the file has no more of it
					continue
				}
				c := newSchedule(betas)
				for name, got := range map[string][]float64{
					"sqrt_alphas_cumprod": c.signal, "sqrt_one_minus_alphas_cumprod": c.noise,
					"posterior_mean_coef1": c.guess, "posterior_mean_coef2": c.stay, "posterior_variance": squares(c.spread),
				} {
					p.Near(prefix+name, narrow(got), p.Floats(prefix+name), 1e-6, 5e-4)
				}
			}
		}
	})
}

func narrow(values []float64) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(v)
	}
	return out
}

func squares(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = v * v
	}
	return out
}

// near compares with what the file has under a name.
func (p *publishedStep) near(what string, got *gotorch.Tensor, name string) {
	p.t.Helper()
	p.Near(what, got.Float32s(), p.Floats(name), 1e-5, 1e-5)
}
