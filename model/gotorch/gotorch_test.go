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

// Each wrong argument must be an error before libtorch sees it: the dispatcher's
// own checks abort or read garbage for some of them.
func TestArgumentsAreCheckedAgainstTheSchema(t *testing.T) {
	for _, c := range []struct {
		name string
		call func(s *gotorch.Session)
		want []string
	}{
		{"float for int", func(s *gotorch.Session) { s.Call("aten::unsqueeze", s.Ones(1), 1.5) }, []string{`"dim" wants int, got float`, "Tensor float32[1]", "float 1.5"}},
		{"int for tensor", func(s *gotorch.Session) { s.Call("aten::neg", 3) }, []string{`"self" wants Tensor, got int`}},
		{"nil for tensor", func(s *gotorch.Session) { s.Call("aten::neg", nil) }, []string{`"self" wants Tensor, got none`}},
		{"tensor for list", func(s *gotorch.Session) { s.Call("aten::cat", s.Ones(1)) }, []string{`"tensors" wants Tensor[], got Tensor`}},
		{"nil in list", func(s *gotorch.Session) { s.Cat(0, s.Ones(1), nil) }, []string{`"tensors": element 1 is nil`}},
		{"number for unsized list", func(s *gotorch.Session) { s.Call("aten::reshape", s.Ones(1), 1) }, []string{`"shape" wants`, "got int"}},
		{"float list for sizes", func(s *gotorch.Session) { s.Call("aten::reshape", s.Ones(1), []float64{1}) }, []string{`"shape" wants`, "got float[]"}},
		{"int for dtype", func(s *gotorch.Session) {
			s.Call("aten::zeros", []int64{1}, gotorch.Named("dtype", 6))
		}, []string{`"dtype" wants ScalarType?, got int`}},
		{"dtype for int", func(s *gotorch.Session) { s.Call("aten::unsqueeze", s.Ones(1), gotorch.Float32) }, []string{`"dim" wants int, got dtype`}},
		{"string for device", func(s *gotorch.Session) {
			s.Call("aten::zeros", []int64{1}, gotorch.Named("device", "cpu"))
		}, []string{`"device" wants Device?, got str`}},
		{"dtype for layout", func(s *gotorch.Session) {
			s.Call("aten::zeros", []int64{1}, gotorch.Named("layout", gotorch.Float32))
		}, []string{`"layout" wants Layout?, got dtype`}},
		{"int for generator", func(s *gotorch.Session) {
			s.Call("aten::randn.generator", []int64{1}, gotorch.Named("generator", 1))
		}, []string{`"generator" wants Generator?, got int`}},
		{"tensor for bool", func(s *gotorch.Session) { s.Call("aten::sum.dim_IntList", s.Ones(1), []int{0}, s.Ones(1)) }, []string{`"keepdim" wants bool, got Tensor`}},
		{"bool for int", func(s *gotorch.Session) { s.Call("aten::unsqueeze", s.Ones(1), true) }, []string{`"dim" wants int, got bool`}},
		{"missing", func(s *gotorch.Session) { s.Call("aten::mm", s.Ones(1, 1)) }, []string{`"mat2" (Tensor) is missing`}},
		{"too many", func(s *gotorch.Session) { s.Call("aten::neg", s.Ones(1), 1) }, []string{"takes 1"}},
		{"twice", func(s *gotorch.Session) { s.Call("aten::neg", s.Ones(1), gotorch.Named("self", s.Ones(1))) }, []string{`"self" given twice`}},
		{"unknown name", func(s *gotorch.Session) { s.Call("aten::neg", gotorch.Named("input", s.Ones(1))) }, []string{`no argument "input"`, "aten::neg(Tensor self)"}},
		{"unknown operator", func(s *gotorch.Session) { s.Call("aten::no_such_thing") }, []string{"aten::no_such_thing: libtorch", "has no such operator"}},
		{"unknown overload", func(s *gotorch.Session) { s.Call("aten::add.Nothing") }, []string{"has no such operator"}},
		{"Go type", func(s *gotorch.Session) { s.Call("aten::neg", map[int]int{}) }, []string{"a map[int]int cannot be passed"}},
		{"not one tensor", func(s *gotorch.Session) { s.Call1("aten::split.Tensor", s.Ones(2), 1) }, []string{"does not return one tensor"}},
		{"not a tensor", func(s *gotorch.Session) { s.Call("aten::size.int", s.Ones(2), 0) }, []string{"use CallAny"}},
		{"values for shape", func(s *gotorch.Session) { s.FromFloat32([]float32{1}, 2, 2) }, []string{"1 values for shape [2 2]"}},
		{"negative shape", func(s *gotorch.Session) { s.FromFloat32(nil, -1, 0) }, []string{"negative size in shape [-1 0]"}},
		{"item of many", func(s *gotorch.Session) { s.Ones(2).Item() }, []string{"has 2 elements"}},
		{"int64s of floats", func(s *gotorch.Session) { s.Ones(2).Int64s() }, []string{"not an integer tensor"}},
		{"bools of floats", func(s *gotorch.Session) { s.Ones(2).Bools() }, []string{"not a bool tensor"}},
		{"size out of range", func(s *gotorch.Session) { s.Ones(2).Size(1) }, []string{"out of range"}},
	} {
		t.Run(c.name, func(t *testing.T) { wantContains(t, failure(t, c.call).Error(), c.want...) })
	}
}

