package ranking

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Lister is a Scorer that finds the best candidates by itself, where it computes the scores. List then calls Score only
// to say which item has a score that is not a number.
type Lister interface {
	Scorer

	// ListBatch is how many queries a call of AppendLists should be given, at least 1; Options.Batch goes before it.
	ListBatch() int

	// AppendLists appends a list for each query as List describes it, with scores that Score could have given. It must
	// not keep the queries, and is called as Score is. A score that is not a number is ErrNotANumber.
	AppendLists(ctx context.Context, dst [][]Scored, queries []Query, k int, options Options) ([][]Scored, error)
}

// ErrNotANumber says that some user has a score that is not a number.
var ErrNotANumber = errors.New("a score is not a number")

// List gives each query the k best candidates, best first; of equal scores the smaller id is first. Candidates are the
// items 1…Options.Items, with Options.FilterSeen without those of the history; Options.Ties is not used. A list is
// shorter where there are fewer candidates, and where a scorer has nothing to say of the others: a SparseScorer's lists
// end before the score 0, and a Lister may leave a query without list. Else errors and results are as with Evaluate.
func List(ctx context.Context, scorer Scorer, queries []Query, k int, options Options) ([][]Scored, error) {
	if err := options.Validate(); err != nil {
		return nil, fmt.Errorf("listing for %d users: %w", len(queries), err)
	}
	if k < 1 {
		return nil, fmt.Errorf("listing the first %d items: want at least 1", k)
	}
	for _, q := range queries {
		if err := checkHistory(q, options.Items); err != nil {
			return nil, err
		}
	}
	l := &selection{Options: options, scorer: scorer, queries: queries, k: min(k, options.Items), lists: make([][]Scored, len(queries))}
	batch := options.batchFor(nil)
	if lister, ok := scorer.(Lister); ok && options.Batch == 0 {
		batch = max(1, lister.ListBatch())
	}
	if err := newBatches(len(queries), batch, options).run(ctx, l.newWorker); err != nil {
		return nil, err
	}
	return l.lists, nil
}

type selection struct {
	Options
	scorer  Scorer
	queries []Query
	k       int
	lists   [][]Scored // each worker writes those of its own batches
}

// newWorker lists the queries low…high-1 in one of three ways.
func (l *selection) newWorker() func(ctx context.Context, low, high int) error {
	seen := newItemSet(l.Items)
	var block []float32
	return func(ctx context.Context, low, high int) error {
		switch scorer := l.scorer.(type) {
		case Lister:
			return l.listed(ctx, scorer, low, high)
		case SparseScorer:
			return l.sparse(scorer, &seen, low, high)
		default:
			block = slices.Grow(block[:0], (high-low)*(l.Items+1))[:(high-low)*(l.Items+1)]
			return l.dense(ctx, &seen, block, low, high)
		}
	}
}

func (l *selection) listed(ctx context.Context, scorer Lister, low, high int) error {
	lists, err := scorer.AppendLists(ctx, l.lists[low:low:high], l.queries[low:high], l.k, l.Options)
	if errors.Is(err, ErrNotANumber) {
		return l.findNotANumber(ctx, low, high)
	}
	if err != nil {
		return fmt.Errorf("listing for %d users from user %d on: %w", high-low, l.queries[low].User, err)
	}
	if len(lists) != high-low {
		return fmt.Errorf("listing for %d users from user %d on: the scorer gave %d lists", high-low, l.queries[low].User, len(lists))
	}
	return nil
}

// findNotANumber is the error for queries one of which has such a score.
func (l *selection) findNotANumber(ctx context.Context, low, high int) error {
	scores := make([]float32, l.Items+1)
	for _, q := range l.queries[low:high] {
		if err := l.scorer.Score(ctx, []Query{q}, scores); err != nil {
			return fmt.Errorf("scoring user %d: %w", q.User, err)
		}
		if slices.ContainsFunc(scores[1:], func(s float32) bool { return s != s }) {
			return notANumber(q.User, scores)
		}
	}
	return fmt.Errorf("listing for %d users from user %d on: %w", high-low, l.queries[low].User, ErrNotANumber)
}

func (l *selection) sparse(scorer SparseScorer, seen *itemSet, low, high int) error {
	for i := low; i < high; i++ {
		q := l.queries[i]
		entries, err := scorer.AppendScores(nil, q)
		if err != nil {
			return fmt.Errorf("scoring user %d: %w", q.User, err)
		}
		l.mark(seen, q)
		entries = slices.DeleteFunc(entries, func(s Scored) bool { return s.Score <= 0 || seen.has(s.Item) })
		if slices.ContainsFunc(entries, func(s Scored) bool { return s.Score != s.Score }) {
			return fmt.Errorf("user %d: %w", q.User, ErrNotANumber)
		}
		slices.SortFunc(entries, bestFirst)
		l.lists[i] = slices.Clone(entries[:min(l.k, len(entries))])
	}
	return nil
}

// mark makes seen the items that are no candidates.
func (l *selection) mark(seen *itemSet, q Query) {
	seen.clear()
	if l.FilterSeen {
		for _, item := range q.History {
			seen.add(item)
		}
	}
}

func bestFirst(a, b Scored) int {
	return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Item, b.Item))
}

func (l *selection) dense(ctx context.Context, seen *itemSet, block []float32, low, high int) error {
	width := l.Items + 1
	for end := width; end <= len(block); end += width {
		block[end-1] = float32(math.NaN()) // as in rankDense
	}
	if err := l.scorer.Score(ctx, l.queries[low:high], block); err != nil {
		return fmt.Errorf("scoring %d users from user %d on: %w", high-low, l.queries[low].User, err)
	}
	for i := low; i < high; i++ {
		l.mark(seen, l.queries[i])
		scores := block[(i-low)*width : (i-low+1)*width]
		list, ordered := best(scores, l.k, seen)
		if !ordered {
			return notANumber(l.queries[i].User, scores)
		}
		l.lists[i] = list
	}
	return nil
}

// best are the k best items that are not in seen, by a pass over the scores in
// which hardly any gets into the list. It reports false when a score is not a
// number.
func best(scores []float32, k int, seen *itemSet) ([]Scored, bool) {
	list := make([]Scored, 0, k)
	least := float32(math.Inf(-1)) // what is no more than that does not get into a full list
	for item := int32(1); int(item) < len(scores); item++ {
		s := scores[item]
		if s <= least && len(list) == k {
			continue
		}
		if s != s {
			return nil, false
		}
		if seen.has(item) {
			continue
		}
		if len(list) == k {
			list = list[:k-1]
		}
		at, _ := slices.BinarySearchFunc(list, Scored{item, s}, bestFirst)
		list = slices.Insert(list, at, Scored{item, s})
		least = list[len(list)-1].Score
	}
	return list, true
}

// SortList puts a list in the order of List.
func SortList(list []Scored) { slices.SortFunc(list, bestFirst) }
