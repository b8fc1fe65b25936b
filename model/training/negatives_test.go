package training

import (
	"math"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

func TestNegativesAreUniformOverUnknownItems(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		const items, draws = 12, 60000
		users := []User{
			{Train: []int32{5}},
			{Train: []int32{12, 1, 2, 2, 7}, Held: []int32{3, 4}},
			{Train: []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
			{Train: []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}}, // knows everything: any item will do
		}
		for _, reject := range []Rejection{RejectTrain, RejectAll, RejectNone} {
			n := newNegatives(s, users, items, reject)
			for user := range users {
				counts := make([]float64, items+1)
				drawn := n.draw(s.FromInt64([]int64{int64(user), int64(user)}), draws/2)
				for _, item := range drawn.Int64s() {
					counts[item]++
				}
				checkUniform(t, counts, unknown(&users[user], items, reject), draws)
			}
		}
	})
}

func unknown(u *User, items int, reject Rejection) map[int]bool {
	out := map[int]bool{}
	for item := 1; item <= items; item++ {
		out[item] = true
	}
	known := u.known(reject)
	if len(known) < items {
		for _, item := range known {
			delete(out, int(item))
		}
	}
	return out
}

// checkUniform allows five standard deviations.
func checkUniform(t *testing.T, counts []float64, allowed map[int]bool, draws int) {
	t.Helper()
	p := 1 / float64(len(allowed))
	for item, n := range counts {
		want, slack := 0.0, 0.0
		if allowed[item] {
			want, slack = p*float64(draws), 5*math.Sqrt(float64(draws)*p*(1-p))
		}
		if math.Abs(n-want) > slack {
			t.Errorf("item %d was drawn %v times, want %.0f ± %.0f", item, n, want, slack)
		}
	}
}
