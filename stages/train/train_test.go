package train

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/training"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// cycle are users who go round 20 items, each from a place of their own.
func cycle() []tables.Split {
	var rows []tables.Split
	for u := range 60 {
		var items []int32
		for j := range 5 + u%4 {
			items = append(items, int32(1+(u*7+j)%20))
		}
		n := len(items)
		rows = append(rows, tables.Split{User: int32(u + 1), Train: items[:n-2], Valid: items[n-2 : n-1], Test: items[n-1:]})
	}
	return rows
}

// described gives every item a text, and every second one a picture unless
// there are to be none.
func described(pictures bool) []tables.Features {
	var rows []tables.Features
	for id := int32(1); id <= 20; id++ {
		f := tables.Features{ID: id, Image: make([]float32, 3), Text: []float32{float32(id) / 20, 1}, TextPresent: true}
		if pictures && id%2 == 0 {
			f.Image[id%3], f.ImagePresent = 1, true
		}
		rows = append(rows, f)
	}
	return rows
}

func smallStage(t *testing.T, split []tables.Split, features []tables.Features) *Prism {
	p := &Prism{
		Split: stagetest.Table[splitRow](t, split), Modalities: []string{"image", "text"},
		Backbone: "sasrec", Mode: "causal", Loss: "ce", Negatives: 1, NegativeSharing: auto, NegativeRejection: auto, Examples: auto,
		Hidden: 8, Layers: 1, Heads: 1, MaxLength: 6, Dropout: 0.1,
		ExpertHidden: 4, GateHidden: 4, GateTemperature: 0.7, LambdaUniqueImage: 0.1, LambdaUniqueText: 0.1, LambdaSynergy: 0.1, LambdaRedundancy: 0.1, Margin: 1,
		LossOn: "embedding", Distance: auto, Replacement: auto, ModalityTables: auto, Missing: auto, FusionScope: "sequence", DirectSum: true,
		StosaPVNWeight: 0.005,
		IndirecIntents: 4, IndirecSteps: 5, IndirecSchedule: "exp", IndirecDenoiser: "mlp1", IndirecGuidance: 2, IndirecUnconditional: 0.1,
		IndirecSimilarity: "dot", IndirecTemperature: 1, IndirecContrastWeight: 0.2, IndirecDiffusionWeight: 1,
		Optimizer: "adam", Decay: "none", AccumulateSteps: 1, EvalEvery: 1, MonitorMode: auto,
		LearningRate: 0.01, BatchSize: 16, Epochs: 3, Patience: 2, Monitor: "ndcg@5", Seed: 1, Precision: "fp32", Threads: 1,
		Device: stages.Setting[string]{Value: "cpu"},
	}
	if features != nil {
		p.Features = stagetest.Table[featureRow](t, features)
	}
	return p
}

type outcome struct {
	Parts   []tables.ModelPart
	History []tables.Epoch
}

