package ranking

import (
	"context"
	"fmt"
)

// Counter is a Scorer that compares the scores with the answer's by itself, where it computes them, so that the matrix
// of scores is never whole and never on the host. Evaluate then asks for counts, and calls Score only to say which item
// has a score that is not a number. The ranks are those of Score, as far as both compute the same scores.
type Counter interface {
	Scorer

	// CountBatch is how many cases a call of Count should be given, at least 1; Options.Batch goes before it.
	CountBatch() int

	// Count compares all candidates of each case with its answer; counted[i] is for cases[i]. Candidates are the items
	// 1…Options.Items but the answer, and with Options.FilterSeen also but the items of the history, each taken out
	// once however often it is there. Every case has an answer. Count must not keep the cases, and is called as Score is.
	Count(ctx context.Context, cases []Case, options Options, counted []Counted) error
}

// Counted is what a Counter says of a case.
type Counted struct {
	Counts
	NotANumber bool // a score of one of the items 1…N, seen ones included, is not a number; Counts say nothing then
}

func (w *worker) rankCounted(ctx context.Context) error {
	cases, counted := w.asked[:0], w.counted[:0]
	for _, row := range w.rows {
		cases = append(cases, w.cases[row])
		// A case that the counter forgets would otherwise have the best rank there is.
		counted = append(counted, Counted{Counts: Counts{Better: -1}})
	}
	w.asked, w.counted = cases, counted
	if err := w.counter.Count(ctx, cases, w.Options, counted); err != nil {
		return fmt.Errorf("comparing %d users from user %d on: %w", len(cases), cases[0].User, err)
	}
	for i, row := range w.rows {
		if counted[i].NotANumber {
			return w.findNotANumber(ctx, &cases[i])
		}
		w.markSeen(&cases[i])
		rank := w.place(&cases[i], counted[i].Counts)
		if others := rank.Candidates - 1; rank.Outcome == Ranked && !counted[i].possible(others) {
			return fmt.Errorf("user %d: of %d other candidates the scorer counted %+v", cases[i].User, others, counted[i].Counts)
		}
		w.ranks[row] = rank
	}
	return nil
}

// possible reports whether the counts can be those of so many candidates.
func (c Counts) possible(candidates int) bool {
	return c.Better >= 0 && 0 <= c.TiedBefore && c.TiedBefore <= c.Tied && c.Better+c.Tied <= candidates
}

// findNotANumber is the error for a case with such a score.
func (w *worker) findNotANumber(ctx context.Context, c *Case) error {
	scores := make([]float32, w.Items+1)
	if err := w.scorer.Score(ctx, []Query{c.Query}, scores); err != nil {
		return fmt.Errorf("scoring user %d, who has a score that is not a number: %w", c.User, err)
	}
	return notANumber(c.User, scores)
}
