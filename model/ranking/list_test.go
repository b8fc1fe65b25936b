package ranking

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// listTable is a table that lists by itself, by sorting.
type listTable struct{ table }

func (t listTable) ListBatch() int { return 3 }

func (t listTable) AppendLists(_ context.Context, dst [][]Scored, queries []Query, k int, options Options) ([][]Scored, error) {
	for _, q := range queries {
		list := bySortingAll(t.table[q.User], q, options.FilterSeen, func(float32) bool { return true })
		if slices.ContainsFunc(t.table[q.User][1:], func(s float32) bool { return s != s }) {
			return nil, ErrNotANumber
		}
		dst = append(dst, list[:min(k, len(list))])
	}
	return dst, nil
}

// bySortingAll is the whole list of a query's candidates.
func bySortingAll(scores []float32, q Query, filter bool, want func(float32) bool) []Scored {
	var list []Scored
	for item := int32(1); int(item) < len(scores); item++ {
		if want(scores[item]) && !(filter && slices.Contains(q.History, item)) {
			list = append(list, Scored{item, scores[item]})
		}
	}
	slices.SortStableFunc(list, func(a, b Scored) int { // stable: equal scores stay in the order of ids
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return 0
	})
	return list
}

func TestListsAreThoseOfSorting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.IntRange(1, 30).Draw(t, "items")
		values := []float32{-2, -1, 0, 0, 1, 2, float32(math.Inf(1)), float32(math.Inf(-1))}
		if rapid.IntRange(0, 4).Draw(t, "broken") == 0 {
			values = append(values, float32(math.NaN()))
		}
		k := rapid.IntRange(1, 12).Draw(t, "k")
		options := Options{
			Items: items, FilterSeen: rapid.Bool().Draw(t, "filter"),
			Workers: rapid.IntRange(0, 4).Draw(t, "workers"), Batch: rapid.IntRange(0, 5).Draw(t, "batch"),
		}
		var scores table
		var queries []Query
		var want, wantSparse [][]Scored
		broken := false
		for user := range rapid.IntRange(1, 20).Draw(t, "users") {
			row := append([]float32{9}, rapid.SliceOfN(rapid.SampledFrom(values), items, items).Draw(t, "scores")...)
			q := Query{User: user, History: rapid.SliceOfN(rapid.Int32Range(1, int32(items)), 0, 8).Draw(t, "history")}
			scores, queries = append(scores, row), append(queries, q)
			list := bySortingAll(row, q, options.FilterSeen, func(float32) bool { return true })
			want = append(want, list[:min(k, len(list))])
			list = bySortingAll(row, q, options.FilterSeen, func(s float32) bool { return s > 0 })
			wantSparse = append(wantSparse, list[:min(k, len(list))])
			broken = broken || slices.ContainsFunc(row, func(s float32) bool { return s != s })
		}
		for _, c := range []struct {
			scorer Scorer
			want   [][]Scored
		}{{scores, want}, {listTable{scores}, want}, {sparseTable{scores}, wantSparse}} {
			got, err := List(context.Background(), c.scorer, queries, k, options)
			if broken {
				if _, sparse := c.scorer.(SparseScorer); err == nil && !sparse { // a sparse one may have listed nothing of a seen item
					t.Fatalf("%T: no error for a score that is not a number", c.scorer)
				}
				continue
			}
			if diff := cmp.Diff(fmt.Sprint(c.want), fmt.Sprint(got)); err != nil || diff != "" {
				t.Fatalf("%T: %v (-want +got):\n%s", c.scorer, err, diff)
			}
		}
	})
}

// forgetful lists nothing.
type forgetful struct{ table }

func (forgetful) ListBatch() int { return 1 }

func (forgetful) AppendLists(context.Context, [][]Scored, []Query, int, Options) ([][]Scored, error) {
	return nil, nil
}

func TestWhatCannotBeListed(t *testing.T) {
	scores := table{make([]float32, 4)}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for want, c := range map[string]struct {
		ctx    context.Context
		scorer Scorer
		items  int
		k      int
		query  Query
	}{
		"want at least 1":         {t.Context(), scores, 3, 0, Query{}},
		"0 items: want 1":         {t.Context(), scores, 0, 1, Query{}},
		"item 4 at place 0":       {t.Context(), scores, 3, 1, Query{History: []int32{4}}},
		"context canceled":        {cancelled, scores, 3, 1, Query{}},
		"the scorer gave 0 lists": {t.Context(), forgetful{scores}, 3, 1, Query{}},
	} {
		if _, err := List(c.ctx, c.scorer, []Query{c.query}, c.k, DefaultOptions(c.items)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
