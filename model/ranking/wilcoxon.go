package ranking

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// SignedRank is the outcome of a Wilcoxon signed-rank test.
type SignedRank struct {
	Pairs         int     // whose difference is not 0
	Zeros         int     // pairs without a difference, which the test leaves out
	Better, Worse float64 // sums of the ranks of |difference| where it is above 0, below 0
	Z             float64 // Better in standard deviations from its mean without a difference; NaN without pairs
	P             float64 // two-sided; 1 without pairs
}

// Wilcoxon tests whether paired differences are symmetric about 0, from the ranks of their sizes alone. A zero is left
// out before ranking, as Wilcoxon has it and as R and SciPy do unless told otherwise (Pratt's variant keeps its rank),
// and tied sizes share the mean of their ranks. P is from the normal approximation without continuity correction, with
// the variance that these very ranks have when every sign is a toss of a coin; from about 20 pairs on it can be
// relied on. A difference that is not a number makes Z and P so.
//
// Sizes are tied, and a difference is zero, within a 10⁹th of the largest size: a third of a user's runs is
// 1/3 - 0 in one place and 1 - 2/3 in another, which differ in their last digit and mean the same.
//
// Source: F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945).
func Wilcoxon(differences []float64) SignedRank {
	if slices.ContainsFunc(differences, math.IsNaN) {
		return SignedRank{Z: math.NaN(), P: math.NaN()}
	}
	same := 0.0
	for _, d := range differences {
		same = max(same, math.Abs(d)*rounding)
	}
	var signed []float64
	for _, d := range differences {
		if math.Abs(d) > same {
			signed = append(signed, d)
		}
	}
	t := SignedRank{Pairs: len(signed), Zeros: len(differences) - len(signed), Z: math.NaN(), P: 1}
	if t.Pairs == 0 {
		return t
	}
	slices.SortFunc(signed, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	squares := 0.0
	for i, rank := range sizeRanks(signed, same) {
		if signed[i] > 0 {
			t.Better += rank
		} else {
			t.Worse += rank
		}
		squares += rank * rank
	}
	t.Z = (t.Better - t.Worse) / math.Sqrt(squares)
	t.P = math.Erfc(math.Abs(t.Z) / math.Sqrt2)
	return t
}

// rounding is what means may differ by that would be equal without floating point, as a share of the largest.
const rounding = 1e-9

// sizeRanks are the ranks, from 1, of differences that are sorted by size. Sizes that differ by no more than same
// are tied.
func sizeRanks(sorted []float64, same float64) []float64 {
	ranks := make([]float64, len(sorted))
	for low := 0; low < len(sorted); {
		high := low + 1
		for high < len(sorted) && math.Abs(sorted[high])-math.Abs(sorted[low]) <= same {
			high++
		}
		for i := low; i < high; i++ {
			ranks[i] = float64(low+1+high) / 2
		}
		low = high
	}
	return ranks
}

// ComparePlaces tests how many places nearer to the top the candidate puts each user's answers, averaged over them and
// over the runs.
// Unlike a metric at k this also sees what happens behind place k. What must pair is as in Compare.
func ComparePlaces(baseline, candidate [][]Rank) (SignedRank, error) {
	if err := checkRuns(baseline, candidate); err != nil {
		return SignedRank{}, fmt.Errorf("comparing places: %w", err)
	}
	var nearer []float64
	for low, high := range bounds(baseline[0]) {
		if baseline[0][low].Outcome == Unanswered {
			continue
		}
		places := 0.0
		for run := range baseline {
			for i := low; i < high; i++ {
				places += baseline[run][i].Position() - candidate[run][i].Position()
			}
		}
		nearer = append(nearer, places/float64((high-low)*len(baseline)))
	}
	return Wilcoxon(nearer), nil
}
