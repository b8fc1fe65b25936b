package prism

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/ranking"
)

// dense hides that a scorer can count.
type dense struct{ ranking.Scorer }

// lookup is a backbone that scores by the row of a table that belongs to a
// user's newest item, so that a test chooses every score.
type lookup struct{ table *gotorch.Tensor }

func (l lookup) Parameters() []nn.Named { return nil }
func (l lookup) Streams() int           { return 1 }

func (l lookup) Embed(b *backbone.Batch) []*gotorch.Tensor {
	return []*gotorch.Tensor{b.Items.To(gotorch.Float32).Unsqueeze(-1)}
}

func (l lookup) Encode(_ *backbone.Batch, streams []*gotorch.Tensor, _ nn.Mode) *gotorch.Tensor {
	return streams[0]
}

func (l lookup) Score(_, _ *gotorch.Tensor) *gotorch.Tensor { panic("no evaluation asks for it") }

func (l lookup) ScoreSet(_, _ *gotorch.Tensor) *gotorch.Tensor { panic("no evaluation asks for it") }

func (l lookup) ScoreRange(states *gotorch.Tensor, first, count int64) *gotorch.Tensor {
	return l.table.IndexSelect(0, states.Reshape(-1).To(gotorch.Int64)).Narrow(1, first, count)
}

// TestCountsAreThoseOfAllScores compares both ways to rank on scores that tie,
// are infinite or not numbers, for every cut of users and items.
func TestCountsAreThoseOfAllScores(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		rapid.Check(t, func(t *rapid.T) {
			s.Scoped(func() { countsAreThoseOfAllScores(t, s) })
		})
	})
}

func countsAreThoseOfAllScores(t *rapid.T, s *gotorch.Session) {
	items := rapid.IntRange(1, 12).Draw(t, "items")
	values := []float32{-2, -1, 0, 0, 1, 1, 2, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.Copysign(0, -1))}
	if rapid.IntRange(0, 3).Draw(t, "broken") == 0 {
		values = append(values, float32(math.NaN()))
	}
	table := rapid.SliceOfN(rapid.SampledFrom(values), (items+1)*(items+1), (items+1)*(items+1)).Draw(t, "scores")
	m := &Model{
		config: Config{Mode: Causal, Items: items, MaxLength: 3}, session: s,
		backbone: lookup{s.FromFloat32(table, int64(items+1), int64(items+1))},
	}
	item := rapid.Int32Range(1, int32(items))
	var cases []ranking.Case
	for user := range rapid.IntRange(1, 12).Draw(t, "users") {
		cases = append(cases, ranking.Case{
			Query:  ranking.Query{User: user, History: rapid.SliceOfN(item, 0, 6).Draw(t, "history")},
			Answer: rapid.OneOf(item, rapid.Just(int32(0))).Draw(t, "answer"),
		})
	}
	options := ranking.Options{Items: items, FilterSeen: rapid.Bool().Draw(t, "filter"), Workers: 1}
	counter := scorer{m, grid{
		users: rapid.IntRange(1, 5).Draw(t, "block of users"), items: rapid.IntRange(1, 13).Draw(t, "strip of items"),
		batch: rapid.IntRange(1, 13).Draw(t, "batch"),
	}}
	for _, options.Ties = range []ranking.Ties{ranking.Pessimistic, ranking.Expected, ranking.ByID} {
		want, wantErr := ranking.Evaluate(context.Background(), dense{counter}, cases, options)
		got, err := ranking.Evaluate(context.Background(), counter, cases, options)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || !slices.Equal(got, want) {
			t.Fatalf("ties %s: counted %v, %v; all scores give %v, %v", options.Ties, got, err, want, wantErr)
		}
	}
}

