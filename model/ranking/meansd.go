package ranking

import "math"

// MeanSD is how a metric came out in several runs that should say the same, usually of several seeds.
type MeanSD struct {
	Runs int
	Mean float64
	SD   float64 // with Runs - 1 in the denominator; NaN for a single run
}

// MeanSDOf is that of one value a run; of none, its mean is NaN.
func MeanSDOf(values []float64) MeanSD {
	mean, standardError := meanAndError(values)
	return MeanSD{Runs: len(values), Mean: mean, SD: standardError * math.Sqrt(float64(len(values)))}
}
