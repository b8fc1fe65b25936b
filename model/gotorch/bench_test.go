package gotorch_test

import (
	"fmt"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// BenchmarkCall measures what one operator costs on tensors too small for the
// arithmetic to matter: the binding's overhead plus libtorch's own.
func BenchmarkCall(b *testing.B) {
	s := torchtest.Session(b)
	err := s.Run(func() {
		x, y := s.Ones(4), s.Ones(4)
		loop := func(name string, step func()) {
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; i < b.N; {
					s.Scoped(func() {
						for end := min(i+100, b.N); i < end; i++ {
							step()
						}
					})
				}
			})
		}
		s.NoGrad(func() {
			loop("add", func() { x.Add(y) })
			loop("add_scalar", func() { x.Add(1.5) })
			loop("add_in_place", func() { x.AddInPlace(y, 1) })
			loop("view", func() { x.View(2, 2) })
			loop("call_sum", func() { s.Call1("aten::sum.dim_IntList", x, []int{0}, true) })
			loop("shape", func() { x.Shape() })
		})
	})
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkMatMul shows whether libtorch has a fast BLAS: the reference BLAS
// that Debian installs beside libtorch reaches a few GFLOP/s on one core,
// OpenBLAS many tens.
func BenchmarkMatMul(b *testing.B) {
	s := torchtest.Session(b)
	for _, n := range []int64{64, 256, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			err := s.Run(func() {
				x, y := s.Randn(n, n), s.Randn(n, n)
				b.ResetTimer()
				for range b.N {
					s.Scoped(func() { x.MatMul(y) })
				}
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(2*float64(n*n*n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
