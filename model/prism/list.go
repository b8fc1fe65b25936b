package prism

import (
	"context"
	"fmt"
	"math"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/ranking"
)

// ListBatch implements ranking.Lister.
func (s scorer) ListBatch() int { return s.grid.users }

// AppendLists implements ranking.Lister: of each strip of items the device
// selects the best, and then of those. libtorch leaves open which of equal
// scores it selects, so one more than k is asked for: where the last two are
// equal the user's row is listed on the host instead. A user without history
// gets no list.
func (s scorer) AppendLists(ctx context.Context, dst [][]ranking.Scored, queries []ranking.Query, k int, options ranking.Options) (lists [][]ranking.Scored, err error) {
	if items := s.model.config.Items; options.Items != items {
		return nil, fmt.Errorf("listing among %d items: the model has %d", options.Items, items)
	}
	s.grid.items = s.grid.listed
	c := &comparison{scorer: s, filterSeen: options.FilterSeen}
	for i, q := range queries {
		c.cases = append(c.cases, ranking.Case{Query: q})
		if len(q.History) > 0 {
			c.rows = append(c.rows, i)
		}
	}
	found := make([][]ranking.Scored, len(queries))
	session := s.model.session
	session.NoGrad(func() {
		for low := 0; low < len(c.rows) && err == nil; low += s.grid.users {
			err = c.list(ctx, low, min(low+s.grid.users, len(c.rows)), k, found)
		}
	})
	if err == nil {
		err = s.listOnHost(ctx, queries, k, options, found)
	}
	return append(dst, found...), err
}

// list lists for the users of some rows. A user whose list is not certain is
// left without.
func (c *comparison) list(ctx context.Context, low, high, k int, lists [][]ranking.Scored) (err error) {
	session := c.model.session
	session.Scoped(func() {
		if err = ctx.Err(); err != nil {
			return
		}
		var states *gotorch.Tensor
		if states, err = c.model.states(c.windowsOf(c.rows[low:high])); err != nil {
			return
		}
		b := &userBlock{comparison: c, states: states, low: low, high: high}
		b.findSeen()
		err = b.readLists(k, lists)
	})
	return err
}

// readLists fills the lists of the block's users.
func (b *userBlock) readLists(k int, lists [][]ranking.Scored) error {
	values, items := b.best(k + 1)
	width := int(values.Size(1))
	scores, ids := values.Float32s(), items.Int64s()
	for row := range b.high - b.low {
		list := make([]ranking.Scored, width)
		for j := range list {
			list[j] = ranking.Scored{Item: int32(ids[row*width+j]), Score: scores[row*width+j]}
		}
		if list[0].Score != list[0].Score { // of all scores libtorch takes this for the highest
			return ranking.ErrNotANumber
		}
		lists[b.rows[b.low+row]] = certain(list, k)
	}
	return nil
}

// certain is the list of the k best of some more, or nil when scores alone do
// not say which these are: when the first left out is as good as the last, or
// when the last may be a seen item.
func certain(best []ranking.Scored, k int) []ranking.Scored {
	list := best[:min(k, len(best))]
	last := list[len(list)-1].Score
	if math.IsInf(float64(last), -1) || len(best) > k && best[k].Score == last {
		return nil
	}
	ranking.SortList(list)
	return list
}

// best are the highest scores [users, n] and the items that have them, of
// equal ones any. Seen items have the score −∞.
func (b *userBlock) best(n int) (scores, items *gotorch.Tensor) {
	session := b.model.session
	var allScores, allItems []*gotorch.Tensor
	for strip := range b.strips() {
		session.Scoped(func() {
			scores, columns := b.withoutSeen(strip).TopK(int64(min(n, b.width(strip))))
			items := columns.Add(strip*b.grid.items + 1)
			session.Keep(scores, items)
			allScores, allItems = append(allScores, scores), append(allItems, items)
		})
	}
	scores, places := session.Cat(1, allScores...).TopK(int64(min(n, b.model.config.Items)))
	return scores, session.Cat(1, allItems...).Gather(1, places)
}

// withoutSeen are the scores of a strip's items, −∞ for seen ones.
func (b *userBlock) withoutSeen(strip int) *gotorch.Tensor {
	scores := b.scores(strip)
	from, to := int64(b.seenBefore[strip]), int64(b.seenBefore[strip+1])
	if from == to {
		return scores
	}
	flat := scores.Reshape(-1)
	b.model.session.Call("aten::index_fill_.int_Scalar", flat, 0, b.seenPlaces.Narrow(0, from, to-from), math.Inf(-1))
	return flat.View(scores.Shape()...)
}

// listOnHost lists for those users with a history who have no list yet.
func (s scorer) listOnHost(ctx context.Context, queries []ranking.Query, k int, options ranking.Options, lists [][]ranking.Scored) error {
	var rest []ranking.Query
	var at []int
	for i, q := range queries {
		if len(q.History) > 0 && lists[i] == nil {
			rest, at = append(rest, q), append(at, i)
		}
	}
	// Without its other methods the scorer is asked for rows of scores.
	found, err := ranking.List(ctx, struct{ ranking.Scorer }{s}, rest, k, ranking.Options{Items: options.Items, FilterSeen: options.FilterSeen, Workers: 1})
	for i, list := range found {
		lists[at[i]] = list
	}
	return err
}
