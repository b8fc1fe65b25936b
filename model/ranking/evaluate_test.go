package ranking

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// table is a Scorer that has a row of scores, padding included, for each user.
type table [][]float32

func (t table) Score(_ context.Context, queries []Query, scores []float32) error {
	for i, q := range queries {
		copy(scores[i*len(t[q.User]):], t[q.User])
	}
	return nil
}

// sparseTable is the same, but gives only the scores that are not 0, from the last item to the first.
type sparseTable struct{ table }

func (t sparseTable) AppendScores(dst []Scored, q Query) ([]Scored, error) {
	for item := len(t.table[q.User]) - 1; item > 0; item-- {
		if s := t.table[q.User][item]; s != 0 {
			dst = append(dst, Scored{Item: int32(item), Score: s})
		}
	}
	return dst, nil
}

// countingTable is the same and counts by itself, one candidate at a time.
type countingTable struct{ table }

func (t countingTable) CountBatch() int { return 3 }

func (t countingTable) Count(_ context.Context, cases []Case, options Options, counted []Counted) error {
	for i, c := range cases {
		scores := t.table[c.User]
		counted[i].Counts = bySorting(scores, c, options.FilterSeen)
		counted[i].NotANumber = slices.ContainsFunc(scores[1:], func(s float32) bool { return s != s })
	}
	return nil
}

func mustEvaluate(t testing.TB, scorer Scorer, cases []Case, options Options) []Rank {
	t.Helper()
	ranks, err := Evaluate(context.Background(), scorer, cases, options)
	if err != nil {
		t.Fatal(err)
	}
	return ranks
}

func TestRankByHand(t *testing.T) {
	inf := float32(math.Inf(1))
	// Items 1…6; column 0 is padding and must not matter, whatever is in it.
	for _, c := range []struct {
		name        string
		scores      []float32
		history     []int32
		answer      int32
		keepSeen    bool
		pessimistic int
		byID        int
		expected    float64
		candidates  int
		outcome     Outcome
	}{
		{"best", []float32{99, 1, 2, 9, 3, 4, 5}, nil, 3, false, 1, 1, 1, 6, Ranked},
		{"worst", []float32{99, 1, 2, 9, 3, 4, 5}, nil, 1, false, 6, 6, 6, 6, Ranked},
		{"better items seen", []float32{0, 1, 2, 9, 3, 4, 5}, []int32{3, 6, 3}, 5, false, 1, 1, 1, 4, Ranked},
		{"better items seen, kept", []float32{0, 1, 2, 9, 3, 4, 5}, []int32{3, 6, 3}, 5, true, 3, 3, 3, 6, Ranked},
		{"tied with ids on both sides", []float32{0, 7, 7, 7, 1, 9, 7}, nil, 3, false, 5, 4, 3.5, 6, Ranked},
		{"tied items seen", []float32{0, 7, 7, 7, 1, 9, 7}, []int32{1, 6}, 3, false, 3, 3, 2.5, 4, Ranked},
		{"constant", []float32{0, 5, 5, 5, 5, 5, 5}, nil, 1, false, 6, 1, 3.5, 6, Ranked},
		{"infinite scores", []float32{0, inf, -inf, 0, -inf, inf, -inf}, nil, 4, false, 6, 5, 5, 6, Ranked},
		{"no score is lower than a seen one's", []float32{0, -3, -2, -1, -4, -5, -6}, []int32{1, 2, 3}, 6, false, 3, 3, 3, 3, Ranked},
		{"padding is NaN", []float32{float32(math.NaN()), 1, 2, 3, 4, 5, 6}, nil, 6, false, 1, 1, 1, 6, Ranked},
		{"answer seen", []float32{0, 1, 2, 9, 3, 4, 5}, []int32{3, 1, 3}, 3, false, 5, 5, 5, 4, Impossible},
		{"answer seen, kept", []float32{0, 1, 2, 9, 3, 4, 5}, []int32{3, 1, 3}, 3, true, 1, 1, 1, 6, Ranked},
		{"everything seen", []float32{0, 1, 2, 9, 3, 4, 5}, []int32{1, 2, 3, 4, 5, 6}, 3, false, 1, 1, 1, 0, Impossible},
		{"no answer", []float32{0, 1, 2, 9, 3, 4, 5}, []int32{3}, 0, false, 0, 0, 0, 0, Unanswered},
	} {
		t.Run(c.name, func(t *testing.T) {
			cases := []Case{{Query: Query{User: 0, History: c.history}, Answer: c.answer}}
			options := DefaultOptions(6)
			options.FilterSeen = !c.keepSeen
			for ties, want := range map[Ties]float64{"": float64(c.pessimistic), Pessimistic: float64(c.pessimistic), ByID: float64(c.byID), Expected: c.expected} {
				options.Ties = ties
				for _, scorer := range []Scorer{table{c.scores}, sparseTable{table{c.scores}}, countingTable{table{c.scores}}} {
					r := mustEvaluate(t, scorer, cases, options)[0]
					if r.Position() != want || r.Candidates != c.candidates || r.Outcome != c.outcome {
						t.Errorf("ties %q, %T: got position %v of %d, %v; want %v of %d, %v", ties, scorer, r.Position(), r.Candidates, r.Outcome, want, c.candidates, c.outcome)
					}
				}
			}
		})
	}
}

