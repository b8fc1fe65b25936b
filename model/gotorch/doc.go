// Package gotorch binds Go to libtorch: tensors, every ATen operator, autograd,
// random generators and devices.
//
// A [Library] is one libtorch, found and loaded at run time, so programs build
// without C++ and without libtorch. A [Session] is one thread of work on one
// device, with its own random generator and its own memory. A [Tensor] belongs
// to a scope of its session and is freed when that scope ends; the Go collector
// knows nothing about tensor memory.
//
//	lib, err := gotorch.Open(ctx, gotorch.Options{CacheDir: dir})
//	s, err := lib.NewSession(gotorch.SessionOptions{Device: "auto", Seed: 42})
//	defer s.Close()
//	err = s.Run(func() {
//		w := s.Randn(2, 3).RequiresGrad(true)
//		w.Mul(w).Sum().Backward()
//		fmt.Println(w.Grad().Float32s())
//	})
//
// Inside [Session.Run] a failing operator panics with an [*Error], which Run
// returns as an ordinary error naming the operator, its arguments and libtorch's
// reason; model code therefore reads like arithmetic. Operators without a method
// here are called by their ATen name: s.Call("aten::cdist", a, b, 2.0).
//
// A training step belongs in [Session.Scoped], which frees what the step made:
//
//	for range steps {
//		s.Scoped(func() {
//			adam.ZeroGrad()
//			loss(model.Forward(x), y).Backward()
//			adam.Step()
//		})
//	}
//
// On CUDA [Session.NewGraph] makes one launch of such a step, and
// [Session.Autocast] computes it in bfloat16 where that does no harm. The examples
// have a whole training loop, saving and loading, and random generators.
//
// A Library may be used by many goroutines, a Session by one at a time. What can
// fail outside Run returns an error; what can fail inside panics with an *Error.
//
// The packages nn and optim hold layers and optimizers. This package does not
// download libtorch, does not read the environment (the caller passes Getenv),
// does not print, and does not share tensors between sessions: host slices do
// that.
package gotorch
