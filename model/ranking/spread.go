package ranking

import "math"

// Spread is how a metric came out in several runs that should say the same, usually of several seeds.
type Spread struct {
	Runs int
	Mean float64
	SD   float64 // with Runs - 1 in the denominator; NaN for a single run
}

// SpreadOf is the spread of one value a run; of none, its mean is NaN.
func SpreadOf(values []float64) Spread {
	mean, standardError := meanAndError(values)
	return Spread{Runs: len(values), Mean: mean, SD: standardError * math.Sqrt(float64(len(values)))}
}
