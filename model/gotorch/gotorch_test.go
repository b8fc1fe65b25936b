package gotorch_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// failure runs fn in a session and returns the *Error that it must give.
func failure(t *testing.T, fn func(s *gotorch.Session)) *gotorch.Error {
	t.Helper()
	s := torchtest.Session(t)
	err := s.Run(func() { fn(s) })
	var e *gotorch.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *gotorch.Error", err)
	}
	return e
}

func wantContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q does not contain %q", text, p)
		}
	}
}

func TestHostRoundTrip(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		x := s.FromFloat32([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
		if diff := cmp.Diff([]int64{2, 3}, x.Shape()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]float32{1, 4, 2, 5, 3, 6}, x.T().Float32s()); diff != "" {
			t.Error("transposed values are not in row order:", diff)
		}
		if diff := cmp.Diff([]int64{-1, 1 << 60}, s.FromInt64([]int64{-1, 1 << 60}).Int64s()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]bool{true, false}, s.FromBool([]bool{true, false}).Bools()); diff != "" {
			t.Error(diff)
		}
		if got := s.FromFloat32(nil, 0, 4).Shape(); !cmp.Equal(got, []int64{0, 4}) {
			t.Errorf("empty tensor has shape %v", got)
		}
		if got := s.Scalar(2.5).Item(); got != 2.5 {
			t.Errorf("Item of a scalar is %v", got)
		}
	})
}

func TestCallFillsDefaultsAndNames(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		x := s.FromFloat32([]float32{1, 2, 3, 4}, 2, 2)
		sum := s.Call1("aten::sum", x, gotorch.Named("dtype", gotorch.Float64))
		if sum.DType() != gotorch.Float64 || sum.Item() != 10 {
			t.Errorf("sum is %v of %v", sum.Item(), sum)
		}
		// int[1] takes a single number.
		if got := s.Call1("aten::sum.dim_IntList", x, 0).Float32s(); !cmp.Equal(got, []float32{4, 6}) {
			t.Errorf("column sums are %v", got)
		}
		if got := s.CallAny("aten::size.int", x, 1); !cmp.Equal(got, []any{int64(2)}) {
			t.Errorf("size is %v", got)
		}
		big := s.Call("aten::split.Tensor", s.Zeros(200), 1)
		if len(big) != 200 || big[199].Numel() != 1 {
			t.Errorf("split gave %d tensors", len(big))
		}
	})
}

func TestWrongShapeErrorNamesShapes(t *testing.T) {
	e := failure(t, func(s *gotorch.Session) { s.Zeros(2, 3).MatMul(s.Zeros(2, 3)) })
	if e.Op != "aten::matmul" {
		t.Errorf("error names %s", e.Op)
	}
	wantContains(t, e.Error(), "float32[2 3]", "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)")
	if strings.Contains(e.Error(), "\n") {
		t.Errorf("error has more than one line: %q", e.Error())
	}
}

func TestBackwardFiniteDifference(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		values := []float64{0.3, -1.2, 0.7, 2.1}
		f := func(x *gotorch.Tensor) *gotorch.Tensor {
			return x.Softmax(0).Mul(x.Tanh()).Sum().Add(x.GELU().Pow(2).Mean())
		}
		x := s.FromFloat64(values).RequiresGrad(true)
		f(x).Backward()
		got := x.Grad().Float64s()
		const h = 1e-6
		for i := range values {
			at := func(d float64) float64 {
				v := append([]float64(nil), values...)
				v[i] += d
				return f(s.FromFloat64(v)).Item()
			}
			if want := (at(h) - at(-h)) / (2 * h); math.Abs(got[i]-want) > 1e-8 {
				t.Errorf("gradient %d is %v, finite difference %v", i, got[i], want)
			}
		}
	})
}
