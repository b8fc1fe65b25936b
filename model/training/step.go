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
	scale       float64 // of its gradient
}

// step runs one batch: forward, backward and, with the last part, the
// optimizer. It reads nothing back, so that it can be captured.
func (t *trainer) step(in stepInput, part part) {
	if part.first {
		t.adam.ZeroGrad()
	}
	var total *gotorch.Tensor
	t.inPrecision(func() { total = t.forward(in, part.scale) })
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

// forward computes all losses of a batch, records them, and gives what is to be
// differentiated.
func (t *trainer) forward(in stepInput, scale float64) *gotorch.Tensor {
	out := t.model.Forward(in.batch, prism.Pass{Mode: nn.Train, Losses: true})
	of := t.targets(in, out.Hidden)
	of.scale = scale
	losses := t.objective.loss(of)
	total := losses.differentiable
	own := losses.own
	if in.partners != nil {
		own = t.pairLoss(in, out.Hidden)
		total = total.Add(own.Mul(scale))
	}
	if out.Interaction != nil {
		total = total.Add(out.Interaction.Mul(scale))
	}
	t.record(in, losses.recommendation, out.Interaction, own)
	return total
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

// pairLoss is what a paired backbone learns from partners. They are encoded by
// the same model; PRISM's losses are taken of the batch itself alone.
func (t *trainer) pairLoss(in stepInput, hidden *gotorch.Tensor) *gotorch.Tensor {
	partners := t.model.Forward(in.partners, prism.Pass{Mode: nn.Train})
	return t.model.Backbone().(backbone.Paired).PairLoss(
		backbone.At(hidden, in.batch.Newest), in.items, backbone.At(partners.Hidden, in.partners.Newest), t.session.Randn)
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