// TestModelCountsAsItScores is the same for real models, half of whose items
// score as the next one does.
func TestModelCountsAsItScores(t *testing.T) {
	for _, mode := range Modes() {
		torchtest.Run(t, func(s *gotorch.Session) {
			m := testModel(t, s, testConfig(mode, 2))
			m.Prepare()
			s.NoGrad(func() {
				table := m.Parameters()[0].Tensor
				table.Narrow(0, 1, 10).CopyFrom(table.Narrow(0, 11, 10).Clone())
			})
			cases := randomCases(60, testItems)
			for _, options := range []ranking.Options{
				{Items: testItems, FilterSeen: true, Ties: ranking.ByID},
				{Items: testItems, Ties: ranking.Expected},
			} {
				options.Workers = 1
				want := evaluate(t, dense{m.Scorer()}, cases, options)
				for _, g := range []grid{gridFor(gotorch.CPU), gridFor(gotorch.CUDA), {users: 7, items: 6, batch: 19}} {
					if got := evaluate(t, scorer{m, g}, cases, options); !slices.Equal(got, want) {
						t.Errorf("mode %s, grid %v: counted %v, want %v", mode, g, got, want)
					}
				}
			}
		})
	}
}

func randomCases(users, items int) []ranking.Case {
	random := rand.New(rand.NewPCG(7, 8))
	item := func() int32 { return 1 + random.Int32N(int32(items)) }
	cases := make([]ranking.Case, users)
	for user := range cases {
		history := make([]int32, 3+int(5.5*random.ExpFloat64())) // Beauty's users have nine items on average, and at least five
		for i := range history {
			history[i] = item()
		}
		cases[user] = ranking.Case{Query: ranking.Query{User: user, History: history}, Answer: item()}
	}
	return cases
}

func evaluate(t testing.TB, scorer ranking.Scorer, cases []ranking.Case, options ranking.Options) []ranking.Rank {
	t.Helper()
	ranks, err := ranking.Evaluate(t.Context(), scorer, cases, options)
	if err != nil {
		t.Fatal(err)
	}
	return ranks
}

func TestScoresDoNotDependOnTheBatch(t *testing.T) {
	for _, mode := range Modes() {
		torchtest.Run(t, func(s *gotorch.Session) {
			m := testModel(t, s, testConfig(mode, 2))
			m.Prepare()
			together := scores(t, m)
			for i, c := range testCases() {
				alone := make([]float32, testItems+1)
				if err := m.Scorer().Score(t.Context(), []ranking.Query{c.Query}, alone); err != nil {
					t.Fatal(err)
				}
				var want []float64
				for _, score := range together[i*(testItems+1) : (i+1)*(testItems+1)] {
					want = append(want, float64(score))
				}
				within(t, fmt.Sprintf("mode %s: case %d alone", mode, i), alone, want, 1e-6)
			}
		})
	}
}

// TestConstantScoresOfAModel: a model that likes all items alike finds nothing
// when ties count against it, and what chance finds when they are expected.
// Every user is counted.
func TestConstantScoresOfAModel(t *testing.T) {
	const k = 5
	torchtest.Run(t, func(s *gotorch.Session) {
		m := testModel(t, s, testConfig(Causal, 2))
		m.Prepare()
		s.NoGrad(func() { m.Parameters()[0].Tensor.ZeroInPlace() })
		cases := append(randomCases(600, testItems), ranking.Case{Query: ranking.Query{User: 600}, Answer: 3})
		for ties, want := range map[ranking.Ties]float64{ranking.Pessimistic: 0, ranking.Expected: float64(k) / testItems} {
			ranks := evaluate(t, m.Scorer(), cases, ranking.Options{Items: testItems, Ties: ties, Workers: 1})
			summary, err := ranking.Summarize(ranks, []int{1, k, testItems - 1})
			if err != nil {
				t.Fatal(err)
			}
			if err := ranking.Check(summary.At, 0); err != nil {
				t.Error(err)
			}
			if got := summary.At[1].Recall; math.Abs(got-want) > 1e-12 || summary.Users != len(cases) {
				t.Errorf("ties %s: recall@%d is %v of %d users, want %v of %d", ties, k, got, summary.Users, want, len(cases))
			}
		}
	})
}

