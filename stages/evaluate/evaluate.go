package evaluate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/prismflow/prismflow/model/baseline"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/prism"
	"github.com/prismflow/prismflow/model/ranking"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
	"github.com/prismflow/prismflow/stages/train"
)

// Evaluate is the stage kind evaluate.
type Evaluate struct {
	Model stages.In[tables.ModelPart] `stage:"model" doc:"a trained model"`
	Split stages.In[splitRow]         `stage:"split" doc:"each user's training items and held-out answers"`

	Splits     []string `stage:"splits" default:"test" enum:"valid,test" doc:"which held-out answers are ranked"`
	Ks         []int    `stage:"ks" default:"1,5,10,20" min:"1" unit:"places" doc:"cut-offs of the metrics"`
	FilterSeen bool     `stage:"filter_seen" default:"true" doc:"whether items of the history are left out of the candidates"`
	Ties       string   `stage:"ties" default:"pessimistic" enum:"pessimistic,expected,by_id" doc:"where an answer stands among items with its score: behind them, in the middle, or by item id"`
	Threads    int      `stage:"threads" default:"2" min:"1" max:"1024" unit:"threads" doc:"inside one operator on the CPU; part of the key, since it changes the last bits of scores"`

	Device stages.Setting[string] `stage:"device" default:"auto" doc:"cpu, cuda, cuda:N, or auto: CUDA where there is a device"`

	Metrics stages.Out[tables.Metric] `stage:"metrics" doc:"recall, ndcg and mrr of each model at each cut-off"`
	Ranks   stages.Out[tables.Rank]   `stage:"ranks" doc:"where each user's answer stood, for each model"`
}

// splitRow is what is read of tables.Split.
type splitRow struct {
	User  int32   `arrow:"user"`
	Train []int32 `arrow:"train"`
	Valid []int32 `arrow:"valid"`
	Test  []int32 `arrow:"test"`
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
	if _, err := gotorch.NewDevice(e.Device.Value); err != nil && e.Device.Value != "auto" {
		problems = append(problems, stages.Problem{Param: "device", Message: err.Error()})
	}
	return problems
}

