package optim

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

func TestMain(m *testing.M) { os.Exit(torchtest.Main(m)) }

// scalarAdam is the published rule for one number.
type scalarAdam struct {
	p, m, v float64
	t       int
}

func (a *scalarAdam) step(g float64, o AdamOptions) {
	o = o.withDefaults()
	if o.Decoupled {
		a.p *= 1 - o.LearningRate*o.WeightDecay
	} else {
		g += o.WeightDecay * a.p
	}
	a.t++
	a.m = o.Beta1*a.m + (1-o.Beta1)*g
	a.v = o.Beta2*a.v + (1-o.Beta2)*g*g
	mHat := a.m / (1 - math.Pow(o.Beta1, float64(a.t)))
	vHat := a.v / (1 - math.Pow(o.Beta2, float64(a.t)))
	a.p -= o.LearningRate * mHat / (math.Sqrt(vHat) + o.Eps)
}

func newAdam(t testing.TB, s *gotorch.Session, o AdamOptions, params ...nn.Named) *Adam {
	t.Helper()
	a, err := NewAdam(s, params, o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var variants = []struct {
	name string
	opts AdamOptions
}{
	{"plain", AdamOptions{LearningRate: 0.1}},
	{"l2", AdamOptions{LearningRate: 0.1, WeightDecay: 0.3}},
	{"decoupled", AdamOptions{LearningRate: 0.1, WeightDecay: 0.3, Decoupled: true}},
	{"betas", AdamOptions{LearningRate: 0.05, Beta1: 0.5, Beta2: 0.9, Eps: 1e-3}},
}

// minimise takes five steps on Σ p⁴ and returns the parameter.
func minimise(t *testing.T, o AdamOptions, foreach bool) (out []float32) {
	torchtest.Run(t, func(s *gotorch.Session) {
		p := nn.NewParameter(s, nn.Ones, 3)
		s.NoGrad(func() { p.CopyFrom(s.FromFloat32([]float32{1, -0.5, 2})) })
		a := newAdam(t, s, o, nn.Named{Name: "p", Tensor: p})
		if foreach && !a.foreach {
			t.Log("this libtorch lacks a list operator; both runs use the loop")
		}
		a.foreach = a.foreach && foreach
		for range 5 {
			s.Scoped(func() {
				a.ZeroGrad()
				p.Pow(4).Sum().Backward()
				a.Step()
			})
		}
		out = p.Float32s()
	})
	return out
}

func TestAdamFollowsThePublishedRule(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			got := minimise(t, v.opts, true)
			for i, start := range []float64{1, -0.5, 2} {
				want := scalarAdam{p: start}
				for range 5 {
					want.step(4*want.p*want.p*want.p, v.opts)
				}
				if math.Abs(float64(got[i])-want.p) > 2e-6 {
					t.Errorf("parameter %d is %v, want %v", i, got[i], want.p)
				}
			}
			if loop := minimise(t, v.opts, false); !cmp.Equal(got, loop) {
				t.Errorf("lists give %v, the loop %v", got, loop)
			}
		})
	}
}

// A parameter without a gradient keeps its value and its step number, so its
// bias correction is right when gradients come.
func TestAdamLeavesParametersWithoutGradient(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		p, q := nn.NewParameter(s, nn.Ones, 1), nn.NewParameter(s, nn.Ones, 1)
		a := newAdam(t, s, AdamOptions{LearningRate: 0.1}, nn.Named{Name: "p", Tensor: p}, nn.Named{Name: "q", Tensor: q})
		step := func(loss *gotorch.Tensor) {
			a.ZeroGrad()
			loss.Backward()
			a.Step()
		}
		step(p.Sum())
		if got := q.Item(); got != 1 {
			t.Errorf("q moved to %v", got)
		}
		step(p.Sum().Add(q.Sum()))
		st := a.Export()
		if st.Moments[0].Step != 2 || st.Moments[1].Step != 1 {
			t.Errorf("steps are %d and %d, want 2 and 1", st.Moments[0].Step, st.Moments[1].Step)
		}
		if got := q.Item(); math.Abs(got-0.9) > 1e-6 {
			t.Errorf("the first step took q to %v, want 0.9", got)
		}
	})
}

