package ranking

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Training is what recommendations are compared with: who had which items.
type Training struct {
	Users  int   // users with something to train on
	Counts []int // [items+1]: how often each item occurs; of 0 nothing is read
	Owners []int // [items+1]: users who had it
}

// Count makes a Training over the items 1…items of each user's sequence.
func Count(items int, sequences [][]int32) (Training, error) {
	t := Training{Counts: make([]int, items+1), Owners: make([]int, items+1)}
	set := newItemSet(items)
	for row, sequence := range sequences {
		set.clear()
		for _, item := range sequence {
			if item < 1 || int(item) > items {
				return Training{}, fmt.Errorf("sequence %d has item %d, but items are 1…%d", row, item, items)
			}
			t.Counts[item]++
			set.add(item)
		}
		for _, item := range set.items {
			t.Owners[item]++
		}
		t.Users += one(len(sequence) > 0)
	}
	return t, nil
}

// Spread says what recommendations are like, whether they are right or not. All is of the first K items of each list.
type Spread struct {
	K int

	// Coverage is the share of all items that stand in some user's list: the catalogue coverage of Ge, Delgado-Battenfeld
	// and Jannach, "Beyond Accuracy", RecSys 2010.
	Coverage float64

	// Gini is the Gini index of how often the items are recommended, those that never are among them: 0 when all are
	// equally often, 1-1/N when one item is all there is (Fleder and Hosanagar, "Blockbuster Culture's Next Rise or
	// Fall", Management Science 2009). With the counts in ascending order x_1 … x_N it is Σ (2j-N-1) x_j / (N Σ x_j).
	Gini float64

	// AveragePopularity is how often a recommended item occurs in training: the mean over users of the mean over each
	// one's list (Yin et al., "Challenging the Long Tail Recommendation", VLDB 2012).
	AveragePopularity float64

	// Novelty is the mean self-information -log2 p(i) of the recommended items in bits, the mean over users of that over
	// each one's list; p(i) is the share of training users who had the item (Vargas and Castells, "Rank and Relevance in
	// Novelty and Diversity Metrics", RecSys 2011, with no discount by rank). An item that nobody had counts as one that
	// a single user had: its information has no bound.
	Novelty float64
}

// Spreads describes lists at every k, ascending. Lists that are empty are left out; with none left it is an error.
func (t Training) Spreads(lists [][]Scored, ks []int) ([]Spread, error) {
	ks = slices.Compact(slices.Sorted(slices.Values(ks)))
	if len(ks) == 0 || ks[0] < 1 {
		return nil, errors.New("no k of at least 1 to look at lists up to")
	}
	if t.Users == 0 {
		return nil, errors.New("no user has had anything, so no item is known or new")
	}
	if !slices.ContainsFunc(lists, func(list []Scored) bool { return len(list) > 0 }) {
		return nil, fmt.Errorf("none of %d lists has an item", len(lists))
	}
	var spreads []Spread
	for _, k := range ks {
		spreads = append(spreads, t.spread(lists, k))
	}
	return spreads, nil
}

func (t Training) spread(lists [][]Scored, k int) Spread {
	s := Spread{K: k}
	times := make([]int, len(t.Counts)) // by item: how often it is recommended
	users := 0.0
	for _, list := range lists {
		list = list[:min(k, len(list))]
		if len(list) == 0 {
			continue
		}
		popularity, novelty := 0.0, 0.0
		for _, scored := range list {
			times[scored.Item]++
			popularity += float64(t.Counts[scored.Item])
			novelty -= math.Log2(float64(max(1, t.Owners[scored.Item])) / float64(t.Users))
		}
		s.AveragePopularity += popularity / float64(len(list))
		s.Novelty += novelty / float64(len(list))
		users++
	}
	s.AveragePopularity /= users
	s.Novelty /= users
	s.Coverage, s.Gini = concentration(times[1:])
	return s
}

// concentration is the share of counts that are not 0, and their Gini index.
func concentration(times []int) (coverage, gini float64) {
	slices.Sort(times)
	n, some, sum, weighted := len(times), 0, 0, 0
	for i, x := range times {
		some += one(x > 0)
		sum += x
		weighted += (2*(i+1) - n - 1) * x
	}
	return float64(some) / float64(n), float64(weighted) / (float64(n) * float64(sum))
}
