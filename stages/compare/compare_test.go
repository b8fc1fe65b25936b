package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/model/ranking"
	"github.com/prismflow/prismflow/stages/tables"
)

// A world keeps the tables of evaluations that never ran.
type world struct {
	t     *testing.T
	paths map[artifacts.Digest]string
}

func newWorld(t *testing.T) *world { return &world{t, map[artifacts.Digest]string{}} }

func (w *world) open(_ context.Context, d artifacts.Digest) (string, error) {
	path, ok := w.paths[d]
	if !ok {
		return "", artifacts.ErrNotFound
	}
	return path, nil
}

func store[Row any](w *world, rows []Row) artifacts.Output {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "x.arrow")
	writer, err := table.Create[Row](path)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := writer.AppendAll(rows); err != nil {
		w.t.Fatal(err)
	}
	output, err := writer.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	w.paths[output.Digest] = path
	return output
}

// An experiment is what a subject of a test was made of.
type experiment struct {
	name    string
	train   map[string]any
	split   map[string]any
	vectors map[string]any // of features, which the model and the evaluation read; nil: there are none
	options map[string]any // of the evaluation
	places  []int          // of each user's answer
	metrics func([]tables.Metric)
}

const candidates = 100

// subject is an evaluation with a split, a model, and a corpus behind both.
func (w *world) subject(e experiment) Subject {
	w.t.Helper()
	file := func(text string) artifacts.Output {
		return artifacts.Output{Digest: artifacts.DigestOf([]byte(text))}
	}
	read := func(o artifacts.Output) map[string]artifacts.Digest { return map[string]artifacts.Digest{"": o.Digest} }
	corpus, split, model := file("corpus"), file(fmt.Sprint("split", e.split)), file(fmt.Sprint("model", e.train))
	metrics, ranks := e.tables()
	if e.metrics != nil {
		e.metrics(metrics)
	}
	result := func(stage, kind string, params map[string]any, inputs map[string]map[string]artifacts.Digest, outputs map[string]artifacts.Output) Result {
		request := artifacts.Request{Kind: kind, Version: 1, Params: params, Inputs: inputs}
		key, err := request.Key()
		if err != nil {
			w.t.Fatal(err)
		}
		return Result{stage, artifacts.Manifest{Key: key, Request: request, Outputs: outputs}}
	}
	type in = map[string]map[string]artifacts.Digest
	options := map[string]any{"filter_seen": true, "ties": "pessimistic"}
	maps.Copy(options, e.options)
	fitted, judged := in{"split": read(split), "items": read(corpus)}, in{"model": read(model), "split": read(split)}
	subject := Subject{Name: e.name, Open: w.open}
	if e.vectors != nil {
		vectors := file(fmt.Sprint("vectors", e.vectors))
		fitted["features"], judged["features"] = read(vectors), read(vectors)
		subject.Results = append(subject.Results, result("vectors", "features.hashed", e.vectors, in{"items": read(file("made of"))}, map[string]artifacts.Output{"features": vectors}))
	}
	subject.Results = append(subject.Results,
		result("corpus", "corpus", map[string]any{"min_core": 5.0}, nil, map[string]artifacts.Output{"sequences": corpus}),
		result("split", "split.leave_one_out", e.split, in{"sequences": read(corpus)}, map[string]artifacts.Output{"split": split}),
		result("fit", "prism.train", e.train, fitted, map[string]artifacts.Output{"model": model}),
		result("judge", "evaluate", options, judged, map[string]artifacts.Output{"metrics": store(w, metrics), "ranks": store(w, ranks)}))
	return subject
}

func (e experiment) tables() (metrics []tables.Metric, ranks []tables.Rank) {
	popular := make([]int, len(e.places))
	for i := range popular {
		popular[i] = 60 + i%40
	}
	for _, m := range []struct {
		name   string
		places []int
	}{{"prism", e.places}, {"popularity", popular}} {
		var own []ranking.Rank
		for user, place := range m.places {
			own = append(own, ranking.Rank{User: user, Answer: 1, First: place, Last: place, Candidates: candidates})
			ranks = append(ranks, tables.Rank{Model: m.name, Split: "test", User: int32(user), Answer: 1, Rank: float64(place), Candidates: candidates})
		}
		summary, err := ranking.Summarize(own, []int{5, 10})
		if err != nil {
			panic(err)
		}
		for _, at := range summary.At {
			for _, metric := range []ranking.Metric{ranking.Recall, ranking.NDCG, ranking.MRR} {
				metrics = append(metrics, tables.Metric{Model: m.name, Split: "test", Metric: string(metric), K: int32(at.K), Value: at.Value(metric), Users: int64(len(own))})
			}
		}
	}
	return metrics, ranks
}

