package nn_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

func near(t *testing.T, what string, got []float32, want ...float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if d := math.Abs(float64(got[i] - want[i])); !(d < 1e-6) {
			t.Errorf("%s[%d] is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestLinear(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		l := nn.NewLinear(s, 2, 3, nn.Zeros, nn.Constant(0.5))
		s.NoGrad(func() { l.Weight.CopyFrom(s.FromFloat32([]float32{1, 2, 3, 4, 5, 6}, 3, 2)) })
		near(t, "y", l.Forward(s.FromFloat32([]float32{1, -1}, 1, 2)).Float32s(), -0.5, -0.5, -0.5)
		bare := nn.NewLinear(s, 2, 3, nn.Ones, nil)
		near(t, "without bias", bare.Forward(s.Ones(1, 2)).Float32s(), 2, 2, 2)
		if n := len(bare.Parameters()); n != 1 {
			t.Errorf("a layer without bias has %d parameters", n)
		}
	})
}

func TestEmbeddingPaddingRowStaysZero(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		e := nn.NewEmbedding(s, 4, 2, 0, nn.Normal(1, 0.1))
		e.Forward(s.FromInt64([]int64{0, 2, 2, 0}, 2, 2)).Sum().Backward()
		near(t, "row 0", e.Weight.Select(0, 0).Float32s(), 0, 0)
		near(t, "gradient", e.Weight.Grad().Float32s(), 0, 0, 0, 0, 2, 2, 0, 0)
		free := nn.NewEmbedding(s, 2, 1, nn.NoPadding, nn.Ones)
		free.Forward(s.FromInt64([]int64{0})).Sum().Backward()
		near(t, "gradient without padding", free.Weight.Grad().Float32s(), 1, 0)
	})
}

func TestLayerNorm(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		l := nn.NewLayerNorm(s, 4, 1e-12)
		y := l.Forward(s.FromFloat32([]float32{1, 2, 3, 4}, 1, 4)).Float32s()
		unit := float32(1 / math.Sqrt(1.25))
		near(t, "y", y, -1.5*unit, -0.5*unit, 0.5*unit, 1.5*unit)
		near(t, "constant row", l.Forward(s.Full(7, 1, 4)).Float32s(), 0, 0, 0, 0)
	})
}

func TestDropout(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		const n, p = 200_000, 0.3
		x := s.Ones(n)
		d := nn.Dropout{P: p}
		if d.Forward(x, nn.Eval) != x {
			t.Error("evaluation changes the input")
		}
		y := d.Forward(x, nn.Train)
		kept := y.Ne(0).To(gotorch.Float32).Mean().Item()
		if sd := math.Sqrt(p * (1 - p) / n); math.Abs(kept-(1-p)) > 5*sd {
			t.Errorf("kept %.4f of the values, want %.4f", kept, 1-p)
		}
		near(t, "greatest", y.Max().Float32s(), 1/(1-p))
		near(t, "all dropped", nn.Dropout{P: 1}.Forward(s.Ones(2), nn.Train).Float32s(), 0, 0)

		x = s.Ones(8).RequiresGrad(true)
		y = d.Forward(x, nn.Train)
		y.Sum().Backward()
		near(t, "gradient", x.Grad().Float32s(), y.Float32s()...)
	})
}

// Two sessions with one seed draw the same masks whatever the other does, and a
// restored state repeats them.
func TestDropoutDrawsFromTheSession(t *testing.T) {
	a, b := torchtest.Session(t), torchtest.Session(t)
	mask := func(s *gotorch.Session) (out []float32) {
		if err := s.Run(func() { out = nn.Dropout{P: 0.5}.Forward(s.Ones(64), nn.Train).Float32s() }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	state, err := a.Generator().State()
	if err != nil {
		t.Fatal(err)
	}
	a1, a2, b1, b2 := mask(a), mask(a), mask(b), mask(b)
	if !cmp.Equal(a1, b1) || !cmp.Equal(a2, b2) {
		t.Error("sessions with the same seed draw different masks")
	}
	if cmp.Equal(a1, a2) {
		t.Error("two draws are the same")
	}
	if err := a.Generator().SetState(state); err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(a1, mask(a)) {
		t.Error("a restored generator draws another mask")
	}
}

func TestParametersKeepOrderAndSeed(t *testing.T) {
	build := func() (names []string, first float32) {
		torchtest.Run(t, func(s *gotorch.Session) {
			l := nn.NewLinear(s, 3, 3, nn.Normal(0, 0.02), nn.FanIn(3))
			n := nn.NewLayerNorm(s, 3, 1e-12)
			params := nn.Join(nn.Prefix("fc", l), nn.Prefix("norm", n))
			for _, p := range params {
				names = append(names, p.Name)
				if !p.Tensor.NeedsGrad() {
					t.Errorf("%s records no gradient", p.Name)
				}
			}
			if got := nn.Count(params); got != 9+3+3+3 {
				t.Errorf("Count is %d", got)
			}
			first = l.Weight.Float32s()[0]
		})
		return names, first
	}
	names, first := build()
	if diff := cmp.Diff([]string{"fc.weight", "fc.bias", "norm.weight", "norm.bias"}, names); diff != "" {
		t.Error(diff)
	}
	if _, again := build(); again != first {
		t.Errorf("the same seed gives %v and %v", first, again)
	}
}

// BenchmarkDropout reports the time for one value of a tensor of the size that a
// training batch has.
func BenchmarkDropout(b *testing.B) {
	torchtest.Run(b, func(s *gotorch.Session) {
		const n = 1 << 20
		x, d := s.Ones(n), nn.Dropout{P: 0.3}
		b.ResetTimer()
		for range b.N {
			s.Scoped(func() { d.Forward(x, nn.Train) })
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/value")
	})
}

func ExampleLinear() {
	err := torchtest.Try(func(s *gotorch.Session) {
		fc := nn.NewLinear(s, 2, 1, nn.Constant(0.5), nn.Ones)
		norm := nn.NewLayerNorm(s, 2, 1e-12)
		x := s.FromFloat32([]float32{2, 4}, 1, 2)
		fmt.Println(fc.Forward(x).Float32s(), norm.Forward(x).Float32s())
		for _, p := range nn.Join(nn.Prefix("fc", fc), nn.Prefix("norm", norm)) {
			fmt.Println(p.Name, p.Tensor.Shape())
		}
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// [4] [-1 1]
	// fc.weight [1 2]
	// fc.bias [1]
	// norm.weight [2]
	// norm.bias [2]
}
