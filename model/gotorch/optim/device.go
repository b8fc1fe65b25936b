package optim

import (
	"math"

	"github.com/prismflow/prismflow/model/gotorch"
)

// deviceRule keeps the step counts and the learning rate on the device. One
// fused kernel updates all parameters where libtorch has one that reads its
// learning rate from a tensor (2.2 and later); elsewhere, and for parameters
// that are not float32, the same rule in tensor arithmetic.
//
// Counts are float32, as the fused kernel wants them: exact up to 2²⁴ steps.
type deviceRule struct {
	session *gotorch.Session
	opts    AdamOptions
	slots   []*slot
	counts  []*gotorch.Tensor // scalars
	rate    *gotorch.Tensor   // a scalar
	fused   string            // the operator, or empty
}

func newDeviceRule(s *gotorch.Session, opts AdamOptions, slots []*slot) *deviceRule {
	r := &deviceRule{session: s, opts: opts, slots: slots, rate: s.Scalar(opts.LearningRate)}
	s.Persist(r.rate)
	for range slots {
		count := s.Scalar(0)
		s.Persist(count)
		r.counts = append(r.counts, count)
	}
	r.fused = fusedOperator(s, opts, slots)
	return r
}

// fusedOperator is empty where there is none for these parameters. libtorch has
// it for CUDA alone in the versions in which it first came.
func fusedOperator(s *gotorch.Session, opts AdamOptions, slots []*slot) string {
	name := "aten::_fused_adam_.tensor_lr"
	if opts.Decoupled {
		name = "aten::_fused_adamw_.tensor_lr"
	}
	if s.Device().Type != gotorch.CUDA || !s.Library().HasOperator(name) {
		return ""
	}
	for _, sl := range slots {
		if sl.param.Tensor.DType() != gotorch.Float32 {
			return ""
		}
	}
	return name
}

func (r *deviceRule) setRate(lr float64)          { r.rate.FillInPlace(lr) }
func (r *deviceRule) steps(index int) int64       { return int64(r.counts[index].Item()) }
func (r *deviceRule) setSteps(index int, n int64) { r.counts[index].FillInPlace(float64(n)) }

func (r *deviceRule) update(indices []int, grads []*gotorch.Tensor) {
	counts := make([]*gotorch.Tensor, len(indices))
	for i, index := range indices {
		counts[i] = r.counts[index]
	}
	r.session.Call("aten::_foreach_add_.Scalar", counts, 1)
	if r.fused != "" {
		r.updateFused(indices, grads, counts)
		return
	}
	for i, index := range indices {
		r.session.Scoped(func() { r.updateOne(r.slots[index], grads[i], counts[i]) })
	}
}

func (r *deviceRule) updateFused(indices []int, grads, counts []*gotorch.Tensor) {
	var params, firsts, seconds []*gotorch.Tensor
	for _, index := range indices {
		sl := r.slots[index]
		params = append(params, sl.param.Tensor)
		firsts = append(firsts, sl.first)
		seconds = append(seconds, sl.second)
	}
	var greatest []*gotorch.Tensor // of AMSGrad, which is off
	r.session.Call(r.fused, params, grads, firsts, seconds, greatest, counts,
		gotorch.Named("lr", r.rate), gotorch.Named("beta1", r.opts.Beta1), gotorch.Named("beta2", r.opts.Beta2),
		gotorch.Named("weight_decay", r.opts.WeightDecay), gotorch.Named("eps", r.opts.Eps),
		gotorch.Named("amsgrad", false), gotorch.Named("maximize", false))
}

func (r *deviceRule) updateOne(sl *slot, grad, count *gotorch.Tensor) {
	o, p := r.opts, sl.param.Tensor
	if o.WeightDecay != 0 && o.Decoupled {
		p.MulInPlace(r.rate.Mul(-o.WeightDecay).Add(1))
	} else if o.WeightDecay != 0 {
		grad = grad.Add(p.Mul(o.WeightDecay))
	}
	o.moments(grad, sl.first, sl.second)
	size := r.rate.To(gotorch.Float64).Div(unbias(o.Beta1, count)).To(p.DType())
	root := unbias(o.Beta2, count).Sqrt().To(p.DType())
	denominator := sl.second.Sqrt().DivInPlace(root).AddInPlace(o.Eps, 1)
	p.AddInPlace(sl.first.Div(denominator).MulInPlace(size), -1)
}

// unbias is 1 - βᵗ in float64: in float32 the difference would keep only half
// of its digits while β is near 1 and t small.
func unbias(beta float64, count *gotorch.Tensor) *gotorch.Tensor {
	return count.To(gotorch.Float64).MulInPlace(math.Log(beta)).Exp().Neg().AddInPlace(1, 1)
}
