package baseline

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/model/ranking"
)

var (
	_ ranking.SparseScorer = (*KNN)(nil)
	_ ranking.Scorer       = (*Popularity)(nil)
)

// byDefinition computes the kNN's scores for one history as KNN documents them, with maps and no thought of speed.
func byDefinition(training [][]int32, o KNNOptions, history []int32) map[int32]float64 {
	weight := map[[2]int32]float64{}
	outgoing, count := map[int32]float64{}, map[int32]float64{}
	for _, s := range training {
		for i, a := range s {
			count[a]++
			for j := i + 1; j < len(s) && j-i <= o.MaxDistance; j++ {
				w := 1 / float64(j-i)
				weight[[2]int32{a, s[j]}] += w
				weight[[2]int32{s[j], a}] += o.BackwardWeight * w
				outgoing[a] += w
				outgoing[s[j]] += o.BackwardWeight * w
			}
		}
	}
	scores := map[int32]float64{}
	for d := range min(o.HistoryItems, len(history)) {
		h := history[len(history)-1-d]
		for c := range count {
			if w := weight[[2]int32{h, c}]; w > 0 {
				scores[c] += w / (float64(1+d) * math.Sqrt(outgoing[h]) * math.Pow(count[c], o.PopularityExponent))
			}
		}
	}
	return scores
}

func TestKNNIsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.IntRange(1, 12).Draw(t, "items")
		sequence := rapid.SliceOfN(rapid.Int32Range(1, int32(items)), 0, 9)
		training := rapid.SliceOfN(sequence, 0, 8).Draw(t, "training")
		history := sequence.Draw(t, "history")
		options := KNNOptions{
			MaxDistance:        rapid.IntRange(1, 12).Draw(t, "distance"),
			BackwardWeight:     rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "backward"),
			HistoryItems:       rapid.IntRange(1, 5).Draw(t, "history items"),
			PopularityExponent: rapid.SampledFrom([]float64{0, 0.3, 1}).Draw(t, "exponent"),
		}
		knn, err := FitKNN(context.Background(), items, training, options)
		if err != nil {
			t.Fatal(err)
		}
		got := map[int32]float64{}
		entries, err := knn.AppendScores(nil, ranking.Query{History: history})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got[e.Item] = float64(e.Score)
		}
		want := byDefinition(training, options, history)
		if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-6, 0), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		dense := make([]float32, items+1)
		if err := knn.Score(context.Background(), []ranking.Query{{History: history}}, dense); err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			dense[e.Item] -= e.Score
		}
		if slices.ContainsFunc(dense, func(s float32) bool { return s != 0 }) {
			t.Fatalf("dense scores are not the sparse ones: they differ by %v", dense)
		}
	})
}

func TestKNNByHand(t *testing.T) {
	knn, err := FitKNN(t.Context(), 4, [][]int32{{1, 2, 3}, {2, 1}}, DefaultKNN())
	if err != nil {
		t.Fatal(err)
	}
	// w(1→2) = 1 + ½, w(1→3) = ½; w(3→2) = ½, w(3→1) = ¼. Counts: 2, 2, 1, 0. Item 4 was never seen.
	p := math.Pow(2, 0.3)
	want := map[int32]float64{
		1: .25 / math.Sqrt(.75) / p,
		2: .5/math.Sqrt(.75)/p + 1.5/(2*math.Sqrt(2)*p),
		3: .5 / (2 * math.Sqrt(2)),
	}
	entries, err := knn.AppendScores(nil, ranking.Query{History: []int32{1, 3}})
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(want) {
		t.Errorf("%d items got a score, want %d", len(entries), len(want))
	}
	for _, e := range entries {
		if math.Abs(float64(e.Score)-want[e.Item]) > 1e-6 {
			t.Errorf("item %d scores %v, want %v", e.Item, e.Score, want[e.Item])
		}
	}
}

func TestPopularityCountsOccurrences(t *testing.T) {
	p, err := FitPopularity(3, [][]int32{{1, 3, 1}, nil, {1}})
	if err != nil {
		t.Fatal(err)
	}
	scores := make([]float32, 8)
	if err := p.Score(t.Context(), make([]ranking.Query, 2), scores); err != nil {
		t.Fatal(err)
	}
	if want := []float32{0, 3, 0, 1, 0, 3, 0, 1}; !slices.Equal(scores, want) {
		t.Errorf("got %v, want %v", scores, want)
	}
}

