package gotorch_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

func TestAutocastPrecision(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		l, norm := nn.NewLinear(s, 4, 4, nn.Normal(0, 1), nn.Zeros), nn.NewLayerNorm(s, 4, 1e-5)
		x := s.Randn(3, 4)
		var loss *gotorch.Tensor
		s.Autocast(gotorch.BFloat16, func() {
			y := l.Forward(x)
			for _, c := range []struct {
				name string
				got  *gotorch.Tensor
				want gotorch.DType
			}{
				{"linear", y, gotorch.BFloat16},
				{"matmul", x.MatMul(l.Weight), gotorch.BFloat16},
				{"layer norm", norm.Forward(x), gotorch.Float32},
				{"softmax", x.Softmax(-1), gotorch.Float32},
				{"weight", l.Weight, gotorch.Float32},
			} {
				if c.got.DType() != c.want {
					t.Errorf("%s is %v, want %v", c.name, c.got.DType(), c.want)
				}
			}
			loss = y.To(gotorch.Float32).Square().Mean()
		})
		loss.Backward()
		if g := l.Weight.Grad(); g == nil || g.DType() != gotorch.Float32 {
			t.Errorf("gradient of a float32 weight is %v", g)
		}
		if got := l.Forward(x).DType(); got != gotorch.Float32 {
			t.Errorf("afterwards a linear layer gives %v", got)
		}
	})
}

// A parameter's cast must not outlive the step that changed the parameter.
func TestAutocastForgetsItsCasts(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		l, x := nn.NewLinear(s, 1, 1, nn.Ones, nil), s.Ones(1, 1)
		forward := func() (out float64) {
			s.Autocast(gotorch.BFloat16, func() { out = l.Forward(x).Item() })
			return out
		}
		before := forward()
		s.NoGrad(func() { l.Weight.FillInPlace(2) })
		if after := forward(); before != 1 || after != 2 {
			t.Errorf("forward gives %v, then %v; want 1 and 2", before, after)
		}
	})
}

// Gradients of what was computed in float32 are float32's, to the bit, wherever
// they are taken.
func TestAutocastLeavesBackwardAlone(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		w, x, weight := s.Randn(8, 8).RequiresGrad(true), s.Randn(8, 8), s.Randn(8, 8)
		backward := func() []float32 {
			w.SetGrad(nil)
			x.MatMul(w).BackwardWith(weight, gotorch.BackwardOptions{})
			return w.Grad().Float32s()
		}
		gradients := func(y *gotorch.Tensor) []float32 {
			return s.Gradients([]*gotorch.Tensor{y}, []*gotorch.Tensor{w}, []*gotorch.Tensor{weight}, gotorch.BackwardOptions{})[0].Float32s()
		}
		want := backward()
		first, second := x.MatMul(w), x.MatMul(w)
		w.SetGrad(nil)
		s.Autocast(gotorch.BFloat16, func() {
			first.BackwardWith(weight, gotorch.BackwardOptions{})
			if diff := cmp.Diff(want, w.Grad().Float32s()); diff != "" {
				t.Error("Backward:", diff)
			}
			if diff := cmp.Diff(want, gradients(second)); diff != "" {
				t.Error("Gradients:", diff)
			}
			if got := x.MatMul(w).DType(); got != gotorch.BFloat16 {
				t.Errorf("afterwards a product is %v, want bfloat16", got)
			}
		})
	})
}

func TestAutocastNestsAndSurvivesPanics(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		x := s.Ones(2, 2)
		precision := func() gotorch.DType { return x.MatMul(x).DType() }
		s.Autocast(gotorch.BFloat16, func() {
			s.Autocast(gotorch.BFloat16, func() {})
			if got := precision(); got != gotorch.BFloat16 {
				t.Errorf("after an inner Autocast: %v", got)
			}
			func() {
				defer func() { _ = recover() }()
				s.Autocast(gotorch.BFloat16, func() { panic("mine") })
			}()
			if got := precision(); got != gotorch.BFloat16 {
				t.Errorf("after a panic in an inner one: %v", got)
			}
		})
		func() {
			defer func() { _ = recover() }()
			s.Autocast(gotorch.BFloat16, func() { x.MatMul(s.Ones(3, 3)) })
		}()
		if got := precision(); got != gotorch.Float32 {
			t.Errorf("after a failed operation: %v", got)
		}
	})
}

func TestAutocastWantsALowerPrecision(t *testing.T) {
	e := failure(t, func(s *gotorch.Session) { s.Autocast(gotorch.Int64, func() {}) })
	wantContains(t, e.Error(), "Autocast(int64)", "bfloat16 or float16")
}

func TestAllowTF32(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		a := s.Full(1+1.0/4096, 16, 16) // rounds to 1 in ten bits
		product := func() float64 { return a.MatMul(a).Max().Item() }
		exact := product()
		s.AllowTF32(true)
		defer s.AllowTF32(false)
		rounded := product()
		t.Logf("%v, with TF32 %v", exact, rounded)
		if exact < 16 || (s.Device().Type == gotorch.CPU && rounded != exact) {
			t.Errorf("product is %v, with TF32 %v", exact, rounded)
		}
		if exact == 16 {
			t.Error("TF32 is on in a new session")
		}
	})
}
