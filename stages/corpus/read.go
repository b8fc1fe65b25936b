package corpus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/stages"
)

// An event is an interaction with ranks for names: the place of the user, or
// the item, among all of the input in the order of their external ids.
type event struct {
	timestamp, row int64
	user, item     int32
}

// A reading is what was read and passed the filters.
type reading struct {
	events       []event
	users, items *names
}

// read reads the interactions, filters them, and ranks users and items.
func (c *Corpus) read(ctx context.Context, env *stages.Env) (*reading, error) {
	r := &reading{users: newNames(), items: newNames()}
	passes := c.filter()
	var rows, belowRating, outOfRange int64
	for row, err := range c.Interactions.Rows() {
		if err != nil {
			return nil, fmt.Errorf("reading interactions: %w", err)
		}
		if rows++; rows%65536 == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			env.Progress(rows, 0, "rows")
		}
		user, item := r.users.of(row.User), r.items.of(row.Item)
		switch passes(row) {
		case tooLow:
			belowRating++
		case otherTime:
			outOfRange++
		case passed:
			r.events = append(r.events, event{row.Timestamp, row.Row, user, item})
		}
	}
	env.Count("interactions_before", float64(rows))
	env.Count("users_before", float64(len(r.users.list)))
	env.Count("items_before", float64(len(r.items.list)))
	env.Count("below_rating", float64(belowRating))
	env.Count("out_of_range", float64(outOfRange))
	if len(r.users.list) > math.MaxInt32 || len(r.items.list) > math.MaxInt32 {
		return nil, errors.New("more than 2³¹ users or items")
	}
	r.rank()
	return r, c.filterLeftNothing(rows, belowRating, len(r.events))
}

type verdict int

const (
	passed verdict = iota
	tooLow
	otherTime
)

// filter says what becomes of a row by its rating and time.
func (c *Corpus) filter() func(interaction) verdict {
	from, until := int64(math.MinInt64), int64(math.MaxInt64)
	if at, err := instant(c.From); err == nil && at != nil {
		from = *at
	}
	if at, err := instant(c.Until); err == nil && at != nil {
		until = *at
	}
	return func(row interaction) verdict {
		switch {
		case c.MinRating != nil && !(float64(row.Rating) >= *c.MinRating): // NaN is below too
			return tooLow
		case row.Timestamp < from || row.Timestamp >= until:
			return otherTime
		}
		return passed
	}
}

func (c *Corpus) filterLeftNothing(rows, belowRating int64, kept int) error {
	switch {
	case kept > 0:
		return nil
	case rows == 0:
		return errors.New("there are no interactions")
	case belowRating == rows:
		return fmt.Errorf("no interaction is left of %d: all are below min_rating = %v; lower it", rows, *c.MinRating)
	default:
		return fmt.Errorf("no interaction is left of %d: %d are below min_rating, and the others outside the time range; widen from = %q and until = %q",
			rows, belowRating, c.From, c.Until)
	}
}

// names numbers names in the order in which they come.
type names struct {
	list   []string
	number map[string]int32
}

func newNames() *names { return &names{number: map[string]int32{}} }

func (n *names) of(name string) int32 {
	if i, ok := n.number[name]; ok {
		return i
	}
	name = strings.Clone(name) // the table's memory is shared with other rows
	i := int32(len(n.list))
	n.list = append(n.list, name)
	n.number[name] = i
	return i
}

// sort puts the names in order and returns their ranks by former number.
func (n *names) sort() []int32 {
	slices.Sort(n.list)
	ranks := make([]int32, len(n.list))
	for rank, name := range n.list {
		ranks[n.number[name]] = int32(rank)
		n.number[name] = int32(rank)
	}
	return ranks
}

// rank replaces numbers by ranks, so that nothing depends on the order of the
// input from here on.
func (r *reading) rank() {
	users, items := r.users.sort(), r.items.sort()
	for i, e := range r.events {
		r.events[i].user, r.events[i].item = users[e.user], items[e.item]
	}
}
