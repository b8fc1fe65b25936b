package gotorch_test

import (
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/optim"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// Nothing that a caller can pass may end the process: each of these is an
// *Error that says what was wrong, and the session goes on afterwards.
func TestMisuseIsAnErrorAndNoCrash(t *testing.T) {
	torchtest.NeedsCPU(t) // a GPU reports a bad index later, and is unusable then
	s := torchtest.Session(t)
	for _, c := range []struct {
		name string
		call func()
		want []string
	}{
		{"shapes that do not broadcast", func() { s.Ones(2).Add(s.Ones(3)) }, []string{"aten::add.Tensor", "float32[2]", "float32[3]"}},
		{"matrix times wrong vector", func() { s.Ones(2, 3).MatMul(s.Ones(2)) }, []string{"aten::matmul"}},
		{"batches of different size", func() { s.Ones(2, 3, 3).Bmm(s.Ones(3, 3, 3)) }, []string{"aten::bmm"}},
		{"reshape to another size", func() { s.Ones(6).Reshape(4) }, []string{"aten::reshape", "invalid for input of size 6"}},
		{"reshape with two unknowns", func() { s.Ones(6).Reshape(-1, -1) }, []string{"only one dimension can be inferred"}},
		{"view across memory", func() { s.Ones(2, 3).T().View(6) }, []string{"aten::view"}},
		{"dimension out of range", func() { s.Ones(2).Sum(3) }, []string{"Dimension out of range"}},
		{"permutation of too few", func() { s.Ones(2, 2).Permute(0) }, []string{"aten::permute"}},
		{"narrow beyond the end", func() { s.Ones(3).Narrow(0, 2, 2) }, []string{"aten::narrow"}},
		{"select beyond the end", func() { s.Ones(3).Select(0, 3) }, []string{"aten::select.int"}},
		{"slice with step 0", func() { s.Ones(3).Slice(0, 0, 3, 0) }, []string{"step must be positive"}},
		{"chunk into none", func() { s.Ones(3).Chunk(0, 0) }, []string{"chunk"}},
		{"split into nothing", func() { s.Ones(3).Split(-1, 0) }, []string{"split"}},
		{"topk of more than there are", func() { s.Ones(3).TopK(4) }, []string{"aten::topk", "out of range"}},
		{"cat of nothing", func() { s.Cat(0) }, []string{"aten::cat"}},
		{"stack of different shapes", func() { s.Stack(0, s.Ones(1), s.Ones(2)) }, []string{"equal size"}},
		{"transpose of three dimensions", func() { s.Ones(1, 1, 1).T() }, []string{"aten::t"}},
		{"clamp without bounds", func() { s.Ones(1).Clamp(nil, nil) }, []string{"aten::clamp"}},
		{"range of step 0", func() { s.Arange(0, 1, 0) }, []string{"aten::arange", "step"}},
		{"range that leads away", func() { s.Arange(0, 1, -1) }, []string{"aten::arange", "step"}},
		{"draw from an empty range", func() { s.RandInt(3, 3, 1) }, []string{"aten::randint"}},
		{"negative size", func() { s.Zeros(-2) }, []string{"aten::zeros", "negative"}},
		{"maximum of nothing", func() { s.Zeros(0).Max() }, []string{"aten::max"}},

		{"matrix product of mixed types", func() { s.Ones(2, 2).MatMul(s.FromFloat64([]float64{1, 2, 3, 4}, 2, 2)) }, []string{"aten::matmul", "float64[2 2]"}},
		{"float indices", func() { s.Ones(3).IndexSelect(0, s.Ones(1)) }, []string{"aten::index_select"}},
		{"float mask", func() { s.Ones(3).MaskedFill(s.Ones(3), 1) }, []string{"MaskedFill", "not a bool mask"}},
		{"float mask in place", func() { s.Ones(3).MaskedFillInPlace(s.Ones(3), 1) }, []string{"MaskedFillInPlace", "not a bool mask"}},
		{"float mask to select", func() { s.Ones(3).MaskedSelect(s.Ones(3)) }, []string{"MaskedSelect", "not a bool mask"}},
		{"nil mask", func() { s.Ones(3).MaskedFill(nil, 1) }, []string{"MaskedFill", "nil tensor"}},
		{"result of another type in place", func() { s.FromInt64([]int64{1}).AddInPlace(s.Ones(1), 1) }, []string{"aten::add_.Tensor"}},
		{"mean of integers", func() { s.FromInt64([]int64{1, 2}).Mean() }, []string{"aten::mean"}},
		{"unknown element type", func() { s.Empty(gotorch.DType(99), 1) }, []string{"aten::empty.memory_format", "99"}},

		{"device that is not there", func() { s.Ones(1).ToDevice(gotorch.Device{Type: gotorch.CUDA, Index: 77}) }, []string{"aten::to.device"}},
		{"device type that is not there", func() { s.Ones(1).ToDevice(gotorch.Device{Type: 120}) }, []string{"aten::to.device"}},

		{"embedding beyond the table", func() { s.Call("aten::embedding", s.Ones(3, 2), s.FromInt64([]int64{3})) }, []string{"aten::embedding", "out of range"}},
		{"embedding below the table", func() { s.Call("aten::embedding", s.Ones(3, 2), s.FromInt64([]int64{-1})) }, []string{"aten::embedding", "out of range"}},
		{"embedding of floats", func() { s.Call("aten::embedding", s.Ones(3, 2), s.Ones(1)) }, []string{"aten::embedding"}},
		{"gather beyond the end", func() { s.Ones(2, 2).Gather(1, s.FromInt64([]int64{2, 0}, 1, 2)) }, []string{"aten::gather", "out of bounds"}},
		{"gather before the start", func() { s.Ones(2, 2).Gather(1, s.FromInt64([]int64{-1, 0}, 1, 2)) }, []string{"aten::gather", "out of bounds"}},
		{"index_select beyond the end", func() { s.Ones(3, 2).IndexSelect(0, s.FromInt64([]int64{3})) }, []string{"aten::index_select", "out of range"}},
		{"index_select before the start", func() { s.Ones(3, 2).IndexSelect(0, s.FromInt64([]int64{-1})) }, []string{"aten::index_select", "out of range"}},
		{"index beyond the end", func() { s.Ones(3).Index(s.FromInt64([]int64{3})) }, []string{"aten::index.Tensor", "out of bounds"}},
		{"index of too many dimensions", func() { i := s.FromInt64([]int64{0}); s.Ones(3).Index(i, i) }, []string{"too many indices"}},
		{"scatter_add beyond the end", func() { s.Ones(3).ScatterAdd(0, s.FromInt64([]int64{3}), s.Ones(1)) }, []string{"aten::scatter_add", "out of bounds"}},
		{"class beyond the last", func() {
			s.Call("aten::cross_entropy_loss", s.Ones(1, 3), s.FromInt64([]int64{3}))
		}, []string{"aten::cross_entropy_loss", "out of bounds"}},

		{"more memory than there is", func() { s.Zeros(1 << 50) }, []string{"aten::zeros", "memory"}},
		{"more elements than can be counted", func() { s.Zeros(1<<40, 1<<40) }, []string{"aten::zeros"}},
		{"host values for such a shape", func() { s.FromFloat32(nil, 1<<32, 1<<32) }, []string{"FromFloat32", "0 values for shape [4294967296 4294967296]"}},
		{"copies without end", func() { s.Ones(1<<20).Repeat(1<<30, 1) }, []string{"aten::repeat", "memory"}},

		{"no such operator", func() { s.Call("aten::no_such_thing") }, []string{"no such operator"}},
		{"no such overload", func() { s.Call("aten::add.Nothing", s.Ones(1), 1) }, []string{"aten::add.Nothing", "no such operator"}},
		{"operator without its overload", func() { s.Call("aten::index_select.out", s.Ones(1), 0) }, []string{"aten::index_select.out", `"index"`}},
		{"no namespace", func() { s.Call("add", s.Ones(1), 1) }, []string{"no such operator"}},
		{"no name", func() { s.Call("") }, []string{"no such operator"}},

		{"backward of a constant", func() { s.Ones(1).Backward() }, []string{"Backward", "does not require grad"}},
		{"backward twice", func() {
			loss := s.Ones(2).RequiresGrad(true).Exp().Sum()
			loss.Backward()
			loss.Backward()
		}, []string{"Backward", "second time"}},
		{"gradient of another shape", func() { s.Ones(2).RequiresGrad(true).SetGrad(s.Ones(3)) }, []string{"SetGrad", "float32[3]", "shape"}},
		{"gradient of another type", func() { s.Ones(2).RequiresGrad(true).SetGrad(s.FromFloat64([]float64{1, 2})) }, []string{"SetGrad", "float64[2]"}},
		{"in place on a leaf", func() { s.Ones(2).RequiresGrad(true).ZeroInPlace() }, []string{"aten::zero_", "leaf"}},
		{"weights of another shape", func() {
			x := s.Ones(2).RequiresGrad(true)
			x.Mul(2).BackwardWith(s.Ones(3), gotorch.BackwardOptions{})
		}, []string{"Backward", "shape"}},
		{"zero value of Tensor", func() { new(gotorch.Tensor).Exp() }, []string{"aten::exp"}},
		{"zero value as operand", func() { s.Ones(1).Add(new(gotorch.Tensor)) }, []string{"aten::add.Tensor"}},
		{"nil operand", func() { s.Ones(1).Maximum(nil) }, []string{"aten::maximum", "got none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := s.Run(c.call)
			if err == nil {
				t.Fatal("accepted")
			}
			wantContains(t, err.Error(), c.want...)
			if err := s.Run(func() { s.Ones(2).Sum().Item() }); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// What belongs to a closed session is an error to use, from any session.
func TestClosedSessionIsAnError(t *testing.T) {
	lib := torchtest.Open(t)
	s, err := lib.NewSession(gotorch.SessionOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	var x *gotorch.Tensor
	var g *gotorch.Graph
	if err := s.Run(func() {
		x = s.Ones(1)
		s.Persist(x)
		g = s.NewGraph(func() {})
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	g.Close() // as a deferred one may be
	for name, use := range map[string]func(){
		"operator": func() { s.Ones(1) },
		"tensor":   func() { x.Exp() },
		"values":   func() { x.Float32s() },
		"shape":    func() { x.Shape() },
		"scope":    func() { s.Scoped(func() {}) },
		"graph":    func() { g.Run() },
		"autocast": func() { s.Autocast(gotorch.BFloat16, func() {}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if _, ok := recover().(*gotorch.Error); !ok {
					t.Error("no *gotorch.Error")
				}
			}()
			use()
		})
	}
	if err := s.Generator().Seed(1); err == nil {
		t.Error("the generator can be seeded")
	}
	if _, err := s.NewGenerator(1); err == nil {
		t.Error("a generator can be made")
	}
	if x.Valid() {
		t.Error("the tensor is valid")
	}
}

// A thousand steps of what training does leave as many tensors as one, and the
// process no larger.
func TestTrainingDoesNotLeak(t *testing.T) {
	const steps, settled = 1000, 200
	torchtest.Run(t, func(s *gotorch.Session) {
		l := nn.NewLinear(s, 64, 64, nn.Normal(0, 0.1), nn.Zeros)
		table := nn.NewEmbedding(s, 500, 64, 0, nn.Normal(0, 1))
		params := nn.Join(nn.Prefix("l", l), nn.Prefix("table", table))
		adam, err := optim.NewAdam(s, params, optim.AdamOptions{LearningRate: 1e-3})
		if err != nil {
			t.Fatal(err)
		}
		indices := s.RandInt(0, 500, 32, 20)
		step := func() {
			adam.ZeroGrad()
			hidden := nn.Dropout{P: 0.1}.Forward(l.Forward(table.Forward(indices)).GELU(), nn.Train)
			hidden.MatMul(hidden.Transpose(1, 2)).Softmax(-1).Square().Mean().Backward()
			optim.ClipGradNorm(s, params, 1)
			adam.Step()
		}
		var tensors int64
		var bytes int64
		for i := range steps {
			s.Scoped(step)
			if i == settled {
				tensors, bytes = s.Library().LiveTensors(), resident(t)
			}
		}
		if got := s.Library().LiveTensors(); got != tensors {
			t.Errorf("%d tensors after %d steps, %d after %d", tensors, settled, got, steps)
		}
		// One leaked activation a step, the smallest leak there could be, is 100 MB.
		if grown := resident(t) - bytes; grown > 20<<20 {
			t.Errorf("%d steps took another %d MB", steps-settled, grown>>20)
		}
		if loss := l.Weight.Sum().Item(); math.IsNaN(loss) {
			t.Error("the weights are not numbers")
		}
	})
}

// resident is the memory that the process has, in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skipf("needs /proc: %v", err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