// places of users around a mean.
func places(mean float64, seed uint64) []int {
	random := rand.New(rand.NewPCG(uint64(mean), seed))
	list := make([]int, 300)
	for i := range list {
		list[i] = min(candidates, 1+int(random.ExpFloat64()*mean))
	}
	return list
}

func (w *world) report(options Options, experiments ...experiment) Report {
	w.t.Helper()
	var measured []*Measurement
	for _, e := range experiments {
		found, err := Read(w.t.Context(), w.subject(e))
		if err != nil {
			w.t.Fatal(err)
		}
		measured = append(measured, found...)
	}
	report, err := New(measured, options)
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

// six are two backbones with three seeds each.
func six() []experiment {
	var all []experiment
	for _, backbone := range []string{"good", "poor"} {
		for seed := range 3 {
			mean := map[string]float64{"good": 8, "poor": 30}[backbone]
			all = append(all, experiment{
				name: fmt.Sprintf("%s-%d", backbone, seed), train: map[string]any{"backbone": backbone, "seed": float64(seed), "layers": 2.0},
				places: places(mean, uint64(seed)),
			})
		}
	}
	return all
}

func TestSeedsAreOneRow(t *testing.T) {
	w := newWorld(t)
	report := w.report(Options{}, six()...)
	if len(report.Tables) != 1 || len(report.Problems()) > 0 {
		t.Fatalf("%d tables, problems %v", len(report.Tables), report.Problems())
	}
	table := report.Tables[0]
	if diff := cmp.Diff([]string{"backbone"}, table.Differing); diff != "" {
		t.Errorf("differing: %s", diff)
	}
	want := []Row{
		{Label: "backbone=good", Model: "prism", Settings: map[string]string{"backbone": "good"}, Runs: 3, Seeds: []string{"0", "1", "2"}, Subjects: []string{"good-0", "good-1", "good-2"}},
		{Label: "backbone=poor", Model: "prism", Settings: map[string]string{"backbone": "poor"}, Runs: 3, Seeds: []string{"0", "1", "2"}, Subjects: []string{"poor-0", "poor-1", "poor-2"}},
		{Label: "popularity", Model: "popularity", Baseline: true, Settings: map[string]string{}, Runs: 1, Seeds: []string{}, Subjects: []string{"good-0", "good-1", "good-2", "poor-0", "poor-1", "poor-2"}},
	}
	if diff := cmp.Diff(want, table.Rows, cmpopts.IgnoreFields(Row{}, "Values")); diff != "" {
		t.Errorf("rows: %s", diff)
	}
	var perRun []float64
	for seed := range 3 {
		hits := 0
		for _, place := range places(8, uint64(seed)) {
			if place <= 10 {
				hits++
			}
		}
		perRun = append(perRun, float64(hits)/300)
	}
	spread := ranking.MeanSDOf(perRun)
	got := table.Rows[0].Values[slices.IndexFunc(table.Rows[0].Values, func(v Value) bool { return v.Measure == "recall@10" })]
	if diff := cmp.Diff(Value{"recall@10", spread.Mean, &spread.SD, true}, got, cmpopts.EquateApprox(0, 1e-12)); diff != "" {
		t.Errorf("recall@10: %s", diff)
	}
	if _, err := json.Marshal(report); err != nil {
		t.Error(err)
	}
}

// A comparison is what the tests say of the users' means over the seeds, and the
// p-values are corrected for all of them.
func TestComparisons(t *testing.T) {
	w := newWorld(t)
	table := w.report(Options{Measures: []Measure{{"recall", 10}, {Metric: Place}}, Draws: 200}, six()...).Tables[0]
	if n := len(table.Comparisons); n != 2*3 {
		t.Fatalf("%d comparisons of three rows in two measures", n)
	}
	mean := func(mean float64, user int) float64 {
		sum := 0.0
		for seed := range 3 {
			sum += float64(places(mean, uint64(seed))[user])
		}
		return sum / 3
	}
	var nearer []float64
	for user := range 300 {
		nearer = append(nearer, mean(30, user)-mean(8, user))
	}
	student, signed := ranking.PairedT(nearer), ranking.Wilcoxon(nearer)
	i := slices.IndexFunc(table.Comparisons, func(c Comparison) bool {
		return c.Measure == "place" && c.Row == "backbone=good" && c.Against == "backbone=poor"
	})
	if i < 0 {
		t.Fatalf("none of %+v", table.Comparisons)
	}
	c := table.Comparisons[i]
	if math.Abs(c.Difference+student.Mean) > 1e-9 || math.Abs(*c.T.Statistic-student.T) > 1e-9 || math.Abs(*c.Wilcoxon.Statistic-signed.Z) > 1e-2 {
		t.Errorf("got %+v, want t %+v and ranks %+v", c, student, signed)
	}
	if !(c.Low < c.Difference && c.Difference < c.High && c.High < 0) {
		t.Errorf("%v is not within %v … %v below 0", c.Difference, c.Low, c.High)
	}
	var ps []float64
	for _, c := range table.Comparisons {
		ps = append(ps, c.T.P)
	}
	for i, adjusted := range ranking.Holm(ps) {
		if table.Comparisons[i].T.Adjusted != adjusted {
			t.Errorf("comparison %d: adjusted %v, want %v", i, table.Comparisons[i].T.Adjusted, adjusted)
		}
	}
}

// Two rows that differ by chance alone are both unmarked.
func TestNothingIsBestByChance(t *testing.T) {
	w := newWorld(t)
	table := w.report(Options{},
		experiment{name: "a", train: map[string]any{"backbone": "a"}, places: places(20, 1)},
		experiment{name: "b", train: map[string]any{"backbone": "b"}, places: places(20, 2)}).Tables[0]
	for _, row := range table.Rows {
		for _, v := range row.Values {
			if v.Best {
				t.Errorf("%s is best in %s: %+v", row.Label, v.Measure, table.Comparisons)
			}
		}
	}
}

// The same result met again, under another name, is the same run.
func TestSameResultCountsOnce(t *testing.T) {
	w := newWorld(t)
	e := six()[0]
	again := e
	again.name = "again"
	table := w.report(Options{}, e, again).Tables[0]
	if row := table.Rows[0]; row.Runs != 1 || !slices.Equal(row.Subjects, []string{"good-0", "again"}) || row.Label != "prism" {
		t.Errorf("got %+v", row)
	}
}

func TestWhatWasNotMeasuredAlikeIsNotRanked(t *testing.T) {
	base := experiment{name: "base", train: map[string]any{"backbone": "a"}, places: places(20, 1)}
	fewer := places(20, 1)[:299]
	for _, tt := range []struct {
		change func(*experiment)
		want   string
	}{
		{func(e *experiment) { e.options = map[string]any{"filter_seen": false} }, "seen items filtered: true against false"},
		{func(e *experiment) { e.options = map[string]any{"ties": "by_id"} }, "ties: pessimistic against by_id"},
		{func(e *experiment) { e.split = map[string]any{"min_length": 5.0} }, "split: split.leave_one_out against split.leave_one_out (min_length=5)"},
		{func(e *experiment) { e.places = fewer }, "users: 300 against 299"},
		{func(e *experiment) {
			e.metrics = func(m []tables.Metric) { m[0].Value += 1e-6 }
		}, "prism (judge of other): recall@5 is"},
		{func(e *experiment) {
			e.metrics = func(m []tables.Metric) { m[1].Value = 1.5 }
		}, "ndcg@5 is 1.5, outside 0…1"},
		{func(e *experiment) {
			e.metrics = func(m []tables.Metric) { m[2].Value = math.NaN() }
		}, "mrr@5 is NaN, outside 0…1"},
		{func(e *experiment) {
			e.metrics = func(m []tables.Metric) { m[0].Users = 12 }
		}, "recall@5 is of 12 users, but there are ranks of 300"},
		{func(e *experiment) {
			e.metrics = func(m []tables.Metric) { m[6].Value = 0.5 }
		}, "popularity (judge of base) and popularity (judge of other) differ, although all that they depend on is the same"},
	} {
		other := base
		other.name, other.train = "other", map[string]any{"backbone": "b"}
		tt.change(&other)
		table := newWorld(t).report(Options{}, base, other).Tables[0]
		if !strings.Contains(strings.Join(table.Problems, "\n"), tt.want) {
			t.Errorf("problems %q, want %q", table.Problems, tt.want)
		}
		if len(table.Comparisons) > 0 || len(table.Rows) < 3 {
			t.Errorf("%s: %d comparisons and %d rows", tt.want, len(table.Comparisons), len(table.Rows))
		}
	}
}

// Under expected ties ranks are the middle of places: the metrics are checked by
// the bounds alone.
func TestExpectedTies(t *testing.T) {
	e := six()[0]
	e.options = map[string]any{"ties": "expected"}
	e.metrics = func(m []tables.Metric) { m[1].Value -= 1e-4 }
	if problems := newWorld(t).report(Options{}, e).Problems(); len(problems) > 0 {
		t.Errorf("problems %v", problems)
	}
	e.metrics = func(m []tables.Metric) { m[1].Value = m[0].Value * 2 }
	problems := newWorld(t).report(Options{}, e).Problems()
	if len(problems) != 1 || !strings.Contains(problems[0], "impossible metrics") {
		t.Errorf("problems %v", problems)
	}
}

func TestReadRefuses(t *testing.T) {
	w := newWorld(t)
	if _, err := Read(t.Context(), Subject{Name: "empty", Open: w.open}); err == nil || !strings.Contains(err.Error(), "empty has no evaluation") {
		t.Errorf("got %v", err)
	}
	subject := w.subject(six()[0])
	clear(w.paths)
	if _, err := Read(t.Context(), subject); err == nil || !strings.Contains(err.Error(), "no longer in the cache") {
		t.Errorf("got %v", err)
	}
}

// Settings are called by their own names unless two stages have one of the name.
// A stage that one model does without is one difference, whatever its settings are
// and whatever it was made of, and none of the baselines.
func TestAModelWithoutFeatures(t *testing.T) {
	w := newWorld(t)
	report := w.report(Options{},
		experiment{name: "with", vectors: map[string]any{"width": 512, "words": 2}, train: map[string]any{"hidden": 64}, places: places(8, 1)},
		experiment{name: "without", train: map[string]any{"hidden": 64}, places: places(9, 2)})
	var labels []string
	for _, row := range report.Tables[0].Rows {
		labels = append(labels, row.Label)
	}
	if want := []string{"vectors.kind=features.hashed", "vectors.kind=–", "popularity"}; !slices.Equal(labels, want) {
		t.Errorf("rows are %q, want %q", labels, want)
	}
}

func TestNames(t *testing.T) {
	all := []settings{
		{values: map[setting]string{{"model", "layers"}: "1", {"split", "min"}: "3", {"model.features", "min"}: "1", {"", "kind"}: "x"},
			stages: map[string]string{"model": "train_a", "split": "split"}},
		{values: map[setting]string{{"model", "layers"}: "2", {"split", "min"}: "5", {"model.features", "min"}: "2", {"", "kind"}: "y", {"model", "seed"}: "9"},
			stages: map[string]string{"model": "train_b", "split": "split"}},
	}
	var got []string
	for _, name := range names(differing(all), all) {
		got = append(got, name)
	}
	slices.Sort(got)
	if want := []string{"evaluation.kind", "layers", "model.features.min", "split.min"}; !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
	if all[0].identity() == all[1].identity() || all[1].seeds() != "9" {
		t.Errorf("identities and seeds: %q", all[1].seeds())
	}
}

func TestParseMeasure(t *testing.T) {
	for _, text := range []string{"recall@10", "mrr@1", "place"} {
		if m, err := ParseMeasure(text); err != nil || m.String() != text {
			t.Errorf("%s: %v, %v", text, m, err)
		}
	}
	for _, text := range []string{"recall", "recall@0", "recall@x", "hits@10", ""} {
		if _, err := ParseMeasure(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
