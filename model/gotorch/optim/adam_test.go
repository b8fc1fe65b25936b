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

// rules are the ways to take a step. The device's are tried on the CPU as well,
// but for the fused kernel, which not every libtorch has there.
var rules = map[string]func(a *Adam){
	"default": func(*Adam) {},
	"loop": func(a *Adam) {
		r := newHostRule(a.session, a.opts, a.slots)
		r.foreach = false
		a.rule = r
	},
	"device": func(a *Adam) {
		r := newDeviceRule(a.session, a.opts, a.slots)
		r.fused = ""
		a.rule = r
	},
}

// minimise takes five steps on Σ p⁴ and returns the parameter.
func minimise(t *testing.T, o AdamOptions, rule string) (out []float32) {
	torchtest.Run(t, func(s *gotorch.Session) {
		p := nn.NewParameter(s, nn.Ones, 3)
		s.NoGrad(func() { p.CopyFrom(s.FromFloat32([]float32{1, -0.5, 2})) })
		a := newAdam(t, s, o, nn.Named{Name: "p", Tensor: p})
		rules[rule](a)
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
		for rule := range rules {
			t.Run(v.name+" "+rule, func(t *testing.T) {
				got := minimise(t, v.opts, rule)
				for i, start := range []float64{1, -0.5, 2} {
					want := scalarAdam{p: start}
					for range 5 {
						want.step(4*want.p*want.p*want.p, v.opts)
					}
					if math.Abs(float64(got[i])-want.p) > 2e-6 {
						t.Errorf("parameter %d is %v, want %v", i, got[i], want.p)
					}
				}
			})
		}
	}
}

// The list operators round as the loop does, so whether a libtorch has them
// does not change a result.
func TestListsAreTheLoopToTheBit(t *testing.T) {
	torchtest.NeedsCPU(t)
	for _, v := range variants {
		if lists, loop := minimise(t, v.opts, "default"), minimise(t, v.opts, "loop"); !cmp.Equal(lists, loop) {
			t.Errorf("%s: lists give %v, the loop %v", v.name, lists, loop)
		}
	}
}

// On the device, step counts and the learning rate are tensors that were there
// before the step: a captured one goes on from them.
func TestDeviceRuleKeepsItsStateInTensors(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		p := nn.NewParameter(s, nn.Ones, 2)
		a := newAdam(t, s, AdamOptions{LearningRate: 0.1}, nn.Named{Name: "p", Tensor: p})
		rules["device"](a)
		r := a.rule.(*deviceRule)
		count, rate := r.counts[0], r.rate
		p.Sum().Backward()
		a.Step()
		a.SetLearningRate(0.5)
		a.Step()
		if count.Item() != 2 || rate.Item() != 0.5 {
			t.Errorf("count %v, rate %v", count.Item(), rate.Item())
		}
		if got, want := p.Float32s()[0], float32(1-0.1-0.5); math.Abs(float64(got-want)) > 1e-6 {
			t.Errorf("with one gradient twice p went to %v, want %v", got, want)
		}
		saved := a.Export()
		if saved.Moments[0].Step != 2 {
			t.Errorf("exported step %d", saved.Moments[0].Step)
		}
		saved.Moments[0].Step = 7
		if err := a.Import(saved); err != nil {
			t.Fatal(err)
		}
		if count.Item() != 7 {
			t.Errorf("imported count %v", count.Item())
		}
	})
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
		if got := ClipGradNorm(s, params, 1); got.Item() != 0 {
			t.Errorf("without gradients the norm is %v", got.Item())
		}
		p.Mul(3).Add(q.Mul(4)).Sum().Backward()
		if got := ClipGradNorm(s, params, 10).Item(); got != 5 || p.Grad().Item() != 3 {
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
