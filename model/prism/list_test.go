package prism

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/ranking"
)

// TestListsAreThoseOfAllScores compares what the device selects with sorting,
// on scores that tie, are infinite or not numbers, for every cut of users and
// items.
func TestListsAreThoseOfAllScores(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		rapid.Check(t, func(t *rapid.T) {
			s.Scoped(func() { listsAreThoseOfAllScores(t, s) })
		})
	})
}

func listsAreThoseOfAllScores(t *rapid.T, s *gotorch.Session) {
	items := rapid.IntRange(1, 12).Draw(t, "items")
	values := rapid.OneOf(rapid.Float32Range(-9, 9), rapid.SampledFrom([]float32{-1, 0, 1, float32(math.Inf(1)), float32(math.Inf(-1))}))
	if rapid.IntRange(0, 3).Draw(t, "broken") == 0 {
		values = rapid.OneOf(values, rapid.Just(float32(math.NaN())))
	}
	table := rapid.SliceOfN(values, (items+1)*(items+1), (items+1)*(items+1)).Draw(t, "scores")
	m := &Model{
		config: Config{Mode: Causal, Items: items, MaxLength: 3}, session: s,
		backbone: lookup{s.FromFloat32(table, int64(items+1), int64(items+1))},
	}
	var queries []ranking.Query
	for user := range rapid.IntRange(1, 12).Draw(t, "users") {
		queries = append(queries, ranking.Query{User: user, History: rapid.SliceOfN(rapid.Int32Range(1, int32(items)), 1, 6).Draw(t, "history")})
	}
	options := ranking.Options{Items: items, FilterSeen: rapid.Bool().Draw(t, "filter"), Workers: 1, Batch: rapid.IntRange(0, 13).Draw(t, "batch")}
	lister := scorer{m, grid{users: rapid.IntRange(1, 5).Draw(t, "block of users"), listed: rapid.IntRange(1, 13).Draw(t, "strip of items")}}
	k := rapid.IntRange(1, 13).Draw(t, "k")
	want, wantErr := ranking.List(context.Background(), dense{lister}, queries, k, options)
	got, err := ranking.List(context.Background(), lister, queries, k, options)
	if options.FilterSeen && (err != nil || wantErr != nil) {
		return // the score of a seen item is not always looked at
	}
	if diff := cmp.Diff(fmt.Sprint(want, wantErr != nil), fmt.Sprint(got, err != nil)); diff != "" {
		t.Fatalf("(-all scores +selected): %v, %v\n%s", wantErr, err, diff)
	}
}

// A model lists what it ranks first, and nothing for a user without history.
func TestModelListsAsItRanks(t *testing.T) {
	for _, mode := range Modes() {
		torchtest.Run(t, func(s *gotorch.Session) {
			m := testModel(t, s, testConfig(mode, 2))
			m.Prepare()
			cases := append(randomCases(60, testItems), ranking.Case{Query: ranking.Query{User: 60}})
			var queries []ranking.Query
			for _, c := range cases {
				queries = append(queries, c.Query)
			}
			options := ranking.DefaultOptions(testItems)
			options.Workers = 1
			lists, err := ranking.List(t.Context(), scorer{m, grid{users: 7, listed: 6}}, queries, 5, options)
			if err != nil {
				t.Fatal(err)
			}
			if last := lists[60]; len(last) > 0 {
				t.Errorf("mode %s: listed %v without a history", mode, last)
			}
			var listed []ranking.Case
			for i, list := range lists {
				for _, item := range list {
					listed = append(listed, ranking.Case{Query: queries[i], Answer: item.Item})
				}
			}
			if len(listed) != 60*5 {
				t.Fatalf("mode %s: %d items listed", mode, len(listed))
			}
			for i, rank := range evaluate(t, m.Scorer(), listed, options) {
				if rank.First != i%5+1 {
					t.Errorf("mode %s: place %d of a list ranks %d", mode, i%5+1, rank.First)
				}
			}
		})
	}
}

func TestListRefuses(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		m := testModel(t, s, testConfig(Causal, 0))
		queries := []ranking.Query{{History: []int32{1}}}
		if _, err := ranking.List(t.Context(), m.Scorer(), queries, 1, ranking.Options{Items: testItems - 1, Workers: 1}); err == nil {
			t.Error("listed from a model of other items")
		}
	})
}

// BenchmarkList lists 20 items for all of Beauty's users, beside ranking one
// answer of each.
func BenchmarkList(b *testing.B) {
	onBeauty(b, func(m *Model, cases []ranking.Case, options ranking.Options) {
		queries := make([]ranking.Query, len(cases))
		for i := range cases {
			queries[i] = cases[i].Query
		}
		var ranked, listed time.Duration
		for b.Loop() {
			begun := time.Now()
			evaluate(b, m.Scorer(), cases, options)
			ranked += time.Since(begun)
			begun = time.Now()
			if _, err := ranking.List(b.Context(), m.Scorer(), queries, 20, options); err != nil {
				b.Fatal(err)
			}
			listed += time.Since(begun)
		}
		b.ReportMetric(ranked.Seconds()/float64(b.N), "s/ranked")
		b.ReportMetric(listed.Seconds()/float64(b.N), "s/listed")
	})
}
