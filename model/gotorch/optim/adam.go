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
// has no schedule: set the learning rate before a step. Nothing in a step reads
// a value back from the device, so steps can be captured (see gotorch.Graph).
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
//
// On the CPU the steps are counted in Go. On other devices the counts and the
// learning rate are tensors, so that a captured step goes on counting when it is
// replayed and follows SetLearningRate.
type Adam struct {
	session *gotorch.Session
	opts    AdamOptions
	slots   []*slot
	rule    rule
}

// slot is the state of one parameter.
type slot struct {
	param         nn.Named
	first, second *gotorch.Tensor
}

// rule is the part of Adam that depends on where the steps are counted. All
// slots are those given to the rule's constructor, named by their index.
type rule interface {
	update(indices []int, grads []*gotorch.Tensor)
	setRate(lr float64)
	steps(index int) int64
	setSteps(index int, n int64)
}

// NewAdam makes an optimizer for parameters of its session, which keeps its
// state. Call it inside Run.
func NewAdam(s *gotorch.Session, params []nn.Named, opts AdamOptions) (*Adam, error) {
	a, err := newSlots(s, params, opts)
	if err != nil {
		return nil, err
	}
	if s.Device().Type == gotorch.CPU {
		a.rule = newHostRule(s, a.opts, a.slots)
	} else {
		a.rule = newDeviceRule(s, a.opts, a.slots)
	}
	return a, nil
}

// newSlots makes an Adam that has no rule yet.
func newSlots(s *gotorch.Session, params []nn.Named, opts AdamOptions) (*Adam, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	a := &Adam{session: s, opts: opts.withDefaults()}
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

// SetLearningRate takes effect at the next step, also where that step was
// captured before. Call it inside Run, and outside captured steps.
func (a *Adam) SetLearningRate(lr float64) {
	a.opts.LearningRate = lr
	a.rule.setRate(lr)
}

// LearningRate is the one of the next step.
func (a *Adam) LearningRate() float64 { return a.opts.LearningRate }

// ZeroGrad drops every gradient.
func (a *Adam) ZeroGrad() {
	for _, sl := range a.slots {
		sl.param.Tensor.SetGrad(nil)
	}
}

// Step updates every parameter that has a gradient.
func (a *Adam) Step() {
	a.session.NoGrad(func() {
		a.session.Scoped(func() {
			var indices []int
			var grads []*gotorch.Tensor
			for i, sl := range a.slots {
				if g := sl.param.Tensor.Grad(); g != nil {
					indices = append(indices, i)
					grads = append(grads, g)
				}
			}
			if len(indices) > 0 {
				a.rule.update(indices, grads)
			}
		})
	})
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
	for i, sl := range a.slots {
		st.Moments = append(st.Moments, Moments{
			Name: sl.param.Name, Step: a.rule.steps(i), Shape: sl.first.Shape(),
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
		for i, sl := range a.slots {
			m := byName[sl.param.Name]
			s.Scoped(func() {
				sl.first.CopyFrom(s.FromFloat32(m.First, m.Shape...).Reshape(m.Shape...))
				sl.second.CopyFrom(s.FromFloat32(m.Second, m.Shape...).Reshape(m.Shape...))
			})
			a.rule.setSteps(i, m.Step)
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
