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

// maxLogits bounds the score matrix of a softmax, of which two are held at a
// time. On the CPU 8 MiB, which stay in its caches, were a third faster than 32; a
// GPU wants large blocks.
func maxLogits(device gotorch.Device) int64 {
	if device.Type == gotorch.CPU {
		return 1 << 21
	}
	return 1 << 26
}

// softmax is CE or SampledCE. The gradient is taken block by block, so that only
// one block's scores are in memory.
func (o *objective) softmax(t targets, d draw, count *gotorch.Tensor) (value, differentiable *gotorch.Tensor) {
	s, n := t.states.Session(), t.states.Size(0)
	rows := max(1, o.logits/o.classes())
	leaf := t.states.Detach().RequiresGrad(true)
	value = s.Zeros()
	for from := int64(0); from < n; from += rows {
		size := min(rows, n-from)
		s.Scoped(func() {
			logits, classes := o.logitsOf(leaf.Narrow(0, from, size), t.items.Narrow(0, from, size), d.narrow(from, size))
			value.AddInPlace(backwardSoftmax(logits, classes, count, t.scale), 1)
		})
	}
	return value.Div(count), t.states.Mul(leaf.Grad()).Sum()
}

// classes is how many items a target is told from, itself included.
func (o *objective) classes() int64 {
	if o.config.Loss == CE {
		return o.items
	}
	return int64(o.config.Negatives) + 1
}

// narrow is the negatives of some of the targets.
func (d draw) narrow(from, size int64) draw {
	if d.each != nil {
		d.each = d.each.Narrow(0, from, size)
	}
	return d
}

// none is the class of what is no target.
const none = -1

// logitsOf are the scores [n, classes], and which of them is the target's, int64
// [n]: those of all items, or of the target and the drawn ones. With the
// correction a drawn score stands for its share of all items but the target, so
// that the sum estimates that over all items (Jean et al., ACL 2015, for a uniform
// draw).
func (o *objective) logitsOf(states, items *gotorch.Tensor, d draw) (logits, classes *gotorch.Tensor) {
	if o.config.Loss == CE {
		return o.backbone.ScoreRange(states, 1, o.items), items.Add(none)
	}
	unwanted := o.unwanted(states, items, d)
	if o.config.CorrectSampling {
		unwanted = unwanted.Add(math.Log(float64(o.items-1) / float64(o.config.Negatives)))
	}
	return states.Session().Cat(1, o.wanted(states, items), unwanted), items.Gt(0).To(gotorch.Int64).Add(none)
}

// backwardSoftmax gives the sum of -log softmax at the classes, detached, and
// takes the gradient of its scale/count-th part. The gradient is softmax less one
// at the class, computed in place of the logarithms: recording the softmax for
// autograd would go over the scores twice more.
func backwardSoftmax(logits, classes, count *gotorch.Tensor, scale float64) (sum *gotorch.Tensor) {
	var gradient *gotorch.Tensor
	logits.Session().NoGrad(func() {
		valid := classes.Ge(0).To(gotorch.Float32).Unsqueeze(1)
		at := classes.Clamp(0, nil).Unsqueeze(1)
		gradient = logits.Detach().To(gotorch.Float32).LogSoftmax(-1)
		sum = gradient.Gather(1, at).Mul(valid).Sum().Neg()
		gradient.ExpInPlace().ScatterAddInPlace(1, at, valid.Neg())
		gradient.MulInPlace(valid.Mul(scale).Div(count))
	})
	logits.BackwardWith(gradient.To(logits.DType()), gotorch.BackwardOptions{})
	return sum
}
