package ranking

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func of(items ...int32) []Scored {
	var list []Scored
	for _, item := range items {
		list = append(list, Scored{Item: item})
	}
	return list
}

// By hand: four users had items 1 (all of them, one twice), 2 (two of them) and 3 (one); item 4 is cold. Two of them
// are recommended something.
func TestSpreadsByHand(t *testing.T) {
	training, err := Count(4, [][]int32{{1, 2, 1}, {1, 2}, {3, 1}, {1}, {}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Training{Users: 4, Counts: []int{0, 5, 2, 1, 0}, Owners: []int{0, 4, 2, 1, 0}}, training); diff != "" {
		t.Fatal(diff)
	}
	got, err := training.Spreads([][]Scored{of(1, 2, 4), {}, of(1)}, []int{3, 1})
	want := []Spread{
		// Item 1 twice: counts 0 0 0 2.
		{K: 1, Coverage: .25, Gini: 3. / 4, AveragePopularity: 5, Novelty: 0},
		// Counts 0 1 1 2: (-3·0 - 1·1 + 1·1 + 3·2) / (4·4). Bits 0, 1 and 2 for one user, 0 for the other.
		{K: 3, Coverage: .75, Gini: 6. / 16, AveragePopularity: (7./3 + 5) / 2, Novelty: (3./3 + 0) / 2},
	}
	if diff := cmp.Diff(want, got, almost); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// meanDifference is the Gini index by its other definition: half the mean absolute difference of all pairs, relative
// to the mean.
func meanDifference(times map[int32]float64, items int) float64 {
	differences, sum := 0.0, 0.0
	for i := range items {
		sum += times[int32(i+1)]
		for j := range items {
			differences += math.Abs(times[int32(i+1)] - times[int32(j+1)])
		}
	}
	return differences / (2 * float64(items) * sum)
}

func TestSpreadsAreThoseOfLoops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.IntRange(1, 12).Draw(t, "items")
		item := rapid.Int32Range(1, int32(items))
		sequences := rapid.SliceOfN(rapid.SliceOfN(item, 1, 6), 1, 8).Draw(t, "sequences")
		recommended := append(rapid.SliceOfN(rapid.SliceOfDistinct(item, rapid.ID[int32]), 0, 8).Draw(t, "lists"), []int32{1})
		k := rapid.IntRange(1, 6).Draw(t, "k")
		training, err := Count(items, sequences)
		if err != nil {
			t.Fatal(err)
		}
		var lists [][]Scored
		times := map[int32]float64{}
		var popularity, novelty, users float64
		for _, list := range recommended {
			lists = append(lists, of(list...))
			var counts, bits, n float64
			for place, item := range list {
				if place >= k {
					break
				}
				times[item]++
				owners := 0.0
				for _, sequence := range sequences {
					has := false
					for _, other := range sequence {
						if other == item {
							counts++
							has = true
						}
					}
					if has {
						owners++
					}
				}
				bits += math.Log2(float64(len(sequences)) / max(1, owners))
				n++
			}
			if n > 0 {
				popularity, novelty, users = popularity+counts/n, novelty+bits/n, users+1
			}
		}
		got, err := training.Spreads(lists, []int{k})
		want := []Spread{{
			K: k, Coverage: float64(len(times)) / float64(items), Gini: meanDifference(times, items),
			AveragePopularity: popularity / users, Novelty: novelty / users,
		}}
		if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)); err != nil || diff != "" {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	})
}

func TestNothingToSpread(t *testing.T) {
	training, err := Count(2, [][]int32{{1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		training Training
		lists    [][]Scored
		ks       []int
	}{{training, [][]Scored{of(1)}, nil}, {training, [][]Scored{of(1)}, []int{0}}, {training, [][]Scored{{}}, []int{1}}, {Training{Counts: make([]int, 3)}, [][]Scored{of(1)}, []int{1}}} {
		if got, err := c.training.Spreads(c.lists, c.ks); err == nil {
			t.Errorf("%v at %v: %v", c.lists, c.ks, got)
		}
	}
	if _, err := Count(2, [][]int32{{3}}); err == nil {
		t.Error("counted item 3 of 2")
	}
}
