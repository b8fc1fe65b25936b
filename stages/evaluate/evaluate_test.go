package evaluate

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/prism"
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
		Device: stages.Setting[string]{Value: "cpu"},
	}
}

type outcome struct {
	Metrics []tables.Metric
	Ranks   []tables.Rank
}

func run(t *testing.T, e *Evaluate, env *stages.Env) outcome {
	t.Helper()
	metrics, ranks := stagetest.Result(t, &e.Metrics), stagetest.Result(t, &e.Ranks)
	if err := e.Run(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	return outcome{metrics(), ranks()}
}

func TestEveryUserIsRankedByEveryModel(t *testing.T) {
	env := stagetest.TorchEnv(t)
	e := stage(t, untrained(t, asItIs), users())
	e.Splits = []string{"valid", "test"}
	got := run(t, e, env)
	if n, want := len(got.Metrics), 3*2*3*3; n != want {
		t.Errorf("%d metrics, want %d: three models, two splits, three metrics, three cut-offs", n, want)
	}
	if n, want := len(got.Ranks), 3*(11+10); n != want {
		t.Errorf("%d ranks, want %d: a user without answer has none", n, want)
	}
	for _, m := range got.Metrics {
		if want := recomputed(got.Ranks, m); math.Abs(m.Value-want) > 1e-12 {
			t.Errorf("%s %s of %s at %d is %v, but its ranks say %v", m.Split, m.Metric, m.Model, m.K, m.Value, want)
		}
	}
	want := map[string]float64{"users": 11, "items": items, "valid_users": 11, "test_users": 10, "test_users_without_answer": 1, "test_repeated_answers": 1, "test_unused_answers": 9}
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

// recomputed is a metric from the ranks of its model and split.
func recomputed(ranks []tables.Rank, m tables.Metric) float64 {
	sum, n := 0.0, 0
	for _, r := range ranks {
		if r.Model != m.Model || r.Split != m.Split {
			continue
		}
		n++
		if r.Rank > float64(m.K) || r.Repeated {
			continue
		}
		sum += map[string]float64{"recall": 1, "ndcg": 1 / math.Log2(r.Rank+1), "mrr": 1 / r.Rank}[m.Metric]
	}
	return sum / float64(n)
}

func TestSameInputsSameMetrics(t *testing.T) {
	model := untrained(t, asItIs)
	first, second := run(t, stage(t, model, users()), stagetest.TorchEnv(t)), run(t, stage(t, model, users()), stagetest.TorchEnv(t))
	if diff := cmp.Diff(first, second); diff != "" {
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
		if m.Model == prismName && m.K < 5 && m.Value != 0 {
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
	if _, problems := kind.Bind(values, stages.BindContext{}); len(problems) != 3 {
		t.Errorf("problems %v, want three", problems)
	}
}
