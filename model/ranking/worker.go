package ranking

import (
	"context"
	"fmt"
	"math"
)

// worker holds what one goroutine of an evaluation needs again and again.
type worker struct {
	*evaluation
	queries []Query
	rows    []int // rows[i] is the case of queries[i]
	scores  []float32
	entries []Scored
	asked   []Case    // the cases of rows, for a Counter
	counted []Counted // what it says of them
	seen    itemSet   // the history of the case in hand; empty when seen items are candidates
	listed  itemSet   // the items that a sparse scorer gave
}

func newWorker(e *evaluation) *worker {
	w := &worker{evaluation: e, seen: newItemSet(e.Items)}
	switch {
	case e.counter != nil:
	case e.sparse != nil:
		w.listed = newItemSet(e.Items)
	default:
		w.scores = make([]float32, min(e.batch, len(e.cases))*(e.Items+1))
	}
	return w
}

// itemSet is a set of items that is emptied in no time and remembers what was added, in order.
type itemSet struct {
	round   uint32
	addedIn []uint32 // by item: the round in which it was added last
	items   []int32
}

func newItemSet(items int) itemSet { return itemSet{addedIn: make([]uint32, items+1)} }

func (s *itemSet) clear() {
	s.items = s.items[:0]
	s.round++
	if s.round == 0 {
		clear(s.addedIn)
		s.round = 1
	}
}

// add reports whether the item was new.
func (s *itemSet) add(item int32) bool {
	if s.has(item) {
		return false
	}
	s.addedIn[item] = s.round
	s.items = append(s.items, item)
	return true
}

func (s *itemSet) has(item int32) bool { return s.addedIn[item] == s.round }

// rank fills the ranks of the cases low…high-1.
func (w *worker) rank(ctx context.Context, low, high int) error {
	w.queries, w.rows = w.queries[:0], w.rows[:0]
	for i := low; i < high; i++ {
		if w.cases[i].Answer == 0 {
			w.ranks[i] = Rank{User: w.cases[i].User, Outcome: Unanswered}
			continue
		}
		w.queries = append(w.queries, w.cases[i].Query)
		w.rows = append(w.rows, i)
	}
	switch {
	case len(w.queries) == 0:
		return nil
	case w.counter != nil:
		return w.rankCounted(ctx)
	case w.sparse != nil:
		return w.rankSparse()
	default:
		return w.rankDense(ctx)
	}
}

func (w *worker) rankDense(ctx context.Context) error {
	width := w.Items + 1
	block := w.scores[:len(w.queries)*width]
	// A row that the scorer forgets would otherwise be ranked by an earlier batch's scores.
	for end := width; end <= len(block); end += width {
		block[end-1] = float32(math.NaN())
	}
	if err := w.scorer.Score(ctx, w.queries, block); err != nil {
		return fmt.Errorf("scoring %d users from user %d on: %w", len(w.queries), w.queries[0].User, err)
	}
	for i, row := range w.rows {
		c := &w.cases[row]
		scores := block[i*width : (i+1)*width]
		counts, ordered := countDense(scores, c.Answer)
		if !ordered {
			return notANumber(c.User, scores)
		}
		w.markSeen(c)
		w.ranks[row] = w.place(c, w.withoutSeen(counts, c.Answer, scores))
	}
	return nil
}

// countDense compares all items with the answer. It reports false when a score is not a number.
func countDense(scores []float32, answer int32) (Counts, bool) {
	a := scores[answer]
	betterLow, tiedLow, worseLow := compare(scores[1:answer], a)
	betterHigh, tiedHigh, worseHigh := compare(scores[answer+1:], a)
	counts := Counts{Better: betterLow + betterHigh, Tied: tiedLow + tiedHigh, TiedBefore: tiedLow}
	compared := counts.Better + counts.Tied + worseLow + worseHigh
	return counts, a == a && compared == len(scores)-2
}

// compare is the inner loop of every evaluation, users × items long. Written so that the compiler sets flags instead of
// branching: scores come in no order, and mispredicted branches made evaluation as a whole twice as slow.
func compare(scores []float32, a float32) (better, tied, worse int) {
	for _, s := range scores {
		better += one(s > a)
		tied += one(s == a)
		worse += one(s < a)
	}
	return better, tied, worse
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func notANumber(user int, scores []float32) error {
	for item, s := range scores[1:] {
		if s != s {
			return fmt.Errorf("user %d: the score of item %d is not a number, or was not filled in; the model has diverged or is broken, and such a score has no rank", user, item+1)
		}
	}
	return fmt.Errorf("user %d: scores that do not compare", user)
}

func (w *worker) markSeen(c *Case) {
	w.seen.clear()
	if !w.FilterSeen {
		return
	}
	for _, item := range c.History {
		w.seen.add(item)
	}
}

// withoutSeen takes the seen items out of the counts of all items.
func (w *worker) withoutSeen(counts Counts, answer int32, scores []float32) Counts {
	a := scores[answer]
	for _, item := range w.seen.items {
		if item == answer {
			continue
		}
		switch s := scores[item]; {
		case s > a:
			counts.Better--
		case s == a:
			counts.Tied--
			counts.TiedBefore -= one(item < answer)
		}
	}
	return counts
}

func (w *worker) place(c *Case, counts Counts) Rank {
	r := Rank{User: c.User, Answer: c.Answer, Candidates: w.Items - len(w.seen.items)}
	if w.seen.has(c.Answer) {
		r.Outcome = Impossible
		r.First, r.Last = r.Candidates+1, r.Candidates+1
		return r
	}
	r.Tied = counts.Tied
	r.First, r.Last = w.Ties.Places(counts)
	return r
}
