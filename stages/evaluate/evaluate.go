package evaluate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/prismflow/prismflow/model/baseline"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
	"github.com/prismflow/prismflow/stages/train"
)

// Evaluate is the stage kind evaluate.
type Evaluate struct {
	Model stages.In[tables.ModelPart] `stage:"model" doc:"a trained model"`
	Split stages.In[splitRow]         `stage:"split" doc:"each user's training items and held-out answers"`
	// Features say which modalities an answer has.
	Features stages.In[featureRow] `stage:"features" optional:"true" doc:"the items' features, for slices by modality"`

	Splits     []string `stage:"splits" default:"test" enum:"valid,test" doc:"which held-out answers are ranked"`
	Ks         []int    `stage:"ks" default:"1,5,10,20" min:"1" unit:"places" doc:"cut-offs of the metrics"`
	FilterSeen bool     `stage:"filter_seen" default:"true" doc:"whether items of the history are left out of the candidates"`
	Ties       string   `stage:"ties" default:"pessimistic" enum:"pessimistic,expected,by_id" doc:"where an answer stands among items with its score: behind them, in the middle, or by item id"`
	Beyond     bool     `stage:"beyond_accuracy" default:"true" doc:"whether lists are made for coverage, gini, average_popularity and novelty, which about doubles the time"`
	Frequency  []int    `stage:"frequency_bounds" default:"1,5,10,20,50,100" min:"1" unit:"training interactions" doc:"where slices by an answer's frequency in training begin; what is below the first is one more"`
	History    []int    `stage:"history_bounds" default:"1,3,5,10,20,50" min:"1" unit:"items" doc:"where slices by the length of the history begin; what is below the first is one more"`
	Threads    int      `stage:"threads" default:"2" min:"1" max:"1024" unit:"threads" doc:"inside one operator on the CPU; part of the key, since it changes the last bits of scores"`

	Device stages.Setting[string] `stage:"device" default:"auto" doc:"cpu, cuda, cuda:N, or auto: CUDA where there is a device"`

	Metrics stages.Out[tables.Metric] `stage:"metrics" doc:"recall, ndcg and mrr of each model at each cut-off, then coverage, gini, average_popularity and novelty"`
	Ranks   stages.Out[tables.Rank]   `stage:"ranks" doc:"where each answer stood, for each model"`
	Slices  stages.Out[tables.Slice]  `stage:"slices" doc:"recall, ndcg and mrr for cold and warm items, by item frequency, by history length and by modality"`
}

// splitRow is what is read of tables.Split.
type splitRow struct {
	User  int32   `arrow:"user"`
	Train []int32 `arrow:"train"`
	Valid []int32 `arrow:"valid"`
	Test  []int32 `arrow:"test"`
}

// featureRow is what is read of tables.Features.
type featureRow struct {
	ID           int32 `arrow:"id"`
	ImagePresent bool  `arrow:"image_present"`
	TextPresent  bool  `arrow:"text_present"`
}

// The models' names in the outputs.
const (
	prismName      = "prism"
	popularityName = "popularity"
	knnName        = "knn"
)

// Validate reports what single parameters' bounds cannot say.
func (e *Evaluate) Validate() []stages.Problem {
	var problems []stages.Problem
	for i, name := range e.Splits {
		if slices.Contains(e.Splits[:i], name) {
			problems = append(problems, stages.Problem{Param: "splits", Message: fmt.Sprintf("%q is named twice", name)})
		}
	}
	if len(e.Splits) == 0 {
		problems = append(problems, stages.Problem{Param: "splits", Message: "is empty: name test, valid or both"})
	}
	if len(e.Ks) == 0 {
		problems = append(problems, stages.Problem{Param: "ks", Message: "is empty: name at least one cut-off"})
	}
	problems = append(problems, boundProblems("frequency_bounds", e.Frequency)...)
	problems = append(problems, boundProblems("history_bounds", e.History)...)
	if _, err := gotorch.NewDevice(e.Device.Value); err != nil && e.Device.Value != "auto" {
		problems = append(problems, stages.Problem{Param: "device", Message: err.Error()})
	}
	return problems
}

func boundProblems(name string, bounds []int) []stages.Problem {
	if distinct := slices.Compact(slices.Clone(bounds)); len(bounds) == 0 || len(distinct) < len(bounds) || !slices.IsSorted(bounds) {
		return []stages.Problem{{Param: name, Message: fmt.Sprintf("is %v: want ascending numbers, at least one", bounds)}}
	}
	return nil
}

// Run ranks every answer by every model.
func (e *Evaluate) Run(ctx context.Context, env *stages.Env) error {
	rows, err := e.Split.All()
	if err != nil {
		return fmt.Errorf("reading the split: %w", err)
	}
	model, err := train.ReadModel(e.Model)
	if err != nil {
		return err
	}
	r, err := newReport(e, env, model.Config.Items, rows)
	if err != nil {
		return err
	}
	if err := e.model(ctx, env, model, r); err != nil {
		return err
	}
	if err := baselines(ctx, rows, r); err != nil {
		return err
	}
	env.Count("users", float64(len(rows)))
	env.Count("items", float64(r.items))
	r.countParts()
	return errors.Join(e.Metrics.WriteAll(r.metrics), e.Ranks.WriteAll(r.ranks), e.Slices.WriteAll(r.slices))
}

// model ranks by the trained model, on its session's thread.
func (e *Evaluate) model(ctx context.Context, env *stages.Env, model train.Model, r *report) error {
	serving := train.Serving{Torch: env.Torch, Device: e.Device.Value, Threads: e.Threads}
	return model.Use(ctx, serving, func(served train.Served) error {
		env.Version("libtorch", served.Torch)
		env.Version("device", served.Device)
		return r.evaluate(ctx, prismName, served.Scorer(), 1)
	})
}

// baselines rank by what needs no training.
func baselines(ctx context.Context, rows []splitRow, r *report) error {
	training := trainingOf(rows)
	popularity, err := baseline.FitPopularity(r.items, training)
	if err != nil {
		return err
	}
	if err := r.evaluate(ctx, popularityName, popularity, 0); err != nil {
		return err
	}
	knn, err := baseline.FitKNN(ctx, r.items, training, baseline.DefaultKNN())
	if err != nil {
		return err
	}
	return r.evaluate(ctx, knnName, knn, 0)
}

func trainingOf(rows []splitRow) [][]int32 {
	training := make([][]int32, len(rows))
	for i, row := range rows {
		training[i] = row.Train
	}
	return training
}
