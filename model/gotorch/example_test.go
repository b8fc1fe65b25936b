package gotorch_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/optim"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

func Example() {
	lib, err := gotorch.Open(context.Background(), torchtest.Options())
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := lib.NewSession(gotorch.SessionOptions{Device: "cpu", Threads: 1, Seed: 42})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	err = s.Run(func() {
		w := s.FromFloat32([]float32{1, 2, 3}).RequiresGrad(true)
		w.Mul(w).Sum().Backward()
		fmt.Println(w.Grad().Float32s())
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: [2 4 6]
}

// A linear model learns y = 2x + 1. What outlives a step is persistent: parameters
// by themselves. Input and output live as long as the Run here.
func Example_training() {
	err := torchtest.Try(func(s *gotorch.Session) {
		x := s.FromFloat32([]float32{-1, 0, 1, 2}, 4, 1)
		y := s.FromFloat32([]float32{-1, 1, 3, 5}, 4, 1)
		model := nn.NewLinear(s, 1, 1, nn.Normal(0, 0.1), nn.Zeros)
		adam, err := optim.NewAdam(s, model.Parameters(), optim.AdamOptions{LearningRate: 0.05})
		if err != nil {
			fmt.Println(err)
			return
		}
		for range 500 {
			s.Scoped(func() {
				adam.ZeroGrad()
				model.Forward(x).Sub(y).Square().Mean().Backward()
				optim.ClipGradNorm(s, model.Parameters(), 1)
				adam.Step()
			})
		}
		s.NoGrad(func() {
			fmt.Printf("%.1f\n", model.Forward(s.Full(10, 1, 1)).Item())
		})
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: 21.0
}

// Parameters are saved and loaded through slices of the host, which are also how
// they go from one session to another.
func Example_saving() {
	type saved struct {
		shape  []int64
		values []float32
	}
	checkpoint := map[string]saved{}
	err := torchtest.Try(func(s *gotorch.Session) {
		model := nn.NewLinear(s, 2, 1, nn.Constant(0.5), nn.Ones)
		for _, p := range model.Parameters() {
			checkpoint[p.Name] = saved{p.Tensor.Shape(), p.Tensor.Float32s()}
		}
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = torchtest.Try(func(s *gotorch.Session) {
		model := nn.NewLinear(s, 2, 1, nn.Zeros, nn.Zeros)
		s.NoGrad(func() {
			for _, p := range model.Parameters() {
				from := checkpoint[p.Name]
				p.Tensor.CopyFrom(s.FromFloat32(from.values, from.shape...))
			}
		})
		fmt.Println(model.Forward(s.Ones(1, 2)).Float32s())
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: [2]
}

// A generator apart from the session's: what is drawn from it does not move the
// numbers that the model gets.
func ExampleSession_NewGenerator() {
	err := torchtest.Try(func(s *gotorch.Session) {
		g, err := s.NewGenerator(7)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer g.Close()
		draw := func() float64 {
			return s.Call1("aten::rand.generator", []int64{1}, gotorch.Named("generator", g), gotorch.Named("device", s.Device())).Item()
		}
		first := draw()
		s.Rand(100)
		if err := g.Seed(7); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(draw() == first)
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: true
}

// A step that is captured on CUDA, and called as it is elsewhere. It changes only
// tensors that outlive it.
func ExampleSession_NewGraph() {
	err := torchtest.Try(func(s *gotorch.Session) {
		x, total := s.Zeros(3), s.Zeros()
		s.Persist(x, total)
		add := s.NewGraph(func() { total.AddInPlace(x.Sum(), 1) })
		for i := range 6 {
			x.FillInPlace(float64(i))
			add.Run()
		}
		fmt.Println(total.Item())
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: 45
}

// The matrix product is computed in bfloat16; the weight and its gradient stay
// float32.
func ExampleSession_Autocast() {
	err := torchtest.Try(func(s *gotorch.Session) {
		w := s.Ones(2, 2).RequiresGrad(true)
		var y *gotorch.Tensor
		s.Autocast(gotorch.BFloat16, func() { y = s.Ones(1, 2).MatMul(w) })
		y.Sum().Backward()
		fmt.Println(y, w.Grad())
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: Tensor bfloat16[1 2] Tensor float32[2 2]
}

// Operators without a method are called by their ATen name.
func ExampleSession_Call() {
	err := torchtest.Try(func(s *gotorch.Session) {
		a := s.FromFloat32([]float32{0, 0, 3, 4}, 2, 2)
		distances := s.Call1("aten::cdist", a, a)
		fmt.Println(distances.Float32s())
		total := s.Call1("aten::sum", a, gotorch.Named("dtype", gotorch.Float64))
		fmt.Println(total, total.Item())
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// [0 5 5 0]
	// Tensor float64[] 7
}

// A scope frees what was made in it, except what is kept.
func ExampleSession_Scoped() {
	err := torchtest.Try(func(s *gotorch.Session) {
		var kept, freed *gotorch.Tensor
		s.Scoped(func() {
			kept, freed = s.Ones(2), s.Ones(2)
			s.Keep(kept)
		})
		fmt.Println(kept.Valid(), freed.Valid())
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: true false
}

func ExampleError() {
	err := torchtest.Try(func(s *gotorch.Session) {
		s.Zeros(2, 3).MatMul(s.Zeros(4, 5))
	})
	var e *gotorch.Error
	fmt.Println(errors.As(err, &e))
	fmt.Println(e.Op)
	fmt.Println(e.Args)
	fmt.Println(e.Msg)
	// Output:
	// true
	// aten::matmul
	// [Tensor float32[2 3] Tensor float32[4 5]]
	// mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)
}

func ExampleGenerator_State() {
	err := torchtest.Try(func(s *gotorch.Session) {
		state, err := s.Generator().State()
		if err != nil {
			fmt.Println(err)
			return
		}
		before := s.Rand(1).Item()
		if err := s.Generator().SetState(state); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(s.Rand(1).Item() == before)
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: true
}
