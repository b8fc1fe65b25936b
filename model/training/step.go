package training

import (
	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/optim"
	"github.com/prismflow/prismflow/model/prism"
)

// A part says where in an optimizer step a batch stands, when several
// accumulate.
type part struct {
	first, last bool
	scale       float64 // of its gradient; 1 where there is but one
}

// step runs one batch: forward, backward and, with the last part, the
// optimizer. It reads nothing back, so that it can be captured.
func (t *trainer) step(in stepInput, part part) {
	if part.first {
		t.adam.ZeroGrad()
	}
	total := t.loss(in, part.scale)
	total.Backward()
	if !part.last {
		return
	}
	if t.config.ClipNorm > 0 {
		optim.ClipGradNorm(t.session, t.parameters, t.config.ClipNorm)
	}
	t.adam.Step()
}

// inPrecision computes in the precision that is configured.
func (t *trainer) inPrecision(fn func()) {
	if t.config.Precision == BF16 {
		t.session.Autocast(gotorch.BFloat16, fn)
		return
	}
	fn()
}

// passed is what one batch gives.
type passed struct {
	newest, partners *gotorch.Tensor // [sequences, size] of both; nil where there are no partners
	interaction      *gotorch.Tensor // PRISM's losses; nil without
	losses           losses
}

// loss computes all losses of a batch, records them, and gives what is to be
// differentiated. What a backbone learns from partners is of similarities between
// states, whose differences bfloat16 would round away; so it is in single precision.
func (t *trainer) loss(in stepInput, scale float64) *gotorch.Tensor {
	var p passed
	t.inPrecision(func() { p = t.forward(in, scale) })
	total, own := p.losses.differentiable, p.losses.own
	if p.partners != nil {
		pairs := t.model.Backbone().(backbone.Paired).PairLoss(float32s(p.newest), in.items, float32s(p.partners), t.session.Randn)
		total = total.Add(pairs.Mul(scale))
		if own == nil {
			own = t.session.Zeros()
		}
		own = own.Add(pairs) // to be told: a backbone may bring both
	}
	if p.interaction != nil {
		total = total.Add(p.interaction.Mul(scale))
	}
	t.record(in, p.losses.recommendation, p.interaction, own)
	return total
}

func float32s(t *gotorch.Tensor) *gotorch.Tensor { return t.To(gotorch.Float32) }

// forward passes a batch through the model, and its partners, of which PRISM's
// losses are not taken.
func (t *trainer) forward(in stepInput, scale float64) passed {
	out := t.model.Forward(in.batch, prism.Pass{Mode: nn.Train, Losses: true})
	of := t.targets(in, out.Hidden)
	of.scale = scale
	p := passed{interaction: out.Interaction, losses: t.objective.loss(of)}
	if in.partners != nil {
		partners := t.model.Forward(in.partners, prism.Pass{Mode: nn.Train})
		p.newest, p.partners = backbone.At(out.Hidden, in.batch.Newest), backbone.At(partners.Hidden, in.partners.Newest)
	}
	return p
}

// targets are the places with something to predict: every item's, or the newest
// of each sequence.
func (t *trainer) targets(in stepInput, hidden *gotorch.Tensor) targets {
	if t.config.Examples == Prefixes {
		return targets{
			states: backbone.At(hidden, in.batch.Newest), items: in.items, users: in.users,
			sequence: t.session.Arange(0, int64(in.batch.Sequences), 1),
		}
	}
	segments := backbone.Lookup(in.batch.Segments.Reshape(-1, 1), in.batch.Tokens, -1).Squeeze(1)
	return targets{states: backbone.At(hidden, in.batch.Tokens), items: in.items, users: in.users, sequence: segments.Sub(1).Clamp(0, nil)}
}

// The columns of the record of losses.
const (
	recommendationColumn = iota
	interactionColumn
	ownColumn
	targetsColumn
	recordColumns
)

// record writes a step's losses to its row of the epoch's record, on the
// device. Losses that there are not are 0.
func (t *trainer) record(in stepInput, recommendation, interaction, own *gotorch.Tensor) {
	s := t.session
	s.NoGrad(func() {
		row := make([]*gotorch.Tensor, recordColumns)
		for column, loss := range []*gotorch.Tensor{recommendation, interaction, own} {
			row[column] = s.Zeros()
			if loss != nil {
				row[column] = loss.Detach().To(gotorch.Float32).Reshape()
			}
		}
		row[targetsColumn] = in.items.Gt(0).Sum().To(gotorch.Float32)
		s.Call("aten::index_copy_", t.losses, 0, in.number, s.Stack(0, row...).Unsqueeze(0))
	})
}