// What libtorch throws, at the call and in the backward pass, is an error.
func TestExceptionsBecomeErrors(t *testing.T) {
	torchtest.NeedsCPU(t) // where an index out of range is found at once
	e := failure(t, func(s *gotorch.Session) { s.Ones(2).IndexSelect(0, s.FromInt64([]int64{5})) })
	wantContains(t, e.Error(), "aten::index_select", "out of range")
	e = failure(t, func(s *gotorch.Session) { s.Ones(2).Backward() })
	wantContains(t, e.Error(), "Backward(Tensor float32[2])", "grad")
	e = failure(t, func(s *gotorch.Session) {
		x := s.Ones(2).RequiresGrad(true)
		s.Gradients([]*gotorch.Tensor{x.Sum()}, []*gotorch.Tensor{s.Ones(1).RequiresGrad(true)}, nil, gotorch.BackwardOptions{})
	})
	wantContains(t, e.Error(), "Gradients")
	e = failure(t, func(s *gotorch.Session) { s.FromInt64([]int64{1}).RequiresGrad(true) })
	wantContains(t, e.Error(), "RequiresGrad", "floating point")
}

func TestGradients(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		x := s.FromFloat32([]float32{1, 2}).RequiresGrad(true)
		unused := s.Ones(1).RequiresGrad(true)
		y := x.Pow(3)
		g := s.Gradients([]*gotorch.Tensor{y}, []*gotorch.Tensor{x, unused}, []*gotorch.Tensor{s.FromFloat32([]float32{1, 10})},
			gotorch.BackwardOptions{CreateGraph: true, AllowUnused: true})
		if got := g[0].Float32s(); !cmp.Equal(got, []float32{3, 120}) || g[1] != nil {
			t.Errorf("gradients %v and %v", got, g[1])
		}
		if x.Grad() != nil {
			t.Error("Gradients accumulated")
		}
		second := s.Gradients([]*gotorch.Tensor{g[0].Sum()}, []*gotorch.Tensor{x}, nil, gotorch.BackwardOptions{})
		if got := second[0].Float32s(); !cmp.Equal(got, []float32{6, 120}) {
			t.Errorf("second derivatives %v", got)
		}
		z := x.Mul(2)
		z.BackwardWith(s.Ones(2), gotorch.BackwardOptions{RetainGraph: true})
		z.BackwardWith(s.Ones(2), gotorch.BackwardOptions{})
		if got := x.Grad().Float32s(); !cmp.Equal(got, []float32{4, 4}) {
			t.Errorf("accumulated %v", got)
		}
		x.Grad().ZeroInPlace()
		if got := x.Grad().Float32s(); !cmp.Equal(got, []float32{0, 0}) {
			t.Errorf("zeroed gradient is %v", got)
		}
		x.SetGrad(s.Ones(2))
		if got := x.Grad().Float32s(); !cmp.Equal(got, []float32{1, 1}) {
			t.Errorf("set gradient is %v", got)
		}
	})
}

func TestDispatcherIsAsked(t *testing.T) {
	lib := torchtest.Open(t)
	if !lib.HasOperator("aten::add.Tensor") || lib.HasOperator("aten::add.Nothing") || lib.HasOperator("aten::no_such_thing") {
		t.Error("HasOperator is wrong")
	}
	schema, err := lib.Schema("aten::mm")
	if err != nil || schema != "aten::mm(Tensor self, Tensor mat2) -> Tensor" {
		t.Errorf("schema %q, error %v", schema, err)
	}
	info, err := lib.BuildInfo()
	if err != nil {
		t.Fatal(err)
	}
	wantContains(t, info, lib.Installation().Version)
	if n := lib.DeviceCount(gotorch.CPU); n != 1 {
		t.Errorf("%d CPUs", n)
	}
	if err := lib.SetDeterministic(true); err != nil {
		t.Error(err)
	}
	if err := lib.SetDeterministic(false); err != nil {
		t.Error(err)
	}
}

func TestAdviceNamesAPackage(t *testing.T) {
	for _, line := range torchtest.Open(t).Advice() {
		wantContains(t, line, "apt-get install")
	}
}