func TestBothFormsRankAlike(t *testing.T) {
	items, training, cases := beautyShaped(500)
	knn, err := FitKNN(t.Context(), items, training, DefaultKNN())
	if err != nil {
		t.Fatal(err)
	}
	type denseOnly struct{ ranking.Scorer }
	for _, ties := range []ranking.Ties{ranking.Pessimistic, ranking.Expected, ranking.ByID} {
		options := ranking.DefaultOptions(items)
		options.Ties = ties
		var ranks [2][]ranking.Rank
		for i, scorer := range []ranking.Scorer{knn, denseOnly{knn}} {
			options.Workers = 1 + i
			if ranks[i], err = ranking.Evaluate(t.Context(), scorer, cases, options); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(ranks[0], ranks[1]); diff != "" {
			t.Errorf("%s: %s", ties, diff)
		}
	}
}

func TestErrors(t *testing.T) {
	knn, err := FitKNN(t.Context(), 2, [][]int32{{1, 2}}, DefaultKNN())
	if err != nil {
		t.Fatal(err)
	}
	popularity, err := FitPopularity(2, nil)
	if err != nil {
		t.Fatal(err)
	}
	query := []ranking.Query{{User: 5, History: []int32{3}}}
	fit := func(items int, item int32, o KNNOptions) error {
		_, err := FitKNN(t.Context(), items, [][]int32{{1}, {1, item}}, o)
		return err
	}
	_, sparse := knn.AppendScores(nil, query[0])
	_, count := FitPopularity(2, [][]int32{{0}})
	for _, c := range []struct {
		err  error
		want string
	}{
		{fit(0, 1, DefaultKNN()), "0 items"},
		{fit(2, 3, DefaultKNN()), "sequence 1 has item 3 at place 1"},
		{fit(2, 0, DefaultKNN()), "padding"},
		{fit(2, 1, KNNOptions{BackwardWeight: math.NaN(), PopularityExponent: -1}), "pair distance of 0: want 1…100\na backward weight of NaN: want 0…1\n0 history items: want at least 1\na popularity exponent of -1: want 0…1"},
		{sparse, "item 3"},
		{knn.Score(t.Context(), query, make([]float32, 3)), "user 5: the history has item 3, but the kNN was fitted on items 1…2"},
		{knn.Score(t.Context(), query, make([]float32, 4)), "room for 4 scores, want 1 users × 3 columns"},
		{count, "item 0"},
		{popularity.Score(t.Context(), query, nil), "room for 0 scores"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("got %v, want an error with %q", c.err, c.want)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FitKNN(cancelled, 2, nil, DefaultKNN()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v after cancelling", err)
	}
}

// beautyShaped generates sequences with Beauty's number of items and lengths (5 and more, 8.9 on average), whose items
// have a skewed popularity and follow one another within groups, so that co-occurrence lists are about as long.
func beautyShaped(users int) (items int, training [][]int32, cases []ranking.Case) {
	const groups = 300
	items = 12101
	random := rand.New(rand.NewPCG(5, 6))
	inGroup := rand.NewZipf(random, 1.1, 3, uint64(items/groups-1))
	sequences := make([][]int32, users)
	for user := range sequences {
		group := random.IntN(groups)
		length := 5 + int(random.ExpFloat64()*4.4)
		for len(sequences[user]) < length {
			if random.IntN(3) == 0 {
				group = random.IntN(groups)
			}
			if item := int32(1 + group + groups*int(inGroup.Uint64())); !slices.Contains(sequences[user], item) {
				sequences[user] = append(sequences[user], item)
			}
		}
	}
	training, cases = leaveOneOut(sequences)
	return items, training, cases
}

func BenchmarkFitKNN(b *testing.B) {
	items, training, _ := beautyShaped(22363)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := FitKNN(b.Context(), items, training, DefaultKNN()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvaluateKNN(b *testing.B) {
	items, training, cases := beautyShaped(22363)
	knn, err := FitKNN(b.Context(), items, training, DefaultKNN())
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d neighbours of %d items", len(knn.neighbours), items)
	type denseOnly struct{ ranking.Scorer }
	for name, scorer := range map[string]ranking.Scorer{"sparse": knn, "dense": denseOnly{knn}} {
		b.Run(name, func(b *testing.B) {
			options := ranking.DefaultOptions(items)
			options.Workers = 1
			for b.Loop() {
				if _, err := ranking.Evaluate(b.Context(), scorer, cases, options); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