func TestExportImportContinues(t *testing.T) {
	train := func(interrupt bool) (out []float32) {
		torchtest.Run(t, func(s *gotorch.Session) {
			p := nn.NewParameter(s, nn.Ones, 2, 2)
			scalar := nn.NewParameter(s, nn.Ones)
			params := []nn.Named{{Name: "p", Tensor: p}, {Name: "scalar", Tensor: scalar}}
			a := newAdam(t, s, AdamOptions{LearningRate: 0.1}, params...)
			for i := range 6 {
				if interrupt && i == 3 {
					saved := a.Export()
					a = newAdam(t, s, AdamOptions{LearningRate: 0.1}, params...)
					if err := a.Import(saved); err != nil {
						t.Fatal(err)
					}
				}
				a.ZeroGrad()
				p.Pow(2).Sum().Mul(scalar).Backward()
				a.Step()
			}
			out = append(p.Float32s(), scalar.Float32s()...)
		})
		return out
	}
	if a, b := train(false), train(true); !cmp.Equal(a, b) {
		t.Errorf("an interrupted run gives %v, an undisturbed one %v", b, a)
	}
}

func TestImportRejectsAnotherModel(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		a := newAdam(t, s, AdamOptions{LearningRate: 0.1}, nn.Named{Name: "p", Tensor: nn.NewParameter(s, nn.Ones, 2)})
		good := Moments{Name: "p", Shape: []int64{2}, First: make([]float32, 2), Second: make([]float32, 2)}
		for _, c := range []struct {
			name string
			edit func(*Moments)
			want string
		}{
			{"name", func(m *Moments) { m.Name = "q" }, `no parameter "p"`},
			{"shape", func(m *Moments) { m.Shape = []int64{1, 2} }, "shape [1 2]"},
			{"values", func(m *Moments) { m.Second = nil }, "2 and 0 values"},
			{"step", func(m *Moments) { m.Step = -1 }, "step -1"},
		} {
			m := good
			c.edit(&m)
			if err := a.Import(State{[]Moments{m}}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want %q", c.name, err, c.want)
			}
		}
		if err := a.Import(State{}); err == nil {
			t.Error("an empty state was accepted")
		}
	})
}

func TestOptionsValidateListsEverything(t *testing.T) {
	err := AdamOptions{LearningRate: -1, Beta1: 1, WeightDecay: -2}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{"learning rate -1", "beta1 1", "weight decay -2"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not mention %q", err, part)
		}
	}
}

func TestClipGradNorm(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		p, q := nn.NewParameter(s, nn.Zeros, 1), nn.NewParameter(s, nn.Zeros, 1)
		params := []nn.Named{{Name: "p", Tensor: p}, {Name: "q", Tensor: q}, {Name: "unused", Tensor: nn.NewParameter(s, nn.Zeros, 1)}}
		if got := ClipGradNorm(s, params, 1); got != 0 {
			t.Errorf("without gradients the norm is %v", got)
		}
		p.Mul(3).Add(q.Mul(4)).Sum().Backward()
		if got := ClipGradNorm(s, params, 10); got != 5 || p.Grad().Item() != 3 {
			t.Errorf("norm %v, gradient %v; want 5 and 3 unchanged", got, p.Grad().Item())
		}
		ClipGradNorm(s, params, 1)
		if got := p.Grad().Item(); math.Abs(got-0.6) > 1e-6 {
			t.Errorf("clipped gradient is %v, want 0.6", got)
		}
		if got := q.Grad().Item(); math.Abs(got-0.8) > 1e-6 {
			t.Errorf("clipped gradient is %v, want 0.8", got)
		}
	})
}

// BenchmarkAdam steps an item table of the size of Amazon Beauty's.
func BenchmarkAdam(b *testing.B) {
	for _, shape := range [][2]int64{{12102, 64}, {12102, 512}} {
		b.Run(fmt.Sprintf("%dx%d", shape[0], shape[1]), func(b *testing.B) {
			torchtest.Run(b, func(s *gotorch.Session) {
				p := nn.NewParameter(s, nn.Normal(0, 0.02), shape[0], shape[1])
				a := newAdam(b, s, AdamOptions{LearningRate: 1e-3}, nn.Named{Name: "p", Tensor: p})
				p.SetGrad(s.Randn(shape[0], shape[1]))
				b.ResetTimer()
				for range b.N {
					a.Step()
				}
			})
		})
	}
}

func ExampleAdam() {
	err := torchtest.Try(func(s *gotorch.Session) {
		w := nn.NewParameter(s, nn.Zeros, 1)
		params := []nn.Named{{Name: "w", Tensor: w}}
		adam, err := NewAdam(s, params, AdamOptions{LearningRate: 0.1})
		if err != nil {
			fmt.Println(err)
			return
		}
		for range 200 {
			s.Scoped(func() {
				adam.ZeroGrad()
				w.Sub(3).Pow(2).Sum().Backward()
				adam.Step()
			})
		}
		fmt.Printf("%.2f\n", w.Item())
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: 3.00
}
