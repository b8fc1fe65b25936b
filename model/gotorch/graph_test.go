package gotorch_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/optim"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// regression is a small training that has what a real one has: input that
// changes, dropout, clipping, a changing learning rate, a loss to report.
type regression struct {
	s           *gotorch.Session
	layers      [2]*nn.Linear
	params      []nn.Named
	x, y, loss  *gotorch.Tensor
	adam        *optim.Adam
	stepsCalled int
}

const regressionRows, regressionWidth = 8, 6

func newRegression(t *testing.T, s *gotorch.Session) *regression {
	t.Helper()
	r := &regression{s: s}
	for i := range r.layers {
		r.layers[i] = nn.NewLinear(s, regressionWidth, regressionWidth, nn.Normal(0, 0.5), nn.Zeros)
	}
	r.params = nn.Join(nn.Prefix("a", r.layers[0]), nn.Prefix("b", r.layers[1]))
	r.x, r.y, r.loss = s.Zeros(regressionRows, regressionWidth), s.Zeros(regressionRows, regressionWidth), s.Zeros()
	s.Persist(r.x, r.y, r.loss)
	var err error
	if r.adam, err = optim.NewAdam(s, r.params, optim.AdamOptions{LearningRate: 0.01}); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *regression) step() {
	r.stepsCalled++
	hidden := nn.Dropout{P: 0.3}.Forward(r.layers[0].Forward(r.x).GELU(), nn.Train)
	loss := r.layers[1].Forward(hidden).Sub(r.y).Square().Mean()
	loss.Backward()
	optim.ClipGradNorm(r.s, r.params, 0.5)
	r.adam.Step()
	r.s.NoGrad(func() { r.loss.CopyFrom(loss) })
}

// train returns every step's loss and the parameters at the end.
func (r *regression) train(steps int, run func()) (out []float32) {
	for i := range steps {
		r.s.Scoped(func() {
			input := make([]float32, regressionRows*regressionWidth)
			for j := range input {
				input[j] = float32((i*7+j*3)%11) / 11
			}
			r.x.CopyFrom(r.s.FromFloat32(input, regressionRows, regressionWidth))
			r.y.CopyFrom(r.x.Flatten(0, 1).Reshape(regressionRows, regressionWidth).Neg())
			if i == steps/2 {
				r.adam.SetLearningRate(0.05)
			}
			run()
			out = append(out, r.loss.Float32s()...)
		})
	}
	for _, p := range r.params {
		out = append(out, p.Tensor.Float32s()...)
	}
	return out
}

// rounding is what a run may differ in from another one: nothing on the CPU. On
// CUDA a library may choose another algorithm for another stream.
func rounding() cmp.Option {
	if torchtest.Device() == "cpu" {
		return cmp.Options{}
	}
	return cmpopts.EquateApprox(1e-4, 1e-5)
}

// A Graph trains as plain steps do, and leaves the generator where
// they leave it.
func TestGraphRunsAreSteps(t *testing.T) {
	const steps = 12
	train := func(graph bool) (out []float32) {
		torchtest.Run(t, func(s *gotorch.Session) {
			r := newRegression(t, s)
			run := func() {
				s.Scoped(func() {
					r.adam.ZeroGrad()
					r.step()
				})
			}
			if graph {
				g := s.NewGraph(r.step)
				defer g.Close()
				run = g.Run
				defer func() { checkCaptured(t, s, g, r.stepsCalled, steps) }()
			}
			out = append(r.train(steps, run), s.Rand(4).Float32s()...)
		})
		return out
	}
	if diff := cmp.Diff(train(false), train(true), rounding()); diff != "" {
		t.Error(diff)
	}
}

func checkCaptured(t *testing.T, s *gotorch.Session, g *gotorch.Graph, called, steps int) {
	t.Helper()
	if !g.Captured() {
		t.Logf("not captured: %s", g.Reason())
		if g.Reason() == "" {
			t.Error("not captured, without a reason")
		}
		if called != steps {
			t.Errorf("%d runs called the step %d times", steps, called)
		}
		return
	}
	if want := 4; called != want { // three to warm up, one to capture
		t.Errorf("the step was called %d times, want %d", called, want)
	}
}

// A step that reads a value back cannot be captured. It goes on as plain steps,
// and nothing that the attempt touched is left broken.
func TestGraphGivesUpOnWhatCannotBeCaptured(t *testing.T) {
	const steps = 8
	train := func(graph bool) (out []float32) {
		torchtest.Run(t, func(s *gotorch.Session) {
			r := newRegression(t, s)
			read := func() {
				r.step()
				r.loss.Item()
			}
			run := func() {
				s.Scoped(func() {
					r.adam.ZeroGrad()
					read()
				})
			}
			if graph {
				g := s.NewGraph(read)
				run = g.Run
				defer func() {
					if g.Captured() || g.Reason() == "" {
						t.Errorf("captured %v, reason %q", g.Captured(), g.Reason())
					}
				}()
			}
			out = append(r.train(steps, run), s.Rand(4).Float32s()...)
			sum := s.Ones(1 << 20).Sum()
			if sum.Item() != 1<<20 {
				t.Errorf("sum is %v", sum.Item())
			}
		})
		return out
	}
	if diff := cmp.Diff(train(false), train(true), rounding()); diff != "" {
		t.Error(diff)
	}
}

// Two captured steps of one session take turns, as training and evaluation may.
func TestGraphsOfOneSessionShareItsGenerator(t *testing.T) {
	draw := func(graph bool) (out []float32) {
		torchtest.Run(t, func(s *gotorch.Session) {
			a, b := s.Zeros(5), s.Zeros(3)
			s.Persist(a, b)
			first, second := func() { a.UniformInPlace(0, 1) }, func() { b.NormalInPlace(0, 1) }
			if graph {
				first, second = s.NewGraph(first).Run, s.NewGraph(second).Run
			}
			for range 7 {
				first()
				second()
				out = append(append(out, a.Float32s()...), b.Float32s()...)
			}
		})
		return out
	}
	if diff := cmp.Diff(draw(false), draw(true)); diff != "" {
		t.Error(diff)
	}
}

func TestGraphBeginsWithGradientsDropped(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		w, seen := s.Ones(2).RequiresGrad(true), s.Zeros(2)
		s.Persist(w, seen)
		g := s.NewGraph(func() {
			w.Mul(3).Sum().Backward()
			seen.CopyFrom(w.Grad())
		})
		for range 6 {
			g.Run()
			if got := seen.Float32s(); !cmp.Equal(got, []float32{3, 3}) {
				t.Fatalf("gradient %v, want 3", got)
			}
		}
	})
}

func TestGraphFailsAsItsStep(t *testing.T) {
	e := failure(t, func(s *gotorch.Session) {
		g := s.NewGraph(func() { s.Ones(2).MatMul(s.Ones(3)) })
		g.Run()
	})
	wantContains(t, e.Error(), "aten::matmul")
	e = failure(t, func(s *gotorch.Session) {
		g := s.NewGraph(func() {})
		g.Close()
		g.Run()
	})
	wantContains(t, e.Error(), "Graph.Run: after Close")
	e = failure(t, func(s *gotorch.Session) {
		inner := s.NewGraph(func() {})
		inner.Run()
		s.NewGraph(inner.Run).Run()
	})
	wantContains(t, e.Error(), "Graph.Run: inside the step of a Graph")
}
