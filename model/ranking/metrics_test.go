package ranking

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var almost = cmpopts.EquateApprox(0, 1e-15)

func at(place int) Rank { return Rank{First: place, Last: place, Candidates: 1000} }

// eachOfAUser makes ranks those of different users.
func eachOfAUser(ranks ...Rank) []Rank {
	for i := range ranks {
		ranks[i].User = i
	}
	return ranks
}

func TestSummaryByHand(t *testing.T) {
	ranks := eachOfAUser(at(1), at(3), at(10), at(11), Rank{First: 5, Last: 5, Outcome: Impossible}, Rank{Outcome: Unanswered})
	got, err := Summarize(ranks, []int{10, 1, 10})
	if err != nil {
		t.Fatal(err)
	}
	want := Summary{Users: 5, Answers: 5, Impossible: 1, Unanswered: 1, At: []At{
		{K: 1, Recall: .2, NDCG: .2, MRR: .2},
		{K: 10, Recall: .6, NDCG: (1 + .5 + 1/math.Log2(11)) / 5, MRR: (1 + 1/3. + .1) / 5},
	}}
	if diff := cmp.Diff(want, got, almost); diff != "" {
		t.Error(diff)
	}
}

func TestSummaryErrors(t *testing.T) {
	for name, c := range map[string]struct {
		ranks []Rank
		ks    []int
	}{
		"no k":    {[]Rank{at(1)}, nil},
		"k of 0":  {[]Rank{at(1)}, []int{10, 0}},
		"no user": {[]Rank{{Outcome: Unanswered}}, []int{10}},
		"nobody":  {nil, []int{10}},
	} {
		if _, err := Summarize(c.ranks, c.ks); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Constant scores find nothing under pessimistic ties, and what chance finds under expected ties.
func TestConstantScores(t *testing.T) {
	const items, k = 50, 10
	var scores table
	var cases []Case
	for user := range items {
		scores = append(scores, make([]float32, items+1))
		cases = append(cases, Case{Query: Query{User: user}, Answer: int32(user + 1)})
	}
	chance := At{K: k, Recall: float64(k) / items}
	for place := 1; place <= k; place++ {
		chance.NDCG += 1 / math.Log2(float64(place)+1) / items
		chance.MRR += 1 / float64(place) / items
	}
	for ties, want := range map[Ties]At{Pessimistic: {K: k}, Expected: chance, ByID: chance} {
		options := DefaultOptions(items)
		options.Ties = ties
		s, err := Summarize(mustEvaluate(t, scores, cases, options), []int{k})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, s.At[0], almost); diff != "" {
			t.Errorf("%s: %s", ties, diff)
		}
		if s.Tied != items {
			t.Errorf("%s: %d users tied, want all %d", ties, s.Tied, items)
		}
	}
}

func TestEveryRankingKeepsTheBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		place := rapid.IntRange(1, 60)
		var ranks []Rank
		for range rapid.IntRange(1, 40).Draw(t, "users") {
			first := place.Draw(t, "first")
			ranks = append(ranks, Rank{First: first, Last: first + rapid.IntRange(0, 5).Draw(t, "tied"), Outcome: Outcome(rapid.IntRange(0, 1).Draw(t, "outcome"))})
		}
		s, err := Summarize(eachOfAUser(ranks...), rapid.SliceOfN(place, 1, 6).Draw(t, "ks"))
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(s.At, 0); err != nil {
			t.Fatal(err)
		}
		if err := Check(rounded(s.At, 4), 0.00005); err != nil {
			t.Fatalf("after rounding: %v", err)
		}
	})
}

func rounded(table []At, digits int) []At {
	unit := math.Pow10(digits)
	var out []At
	for _, a := range table {
		out = append(out, At{K: a.K, Recall: math.Round(a.Recall*unit) / unit, NDCG: math.Round(a.NDCG*unit) / unit, MRR: math.Round(a.MRR*unit) / unit})
	}
	return out
}

func TestCheckFindsWhatIsImpossible(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name  string
		table []At
		want  string // empty: possible
	}{
		{"nothing", nil, ""},
		{"zeros", []At{{K: 10}, {K: 20}}, ""},
		{"hits all at the first place", []At{{10, .3, .3, .3}}, ""},
		{"hits all at the last place", []At{{10, .3, .3 / math.Log2(11), .03}}, ""},
		{"ndcg above recall", []At{{10, .3, .31, nan}}, "ndcg@10 is 0.31"},
		{"ndcg below what the last place gives", []At{{10, .3, .08, nan}}, "ndcg@10 is 0.08"},
		{"mrr above ndcg", []At{{10, nan, .2, .21}}, "mrr@10 is 0.21"},
		{"mrr below what the last place gives", []At{{10, .3, nan, .02}}, "mrr@10 is 0.02"},
		{"recall falls", []At{{20, .2, nan, nan}, {10, .3, nan, nan}}, "recall@20 - recall@10 is -0.1"},
		{"ndcg falls", []At{{10, nan, .3, nan}, {20, nan, .2, nan}}, "ndcg@20 - ndcg@10"},
		{"recall above 1", []At{{10, 1.1, nan, nan}}, "recall@10 is 1.1"},
		{"recall below 0", []At{{10, -.1, nan, nan}}, "recall@10 is -0.1"},
		{"ndcg rises more than recall allows", []At{{10, .3, .2, nan}, {20, .4, .24, nan}}, "ndcg@20 - ndcg@10"},
		{"ndcg rises less than recall demands", []At{{10, .3, .2, nan}, {20, .4, .21, nan}}, "ndcg@20 - ndcg@10"},
		{"seen across a k that states no ndcg", []At{{10, .3, .2, nan}, {15, .35, nan, nan}, {20, .4, .24, nan}}, "ndcg@20 - ndcg@10"},
		{"infinite", []At{{10, math.Inf(1), nan, nan}}, "recall@10 is +Inf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Check(c.table, 0)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var bounds *BoundsError
			if !errors.As(err, &bounds) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want violations with %q", err, c.want)
			}
		})
	}
	for name, err := range map[string]error{
		"negative tolerance": Check(nil, -1),
		"NaN tolerance":      Check(nil, nan),
		"k of 0":             Check([]At{{K: 0}}, 0),
	} {
		var bounds *BoundsError
		if err == nil || errors.As(err, &bounds) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Table 2 of the PRISM paper: 37 of its 72 entries cannot come from any ranking, however the four digits were rounded.
func TestPublishedTable(t *testing.T) {
	data, err := os.ReadFile("testdata/prism_table2.tsv")
	if err != nil {
		t.Fatal(err)
	}
	entries, impossible := 0, 0
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 7 {
			t.Fatalf("%d columns in %q", len(fields), line)
		}
		ten, twenty := At{K: 10, MRR: math.NaN()}, At{K: 20, MRR: math.NaN()}
		if _, err := fmt.Sscan(strings.Join(fields[2:6], " "), &ten.Recall, &twenty.Recall, &ten.NDCG, &twenty.NDCG); err != nil {
			t.Fatal(err)
		}
		err := Check([]At{ten, twenty}, 0.00005)
		if got, want := err != nil, fields[6] == "impossible"; got != want {
			t.Errorf("%s on %s: %v, want %s", fields[0], fields[1], err, fields[6])
		}
		entries++
		if err != nil {
			impossible++
		}
	}
	if entries != 72 || impossible != 37 {
		t.Errorf("%d of %d entries are impossible, want 37 of 72", impossible, entries)
	}
}