// bySorting ranks one case the obvious way: collect the candidates, sort, look where the answer is.
func bySorting(scores []float32, c Case, filter bool) Counts {
	var counts Counts
	for item := int32(1); int(item) < len(scores); item++ {
		if item == c.Answer || filter && slices.Contains(c.History, item) {
			continue
		}
		switch s, a := scores[item], scores[c.Answer]; {
		case s > a:
			counts.Better++
		case s == a:
			counts.Tied++
			if item < c.Answer {
				counts.TiedBefore++
			}
		}
	}
	return counts
}

func TestRanksAreThoseOfComparingOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.IntRange(1, 30).Draw(t, "items")
		users := rapid.IntRange(1, 20).Draw(t, "users")
		few := rapid.SampledFrom([]float32{-2, -1, 0, 0, 0, 1, 2, float32(math.Inf(-1)), float32(math.Copysign(0, -1))})
		id := rapid.Int32Range(1, int32(items))
		options := Options{
			Items:      items,
			FilterSeen: rapid.Bool().Draw(t, "filter"),
			Ties:       rapid.SampledFrom([]Ties{Pessimistic, Expected, ByID}).Draw(t, "ties"),
			Workers:    rapid.IntRange(0, 4).Draw(t, "workers"),
			Batch:      rapid.IntRange(0, 5).Draw(t, "batch"),
		}
		var scores table
		var cases []Case
		var want []Rank
		for user := range users {
			row := append([]float32{0}, rapid.SliceOfN(few, items, items).Draw(t, "scores")...)
			c := Case{Query: Query{User: user, History: rapid.SliceOfN(id, 0, 8).Draw(t, "history")}, Answer: id.Draw(t, "answer")}
			scores, cases = append(scores, row), append(cases, c)
			counts := bySorting(row, c, options.FilterSeen)
			r := Rank{User: user, Answer: c.Answer, Candidates: items, Tied: counts.Tied}
			if options.FilterSeen {
				seen := slices.Compact(slices.Sorted(slices.Values(c.History)))
				r.Candidates -= len(seen)
				if slices.Contains(seen, c.Answer) {
					r.Outcome, r.Tied = Impossible, 0
				}
			}
			if r.First, r.Last = options.Ties.Places(counts); r.Outcome == Impossible {
				r.First, r.Last = r.Candidates+1, r.Candidates+1
			}
			want = append(want, r)
		}
		for _, scorer := range []Scorer{scores, sparseTable{scores}, countingTable{scores}} {
			got, err := Evaluate(context.Background(), scorer, cases, options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%T (-want +got):\n%s", scorer, diff)
			}
		}
	})
}

// randomCases has real-valued scores, so that a rank has hardly any ties and depends on every score.
func randomCases(users, items int) (table, []Case) {
	random := rand.New(rand.NewPCG(1, 2))
	scores := make(table, users)
	cases := make([]Case, users)
	for user := range cases {
		scores[user] = make([]float32, items+1)
		for item := range scores[user] {
			scores[user][item] = float32(random.NormFloat64())
		}
		history := make([]int32, random.IntN(20))
		for i := range history {
			history[i] = 1 + random.Int32N(int32(items))
		}
		cases[user] = Case{Query: Query{User: user, History: history}, Answer: random.Int32N(int32(items) + 1)}
	}
	return scores, cases
}

