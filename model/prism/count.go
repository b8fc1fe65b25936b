package prism

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/ranking"
)

// grid is how the product of all users and all items is cut up. A block of
// scores is computed, compared and forgotten.
type grid struct {
	users, items int // of a block
	batch        int // users a call of Count should be given
	listed       int // items of a block from which the best are selected
}

// gridFor is the grid for a kind of device. On the CPU a block's scores and
// their comparison are 2 MiB each, which stay in the caches; README.md has the
// measurements. A GPU takes 32 MiB each, since every block costs it launches.
// Blocks to select from are wider, since each costs as much as its best items.
func gridFor(device gotorch.DeviceType) grid {
	if device == gotorch.CUDA {
		return grid{users: 4096, items: 2048, batch: 1 << 16, listed: 8192}
	}
	return grid{users: 512, items: 1024, batch: 1 << 14, listed: 8192}
}

// CountBatch implements ranking.Counter.
func (s scorer) CountBatch() int { return s.grid.batch }

// Count implements ranking.Counter. An answer's score is taken out of the block
// that it is compared in, and never computed by itself: another product may
// round its last bit otherwise, and then the answer would tie with nothing.
func (s scorer) Count(ctx context.Context, cases []ranking.Case, options ranking.Options, counted []ranking.Counted) (err error) {
	if items := s.model.config.Items; options.Items != items || len(counted) != len(cases) {
		return fmt.Errorf("counting for %d of %d users among %d items: the model has %d", len(counted), len(cases), options.Items, items)
	}
	c := &comparison{scorer: s, cases: cases, filterSeen: options.FilterSeen}
	session := s.model.session
	session.Scoped(func() {
		session.NoGrad(func() { err = c.run(ctx, counted) })
	})
	return err
}

// A comparison is one call of Count.
type comparison struct {
	scorer
	cases      []ranking.Case
	filterSeen bool

	rows []int      // the cases with a history by ascending answer, which all tensors are in the order of
	seen []seenItem // in the order of seenScores

	answers    []*gotorch.Tensor // of each block of users, float32 [users, 1]: the answers' scores
	tallies    []*gotorch.Tensor // of each block of users, float64 [tallyRows, users]
	seenScores []*gotorch.Tensor // float32, of some seen items each
}

// seenItem is an item that a row's user has had.
type seenItem struct {
	row  int
	item int32
}

// The rows of a tally: how many of all items have a score that compares so with
// the answer's. The answer itself is one of them.
const (
	isBetter = iota
	isAtLeast
	isTiedBefore // the same score and a smaller id
	hasNaN       // not a count of items: above 0 when a score is not a number
	tallyRows
)

func (c *comparison) run(ctx context.Context, counted []ranking.Counted) error {
	for i := range c.cases {
		if len(c.cases[i].History) > 0 {
			c.rows = append(c.rows, i)
			continue
		}
		counted[i].Counts = ranking.Counts{Tied: c.model.config.Items - 1, TiedBefore: int(c.cases[i].Answer) - 1}
	}
	if len(c.rows) == 0 {
		return nil
	}
	slices.SortStableFunc(c.rows, func(a, b int) int { return cmp.Compare(c.cases[a].Answer, c.cases[b].Answer) })
	for low := 0; low < len(c.rows); low += c.grid.users {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.compare(low, min(low+c.grid.users, len(c.rows))); err != nil {
			return err
		}
	}
	c.fill(counted)
	return nil
}

// compare compares the users of some rows with all items.
func (c *comparison) compare(low, high int) (err error) {
	session := c.model.session
	session.Scoped(func() {
		var states *gotorch.Tensor
		if states, err = c.model.states(c.windowsOf(c.rows[low:high])); err != nil {
			return
		}
		b := newUserBlock(c, states, low, high)
		b.takeAnswers()
		for j := range b.strips() {
			session.Scoped(func() { b.tally(j) })
		}
		session.Keep(b.answers, b.tallies)
		session.Keep(b.seenScores...)
		c.answers = append(c.answers, b.answers)
		c.tallies = append(c.tallies, b.tallies)
		c.seenScores = append(c.seenScores, b.seenScores...)
	})
	return err
}

func (c *comparison) windowsOf(rows []int) [][]int32 {
	windows := make([][]int32, len(rows))
	for i, row := range rows {
		windows[i] = c.window(c.cases[row].History)
	}
	return windows
}

// fill reads everything back, once, and takes the seen items out.
func (c *comparison) fill(counted []ranking.Counted) {
	session, users := c.model.session, len(c.rows)
	tallies := session.Cat(1, c.tallies...).Float64s()
	count := func(kind, row int) int { return int(tallies[kind*users+row]) }
	for row, i := range c.rows {
		counted[i] = ranking.Counted{
			Counts: ranking.Counts{
				Better:     count(isBetter, row),
				Tied:       count(isAtLeast, row) - count(isBetter, row) - 1,
				TiedBefore: count(isTiedBefore, row),
			},
			NotANumber: count(hasNaN, row) > 0,
		}
	}
	if len(c.seen) == 0 {
		return
	}
	answers := session.Cat(0, c.answers...).Float32s()
	for k, score := range session.Cat(0, c.seenScores...).Float32s() {
		seen := c.seen[k]
		i := c.rows[seen.row]
		counts := &counted[i].Counts
		switch answer := answers[seen.row]; {
		case score > answer:
			counts.Better--
		case score == answer:
			counts.Tied--
			if seen.item < c.cases[i].Answer {
				counts.TiedBefore--
			}
		}
	}
}
