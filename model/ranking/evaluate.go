package ranking

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Query is what a scorer may know of a case: everything but the answer.
type Query struct {
	User    int     // the caller's number for the user
	History []int32 // items before the answer, oldest first, without padding
}

// Case is a query and what the user took next, or one of the items taken then. An Answer of 0 means that there is none.
type Case struct {
	Query
	Answer int32
}

// Scorer gives every item a score, the higher the better.
//
// Score fills scores, row-major of shape [len(queries), items+1]: column i is item i, column 0 is padding and ignored.
// It must not keep scores or the queries. With more than one worker it is called from several goroutines at once; with
// one worker it is called only from the goroutine that called Evaluate, which suits a model bound to a thread.
type Scorer interface {
	Score(ctx context.Context, queries []Query, scores []float32) error
}

// Scored is one item with its score.
type Scored struct {
	Item  int32
	Score float32
}

// SparseScorer is a Scorer that gives most items the score 0. Evaluate then asks for the others only, and the ranks
// are the same. AppendScores appends each item at most once, in any order, and must be safe for concurrent use.
type SparseScorer interface {
	Scorer
	AppendScores(dst []Scored, query Query) ([]Scored, error)
}

// Options say what is ranked, and how the work is cut up. Only the first three can change a rank.
type Options struct {
	Items      int  // N: items are 1…N
	FilterSeen bool // items of the history are no candidates
	Ties       Ties // empty: Pessimistic

	Workers  int                   // concurrent calls of the scorer; 0: one for each CPU
	Batch    int                   // queries a call; 0: what a Counter wishes, else as many as fit in 16 MiB of scores, at most 256
	Progress func(done, total int) // nil, or called after each batch, never twice at once, with done ascending
}

// DefaultOptions is the protocol that published full-ranking numbers use: seen items out, ties against the answer.
func DefaultOptions(items int) Options {
	return Options{Items: items, FilterSeen: true, Ties: Pessimistic}
}

// Validate lists every problem of the options.
func (o Options) Validate() error {
	problems := []error{o.Ties.Validate()}
	if o.Items < 1 || o.Items >= math.MaxInt32 {
		problems = append(problems, fmt.Errorf("%d items: want 1…%d", o.Items, math.MaxInt32-1))
	}
	if o.Workers < 0 {
		problems = append(problems, fmt.Errorf("%d workers: want 0 (one for each CPU) or more", o.Workers))
	}
	if o.Batch < 0 {
		problems = append(problems, fmt.Errorf("a batch of %d: want 0 (chosen by memory) or more", o.Batch))
	}
	return errors.Join(problems...)
}

const (
	maxBatch       = 256
	scoreBlockSize = 16 << 20 // bytes of scores a worker holds; larger blocks gain nothing and Yelp has 148,522 items
)

// batchFor is the number of cases in a batch; counter may be nil.
func (o Options) batchFor(counter Counter) int {
	switch {
	case o.Batch > 0:
		return o.Batch
	case counter != nil:
		return max(1, counter.CountBatch())
	default:
		return max(1, min(maxBatch, scoreBlockSize/(4*(o.Items+1))))
	}
}

// Evaluate ranks the answer of every case; the rank of cases[i] is at index i. Cases of one user that follow one
// another are several answers to one query: they must have the same history and different answers, and where they tie
// with each other each has a place of its own (Answers has the metrics). The result does not depend on the number of
// workers or the batch size, provided that the scorer's does not. It stops at the first error, which names the user; a
// cancelled ctx is an error. The cases are only read.
func Evaluate(ctx context.Context, scorer Scorer, cases []Case, options Options) ([]Rank, error) {
	if err := options.Validate(); err != nil {
		return nil, fmt.Errorf("evaluating %d cases: %w", len(cases), err)
	}
	if err := checkCases(cases, options.Items); err != nil {
		return nil, err
	}
	e := &evaluation{Options: options, scorer: scorer, cases: cases, ranks: make([]Rank, len(cases))}
	e.sparse, _ = scorer.(SparseScorer)
	e.counter, _ = scorer.(Counter)
	e.batch = options.batchFor(e.counter)
	err := newBatches(len(cases), e.batch, options).run(ctx, func() func(context.Context, int, int) error { return newWorker(e).rank })
	if err != nil {
		return nil, err
	}
	for answers := range Users(e.ranks) {
		answers.settle()
	}
	return e.ranks, nil
}

func checkCases(cases []Case, items int) error {
	first := 0 // the first case of the user in hand
	for i := range cases {
		c := &cases[i]
		if c.Answer < 0 || int(c.Answer) > items {
			return fmt.Errorf("user %d: the answer is item %d, but items are 1…%d", c.User, c.Answer, items)
		}
		if cases[first].User != c.User {
			first = i
		}
		if first < i {
			if err := checkAnother(cases[first:i], c); err != nil {
				return err
			}
			continue // its history was checked
		}
		if err := checkHistory(c.Query, items); err != nil {
			return err
		}
	}
	return nil
}

func checkHistory(q Query, items int) error {
	for i, item := range q.History {
		if item < 1 || int(item) > items {
			return fmt.Errorf("user %d: item %d at place %d of the history, but items are 1…%d; leave padding out", q.User, item, i, items)
		}
	}
	return nil
}

// checkAnother checks one more answer of a user.
func checkAnother(before []Case, c *Case) error {
	if !slices.Equal(before[0].History, c.History) {
		return fmt.Errorf("user %d: answers %d and %d follow one another with different histories", c.User, before[0].Answer, c.Answer)
	}
	if slices.ContainsFunc(before, func(b Case) bool { return b.Answer == c.Answer || b.Answer == 0 || c.Answer == 0 }) {
		return fmt.Errorf("user %d: after %d answers comes %d, which was there before, or one of them is 0, which stands for no answer at all", c.User, len(before), c.Answer)
	}
	return nil
}

type evaluation struct {
	Options
	scorer  Scorer
	sparse  SparseScorer // nil when the scorer is none
	counter Counter      // nil when the scorer is none; goes before sparse
	batch   int
	cases   []Case
	ranks   []Rank // each worker writes the places of its own batches
}