func TestResultDoesNotDependOnBatchOrWorkers(t *testing.T) {
	scores, cases := randomCases(301, 200)
	want := mustEvaluate(t, scores, cases, DefaultOptions(200))
	for _, workers := range []int{1, 2, 7} {
		for _, batch := range []int{1, 13, 301, 1000} {
			options := DefaultOptions(200)
			options.Workers, options.Batch = workers, batch
			if diff := cmp.Diff(want, mustEvaluate(t, scores, cases, options)); diff != "" {
				t.Errorf("%d workers, batch %d:\n%s", workers, batch, diff)
			}
		}
	}
}

func TestProgressCountsEveryCaseOnce(t *testing.T) {
	scores, cases := randomCases(101, 50)
	options := DefaultOptions(50)
	options.Workers, options.Batch = 4, 10
	last, calls := 0, 0
	options.Progress = func(done, total int) {
		if done <= last || total != 101 {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
		calls++
	}
	mustEvaluate(t, scores, cases, options)
	if last != 101 || calls != 11 {
		t.Errorf("ended at %d after %d calls, want 101 after 11", last, calls)
	}
}

type scorerFunc func(ctx context.Context, queries []Query, scores []float32) error

func (f scorerFunc) Score(ctx context.Context, queries []Query, scores []float32) error {
	return f(ctx, queries, scores)
}

// A model bound to its thread relies on this.
func TestOneWorkerScoresInTheCallersGoroutine(t *testing.T) {
	_, cases := randomCases(20, 5)
	options := DefaultOptions(5)
	options.Workers, options.Batch = 1, 3
	scorer := scorerFunc(func(_ context.Context, _ []Query, scores []float32) error {
		if !strings.Contains(string(debug.Stack()), "TestOneWorkerScoresInTheCallersGoroutine(") {
			return errors.New("called from another goroutine")
		}
		clear(scores)
		return nil
	})
	mustEvaluate(t, scorer, cases, options)
}

func TestBadScores(t *testing.T) {
	nan := float32(math.NaN())
	good := []float32{0, 1, 2, 3}
	for _, c := range []struct {
		name   string
		scorer Scorer
		want   string
	}{
		{"NaN at the answer", table{good, {0, 1, nan, 3}}, "user 1: the score of item 2"},
		{"NaN elsewhere", table{good, {0, nan, 2, 3}}, "user 1: the score of item 1"},
		{"NaN at a seen item", table{good, {0, 1, 2, nan}}, "user 1: the score of item 3"},
		{"row not filled in", scorerFunc(func(_ context.Context, _ []Query, scores []float32) error { copy(scores, good); return nil }), "user 1: the score of item 3"},
		{"scorer fails", scorerFunc(func(context.Context, []Query, []float32) error { return errors.New("out of memory") }), "scoring 2 users from user 0 on: out of memory"},
		{"counted NaN", countingTable{table{good, {0, 1, 2, nan}}}, "user 1: the score of item 3"},
		{"nothing counted", counterFunc(func([]Counted) error { return nil }), "user 0: of 2 other candidates the scorer counted {Better:-1"},
		{"too many counted", counterFunc(func(c []Counted) error {
			c[0].Counts, c[1].Counts = Counts{Better: 2}, Counts{Better: 1, Tied: 1}
			return nil
		}), "user 1: of 1 other candidates the scorer counted {Better:1 Tied:1"},
		{"more tied before than tied", counterFunc(func(c []Counted) error { c[0].Counts = Counts{Tied: 1, TiedBefore: 2}; return nil }), "user 0: of 2 other"},
		{"counter fails", counterFunc(func([]Counted) error { return errors.New("out of memory") }), "comparing 2 users from user 0 on: out of memory"},
		{"counter finds a NaN that Score does not", counterFunc(func(c []Counted) error { c[0].NotANumber = true; return nil }), "user 0: scores that do not compare"},
		{"sparse NaN", sparseTable{table{good, {0, nan, 2, 3}}}, "user 1: the score of item 1"},
		{"sparse twice", twice{}, "user 0: the scorer gave item 2 twice"},
		{"sparse item 0", listing{0}, "user 0: the scorer gave a score to item 0"},
		{"sparse item 4", listing{4}, "user 0: the scorer gave a score to item 4, but items are 1…3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cases := []Case{{Query{0, nil}, 2}, {Query{1, []int32{3}}, 2}}
			_, err := Evaluate(context.Background(), c.scorer, cases, DefaultOptions(3))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

type counterFunc func(counted []Counted) error

func (f counterFunc) Score(context.Context, []Query, []float32) error { return nil }
func (f counterFunc) CountBatch() int                                 { return 10 }
func (f counterFunc) Count(_ context.Context, _ []Case, _ Options, counted []Counted) error {
	return f(counted)
}

// A counter knows best how many cases it wants at once, unless the caller says.
func TestBatchesAreThoseOfTheCounter(t *testing.T) {
	scores, cases := randomCases(8, 5)
	for batch, want := range map[int][]int{0: {3, 6, 8}, 5: {5, 8}} {
		options := DefaultOptions(5)
		options.Workers, options.Batch = 1, batch
		var ends []int
		options.Progress = func(done, _ int) { ends = append(ends, done) }
		mustEvaluate(t, countingTable{scores}, cases, options)
		if !slices.Equal(ends, want) {
			t.Errorf("batch %d: batches end at %v, want %v", batch, ends, want)
		}
	}
}

type listing struct{ item int32 }

func (l listing) Score(context.Context, []Query, []float32) error { return nil }
func (l listing) AppendScores(dst []Scored, _ Query) ([]Scored, error) {
	return append(dst, Scored{l.item, 1}), nil
}

type twice struct{ listing }

func (twice) AppendScores(dst []Scored, _ Query) ([]Scored, error) {
	return append(dst, Scored{2, 1}, Scored{2, 1}), nil
}

func TestBadCasesAndOptions(t *testing.T) {
	good := []Case{{Query{7, []int32{1}}, 2}}
	for _, c := range []struct {
		name    string
		cases   []Case
		options Options
		want    []string
	}{
		{"answer too large", []Case{{Query{7, nil}, 4}}, DefaultOptions(3), []string{"user 7", "item 4", "1…3"}},
		{"answer negative", []Case{{Query{7, nil}, -1}}, DefaultOptions(3), []string{"user 7", "item -1"}},
		{"padding in history", []Case{{Query{7, []int32{1, 0}}, 1}}, DefaultOptions(3), []string{"user 7", "item 0 at place 1"}},
		{"all options", good, Options{Items: 0, Ties: "lucky", Workers: -1, Batch: -1}, []string{`"lucky"`, "0 items", "-1 workers", "batch of -1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Evaluate(context.Background(), table{nil, nil}, c.cases, c.options)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want an error with %q", err, want)
				}
			}
		})
	}
}

func TestCancel(t *testing.T) {
	scores, cases := randomCases(100, 5)
	for _, workers := range []int{1, 3} {
		ctx, cancel := context.WithCancel(context.Background())
		options := DefaultOptions(5)
		options.Workers, options.Batch = workers, 1
		options.Progress = func(done, _ int) {
			if done == 10 {
				cancel()
			}
		}
		if _, err := Evaluate(ctx, scores, cases, options); !errors.Is(err, context.Canceled) {
			t.Errorf("%d workers: got %v", workers, err)
		}
	}
}

func TestNoCases(t *testing.T) {
	if ranks := mustEvaluate(t, table{}, nil, DefaultOptions(3)); len(ranks) != 0 {
		t.Errorf("got %v", ranks)
	}
}

// BenchmarkEvaluateDense has Beauty's number of items, and scores that cost nothing, so it measures the ranking alone.
func BenchmarkEvaluateDense(b *testing.B) {
	const items, users = 12101, 512
	scores, cases := randomCases(users, items)
	options := DefaultOptions(items)
	options.Workers = 1
	b.ResetTimer()
	for range b.N {
		mustEvaluate(b, scores, cases, options)
	}
	b.ReportMetric(float64(b.N)*users/b.Elapsed().Seconds(), "users/s")
}
