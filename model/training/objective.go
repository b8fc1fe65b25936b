package training

import (
	"math"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
)

// An objective is the recommendation loss of a batch: the mean over its
// targets.
type objective struct {
	config    Config
	backbone  backbone.Backbone
	items     int64
	negatives *negatives // nil when nothing is drawn
	logits    int64      // how many scores a block of a softmax may have
}

// targets are what n states of a batch should score highest.
type targets struct {
	states   *gotorch.Tensor // [n, size]
	items    *gotorch.Tensor // int64 [n]; 0 where there is none
	sequence *gotorch.Tensor // int64 [n]: index of the target's sequence
	users    *gotorch.Tensor // int64 [sequences]: index of the user in the data
	scale    float64         // what gradients are multiplied by
}

// losses are numbers to read and one to differentiate. The recommendation loss
// may have taken gradients along the way: then what is differentiated has the
// same gradient with respect to the states, and the item table has its gradient
// already. So gradients must be dropped before loss and not after.
type losses struct {
	recommendation *gotorch.Tensor // detached
	own            *gotorch.Tensor // the backbone's, with gradient; nil when it has none
	differentiable *gotorch.Tensor
}

// loss scores the targets. Gradients are those of scale times the sum of all
// losses.
func (o *objective) loss(t targets) losses {
	valid := t.items.Gt(0).To(gotorch.Float32)
	count := valid.Sum()
	mean := func(each *gotorch.Tensor) *gotorch.Tensor { return each.Mul(valid).Sum().Div(count) }
	drawn := o.draw(t)
	var out losses
	switch o.config.Loss {
	case CE, SampledCE:
		out.recommendation, out.differentiable = o.softmax(t, drawn, count)
	default:
		loss := mean(o.contrast(t, drawn))
		out.recommendation, out.differentiable = loss.Detach(), loss.Mul(t.scale)
	}
	if r, ok := o.backbone.(backbone.Regularizer); ok {
		out.own = mean(r.Regularization(t.states, t.items, o.oneEach(t, drawn)))
		out.differentiable = out.differentiable.Add(out.own.Mul(t.scale))
	}
	return out
}

// A draw is negatives: the same [k] for all targets, or [n, k], one row each.
type draw struct {
	shared, each *gotorch.Tensor
}

// draw takes the negatives of a step from the session's generator.
func (o *objective) draw(t targets) draw {
	count := o.config.Negatives
	switch {
	case !o.config.Loss.drawn():
		return draw{}
	case o.config.Sharing == PerBatch:
		return draw{shared: t.items.Session().RandInt(1, o.items+1, int64(count))}
	case o.config.Sharing == PerSequence:
		return draw{each: backbone.Lookup(o.negatives.draw(t.users, count), t.sequence, -1)}
	default:
		return draw{each: o.negatives.draw(o.userOf(t), count)}
	}
}

func (o *objective) userOf(t targets) *gotorch.Tensor {
	return backbone.Lookup(t.users.Unsqueeze(1), t.sequence, -1).Squeeze(1)
}

// oneEach gives every target one negative, int64 [n], drawn if there is none.
func (o *objective) oneEach(t targets, d draw) *gotorch.Tensor {
	if d.each != nil {
		return d.each.Select(1, 0)
	}
	return o.negatives.draw(o.userOf(t), 1).Select(1, 0)
}

// contrast is BCE or BPR for each target: [n]. Both are finite for every finite
// score, unlike logarithms of sigmoids.
func (o *objective) contrast(t targets, d draw) *gotorch.Tensor {
	wanted := o.wanted(t.states, t.items)
	unwanted := o.unwanted(t.states, t.items, d)
	if o.config.Loss == BPR {
		return unwanted.Sub(wanted).Softplus().Mean(-1)
	}
	return wanted.Neg().Softplus().Squeeze(1).Add(unwanted.Softplus().Mean(-1))
}