// A rank does not show what was counted of an answer that is filtered itself.
func TestAnAnswerInTheHistoryIsNotTakenOut(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		m := testModel(t, s, testConfig(Causal, 0))
		s.NoGrad(func() { m.Parameters()[0].Tensor.ZeroInPlace() })
		cases := []ranking.Case{{Query: ranking.Query{History: []int32{2, 5, 2, 1, 5}}, Answer: 5}}
		counted := make([]ranking.Counted, 1)
		if err := m.Scorer().(ranking.Counter).Count(t.Context(), cases, ranking.DefaultOptions(testItems), counted); err != nil {
			t.Fatal(err)
		}
		if want := (ranking.Counts{Tied: testItems - 3, TiedBefore: 2}); counted[0].Counts != want {
			t.Errorf("counted %+v, want %+v", counted[0].Counts, want)
		}
	})
}

func TestCountRefuses(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		m := testModel(t, s, testConfig(Causal, 0))
		options := ranking.Options{Items: testItems - 1, Workers: 1}
		cases := []ranking.Case{{Query: ranking.Query{History: []int32{1}}, Answer: 2}}
		if _, err := ranking.Evaluate(t.Context(), m.Scorer(), cases, options); err == nil {
			t.Error("evaluated a model of other items")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		options.Items = testItems
		err := m.Scorer().(ranking.Counter).Count(ctx, cases, options, make([]ranking.Counted, 1))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled, but got %v", err)
		}
	})
}

// BenchmarkEvaluate ranks all of Beauty's users among all of its items, by
// counts and by whole rows of scores on the host. Both begin with the same
// encoding of all users, which is timed apart. They take turns and the fastest
// turn counts, so that the ratio means something on a busy machine too.
func BenchmarkEvaluate(b *testing.B) {
	onBeauty(b, func(m *Model, cases []ranking.Case, options ranking.Options) {
		ways := []struct {
			unit string
			run  func()
			best time.Duration
		}{
			{unit: "s/counted", run: func() { evaluate(b, m.Scorer(), cases, options) }},
			{unit: "s/scored", run: func() { evaluate(b, dense{m.Scorer()}, cases, options) }},
			{unit: "s/encoded", run: func() { encodeAll(b, m, cases) }},
		}
		for b.Loop() {
			for i := range ways {
				begun := time.Now()
				ways[i].run()
				if took := time.Since(begun); ways[i].best == 0 || took < ways[i].best {
					ways[i].best = took
				}
			}
		}
		for _, way := range ways {
			b.ReportMetric(way.best.Seconds(), way.unit)
		}
		b.ReportMetric(ways[1].best.Seconds()/ways[0].best.Seconds(), "scored/counted")
	})
}

// onBeauty measures a model that has as many items as Beauty, with as many users.
func onBeauty(b *testing.B, measure func(m *Model, cases []ranking.Case, options ranking.Options)) {
	b.Helper()
	const users, items = 22363, 12101
	s, err := torchtest.Open(b).NewSession(gotorch.SessionOptions{Device: "auto", Threads: 2, Seed: torchtest.Seed})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.Run(func() {
		c := Default()
		c.Items = items
		m, err := New(s, c, nil)
		if err != nil {
			b.Fatal(err)
		}
		options := ranking.DefaultOptions(items)
		options.Workers = 1
		measure(m, randomCases(users, items), options)
	}); err != nil {
		b.Fatal(err)
	}
}

func encodeAll(b *testing.B, m *Model, cases []ranking.Case) {
	b.Helper()
	scorer := m.Scorer().(scorer)
	for chunk := range slices.Chunk(cases, scorer.grid.users) {
		var windows [][]int32
		for _, c := range chunk {
			windows = append(windows, scorer.window(c.History))
		}
		m.session.Scoped(func() {
			m.session.NoGrad(func() {
				if _, err := m.states(windows); err != nil {
					b.Fatal(err)
				}
				m.session.Synchronize()
			})
		})
	}
}
