package training

import (
	"testing"
	"time"

	"github.com/prismflow/prismflow/model/gotorch"
)

// ceilings are what a device reaches at best, measured: floating-point
// operations a second in a product of large matrices, and bytes a second in
// copying a large block, read and written.
type ceilings struct {
	operations, bytes float64
}

func measureCeilings(s *gotorch.Session) ceilings {
	matrix, block, times := int64(1024), int64(16<<20), 5
	if s.Device().Type == gotorch.CUDA {
		matrix, block, times = 8192, 256<<20, 20
	}
	var c ceilings
	s.Scoped(func() {
		s.NoGrad(func() {
			a, b := s.Randn(matrix, matrix), s.Randn(matrix, matrix)
			n := float64(matrix)
			c.operations = 2 * n * n * n / fastest(s, times, func() { a.MatMul(b) })
			from, to := s.Zeros(block), s.Zeros(block)
			c.bytes = 2 * 4 * float64(block) / fastest(s, times, func() { to.CopyFrom(from) })
		})
	})
	return c
}

// fastest is the least of several times, in seconds.
func fastest(s *gotorch.Session, times int, what func()) float64 {
	least := 0.0
	for range times {
		s.Synchronize()
		begun := time.Now()
		s.Scoped(what)
		s.Synchronize()
		if took := time.Since(begun).Seconds(); least == 0 || took < least {
			least = took
		}
	}
	return least
}

// adamBytes are what Adam moves for one value in a step, all in float32: reads
// the parameter, its gradient and both moments, and writes all but the gradient.
const adamBytes = 7 * 4

// bytesMoved is the least that a step must move for its parameters: the optimizer's
// part, and the gradient written once. Activations, which fit in caches or are
// moved beside, are not counted; so the share is a lower bound.
func bytesMoved(t *trainer) float64 {
	values := 0.0
	for _, p := range t.parameters {
		values += float64(p.Tensor.Numel())
	}
	return (adamBytes + 4) * values
}

// reportRoofline reports which share of either ceiling steps of a duration reach.
func reportRoofline(b *testing.B, t *trainer, operations, seconds float64) {
	c := measureCeilings(t.session)
	b.ReportMetric(c.operations/1e9, "Gop/s-ceiling")
	b.ReportMetric(c.bytes/1e9, "GB/s-ceiling")
	b.ReportMetric(100*operations/seconds/c.operations, "%operations")
	b.ReportMetric(100*bytesMoved(t)/seconds/c.bytes, "%bytes")
}