func TestCompareByHand(t *testing.T) {
	withUsers := func(places ...int) []Rank {
		ranks := []Rank{{User: 0, Outcome: Unanswered}}
		for i, place := range places {
			ranks = append(ranks, Rank{User: i + 1, Answer: 9, First: place, Last: place})
		}
		return ranks
	}
	baseline := [][]Rank{withUsers(1, 2, 20, 20), withUsers(1, 20, 20, 20)}
	candidate := [][]Rank{withUsers(1, 1, 1, 20), withUsers(1, 1, 20, 20)}
	got, err := Compare(MRR, 10, baseline, candidate)
	if err != nil {
		t.Fatal(err)
	}
	// Differences by user: run 0: 0, .5, 1, 0; run 1: 0, 1, 0, 0; averaged: 0, .75, .5, 0.
	want := Comparison{
		Metric: MRR, K: 10, Users: 4, Runs: 2,
		Baseline: 2.5 / 8, Candidate: 5. / 8, Difference: 2.5 / 8,
		UserError:      math.Sqrt((2*.3125*.3125 + .4375*.4375 + .1875*.1875) / 3 / 4),
		RunDifferences: []float64{.375, .25},
		RunError:       math.Sqrt(2 * .0625 * .0625 / 2),
		Better:         2, Worse: 0,
		SignedRank: SignedRank{Pairs: 2, Zeros: 2, Better: 3, Z: 3 / math.Sqrt(5), P: math.Erfc(3 / math.Sqrt(5) / math.Sqrt2)},
	}
	if diff := cmp.Diff(want, got, almost); diff != "" {
		t.Error(diff)
	}
	single, err := Compare(MRR, 10, baseline[:1], candidate[:1])
	if err != nil || !math.IsNaN(single.RunError) || single.Difference != .375 {
		t.Errorf("one run: %+v, %v", single, err)
	}
}

// With no difference between two models, the difference is more than two standard errors from 0 one time in twenty.
func TestComparisonOfEqualModels(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	far, trials := 0, 400
	for range trials {
		a, b := make([]Rank, 400), make([]Rank, 400)
		for i := range a {
			a[i], b[i] = at(1+random.IntN(30)), at(1+random.IntN(30))
		}
		c, err := Compare(NDCG, 10, [][]Rank{eachOfAUser(a...)}, [][]Rank{eachOfAUser(b...)})
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(c.Difference) > 1.96*c.UserError {
			far++
		}
	}
	if far < trials/50 || far > trials/10 {
		t.Errorf("%d of %d differences are far from 0, want about %d", far, trials, trials/20)
	}
}

func TestCompareErrors(t *testing.T) {
	runs := func(r ...Rank) [][]Rank { return [][]Rank{r} }
	a := Rank{User: 1, Answer: 2, First: 1, Last: 1}
	for name, c := range map[string]struct {
		metric              Metric
		k                   int
		baseline, candidate [][]Rank
		want                string
	}{
		"metric":         {"auc", 10, runs(a), runs(a), `"auc"`},
		"k":              {NDCG, 0, runs(a), runs(a), "at least 1"},
		"no runs":        {NDCG, 10, nil, nil, "0 runs"},
		"number of runs": {NDCG, 10, runs(a), [][]Rank{{a}, {a}}, "1 runs of the baseline and 2"},
		"users":          {NDCG, 10, runs(a), runs(a, a), "same split"},
		"answers":        {NDCG, 10, runs(a), runs(Rank{User: 1, Answer: 3, First: 1, Last: 1}), "answer 3"},
		"filter":         {NDCG, 10, runs(a), runs(Rank{User: 1, Answer: 2, First: 9, Last: 9, Outcome: Impossible}), "impossible"},
		"unanswered":     {NDCG, 10, runs(Rank{Outcome: Unanswered}), runs(Rank{Outcome: Unanswered}), "no user"},
	} {
		if _, err := Compare(c.metric, c.k, c.baseline, c.candidate); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}
