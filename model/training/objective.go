package training

import (
	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
)

// An objective is the recommendation loss of a batch: the mean over its
// targets.
type objective struct {
	config    Config
	backbone  backbone.Backbone
	items     int64
	negatives *negatives // of BCE
}

// targets are what n states [n, size] of a batch should score highest.
type targets struct {
	states *gotorch.Tensor // [n, size]
	items  *gotorch.Tensor // int64 [n]
	users  *gotorch.Tensor // int64 [n]: index of the user in the data
}

// loss returns the loss and a number to differentiate in its place. The two
// differ when gradients were taken along the way: then the second has the same
// gradient with respect to the states, and the item table has its gradient
// already. So gradients must be dropped before loss and not after.
func (o *objective) loss(t targets) (value, differentiable *gotorch.Tensor) {
	if o.config.Loss == BCE {
		loss := o.binary(t)
		return loss.Detach(), loss
	}
	rows := max(1, maxLogits(t.states.Device())/o.items)
	if t.states.Size(0) <= rows {
		loss := o.crossEntropy(t.states, t.items).Div(float64(t.states.Size(0)))
		return loss.Detach(), loss
	}
	return o.inBlocks(t, rows)
}

// binary is softplus(-s⁺) + mean softplus(s⁻), the same as binary cross-entropy
// of sigmoids and finite for every finite score.
func (o *objective) binary(t targets) *gotorch.Tensor {
	s := t.states.Session()
	count := o.config.Negatives
	candidates := s.Cat(1, t.items.Unsqueeze(1), o.negatives.draw(t.users, count))
	scores := o.backbone.Score(t.states, candidates)
	wanted := scores.Narrow(1, 0, 1).Neg().Softplus().Mean()
	return wanted.Add(scores.Narrow(1, 1, int64(count)).Softplus().Mean())
}

// maxLogits bounds the score matrix of a cross-entropy, of which libtorch holds
// about four at a time. On the CPU 4 MiB, which stay in its caches, were two to
// three times faster than 64; a GPU wants large blocks.
func maxLogits(device gotorch.Device) int64 {
	if device.Type == gotorch.CPU {
		return 1 << 20
	}
	return 1 << 26
}

// crossEntropy is the sum over states of -log softmax of the target among all
// items.
func (o *objective) crossEntropy(states, items *gotorch.Tensor) *gotorch.Tensor {
	logits := o.backbone.ScoreRange(states, 1, o.items)
	return states.Session().Call1("aten::cross_entropy_loss", logits, items.Sub(1), nil, reduceBySum)
}

// reduceBySum is ATen's number for reduction="sum".
const reduceBySum = 2

// inBlocks takes the gradient block by block, so that only one block's scores
// are in memory.
func (o *objective) inBlocks(t targets, rows int64) (value, differentiable *gotorch.Tensor) {
	s, n := t.states.Session(), t.states.Size(0)
	leaf := t.states.Detach().RequiresGrad(true)
	value = s.Zeros()
	for from := int64(0); from < n; from += rows {
		count := min(rows, n-from)
		s.Scoped(func() {
			block := o.crossEntropy(leaf.Narrow(0, from, count), t.items.Narrow(0, from, count)).Div(float64(n))
			block.Backward()
			value.AddInPlace(block.Detach(), 1)
		})
	}
	return value, t.states.Mul(leaf.Grad()).Sum()
}
