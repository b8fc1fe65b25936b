package features

import (
	"hash/fnv"
	"math"
)

// An accumulator sums signed hashed features into a vector (Weinberger et al.,
// "Feature Hashing for Large Scale Multitask Learning", ICML 2009): the hash of
// a feature's name gives its component and its sign, so that collisions cancel
// on average instead of adding up.
type accumulator struct {
	vector []float64
	counts map[string]float64
}

func newAccumulator(width int) *accumulator {
	return &accumulator{vector: make([]float64, width), counts: map[string]float64{}}
}

// add counts one occurrence of a feature.
func (a *accumulator) add(feature string) { a.counts[feature]++ }

// put adds a feature of the given weight at once.
func (a *accumulator) put(feature string, weight float64) {
	component, sign := place(feature, len(a.vector))
	a.vector[component] += sign * weight
}

// place is a feature's component and sign.
func place(feature string, width int) (int, float64) {
	h := fnv.New64a()
	h.Write([]byte(feature))
	sum := mix(h.Sum64())
	sign := 1.0
	if sum>>63 == 1 {
		sign = -1
	}
	return int((sum &^ (1 << 63)) % uint64(width)), sign
}

// mix is the finalizer of MurmurHash3: the low bits of FNV-1a alone are too
// regular for short, similar names.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// normalised is the L2-normalised vector, counted features weighted by
// 1 + ln(count). The sum over features is taken in the order of their names, so
// that the result does not depend on the map's order. It reports false for a
// vector without length.
func (a *accumulator) normalised() ([]float32, bool) {
	for _, feature := range sortedKeys(a.counts) {
		a.put(feature, 1+math.Log(a.counts[feature]))
	}
	var sum float64
	for _, x := range a.vector {
		sum += x * x
	}
	out := make([]float32, len(a.vector))
	if sum == 0 {
		return out, false
	}
	scale := 1 / math.Sqrt(sum)
	for i, x := range a.vector {
		out[i] = float32(x * scale)
	}
	return out, true
}