func run(t *testing.T, p *Prism, env *stages.Env) outcome {
	t.Helper()
	parts, history := stagetest.Result(t, &p.Model), stagetest.Result(t, &p.History)
	if err := p.Run(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	return outcome{parts(), history()}
}

func TestTrainWritesAModelThatLoads(t *testing.T) {
	for name, tc := range map[string]struct {
		features   []tables.Features
		modalities int
	}{"items alone": {nil, 0}, "texts alone": {described(false), 1}, "pictures and texts": {described(true), 2}} {
		t.Run(name, func(t *testing.T) {
			env := stagetest.TorchEnv(t)
			var metrics []map[string]any
			env.OnMetrics = func(values map[string]any) { metrics = append(metrics, values) }
			got := run(t, smallStage(t, cycle(), tc.features), env)
			if len(got.History) == 0 || got.History[0].Value == nil || got.History[0].Metric != "ndcg@5" || len(metrics) != len(got.History) {
				t.Errorf("history %+v with %d live values", got.History, len(metrics))
			}
			told := []string{"epoch", "epochs", "learning_rate", "loss", "ndcg@5", "users_per_second"}
			if tc.modalities > 0 {
				told = append(told, "interaction_loss", "own_loss", "recommendation_loss")
			}
			if diff := cmp.Diff(slices.Sorted(slices.Values(told)), slices.Sorted(maps.Keys(metrics[0]))); diff != "" {
				t.Errorf("told of an epoch (-want +got):\n%s", diff)
			}
			model, err := DecodeModel(got.Parts)
			if err != nil {
				t.Fatal(err)
			}
			if model.Config.Items != 20 || len(model.Config.Modalities) != tc.modalities {
				t.Errorf("a model of %d items and %d modalities, want 20 and %d", model.Config.Items, len(model.Config.Modalities), tc.modalities)
			}
			torchtest.Run(t, func(s *gotorch.Session) {
				if _, err := prism.Load(s, model.Snapshot); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestSameInputsSameOutputsAndKilledStageToo(t *testing.T) {
	whole := run(t, smallStage(t, cycle(), described(true)), stagetest.TorchEnv(t))

	env := stagetest.TorchEnv(t)
	ctx, kill := context.WithCancel(t.Context())
	env.OnProgress = func(done, _ int64, _ string) {
		if done == 6 {
			kill()
		}
	}
	p := smallStage(t, cycle(), described(true))
	stagetest.Result(t, &p.Model)
	stagetest.Result(t, &p.History)
	if err := p.Run(ctx, env); !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled stage gave %v", err)
	}
	env.OnProgress = nil
	if diff := cmp.Diff(whole, run(t, smallStage(t, cycle(), described(true)), env)); diff != "" {
		t.Errorf("a resumed stage wrote something else:\n%s", diff)
	}
}

func TestTestAnswersDoNotChangeTheModel(t *testing.T) {
	split := cycle()
	before := run(t, smallStage(t, split, described(true)), stagetest.TorchEnv(t))
	for i := range split {
		split[i].Test = []int32{1 + split[i].Test[0]%19}
	}
	split[0].Test = []int32{20}
	after := run(t, smallStage(t, split, described(true)), stagetest.TorchEnv(t))
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("other test answers give another model:\n%s", diff)
	}
}

func TestBrokenInputsAreErrors(t *testing.T) {
	twice := described(true)
	twice[1].ID = 1
	zero := described(true)
	zero[4].ID = 0
	short := []tables.Split{{User: 1, Train: []int32{1}, Valid: []int32{2}, Test: []int32{3}}}
	held := cycle()
	held[0].Test = []int32{-1}
	elsewhere := smallStage(t, cycle(), nil)
	elsewhere.Device.Value = "cuda:99"
	for want, p := range map[string]*Prism{
		"item 1 has two rows":                      smallStage(t, cycle(), twice),
		"row 4 has the item id 0: ids begin at 1":  smallStage(t, cycle(), zero),
		"no user has two items to train on":        smallStage(t, short, nil),
		"item -1 at place 1 of the training part":  smallStage(t, []tables.Split{{User: 1, Train: []int32{1, -1, 2}}}, nil),
		"user 1: held-out item -1: items are 1…20": smallStage(t, held, nil),
		"device cuda:99":                           elsewhere,
	} {
		stagetest.Result(t, &p.Model)
		stagetest.Result(t, &p.History)
		if err := p.Run(t.Context(), stagetest.TorchEnv(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nwant %s", err, want)
		}
	}
}

// TestDefaultsAreThoseOfTraining holds that a stage without parameters trains as
// package training does when nothing is asked for.
func TestDefaultsAreThoseOfTraining(t *testing.T) {
	want := training.Default()
	want.LambdaUnique = map[string]float64{"image": prism.DefaultLambda, "text": prism.DefaultLambda}
	want.Model.LossOn, want.Model.FusionScope = prism.LossOnEmbedding, prism.ScopeSequence // what empty ones mean
	stage, problems := stages.Declare[asked]("asked", 1, "keeps its configuration").Bind(stages.Values{"split": {V: "split.split"}}, stages.BindContext{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	env := stagetest.Env(t)
	env.Inputs = map[string]string{"split": "split.arrow"}
	var got configured
	if err := stage.Run(t.Context(), env); !errors.As(err, &got) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, training.Config(got)); diff != "" {
		t.Errorf("(-training +stage)\n%s", diff)
	}
}

// TestEveryParameterReachesTheTraining holds for those that are plain values: the
// rest is ports, settings, and modalities, which choose data.
func TestEveryParameterReachesTheTraining(t *testing.T) {
	for i := range reflect.TypeFor[Prism]().NumField() {
		var p Prism
		before := p.config()
		switch field := reflect.ValueOf(&p).Elem().Field(i); field.Kind() {
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Int, reflect.Int64:
			field.SetInt(7)
		case reflect.Float64:
			field.SetFloat(0.7)
		case reflect.String:
			field.SetString("other")
		default:
			continue
		}
		if cmp.Equal(before, p.config()) {
			t.Errorf("%s changes nothing", reflect.TypeFor[Prism]().Field(i).Name)
		}
	}
}

// asked has the parameters of prism.train, and ends with what they come to.
type asked Prism

type configured training.Config

func (configured) Error() string { return "configured" }

func (a *asked) Run(context.Context, *stages.Env) error { return configured((*Prism)(a).config()) }

func TestKindIsDeclaredAndChecksItsParameters(t *testing.T) {
	kind := Kinds()[0]
	_, problems := kind.Bind(stages.Values{
		"split": {V: "split.split"}, "hidden": {V: int64(10)}, "heads": {V: int64(4)}, "monitor": {V: "auc"}, "examples": {V: "sequence"}, "backbone": {V: "indirec"}, "device": {V: "gpu"}, "lamda": {V: 1.0},
	}, stages.BindContext{})
	if len(problems) == 0 || !strings.Contains(problems[0].String(), "lamda") {
		t.Errorf("an unknown key: %v", problems)
	}
	_, problems = kind.Bind(stages.Values{
		"split": {V: "split.split"}, "hidden": {V: int64(10)}, "heads": {V: int64(4)}, "monitor": {V: "auc"}, "examples": {V: "sequence"}, "backbone": {V: "indirec"}, "device": {V: "gpu"},
	}, stages.BindContext{})
	var names []string
	for _, p := range problems {
		t.Log(p)
		names = append(names, p.Param)
	}
	for _, want := range []string{"hidden", "monitor", "examples", "device"} {
		if !strings.Contains(strings.Join(names, " "), want) {
			t.Errorf("no problem is reported with %s: %v", want, problems)
		}
	}
	stage, problems := kind.Bind(stages.Values{"split": {V: "split.split"}}, stages.BindContext{})
	if len(problems) > 0 {
		t.Fatalf("defaults: %v", problems)
	}
	if _, keyed := stage.Request().Params["device"]; keyed {
		t.Error("the device is part of the key")
	}
}

func TestBrokenModelTablesAreErrors(t *testing.T) {
	good, err := EncodeModel(Model{Snapshot: prism.Snapshot{Config: prism.Default(), Tensors: []prism.Tensor{{Name: "a", Shape: []int64{1}, Values: []float32{1}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, parts := range map[string][]tables.ModelPart{
		"no configuration": good[1:],
		"not JSON":         {{Name: configName, Data: []byte("{")}},
		"other format":     {{Name: configName, Data: []byte(`{"format":3}`)}},
		"int64 tensor":     {good[0], {Name: "a", Type: "int64"}},
		"half a value":     {good[0], {Name: "a", Type: "float32", Data: []byte{1}}},
		"other item ids":   {good[0], {Name: itemsName, Data: []byte(`["a"]`)}},
		"item ids object":  {good[0], {Name: itemsName, Data: []byte(`{"a":1}`)}},
		"item ids null":    {good[0], {Name: itemsName, Data: []byte("null")}},
	} {
		if _, err := DecodeModel(parts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
