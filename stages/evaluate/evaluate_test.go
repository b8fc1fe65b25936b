package evaluate

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/ranking"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
	"github.com/prismflow/prismflow/stages/train"
)

const items = 12

// users have the items in turn; the last one's answer stands in its history,
// and the one before has none.
func users() []tables.Split {
	var rows []tables.Split
	for u := range int32(9) {
		item := func(j int32) int32 { return 1 + (u+j)%items }
		rows = append(rows, tables.Split{User: 100 + u, Train: []int32{item(0), item(1), item(2)}, Valid: []int32{item(3)}, Test: []int32{item(4), item(5)}})
	}
	rows = append(rows,
		tables.Split{User: 200, Train: []int32{1, 2}, Valid: []int32{3}, Test: []int32{}},
		tables.Split{User: 201, Train: []int32{4, 5}, Valid: []int32{6}, Test: []int32{4}})
	return rows
}

// untrained is a model with its first parameters, which change makes of it.
func untrained(t *testing.T, change func(*prism.Snapshot)) []tables.ModelPart {
	t.Helper()
	config := prism.Default()
	config.Items, config.Hidden, config.Layers, config.MaxLength = items, 4, 1, 5
	var snapshot prism.Snapshot
	torchtest.Run(t, func(s *gotorch.Session) {
		model, err := prism.New(s, config, nil)
		if err != nil {
			t.Fatal(err)
		}
		model.Prepare()
		if snapshot, err = model.Export(); err != nil {
			t.Fatal(err)
		}
	})
	change(&snapshot)
	parts, err := train.EncodeModel(train.Model{Snapshot: snapshot})
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

func asItIs(*prism.Snapshot) {}

func stage(t *testing.T, model []tables.ModelPart, rows []tables.Split) *Evaluate {
	return &Evaluate{
		Model: stagetest.Table[tables.ModelPart](t, model), Split: stagetest.Table[splitRow](t, rows),
		Splits: []string{"test"}, Ks: []int{1, 5, 10}, FilterSeen: true, Ties: "pessimistic", Threads: 1,
		Beyond: true, Frequency: []int{1, 3}, History: []int{3, 5},
		Device: stages.Setting[string]{Value: "cpu"},
	}
}

type outcome struct {
	Metrics []tables.Metric
	Ranks   []tables.Rank
	Slices  []tables.Slice
}

func run(t *testing.T, e *Evaluate, env *stages.Env) outcome {
	t.Helper()
	metrics, ranks, slices := stagetest.Result(t, &e.Metrics), stagetest.Result(t, &e.Ranks), stagetest.Result(t, &e.Slices)
	if err := e.Run(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	return outcome{metrics(), ranks(), slices()}
}

func TestEveryUserIsRankedByEveryModel(t *testing.T) {
	env := stagetest.TorchEnv(t)
	e := stage(t, untrained(t, asItIs), users())
	e.Splits = []string{"valid", "test"}
	got := run(t, e, env)
	if n, want := len(got.Metrics), 3*2*3*(3+4); n != want {
		t.Errorf("%d metrics, want %d: three models, two splits, three cut-offs, three metrics of ranks and four of lists", n, want)
	}
	if n, want := len(got.Ranks), 3*(11+19); n != want {
		t.Errorf("%d ranks, want %d: a user without answer has none, one with two answers two", n, want)
	}
	for _, m := range got.Metrics {
		if want, of := recomputed(got.Ranks, m, func(tables.Rank) bool { return true }); of > 0 && math.Abs(m.Value-want) > 1e-12 {
			t.Errorf("%s %s of %s at %d is %v, but its ranks say %v", m.Split, m.Metric, m.Model, m.K, m.Value, want)
		}
	}
	want := map[string]float64{
		"users": 11, "items": items, "valid_users": 11, "valid_answers": 11,
		"test_users": 10, "test_users_without_answer": 1, "test_answers": 19, "test_repeated_answers": 1,
	}
	for _, c := range env.Report() {
		if value, known := want[c.Name]; known && value != c.Value {
			t.Errorf("%s is %v, want %v", c.Name, c.Value, value)
		}
		delete(want, c.Name)
	}
	if len(want) > 0 {
		t.Errorf("not reported: %v", want)
	}
}

// recomputed is a metric of ranks, from those of its model and split that are
// wanted, and of how many users; 0 for a metric of lists.
func recomputed(ranks []tables.Rank, m tables.Metric, want func(tables.Rank) bool) (value float64, users int64) {
	places := map[int32][]float64{} // by user; infinite for what cannot be found
	for _, r := range ranks {
		switch {
		case r.Model != m.Model || r.Split != m.Split || !want(r):
		case r.Repeated:
			places[r.User] = append(places[r.User], math.Inf(1))
		default:
			places[r.User] = append(places[r.User], r.Rank)
		}
	}
	gain := map[string]func(place float64) float64{
		"recall": func(float64) float64 { return 1 },
		"ndcg":   func(place float64) float64 { return 1 / math.Log2(place+1) },
		"mrr":    func(place float64) float64 { return 1 / place },
	}[m.Metric]
	if gain == nil {
		return 0, 0
	}
	for _, of := range places {
		sum, best, ideal := 0.0, 0.0, 0.0
		for i, place := range of {
			if place <= float64(m.K) {
				sum += gain(place)
				best = max(best, gain(place))
			}
			if i < int(m.K) {
				ideal += gain(float64(i + 1))
			}
		}
		switch m.Metric {
		case "recall":
			value += sum / float64(len(of))
		case "ndcg":
			value += sum / ideal
		default:
			value += best
		}
	}
	return value / float64(len(places)), int64(len(places))
}

// Items 1 and 2 have a picture, 2 and 3 a text; with five of the nine users no
// item from 8 on is trained on.
func TestSlices(t *testing.T) {
	rows := append(users()[:5], tables.Split{User: 150, Train: []int32{1, 2, 3, 4, 5}, Valid: []int32{}, Test: []int32{2, 7, 8}})
	e := stage(t, untrained(t, asItIs), rows)
	e.Features = stagetest.Table[featureRow](t, []featureRow{
		{ID: 1, ImagePresent: true}, {ID: 2, ImagePresent: true, TextPresent: true}, {ID: 3, TextPresent: true}, {ID: 4},
	})
	got := run(t, e, stagetest.TorchEnv(t))
	trained, history := map[int32]int{}, map[int32]int{}
	for _, row := range rows {
		for _, item := range row.Train {
			trained[item]++
		}
		history[row.User] = len(row.Train) + len(row.Valid)
	}
	bucket := map[string]func(r tables.Rank) string{
		"item": func(r tables.Rank) string {
			if trained[r.Answer] == 0 {
				return "cold"
			}
			return "warm"
		},
		"item_frequency": func(r tables.Rank) string { return []string{"0", "1-2", "1-2", "3+", "3+", "3+"}[trained[r.Answer]] },
		"history_length": func(r tables.Rank) string { return []string{"0-2", "0-2", "0-2", "3-4", "3-4", "5+"}[history[r.User]] },
		"modality": func(r tables.Rank) string {
			return map[int32]string{1: "image", 2: "image and text", 3: "text"}[r.Answer]
		},
	}
	seen := map[string]bool{}
	for _, s := range got.Slices {
		seen[s.Slice+" "+s.Bucket] = true
		name := s.Bucket
		if name == "none" {
			name = ""
		}
		m := tables.Metric{Model: s.Model, Split: s.Split, Metric: s.Metric, K: s.K}
		value, n := recomputed(got.Ranks, m, func(r tables.Rank) bool { return bucket[s.Slice](r) == name })
		if math.Abs(s.Value-value) > 1e-12 || s.Users != n {
			t.Errorf("%+v, but its ranks say %v of %d users", s, value, n)
		}
	}
	for _, r := range got.Ranks {
		for name, of := range bucket {
			at := cmp.Or(of(r), "none")
			if !seen[name+" "+at] {
				t.Errorf("no slice %s %s, which answer %d is in", name, at, r.Answer)
			}
		}
	}
	if len(seen) != 2+3+2+2 {
		t.Errorf("slices %v", seen)
	}
}

// Popularity recommends everybody what most have had, less what they have.
func TestListsOfPopularity(t *testing.T) {
	rows := []tables.Split{
		{User: 1, Train: []int32{1, 2}, Valid: []int32{}, Test: []int32{3}},
		{User: 2, Train: []int32{1, 3}, Valid: []int32{}, Test: []int32{2}},
		{User: 3, Train: []int32{1}, Valid: []int32{}, Test: []int32{4}},
		{User: 4, Train: []int32{1, 2, 4}, Valid: []int32{}, Test: []int32{}}, // is asked nothing
	}
	e := stage(t, untrained(t, asItIs), rows)
	e.Ks = []int{1}
	got := run(t, e, stagetest.TorchEnv(t))
	want := map[string]float64{ // of items 3 (one owner of four), 2 and 2 (two), among 12 items
		"coverage": 2. / 12, "average_popularity": (1 + 2 + 2) / 3., "novelty": (2 + 1 + 1) / 3., "gini": (9*1 + 11*2) / (12. * 3),
	}
	for _, m := range got.Metrics {
		if value, ok := want[m.Metric]; ok && m.Model == popularityName {
			if math.Abs(m.Value-value) > 1e-12 || m.Users != 3 {
				t.Errorf("%s is %v of %d users, want %v of 3", m.Metric, m.Value, m.Users, value)
			}
			delete(want, m.Metric)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	e.Beyond = false
	for _, m := range run(t, e, stagetest.TorchEnv(t)).Metrics {
		if !slices.Contains(accuracy, ranking.Metric(m.Metric)) {
			t.Errorf("%s was not asked for", m.Metric)
		}
	}
}

func TestSameInputsSameMetrics(t *testing.T) {
	model := untrained(t, asItIs)
	first, second := run(t, stage(t, model, users()), stagetest.TorchEnv(t)), run(t, stage(t, model, users()), stagetest.TorchEnv(t))
	if diff := gocmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
}

func TestConstantScoresFindNothing(t *testing.T) {
	blank := func(s *prism.Snapshot) {
		for _, tensor := range s.Tensors {
			clear(tensor.Values)
		}
	}
	for _, m := range run(t, stage(t, untrained(t, blank), users()), stagetest.TorchEnv(t)).Metrics {
		if m.Model == prismName && slices.Contains(accuracy, ranking.Metric(m.Metric)) && m.K < 5 && m.Value != 0 {
			t.Errorf("%s@%d of a model that says nothing is %v, want 0", m.Metric, m.K, m.Value)
		}
	}
}

func TestWhatCannotBeRankedIsAnError(t *testing.T) {
	broken := func(s *prism.Snapshot) {
		for _, tensor := range s.Tensors {
			if tensor.Name == "backbone.items.weight" {
				tensor.Values[9*4] = float32(math.NaN())
			}
		}
	}
	beyond := append(users(), tables.Split{User: 300, Train: []int32{1}, Valid: []int32{2}, Test: []int32{items + 1}})
	for want, e := range map[string]*Evaluate{
		"not a number": stage(t, untrained(t, broken), users()),
		"item 13":      stage(t, untrained(t, asItIs), beyond),
		"no user":      stage(t, untrained(t, asItIs), users()[9:10]),
		"format":       stage(t, []tables.ModelPart{{Name: "config", Type: "json", Data: []byte("{}")}}, users()),
	} {
		stagetest.Result(t, &e.Metrics)
		stagetest.Result(t, &e.Ranks)
		stagetest.Result(t, &e.Slices)
		if err := e.Run(t.Context(), stagetest.TorchEnv(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		} else {
			t.Log(err)
		}
	}
}

func TestKindChecksItsParameters(t *testing.T) {
	kind := Kinds()[0]
	values := stages.Values{"model": {V: "train.model"}, "split": {V: "split.split"}}
	if _, problems := kind.Bind(values, stages.BindContext{}); len(problems) > 0 {
		t.Errorf("defaults: %v", problems)
	}
	values["splits"] = stages.Value{V: []any{"test", "test"}}
	values["ks"] = stages.Value{V: []any{}}
	values["device"] = stages.Value{V: "tpu"}
	values["frequency_bounds"] = stages.Value{V: []any{int64(5), int64(1)}}
	values["history_bounds"] = stages.Value{V: []any{int64(5), int64(5)}}
	if _, problems := kind.Bind(values, stages.BindContext{}); len(problems) != 5 {
		t.Errorf("problems %v, want five", problems)
	}
}
