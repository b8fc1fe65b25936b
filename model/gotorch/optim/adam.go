// Package optim holds the optimizers that prismflow trains with.
//
//	adam, err := optim.NewAdam(s, params, optim.AdamOptions{LearningRate: 1e-3})
//	for range steps {
//		s.Scoped(func() {
//			adam.ZeroGrad()
//			loss().Backward()
//			adam.Step()
//		})
//	}
//
// An optimizer updates parameters in place from their accumulated gradients. It
// has no schedule: set the learning rate before a step.
package optim

import (
	"fmt"
	"math"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// AdamOptions configure [Adam]; zero means the default of every field whose
// comment names one.
type AdamOptions struct {
	LearningRate float64
	Beta1        float64 // decay of the first moment; default 0.9
	Beta2        float64 // decay of the second moment; default 0.999
	Eps          float64 // added to the root of the second moment; default 1e-8
	WeightDecay  float64 // 0: none
	Decoupled    bool    // AdamW: decay the weights themselves instead of adding to the gradient
}

func (o AdamOptions) withDefaults() AdamOptions {
	if o.Beta1 == 0 {
		o.Beta1 = 0.9
	}
	if o.Beta2 == 0 {
		o.Beta2 = 0.999
	}
	if o.Eps == 0 {
		o.Eps = 1e-8
	}
	return o
}

// Validate lists every option out of bounds.
func (o AdamOptions) Validate() error {
	o = o.withDefaults()
	var bad []string
	require := func(ok bool, name string, value float64, bound string) {
		if !ok {
			bad = append(bad, fmt.Sprintf("%s %v: want %s", name, value, bound))
		}
	}
	require(o.LearningRate > 0 && !math.IsInf(o.LearningRate, 0), "learning rate", o.LearningRate, "a positive number")
	require(o.Beta1 >= 0 && o.Beta1 < 1, "beta1", o.Beta1, "0 <= beta1 < 1")
	require(o.Beta2 >= 0 && o.Beta2 < 1, "beta2", o.Beta2, "0 <= beta2 < 1")
	require(o.Eps > 0, "eps", o.Eps, "a positive number")
	require(o.WeightDecay >= 0, "weight decay", o.WeightDecay, "0 or more")
	if bad != nil {
		return fmt.Errorf("adam: %v", bad)
	}
	return nil
}

// Adam is the optimizer of Kingma and Ba (2015) with bias correction, or with
// Decoupled that of Loshchilov and Hutter (2019). Its arithmetic is that of
// torch.optim.Adam and AdamW:
//
//	m ← β₁m + (1-β₁)g    v ← β₂v + (1-β₂)g²
//	p ← p - lr/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + eps)
//
// A parameter without a gradient is left alone, and its t does not advance.
type Adam struct {
	session *gotorch.Session
	opts    AdamOptions
	slots   []*slot
	foreach bool
}

// slot is the state of one parameter.
type slot struct {
	param         nn.Named
	first, second *gotorch.Tensor
	step          int64
}

// foreachOperators are what the list form of a step needs.
var foreachOperators = [...]string{
	"aten::_foreach_mul_.Scalar", "aten::_foreach_add_.List", "aten::_foreach_add_.Scalar", "aten::_foreach_add.List",
	"aten::_foreach_addcmul_.Scalar", "aten::_foreach_addcdiv_.Scalar", "aten::_foreach_sqrt", "aten::_foreach_div_.Scalar",
}

// NewAdam makes an optimizer for parameters of its session, which keeps its
// state. Call it inside Run.
func NewAdam(s *gotorch.Session, params []nn.Named, opts AdamOptions) (*Adam, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	a := &Adam{session: s, opts: opts.withDefaults(), foreach: true}
	for _, op := range foreachOperators {
		a.foreach = a.foreach && s.Library().HasOperator(op)
	}
	seen := map[string]bool{}
	for _, p := range params {
		if seen[p.Name] {
			return nil, fmt.Errorf("adam: two parameters named %q", p.Name)
		}
		seen[p.Name] = true
		sl := &slot{param: p, first: s.ZerosLike(p.Tensor), second: s.ZerosLike(p.Tensor)}
		s.Persist(sl.first, sl.second)
		a.slots = append(a.slots, sl)
	}
	return a, nil
}

// SetLearningRate takes effect at the next step.
func (a *Adam) SetLearningRate(lr float64) { a.opts.LearningRate = lr }

// LearningRate is the one of the next step.
func (a *Adam) LearningRate() float64 { return a.opts.LearningRate }

// ZeroGrad drops every gradient.
func (a *Adam) ZeroGrad() {
	for _, sl := range a.slots {
		sl.param.Tensor.SetGrad(nil)
	}
}

// group is the parameters that share a step number: all of them, unless some
// had no gradient at times.
type group struct {
	step                           int64
	params, grads, firsts, seconds []*gotorch.Tensor
}

func (a *Adam) groups() []*group {
	var groups []*group
	for _, sl := range a.slots {
		g := sl.param.Tensor.Grad()
		if g == nil {
			continue
		}
		sl.step++
		at := find(&groups, sl.step)
		at.params = append(at.params, sl.param.Tensor)
		at.grads = append(at.grads, g)
		at.firsts = append(at.firsts, sl.first)
		at.seconds = append(at.seconds, sl.second)
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

// Step updates every parameter that has a gradient.
func (a *Adam) Step() {
	a.session.NoGrad(func() {
		a.session.Scoped(func() {
			for _, g := range a.groups() {
				if a.foreach {
					a.stepList(g)
				} else {
					a.stepEach(g)
				}
			}
		})
	})
}

// correction is the step size with the first moment's bias correction, and the
// root of the second moment's.
func (a *Adam) correction(step int64) (size, root float64) {
	size = a.opts.LearningRate / (1 - math.Pow(a.opts.Beta1, float64(step)))
	return size, math.Sqrt(1 - math.Pow(a.opts.Beta2, float64(step)))
}

func (a *Adam) stepList(g *group) {
	s, o := a.session, a.opts
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
	size, root := a.correction(g.step)
	denominators := s.Call("aten::_foreach_sqrt", g.seconds)
	s.Call("aten::_foreach_div_.Scalar", denominators, root)
	s.Call("aten::_foreach_add_.Scalar", denominators, o.Eps)
	s.Call("aten::_foreach_addcdiv_.Scalar", g.params, g.firsts, denominators, -size)
}

func (a *Adam) stepEach(g *group) {
	size, root := a.correction(g.step)
	for i, p := range g.params {
		a.session.Scoped(func() { a.stepOne(p, g.grads[i], g.firsts[i], g.seconds[i], size, root) })
	}
}

func (a *Adam) stepOne(p, grad, first, second *gotorch.Tensor, size, root float64) {
	o := a.opts
	if o.WeightDecay != 0 && o.Decoupled {
		p.MulInPlace(1 - o.LearningRate*o.WeightDecay)
	} else if o.WeightDecay != 0 {
		grad = grad.Add(p.Mul(o.WeightDecay))
	}
	first.MulInPlace(o.Beta1).AddInPlace(grad, 1-o.Beta1)
	second.MulInPlace(o.Beta2).AddcmulInPlace(grad, grad, 1-o.Beta2)
	p.AddcdivInPlace(first, second.Sqrt().DivInPlace(root).AddInPlace(o.Eps, 1), -size)
}

// State is an optimizer's memory on the host, for checkpoints.
type State struct {
	Moments []Moments // in the order of the parameters
}

// Moments are the state of one parameter.
type Moments struct {
	Name          string
	Step          int64
	Shape         []int64
	First, Second []float32 // row by row
}

// Export copies the state to the host.
func (a *Adam) Export() State {
	var st State
	for _, sl := range a.slots {
		st.Moments = append(st.Moments, Moments{
			Name: sl.param.Name, Step: sl.step, Shape: sl.first.Shape(),
			First: sl.first.Float32s(), Second: sl.second.Float32s(),
		})
	}
	return st
}

// Import continues from an exported state. It must be one of the same
// parameters, in any order; nothing is changed when it is not.
func (a *Adam) Import(st State) error {
	byName := map[string]Moments{}
	for _, m := range st.Moments {
		byName[m.Name] = m
	}
	if len(byName) != len(a.slots) {
		return fmt.Errorf("adam: state of %d parameters, want %d", len(byName), len(a.slots))
	}
	for _, sl := range a.slots {
		if err := sl.accepts(byName); err != nil {
			return err
		}
	}
	s := a.session
	s.NoGrad(func() {
		for _, sl := range a.slots {
			m := byName[sl.param.Name]
			s.Scoped(func() {
				sl.first.CopyFrom(s.FromFloat32(m.First, m.Shape...).Reshape(m.Shape...))
				sl.second.CopyFrom(s.FromFloat32(m.Second, m.Shape...).Reshape(m.Shape...))
			})
			sl.step = m.Step
		}
	})
	return nil
}

func (sl *slot) accepts(byName map[string]Moments) error {
	m, ok := byName[sl.param.Name]
	if !ok {
		return fmt.Errorf("adam: state has no parameter %q", sl.param.Name)
	}
	want := sl.first.Shape()
	n := sl.first.Numel()
	if fmt.Sprint(m.Shape) != fmt.Sprint(want) || int64(len(m.First)) != n || int64(len(m.Second)) != n {
		return fmt.Errorf("adam: state of parameter %q has shape %v with %d and %d values, want shape %v", m.Name, m.Shape, len(m.First), len(m.Second), want)
	}
	if m.Step < 0 {
		return fmt.Errorf("adam: state of parameter %q is at step %d", m.Name, m.Step)
	}
	return nil
}

// clipEps keeps a division by a norm of zero finite, as in PyTorch.
const clipEps = 1e-6

// ClipGradNorm scales all gradients down together so that their joint Euclidean
// norm is at most max, and returns the norm before.
func ClipGradNorm(s *gotorch.Session, params []nn.Named, max float64) float64 {
	var total float64
	s.NoGrad(func() {
		s.Scoped(func() {
			var grads, norms []*gotorch.Tensor
			for _, p := range params {
				if g := p.Tensor.Grad(); g != nil {
					grads = append(grads, g)
					norms = append(norms, g.Norm())
				}
			}
			if len(grads) == 0 {
				return
			}
			norm := s.Stack(0, norms...).Norm()
			total = norm.Item()
			if scale := max / (total + clipEps); scale < 1 {
				for _, g := range grads {
					g.MulInPlace(scale)
				}
			}
		})
	})
	return total
}