// Run ranks every answer by every model.
func (e *Evaluate) Run(ctx context.Context, env *stages.Env) error {
	rows, err := e.Split.All()
	if err != nil {
		return fmt.Errorf("reading the split: %w", err)
	}
	model, err := e.readModel()
	if err != nil {
		return err
	}
	r := &report{stage: e, env: env, items: model.Config.Items}
	for _, name := range e.Splits {
		r.parts = append(r.parts, newPart(name, rows))
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
	return errors.Join(e.Metrics.WriteAll(r.metrics), e.Ranks.WriteAll(r.ranks))
}

func (e *Evaluate) readModel() (prism.Snapshot, error) {
	parts, err := e.Model.All()
	if err != nil {
		return prism.Snapshot{}, fmt.Errorf("reading the model: %w", err)
	}
	model, err := train.DecodeModel(parts)
	return model.Snapshot, err
}

// model ranks by the trained model, on its session's thread.
func (e *Evaluate) model(ctx context.Context, env *stages.Env, snapshot prism.Snapshot, r *report) (err error) {
	lib, err := gotorch.Open(ctx, env.Torch)
	if err != nil {
		return fmt.Errorf("evaluating a trained model needs libtorch: %w", err)
	}
	session, err := lib.NewSession(gotorch.SessionOptions{Device: e.Device.Value, Threads: e.Threads})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	env.Version("libtorch", lib.Installation().Version)
	env.Version("device", session.Device().String())
	var inner error
	if err := session.Run(func() {
		var model *prism.Model
		if model, inner = prism.Load(session, snapshot); inner == nil {
			inner = r.evaluate(ctx, prismName, model.Scorer(), 1)
		}
	}); err != nil {
		return err
	}
	return inner
}

// baselines rank by what needs no training.
func baselines(ctx context.Context, rows []splitRow, r *report) error {
	training := make([][]int32, len(rows))
	for i, row := range rows {
		training[i] = row.Train
	}
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

// A part is the answers of one part of the split.
type part struct {
	name   string
	cases  []ranking.Case
	unused int // answers behind each user's first
}

func newPart(name string, rows []splitRow) part {
	p := part{name: name, cases: make([]ranking.Case, len(rows))}
	for i, row := range rows {
		history, answers := row.Train, row.Valid
		if name == "test" {
			history, answers = slices.Concat(row.Train, row.Valid), row.Test
		}
		p.cases[i] = ranking.Case{Query: ranking.Query{User: int(row.User), History: history}}
		if len(answers) > 0 {
			p.cases[i].Answer = answers[0]
			p.unused += len(answers) - 1
		}
	}
	return p
}

// report gathers the output rows.
type report struct {
	stage *Evaluate
	env   *stages.Env
	items int
	parts []part

	metrics   []tables.Metric
	ranks     []tables.Rank
	summaries []ranking.Summary // of the model, by part
	ranked    int               // cases so far, over all models
}

const models = 3

// evaluate ranks every part's answers by one model.
func (r *report) evaluate(ctx context.Context, model string, scorer ranking.Scorer, workers int) error {
	for _, p := range r.parts {
		ranks, err := ranking.Evaluate(ctx, scorer, p.cases, r.options(p, workers))
		if err != nil {
			return fmt.Errorf("evaluating %s on %s: %w", model, p.name, err)
		}
		r.ranked += len(p.cases)
		summary, err := ranking.Summarize(ranks, r.stage.Ks)
		if err == nil {
			err = ranking.Check(summary.At, 0)
		}
		if err != nil {
			return fmt.Errorf("evaluating %s on %s: %w", model, p.name, err)
		}
		r.add(model, p, summary, ranks)
	}
	return nil
}

func (r *report) options(p part, workers int) ranking.Options {
	before, total := r.ranked, models*len(r.parts)*len(p.cases)
	return ranking.Options{
		Items: r.items, FilterSeen: r.stage.FilterSeen, Ties: ranking.Ties(r.stage.Ties), Workers: workers,
		Progress: func(done, _ int) { r.env.Progress(int64(before+done), int64(total), "users") },
	}
}

func (r *report) add(model string, p part, summary ranking.Summary, ranks []ranking.Rank) {
	for _, at := range summary.At {
		for _, metric := range []ranking.Metric{ranking.Recall, ranking.NDCG, ranking.MRR} {
			r.metrics = append(r.metrics, tables.Metric{
				Model: model, Split: p.name, Metric: string(metric), K: int32(at.K), Value: at.Value(metric), Users: int64(summary.Users),
			})
		}
	}
	for i, rank := range ranks {
		if rank.Outcome == ranking.Unanswered {
			continue
		}
		r.ranks = append(r.ranks, tables.Rank{
			Model: model, Split: p.name, User: int32(rank.User), Answer: rank.Answer, Rank: rank.Position(),
			Candidates: int32(rank.Candidates), Repeated: p.repeated(i),
		})
	}
	if model == prismName {
		r.summaries = append(r.summaries, summary)
	}
}

// repeated reports whether an answer stands in its own history.
func (p part) repeated(i int) bool {
	return slices.Contains(p.cases[i].History, p.cases[i].Answer)
}

func (r *report) countParts() {
	for i, p := range r.parts {
		s := r.summaries[i]
		repeated := 0
		for j := range p.cases {
			if p.cases[j].Answer > 0 && p.repeated(j) {
				repeated++
			}
		}
		r.env.Count(p.name+"_users", float64(s.Users))
		r.env.Count(p.name+"_users_without_answer", float64(s.Unanswered))
		r.env.Count(p.name+"_repeated_answers", float64(repeated))
		r.env.Count(p.name+"_unused_answers", float64(p.unused))
		r.env.Count(p.name+"_tied_share", float64(s.Tied)/float64(s.Users))
	}
}
