// Package goldentest holds tests to what published implementations compute: to
// tensors of theirs in a safetensors file.
//
//	golden := goldentest.Open(t, "testdata/indirec_base.safetensors")
//	golden.Near("loss", loss.Float32s(), golden.Floats("step0.loss"), 1e-5, 1e-5)
//
// How such a file was made, and how nearly one can agree with it, is the matter of
// the tests.
package goldentest

import (
	"math"
	"os"
	"testing"

	"github.com/prismflow/prismflow/model/safetensors"
)

// A File is such a file in a test, which ends where the file has not what is asked
// of it.
type File struct {
	*safetensors.File
	t testing.TB
}

// Open reads a file.
func Open(t testing.TB, path string) File {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := safetensors.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return File{file, t}
}

// Floats are the values of a tensor of float32.
func (f File) Floats(name string) []float32 {
	f.t.Helper()
	values, err := f.Float32(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return values
}

// Ints are the values of a tensor of int64.
func (f File) Ints(name string) []int64 {
	f.t.Helper()
	values, err := f.Int64(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return values
}

// Near wants got to differ from want by no more than absolute + relative·|want| in
// any element, and reports the worst.
func (f File) Near(what string, got, want []float32, absolute, relative float64) {
	f.t.Helper()
	if len(got) != len(want) {
		f.t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	worst, at := 0.0, -1
	for i := range want {
		excess := math.Abs(float64(got[i])-float64(want[i])) - absolute - relative*math.Abs(float64(want[i]))
		if !(excess <= worst) {
			worst, at = excess, i
		}
	}
	if at >= 0 {
		f.t.Errorf("%s: element %d is %v, want %v", what, at, got[at], want[at])
	}
}

// Largest is the largest magnitude among values, 0 of none.
func Largest(values []float32) float64 {
	largest := 0.0
	for _, v := range values {
		largest = max(largest, math.Abs(float64(v)))
	}
	return largest
}
