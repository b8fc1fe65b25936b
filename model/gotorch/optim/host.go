package optim

import (
	"math"

	"github.com/prismflow/prismflow/model/gotorch"
)

// hostRule counts steps in Go and gives the operators plain numbers.
type hostRule struct {
	session *gotorch.Session
	opts    AdamOptions
	slots   []*slot
	counts  []int64
	foreach bool
}

// foreachOperators are what the list form of a step needs.
var foreachOperators = [...]string{
	"aten::_foreach_mul_.Scalar", "aten::_foreach_add_.List", "aten::_foreach_add_.Scalar", "aten::_foreach_add.List",
	"aten::_foreach_addcmul_.Scalar", "aten::_foreach_addcdiv_.Scalar", "aten::_foreach_sqrt", "aten::_foreach_div_.Scalar",
}

func newHostRule(s *gotorch.Session, opts AdamOptions, slots []*slot) *hostRule {
	r := &hostRule{session: s, opts: opts, slots: slots, counts: make([]int64, len(slots)), foreach: true}
	for _, op := range foreachOperators {
		r.foreach = r.foreach && s.Library().HasOperator(op)
	}
	return r
}

func (r *hostRule) setRate(lr float64)          { r.opts.LearningRate = lr }
func (r *hostRule) steps(index int) int64       { return r.counts[index] }
func (r *hostRule) setSteps(index int, n int64) { r.counts[index] = n }

// group is the parameters that share a step number: all of them, unless some
// had no gradient at times.
type group struct {
	step                           int64
	params, grads, firsts, seconds []*gotorch.Tensor
}

func (r *hostRule) groups(indices []int, grads []*gotorch.Tensor) []*group {
	var groups []*group
	for i, index := range indices {
		r.counts[index]++
		at := find(&groups, r.counts[index])
		at.params = append(at.params, r.slots[index].param.Tensor)
		at.grads = append(at.grads, grads[i])
		at.firsts = append(at.firsts, r.slots[index].first)
		at.seconds = append(at.seconds, r.slots[index].second)
	}
	return groups
}

func find(groups *[]*group, step int64) *group {
	for _, g := range *groups {
		if g.step == step {
			return g
		}
	}
	g := &group{step: step}
	*groups = append(*groups, g)
	return g
}

func (r *hostRule) update(indices []int, grads []*gotorch.Tensor) {
	for _, g := range r.groups(indices, grads) {
		if r.foreach {
			r.stepList(g)
		} else {
			r.stepEach(g)
		}
	}
}

// correction is the step size with the first moment's bias correction, and the
// root of the second moment's.
func (r *hostRule) correction(step int64) (size, root float64) {
	size = r.opts.LearningRate / (1 - math.Pow(r.opts.Beta1, float64(step)))
	return size, math.Sqrt(1 - math.Pow(r.opts.Beta2, float64(step)))
}

func (r *hostRule) stepList(g *group) {
	s, o := r.session, r.opts
	grads := g.grads
	if o.WeightDecay != 0 && o.Decoupled {
		s.Call("aten::_foreach_mul_.Scalar", g.params, 1-o.LearningRate*o.WeightDecay)
	} else if o.WeightDecay != 0 {
		grads = s.Call("aten::_foreach_add.List", grads, g.params, gotorch.Named("alpha", o.WeightDecay))
	}
	s.Call("aten::_foreach_mul_.Scalar", g.firsts, o.Beta1)
	s.Call("aten::_foreach_add_.List", g.firsts, grads, gotorch.Named("alpha", 1-o.Beta1))
	s.Call("aten::_foreach_mul_.Scalar", g.seconds, o.Beta2)
	s.Call("aten::_foreach_addcmul_.Scalar", g.seconds, grads, grads, 1-o.Beta2)
	size, root := r.correction(g.step)
	denominators := s.Call("aten::_foreach_sqrt", g.seconds)
	s.Call("aten::_foreach_div_.Scalar", denominators, root)
	s.Call("aten::_foreach_add_.Scalar", denominators, o.Eps)
	s.Call("aten::_foreach_addcdiv_.Scalar", g.params, g.firsts, denominators, -size)
}

func (r *hostRule) stepEach(g *group) {
	size, root := r.correction(g.step)
	for i, p := range g.params {
		r.session.Scoped(func() { r.stepOne(p, g.grads[i], g.firsts[i], g.seconds[i], size, root) })
	}
}

func (r *hostRule) stepOne(p, grad, first, second *gotorch.Tensor, size, root float64) {
	o := r.opts
	if o.WeightDecay != 0 && o.Decoupled {
		p.MulInPlace(1 - o.LearningRate*o.WeightDecay)
	} else if o.WeightDecay != 0 {
		grad = grad.Add(p.Mul(o.WeightDecay))
	}
	o.moments(grad, first, second)
	p.AddcdivInPlace(first, second.Sqrt().DivInPlace(root).AddInPlace(o.Eps, 1), -size)
}

// moments takes a gradient into the running averages.
func (o AdamOptions) moments(grad, first, second *gotorch.Tensor) {
	first.MulInPlace(o.Beta1).AddInPlace(grad, 1-o.Beta1)
	second.MulInPlace(o.Beta2).AddcmulInPlace(grad, grad, 1-o.Beta2)
}
