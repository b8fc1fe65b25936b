package evaluate

import (
	"fmt"
	"slices"

	"github.com/prismflow/prismflow/model/ranking"
	"github.com/prismflow/prismflow/stages/tables"
)

// A slicing divides answers into buckets. Metrics of a bucket are those of users
// who have an answer in it, as if they had no others; the other answers stay
// candidates.
type slicing struct {
	name    string
	buckets []string
	of      func(ranking.Case) int // the bucket of a case with an answer
}

// slicings are those by training, by history and, where the features are
// there, by modality.
func (e *Evaluate) slicings(training ranking.Training) ([]slicing, error) {
	frequency := func(c ranking.Case) int { return training.Counts[c.Answer] }
	all := []slicing{
		{"item", []string{"cold", "warm"}, func(c ranking.Case) int { return min(1, frequency(c)) }},
		{"item_frequency", rangeNames(e.Frequency), func(c ranking.Case) int { return rangeOf(e.Frequency, frequency(c)) }},
		{"history_length", rangeNames(e.History), func(c ranking.Case) int { return rangeOf(e.History, len(c.History)) }},
	}
	if !e.Features.Present() {
		return all, nil
	}
	modality, err := e.modality(len(training.Counts))
	return append(all, modality), err
}

// rangeNames are the names of what is below the first of ascending bounds, of
// what lies between two of them, and of what is above the last: "0", "1-4", "5+".
func rangeNames(bounds []int) []string {
	var names []string
	low := 0
	for _, high := range bounds {
		name := fmt.Sprint(low)
		if high-1 > low {
			name = fmt.Sprintf("%d-%d", low, high-1)
		}
		names = append(names, name)
		low = high
	}
	return append(names, fmt.Sprintf("%d+", low))
}

func rangeOf(bounds []int, n int) int {
	at, found := slices.BinarySearch(bounds, n)
	if found {
		return at + 1
	}
	return at
}

// modality divides by what the answer has. An item without a row has nothing.
func (e *Evaluate) modality(ids int) (slicing, error) {
	const image, text = 1, 2
	has := make([]int, ids)
	for row, err := range e.Features.Rows() {
		if err != nil {
			return slicing{}, fmt.Errorf("reading features: %w", err)
		}
		if row.ID < 1 || int(row.ID) >= ids {
			return slicing{}, fmt.Errorf("reading features: item %d, but the model has the items 1…%d", row.ID, ids-1)
		}
		if row.ImagePresent {
			has[row.ID] |= image
		}
		if row.TextPresent {
			has[row.ID] |= text
		}
	}
	names := []string{0: "none", image: "image", text: "text", image | text: "image and text"}
	return slicing{"modality", names, func(c ranking.Case) int { return has[c.Answer] }}, nil
}

// addSlices computes the metrics of each bucket that has an answer.
func (r *report) addSlices(model string, p *part, ranks []ranking.Rank) error {
	for _, s := range r.slicings {
		inBucket := make([][]ranking.Rank, len(s.buckets))
		for i, rank := range ranks {
			if rank.Outcome != ranking.Unanswered {
				at := s.of(p.cases[i])
				inBucket[at] = append(inBucket[at], rank)
			}
		}
		for at, ranks := range inBucket {
			if len(ranks) == 0 {
				continue
			}
			summary, err := ranking.Summarize(ranks, r.stage.Ks)
			if err != nil {
				return err
			}
			r.addSlice(tables.Slice{Model: model, Split: p.name, Slice: s.name, Bucket: s.buckets[at]}, summary)
		}
	}
	return nil
}

func (r *report) addSlice(row tables.Slice, summary ranking.Summary) {
	row.Users = int64(summary.Users)
	for _, at := range summary.At {
		for _, metric := range accuracy {
			row.Metric, row.K, row.Value = string(metric), int32(at.K), at.Value(metric)
			r.slices = append(r.slices, row)
		}
	}
}
