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

// TestOperators checks every method once on values small enough to work out by
// hand: a wrong ATen name, overload or argument order shows.
func TestOperators(t *testing.T) {
	type T = *gotorch.Tensor
	type want = []float64
	s := torchtest.Session(t)
	vec := func(v ...float64) T { return s.FromFloat64(v) }
	mat := func(v ...float64) T { return s.FromFloat64(v, 2, int64(len(v)/2)) }
	ints := func(v ...int64) T { return s.FromInt64(v) }
	mask := func(v ...bool) T { return s.FromBool(v) }
	first := func(a, _ T) T { return a }
	second := func(_, b T) T { return b }
	e := math.E

	for _, c := range []struct {
		name  string
		make  func() T
		shape []int64
		want  want
	}{
		{"Add", func() T { return vec(1, 2).Add(vec(10, 20)) }, []int64{2}, want{11, 22}},
		{"Add number", func() T { return vec(1, 2).Add(1) }, []int64{2}, want{2, 3}},
		{"Add broadcast", func() T { return mat(1, 2, 3, 4).Add(vec(10, 20)) }, []int64{2, 2}, want{11, 22, 13, 24}},
		{"Sub", func() T { return vec(1, 2).Sub(vec(10, 20)) }, []int64{2}, want{-9, -18}},
		{"Sub number", func() T { return vec(1).Sub(0.5) }, []int64{1}, want{0.5}},
		{"Mul", func() T { return vec(3, 2).Mul(vec(10, 20)) }, []int64{2}, want{30, 40}},
		{"Div", func() T { return vec(1, 2).Div(vec(4, 4)) }, []int64{2}, want{0.25, 0.5}},
		{"Div number", func() T { return vec(1).Div(4) }, []int64{1}, want{0.25}},
		{"Neg", func() T { return vec(1, -2).Neg() }, []int64{2}, want{-1, 2}},
		{"Abs", func() T { return vec(1, -2).Abs() }, []int64{2}, want{1, 2}},
		{"Sign", func() T { return vec(3, 0, -2).Sign() }, []int64{3}, want{1, 0, -1}},
		{"Floor", func() T { return vec(1.5, -1.5).Floor() }, []int64{2}, want{1, -2}},
		{"Exp", func() T { return vec(0, 1).Exp() }, []int64{2}, want{1, e}},
		{"Log", func() T { return vec(1, e).Log() }, []int64{2}, want{0, 1}},
		{"Log1p", func() T { return vec(0, 1e-20).Log1p() }, []int64{2}, want{0, 1e-20}},
		{"Sqrt", func() T { return vec(4, 9).Sqrt() }, []int64{2}, want{2, 3}},
		{"Rsqrt", func() T { return vec(4).Rsqrt() }, []int64{1}, want{0.5}},
		{"Square", func() T { return vec(-3).Square() }, []int64{1}, want{9}},
		{"Pow", func() T { return vec(2, 3).Pow(3) }, []int64{2}, want{8, 27}},
		{"Pow tensor", func() T { return vec(2, 3).Pow(vec(1, 2)) }, []int64{2}, want{2, 9}},
		{"Sin", func() T { return vec(math.Pi / 2).Sin() }, []int64{1}, want{1}},
		{"Cos", func() T { return vec(0).Cos() }, []int64{1}, want{1}},
		{"Erf", func() T { return vec(0, 0.5).Erf() }, []int64{2}, want{0, math.Erf(0.5)}},
		{"Sigmoid", func() T { return vec(0, -800).Sigmoid() }, []int64{2}, want{0.5, 0}},
		{"LogSigmoid", func() T { return vec(0, -800).LogSigmoid() }, []int64{2}, want{-math.Ln2, -800}},
		{"Softplus", func() T { return vec(0, 800, -800).Softplus() }, []int64{3}, want{math.Ln2, 800, 0}},
		{"Tanh", func() T { return vec(0, 1).Tanh() }, []int64{2}, want{0, math.Tanh(1)}},
		{"ReLU", func() T { return vec(-1, 2).ReLU() }, []int64{2}, want{0, 2}},
		{"GELU", func() T { return vec(0, 1).GELU() }, []int64{2}, want{0, 0.5 * (1 + math.Erf(1/math.Sqrt2))}},
		{"SiLU", func() T { return vec(0, 1).SiLU() }, []int64{2}, want{0, 1 / (1 + math.Exp(-1))}},
		{"ELU", func() T { return vec(2, -1).ELU() }, []int64{2}, want{2, 1/e - 1}},
		{"Clamp", func() T { return vec(-1, 0, 5).Clamp(0, 2) }, []int64{3}, want{0, 0, 2}},
		{"Clamp open", func() T { return vec(-1, 5).Clamp(nil, 2) }, []int64{2}, want{-1, 2}},
		{"Maximum", func() T { return vec(1, 5).Maximum(vec(3, 2)) }, []int64{2}, want{3, 5}},
		{"Minimum", func() T { return vec(1, 5).Minimum(vec(3, 2)) }, []int64{2}, want{1, 2}},
		{"Eq", func() T { return vec(1, 2).Eq(2) }, []int64{2}, want{0, 1}},
		{"Ne", func() T { return vec(1, 2).Ne(vec(1, 1)) }, []int64{2}, want{0, 1}},
		{"Lt", func() T { return vec(1, 2).Lt(2) }, []int64{2}, want{1, 0}},
		{"Le", func() T { return vec(1, 3).Le(2) }, []int64{2}, want{1, 0}},
		{"Gt", func() T { return vec(1, 3).Gt(2) }, []int64{2}, want{0, 1}},
		{"Ge", func() T { return vec(1, 2).Ge(2) }, []int64{2}, want{0, 1}},
		{"LogicalAnd", func() T { return mask(true, true).LogicalAnd(mask(true, false)) }, []int64{2}, want{1, 0}},
		{"LogicalOr", func() T { return mask(false, false).LogicalOr(mask(true, false)) }, []int64{2}, want{1, 0}},
		{"LogicalNot", func() T { return mask(true, false).LogicalNot() }, []int64{2}, want{0, 1}},
		{"IsNaN", func() T { return vec(math.NaN(), inf).IsNaN() }, []int64{2}, want{1, 0}},
		{"IsInf", func() T { return vec(math.NaN(), inf).IsInf() }, []int64{2}, want{0, 1}},
		{"All", func() T { return mask(true, false).All() }, []int64{}, want{0}},
		{"Any", func() T { return mask(true, false).Any() }, []int64{}, want{1}},
		{"AllDim", func() T { return mat(1, 0, 1, 1).AllDim(1) }, []int64{2}, want{0, 1}},
		{"AnyDim", func() T { return mat(1, 0, 0, 0).AnyDim(1) }, []int64{2}, want{1, 0}},

		{"MatMul", func() T { return mat(1, 2, 3, 4).MatMul(vec(1, 10)) }, []int64{2}, want{21, 43}},
		{"Bmm", func() T { return mat(1, 2, 3, 4).View(2, 1, 2).Bmm(mat(1, 10, 1, 10).View(2, 2, 1)) }, []int64{2, 1, 1}, want{21, 43}},
		{"Dot", func() T { return vec(1, 2).Dot(vec(3, 4)) }, []int64{}, want{11}},
		{"T", func() T { return mat(1, 2, 3, 4, 5, 6).T() }, []int64{3, 2}, want{1, 4, 2, 5, 3, 6}},
		{"Transpose", func() T { return mat(1, 2, 3, 4).Transpose(0, -1) }, []int64{2, 2}, want{1, 3, 2, 4}},
		{"Permute", func() T { return vec(1, 2, 3, 4).View(1, 2, 2).Permute(2, 0, 1) }, []int64{2, 1, 2}, want{1, 3, 2, 4}},
		{"Reshape", func() T { return mat(1, 2, 3, 4).T().Reshape(-1) }, []int64{4}, want{1, 3, 2, 4}},
		{"Flatten", func() T { return mat(1, 2, 3, 4).Flatten(0, 1) }, []int64{4}, want{1, 2, 3, 4}},
		{"Unsqueeze", func() T { return vec(1, 2).Unsqueeze(-1) }, []int64{2, 1}, want{1, 2}},
		{"Squeeze", func() T { return vec(1, 2).Unsqueeze(0).Squeeze(0) }, []int64{2}, want{1, 2}},
		{"Expand", func() T { return vec(1, 2).Expand(2, -1) }, []int64{2, 2}, want{1, 2, 1, 2}},
		{"Repeat", func() T { return vec(1, 2).Repeat(2) }, []int64{4}, want{1, 2, 1, 2}},
		{"Narrow", func() T { return vec(1, 2, 3, 4).Narrow(0, 1, 2) }, []int64{2}, want{2, 3}},
		{"Slice", func() T { return vec(1, 2, 3, 4).Slice(0, 0, -1, 2) }, []int64{2}, want{1, 3}},
		{"Select", func() T { return mat(1, 2, 3, 4).Select(0, 1) }, []int64{2}, want{3, 4}},
		{"Split", func() T { return vec(1, 2, 3).Split(2, 0)[1] }, []int64{1}, want{3}},
		{"Chunk", func() T { return vec(1, 2, 3, 4).Chunk(2, 0)[1] }, []int64{2}, want{3, 4}},
		{"IndexSelect", func() T { return mat(1, 2, 3, 4).IndexSelect(1, ints(1, 1)) }, []int64{2, 2}, want{2, 2, 4, 4}},
		{"Gather", func() T { return mat(1, 2, 3, 4).Gather(1, ints(1, 0).View(2, 1)) }, []int64{2, 1}, want{2, 3}},
		{"ScatterAdd", func() T { return vec(1, 1).ScatterAdd(0, ints(1, 1), vec(2, 3)) }, []int64{2}, want{1, 6}},
		{"Index", func() T { return mat(1, 2, 3, 4).Index(nil, ints(1)) }, []int64{2, 1}, want{2, 4}},
		{"Index two", func() T { return mat(1, 2, 3, 4).Index(ints(0, 1), ints(1, 0)) }, []int64{2}, want{2, 3}},
		{"NonZero", func() T { return vec(0, 5, 6).NonZero() }, []int64{2, 1}, want{1, 2}},
		{"MaskedFill", func() T { return vec(1, 2).MaskedFill(mask(false, true), -inf) }, []int64{2}, want{1, -inf}},
		{"MaskedSelect", func() T { return vec(1, 2).MaskedSelect(mask(false, true)) }, []int64{1}, want{2}},
		{"Tril", func() T { return mat(1, 2, 3, 4).Tril(0) }, []int64{2, 2}, want{1, 0, 3, 4}},
		{"Triu", func() T { return mat(1, 2, 3, 4).Triu(1) }, []int64{2, 2}, want{0, 2, 0, 0}},
		{"Cat", func() T { return s.Cat(1, mat(1, 2), mat(3, 4)) }, []int64{2, 2}, want{1, 3, 2, 4}},
		{"Stack", func() T { return s.Stack(1, vec(1, 2), vec(3, 4)) }, []int64{2, 2}, want{1, 3, 2, 4}},
		{"Where", func() T { return s.Where(mask(true, false), vec(1, 2), vec(3, 4)) }, []int64{2}, want{1, 4}},

		{"Sum", func() T { return mat(1, 2, 3, 4).Sum() }, []int64{}, want{10}},
		{"Sum dim", func() T { return mat(1, 2, 3, 4).Sum(1) }, []int64{2}, want{3, 7}},
		{"SumKeep", func() T { return mat(1, 2, 3, 4).SumKeep(0) }, []int64{1, 2}, want{4, 6}},
		{"Mean", func() T { return mat(1, 2, 3, 4).Mean() }, []int64{}, want{2.5}},
		{"Mean dim", func() T { return mat(1, 2, 3, 4).Mean(0) }, []int64{2}, want{2, 3}},
		{"MeanKeep", func() T { return mat(1, 2, 3, 4).MeanKeep(-1) }, []int64{2, 1}, want{1.5, 3.5}},
		{"Max", func() T { return vec(1, 3, 2).Max() }, []int64{}, want{3}},
		{"Min", func() T { return vec(1, 3, 2).Min() }, []int64{}, want{1}},
		{"MaxDim values", func() T { return first(mat(1, 2, 4, 3).MaxDim(1, false)) }, []int64{2}, want{2, 4}},
		{"MaxDim indices", func() T { return second(mat(1, 2, 4, 3).MaxDim(1, true)) }, []int64{2, 1}, want{1, 0}},
		{"MinDim", func() T { return first(mat(1, 2, 4, 3).MinDim(0, false)) }, []int64{2}, want{1, 2}},
		{"ArgMax", func() T { return mat(1, 2, 4, 3).ArgMax(1) }, []int64{2}, want{1, 0}},
		{"ArgMin", func() T { return mat(1, 2, 4, 3).ArgMin(1) }, []int64{2}, want{0, 1}},
		{"TopK values", func() T { return first(vec(1, 3, 2).TopK(2)) }, []int64{2}, want{3, 2}},
		{"TopK indices", func() T { return second(vec(1, 3, 2).TopK(2)) }, []int64{2}, want{1, 2}},
		{"Sort stable", func() T { return second(vec(1, 3, 1, 3).Sort(0, true)) }, []int64{4}, want{1, 3, 0, 2}},
		{"Cumsum", func() T { return vec(1, 2, 3).Cumsum(0) }, []int64{3}, want{1, 3, 6}},
		{"Softmax", func() T { return vec(0, math.Log(3)).Softmax(0) }, []int64{2}, want{0.25, 0.75}},
		{"LogSoftmax", func() T { return vec(0, math.Log(3)).LogSoftmax(0) }, []int64{2}, want{math.Log(0.25), math.Log(0.75)}},
		{"LogSumExp", func() T { return mat(800, 800, 0, 0).LogSumExp(1) }, []int64{2}, want{800 + math.Ln2, math.Ln2}},
		{"Norm", func() T { return mat(1, 2, 2, 4).Norm() }, []int64{}, want{5}},
		{"NormKeep", func() T { return mat(3, 4, 6, 8).NormKeep(1) }, []int64{2, 1}, want{5, 10}},

		{"AddInPlace", func() T { return vec(1, 2).AddInPlace(vec(1, 1), -2) }, []int64{2}, want{-1, 0}},
		{"AddInPlace number", func() T { return vec(1).AddInPlace(3, 2) }, []int64{1}, want{7}},
		{"MulInPlace", func() T { return vec(1, 2).MulInPlace(vec(2, 3)).MulInPlace(2) }, []int64{2}, want{4, 12}},
		{"DivInPlace", func() T { return vec(4, 8).DivInPlace(vec(2, 4)).DivInPlace(2) }, []int64{2}, want{1, 1}},
		{"AddcmulInPlace", func() T { return vec(1).AddcmulInPlace(vec(2), vec(3), 0.5) }, []int64{1}, want{4}},
		{"AddcdivInPlace", func() T { return vec(1).AddcdivInPlace(vec(6), vec(3), -1) }, []int64{1}, want{-1}},
		{"ZeroInPlace", func() T { return vec(1).ZeroInPlace() }, []int64{1}, want{0}},
		{"FillInPlace", func() T { return vec(1).FillInPlace(4) }, []int64{1}, want{4}},
		{"CopyFrom", func() T { return vec(1, 2).CopyFrom(ints(7)) }, []int64{2}, want{7, 7}},
		{"ClampInPlace", func() T { return vec(-1, 1).ClampInPlace(0, nil) }, []int64{2}, want{0, 1}},
		{"LtInPlace", func() T { return vec(-1, 1).LtInPlace(0) }, []int64{2}, want{1, 0}},
		{"MaskedFillInPlace", func() T { return vec(1, 2).MaskedFillInPlace(mask(true, false), 9) }, []int64{2}, want{9, 2}},

		{"To", func() T { return vec(1.7).To(gotorch.Int64) }, []int64{1}, want{1}},
		{"ToDevice", func() T { return vec(1.5).ToDevice(s.Device()) }, []int64{1}, want{1.5}},
		{"Clone", func() T { x := vec(1); y := x.Clone(); x.ZeroInPlace(); return y }, []int64{1}, want{1}},
		{"Detach", func() T { x := vec(1); y := x.Detach(); x.ZeroInPlace(); return y }, []int64{1}, want{0}},
		{"Contiguous", func() T { return mat(1, 2, 3, 4).T().Contiguous() }, []int64{2, 2}, want{1, 3, 2, 4}},
		{"Zeros", func() T { return s.Zeros(1, 2) }, []int64{1, 2}, want{0, 0}},
		{"Scalar", func() T { return s.Scalar(2) }, []int64{}, want{2}},
		{"ZerosOf", func() T { return s.ZerosOf(gotorch.Int64, 1) }, []int64{1}, want{0}},
		{"FullOf", func() T { return s.FullOf(gotorch.Bool, 1, 1) }, []int64{1}, want{1}},
		{"ZerosLike", func() T { return s.ZerosLike(vec(1, 2)) }, []int64{2}, want{0, 0}},
		{"OnesLike", func() T { return s.OnesLike(vec(3, 2)) }, []int64{2}, want{1, 1}},
		{"Eye", func() T { return s.Eye(2) }, []int64{2, 2}, want{1, 0, 0, 1}},
		{"Arange", func() T { return s.Arange(1, 6, 2) }, []int64{3}, want{1, 3, 5}},
		{"FromUint8", func() T { return s.FromUint8([]uint8{200}) }, []int64{1}, want{200}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := s.Run(func() {
				got := c.make()
				if diff := cmp.Diff(c.shape, got.Shape()); diff != "" {
					t.Error("shape:", diff)
				}
				if diff := cmp.Diff(c.want, got.Float64s(), cmpopts.EquateApprox(1e-12, 1e-300)); diff != "" {
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