// wanted are the targets' scores: [n, 1].
func (o *objective) wanted(states, items *gotorch.Tensor) *gotorch.Tensor {
	return o.backbone.Score(states, items.Unsqueeze(1))
}

// unwanted are the negatives' scores: [n, k]. A shared negative that happens to
// be the target scores -∞ there, so that no loss sees it.
func (o *objective) unwanted(states, items *gotorch.Tensor, d draw) *gotorch.Tensor {
	if d.each != nil {
		return o.backbone.Score(states, d.each)
	}
	hits := items.Unsqueeze(1).Eq(d.shared.Unsqueeze(0))
	return o.backbone.ScoreSet(states, d.shared).MaskedFill(hits, math.Inf(-1))
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

// softmax is CE or SampledCE, with the gradient taken block by block where one
// block does not hold all scores.
func (o *objective) softmax(t targets, d draw, count *gotorch.Tensor) (value, differentiable *gotorch.Tensor) {
	block := func(states *gotorch.Tensor, from, n int64) *gotorch.Tensor {
		items := t.items.Narrow(0, from, n)
		if o.config.Loss == CE {
			return o.crossEntropy(states, items)
		}
		part := d
		if d.each != nil {
			part.each = d.each.Narrow(0, from, n)
		}
		return o.sampledCrossEntropy(states, items, part)
	}
	width := o.items
	if o.config.Loss == SampledCE {
		width = int64(o.config.Negatives) + 1
	}
	n := t.states.Size(0)
	rows := max(1, o.logits/width)
	if n <= rows {
		loss := block(t.states, 0, n).Div(count)
		return loss.Detach(), loss.Mul(t.scale)
	}
	return inBlocks(t, rows, count, block)
}

// inBlocks takes the gradient block by block, so that only one block's scores
// are in memory.
func inBlocks(t targets, rows int64, count *gotorch.Tensor, block func(states *gotorch.Tensor, from, n int64) *gotorch.Tensor) (value, differentiable *gotorch.Tensor) {
	s, n := t.states.Session(), t.states.Size(0)
	leaf := t.states.Detach().RequiresGrad(true)
	value = s.Zeros()
	for from := int64(0); from < n; from += rows {
		size := min(rows, n-from)
		s.Scoped(func() {
			loss := block(leaf.Narrow(0, from, size), from, size).Div(count)
			loss.Mul(t.scale).Backward()
			value.AddInPlace(loss.Detach(), 1)
		})
	}
	return value, t.states.Mul(leaf.Grad()).Sum()
}

// ATen's numbers for cross_entropy_loss.
const (
	reduceBySum = 2
	ignored     = -1 // the class of a target 0, items being classes from 0
)

// crossEntropy is the sum over states of -log softmax of the target among all
// items.
func (o *objective) crossEntropy(states, items *gotorch.Tensor) *gotorch.Tensor {
	logits := o.backbone.ScoreRange(states, 1, o.items)
	return states.Session().Call1("aten::cross_entropy_loss", logits, items.Sub(1), nil, reduceBySum, ignored)
}

// sampledCrossEntropy is the same among the target and the drawn items. With
// the correction a drawn score stands for items/negatives of them, so that the
// sum estimates that over all items (Jean et al., ACL 2015, for a uniform draw).
func (o *objective) sampledCrossEntropy(states, items *gotorch.Tensor, d draw) *gotorch.Tensor {
	unwanted := o.unwanted(states, items, d)
	if o.config.CorrectSampling {
		unwanted = unwanted.Add(math.Log(float64(o.items-1) / float64(o.config.Negatives)))
	}
	logits := states.Session().Cat(1, o.wanted(states, items), unwanted)
	class := items.Gt(0).To(gotorch.Int64).Sub(1) // 0 for a target, ignored for none
	return states.Session().Call1("aten::cross_entropy_loss", logits, class, nil, reduceBySum, ignored)
}
