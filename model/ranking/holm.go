package ranking

import (
	"cmp"
	"math"
	"slices"
)

// Holm adjusts the p-values of a family of tests, so that calling those below a level significant errs in any of them
// with at most that probability, however the tests depend on each other. The smallest is multiplied by the number of
// tests, the next by one less, and so on; none becomes smaller than one before it, nor larger than 1. A p that is not
// a number belongs to no test: it stays, and does not count.
//
// Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
// (1979).
func Holm(ps []float64) []float64 {
	adjusted := slices.Clone(ps)
	var order []int
	for i, p := range ps {
		if !math.IsNaN(p) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(ps[i], ps[j]) })
	least := 0.0
	for place, i := range order {
		least = max(least, min(1, ps[i]*float64(len(order)-place)))
		adjusted[i] = least
	}
	return adjusted
}
