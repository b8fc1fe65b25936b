package gotorch_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

var inf = math.Inf(1)

// TestOperatorsAtTheEdges has what random numbers do not meet: values at which a
// careless formula overflows, ties, open bounds. TestOperationsAreTheNaiveOnes
// has every operator.
func TestOperatorsAtTheEdges(t *testing.T) {
	type T = *gotorch.Tensor
	s := torchtest.Session(t)
	vec := func(v ...float64) T { return s.FromFloat64(v) }
	mat := func(v ...float64) T { return s.FromFloat64(v, 2, int64(len(v)/2)) }
	ints := func(v ...int64) T { return s.FromInt64(v) }
	second := func(_, b T) T { return b }

	for _, c := range []struct {
		name string
		make func() T
		want []float64
	}{
		{"Add int", func() T { return ints(1, 2).Add(1) }, []float64{2, 3}},
		{"Log1p", func() T { return vec(1e-20).Log1p() }, []float64{1e-20}},
		{"Sigmoid", func() T { return vec(-800, 800).Sigmoid() }, []float64{0, 1}},
		{"LogSigmoid", func() T { return vec(-800, 800).LogSigmoid() }, []float64{-800, 0}},
		{"Softplus", func() T { return vec(800, -800).Softplus() }, []float64{800, 0}},
		{"LogSumExp", func() T { return mat(800, 800, -800, -800).LogSumExp(1) }, []float64{800 + math.Ln2, -800 + math.Ln2}},
		{"Softmax", func() T { return vec(800, 800).Softmax(0) }, []float64{0.5, 0.5}},
		{"Softmax masked", func() T { return vec(-inf, 1).Softmax(0) }, []float64{0, 1}},
		{"Clamp open below", func() T { return vec(-1, 5).Clamp(nil, 2) }, []float64{-1, 2}},
		{"Clamp open above", func() T { return vec(-1, 5).Clamp(2, nil) }, []float64{2, 5}},
		{"Sort keeps ties in order", func() T { return second(vec(1, 3, 1, 3).Sort(0, true)) }, []float64{1, 3, 0, 2}},
		{"Slice from the end", func() T { return vec(1, 2, 3, 4).Slice(0, 0, -1, 2) }, []float64{1, 3}},
		{"Index by two tensors", func() T { return mat(1, 2, 3, 4).Index(ints(0, 1), ints(1, 0)) }, []float64{2, 3}},
		{"Index by a mask", func() T { return vec(1, 2, 3).Index(s.FromBool([]bool{true, false, true})) }, []float64{1, 3}},
		{"Split leaves a rest", func() T { return vec(1, 2, 3).Split(2, 0)[1] }, []float64{3}},
		{"MaskedFill with -inf", func() T { return vec(1, 2).MaskedFill(s.FromBool([]bool{false, true}), -inf) }, []float64{1, -inf}},
		{"CopyFrom converts and broadcasts", func() T { return vec(1, 2).CopyFrom(ints(7)) }, []float64{7, 7}},
		{"FullOf bool", func() T { return s.FullOf(gotorch.Bool, 1, 1) }, []float64{1}},
		{"Clone does not share", func() T { x := vec(1); y := x.Clone(); x.ZeroInPlace(); return y }, []float64{1}},
		{"Detach shares", func() T { x := vec(1); y := x.Detach(); x.ZeroInPlace(); return y }, []float64{0}},
		{"Sum of nothing", func() T { return s.Zeros(0).Sum() }, []float64{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := s.Run(func() {
				if diff := cmp.Diff(c.want, c.make().Float64s(), cmpopts.EquateApprox(1e-12, 1e-300)); diff != "" {
					t.Error(diff)
				}
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Draws have the moments that they should: five standard errors.
func TestRandomOperators(t *testing.T) {
	const n = 100_000
	torchtest.Run(t, func(s *gotorch.Session) {
		check := func(name string, x *gotorch.Tensor, mean, sd float64) {
			t.Helper()
			v := x.Float64s()
			var sum, squares float64
			for _, f := range v {
				sum += f
				squares += (f - mean) * (f - mean)
			}
			if got := sum / n; math.Abs(got-mean) > 5*sd/math.Sqrt(n) {
				t.Errorf("%s: mean %v, want %v", name, got, mean)
			}
			if got := math.Sqrt(squares / n); math.Abs(got/sd-1) > 0.02 {
				t.Errorf("%s: standard deviation %v, want %v", name, got, sd)
			}
		}
		check("Randn", s.Randn(n), 0, 1)
		check("Rand", s.Rand(n), 0.5, math.Sqrt(1.0/12))
		check("RandInt", s.RandInt(3, 5, n), 3.5, 0.5)
		check("NormalInPlace", s.Zeros(n).NormalInPlace(2, 3), 2, 3)
		check("UniformInPlace", s.Zeros(n).UniformInPlace(-1, 1), 0, math.Sqrt(1.0/3))
		check("BernoulliInPlace", s.Zeros(n).BernoulliInPlace(0.2), 0.2, 0.4)
		sorted, _ := s.RandPerm(n).Sort(0, false)
		if !sorted.Eq(s.Arange(0, n, 1)).All().Bools()[0] {
			t.Error("RandPerm is no permutation")
		}
	})
}
