package gotorch_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/prismflow/prismflow/model/gotorch"
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
