package picture

import (
	"testing"
	"time"
)

// BenchmarkDecode decodes a picture of 500 × 375 by the libraries and, in the
// same run and in turn with them, by Go's decoders.
func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"large.jpg", "large.webp"} {
		b.Run(name, func(b *testing.B) {
			native, slow := open(b, Native), open(b, Go)
			data := sample(b, name)
			var total time.Duration
			b.ReportAllocs()
			for b.Loop() {
				decode(b, native, data)
				b.StopTimer()
				start := time.Now()
				decode(b, slow, data)
				total += time.Since(start)
				b.StartTimer()
			}
			b.ReportMetric(float64(total.Nanoseconds())/float64(b.Elapsed().Nanoseconds()), "times_faster_than_go")
		})
	}
}

// BenchmarkInspect is what a picture costs that is not decoded.
func BenchmarkInspect(b *testing.B) {
	data := sample(b, "large.jpg")
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Inspect(data, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
