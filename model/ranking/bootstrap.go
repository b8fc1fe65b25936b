package ranking

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/sourcegraph/conc/iter"
)

// A Bootstrap holds what the means of several rows of values, one value a user in each, come to for other users, drawn
// with replacement from those at hand. Every draw serves all rows, so that differences between rows stay paired.
//
// Source: B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979); the intervals
// are percentile intervals.
type Bootstrap struct {
	means [][]float64 // [row][draw]
}

// NewBootstrap draws the users of rows, all of one length, draws times. Draw i depends on the seed and on i alone, so
// the result does not depend on how many processors worked on it.
func NewBootstrap(rows [][]float64, draws int, seed uint64) (Bootstrap, error) {
	if len(rows) == 0 || len(rows[0]) == 0 {
		return Bootstrap{}, fmt.Errorf("bootstrap: no values to draw from")
	}
	for i, row := range rows {
		if len(row) != len(rows[0]) {
			return Bootstrap{}, fmt.Errorf("bootstrap: row %d has %d users and row 0 has %d", i, len(row), len(rows[0]))
		}
	}
	if draws < 1 {
		return Bootstrap{}, fmt.Errorf("bootstrap: %d draws: want at least 1", draws)
	}
	users := byUser(rows)
	b := Bootstrap{means: make([][]float64, len(rows))}
	for row := range b.means {
		b.means[row] = make([]float64, draws)
	}
	iter.ForEachIdx(b.means[0], func(draw int, _ *float64) { b.draw(users, draw, seed) })
	return b, nil
}

// byUser puts the values of one user side by side: a draw then looks at one place in memory for each.
func byUser(rows [][]float64) [][]float64 {
	width := len(rows)
	values := make([]float64, width*len(rows[0]))
	users := make([][]float64, len(rows[0]))
	for u := range users {
		users[u] = values[u*width : (u+1)*width]
		for row := range rows {
			users[u][row] = rows[row][u]
		}
	}
	return users
}

func (b Bootstrap) draw(users [][]float64, draw int, seed uint64) {
	random := rand.New(rand.NewPCG(seed, uint64(draw)))
	sums := make([]float64, len(b.means))
	for range users {
		for row, v := range users[random.IntN(len(users))] {
			sums[row] += v
		}
	}
	for row, sum := range sums {
		b.means[row][draw] = sum / float64(len(users))
	}
}

// Interval is where a value lies, as far as can be told.
type Interval struct{ Low, High float64 }

// Difference is the interval for the mean of one row minus that of another that covers the given share of the draws,
// such as 0.95, with as many below as above.
func (b Bootstrap) Difference(row, minus int, level float64) Interval {
	differences := make([]float64, len(b.means[row]))
	for draw := range differences {
		differences[draw] = b.means[row][draw] - b.means[minus][draw]
	}
	slices.Sort(differences)
	return Interval{quantile(differences, (1-level)/2), quantile(differences, (1+level)/2)}
}

// quantile interpolates between the two sorted values nearest to a share of them.
func quantile(sorted []float64, share float64) float64 {
	at := share * float64(len(sorted)-1)
	below := int(math.Floor(at))
	if below+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[below] + (at-float64(below))*(sorted[below+1]-sorted[below])
}
