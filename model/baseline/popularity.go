package baseline

import (
	"context"
	"fmt"

	"github.com/prismflow/prismflow/model/ranking"
)

// Popularity is a ranking.Scorer that gives every user the same scores: how often each item occurs in training. It is
// safe for concurrent use.
type Popularity struct {
	counts []float32 // by item id; 0 is padding
}

// FitPopularity counts the items 1…items in the training part of each user's sequence. Every occurrence counts.
func FitPopularity(items int, training [][]int32) (*Popularity, error) {
	counts, err := trainingCounts(items, training)
	if err != nil {
		return nil, fmt.Errorf("fitting popularity: %w", err)
	}
	p := &Popularity{counts: make([]float32, items+1)}
	for item, n := range counts {
		p.counts[item] = float32(n)
	}
	return p, nil
}

// Score fills one row of counts for each query.
func (p *Popularity) Score(_ context.Context, queries []ranking.Query, scores []float32) error {
	if len(scores) != len(queries)*len(p.counts) {
		return shapeError(len(scores), len(queries), len(p.counts))
	}
	for row := range queries {
		copy(scores[row*len(p.counts):], p.counts)
	}
	return nil
}

func shapeError(got, rows, width int) error {
	return fmt.Errorf("room for %d scores, want %d users × %d columns (the items it was fitted on, and padding)", got, rows, width)
}

// trainingCounts returns how often each item occurs, by item id.
func trainingCounts(items int, training [][]int32) ([]int, error) {
	if items < 1 {
		return nil, fmt.Errorf("%d items: want at least 1", items)
	}
	counts := make([]int, items+1)
	for row, sequence := range training {
		for place, item := range sequence {
			if item < 1 || int(item) > items {
				return nil, fmt.Errorf("sequence %d has item %d at place %d, but items are 1…%d; leave padding out", row, item, place, items)
			}
			counts[item]++
		}
	}
	return counts, nil
}
