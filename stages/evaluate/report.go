package evaluate

import (
	"context"
	"fmt"

	"github.com/prismflow/prismflow/model/ranking"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

// report gathers the output rows.
type report struct {
	stage    *Evaluate
	env      *stages.Env
	items    int
	parts    []part
	training ranking.Training
	slicings []slicing

	metrics   []tables.Metric
	ranks     []tables.Rank
	slices    []tables.Slice
	summaries []ranking.Summary // of the model, by part
	done      int               // cases ranked and lists made so far, over all models
}

func newReport(e *Evaluate, env *stages.Env, items int, rows []splitRow) (*report, error) {
	r := &report{stage: e, env: env, items: items}
	for _, name := range e.Splits {
		r.parts = append(r.parts, newPart(name, rows))
	}
	var err error
	if r.training, err = ranking.Count(items, trainingOf(rows)); err != nil {
		return nil, fmt.Errorf("counting the training parts: %w", err)
	}
	r.slicings, err = e.slicings(r.training)
	return r, err
}

// evaluate ranks every part's answers by one model, and describes its lists.
func (r *report) evaluate(ctx context.Context, model string, scorer ranking.Scorer, workers int) error {
	for i := range r.parts {
		p := &r.parts[i]
		if err := r.rank(ctx, model, p, scorer, workers); err != nil {
			return fmt.Errorf("evaluating %s on %s: %w", model, p.name, err)
		}
		if !r.stage.Beyond {
			continue
		}
		if err := r.list(ctx, model, p, scorer, workers); err != nil {
			return fmt.Errorf("listing by %s on %s: %w", model, p.name, err)
		}
	}
	return nil
}

func (r *report) rank(ctx context.Context, model string, p *part, scorer ranking.Scorer, workers int) error {
	ranks, err := ranking.Evaluate(ctx, scorer, p.cases, r.options(workers))
	if err != nil {
		return err
	}
	r.done += len(p.cases)
	summary, err := ranking.Summarize(ranks, r.stage.Ks)
	if err != nil {
		return err
	}
	check := ranking.Check
	if summary.Answers > summary.Users {
		check = ranking.CheckSeveral
	}
	if err := check(summary.At, 0); err != nil {
		return err
	}
	r.addMetrics(model, p, summary)
	r.addRanks(model, p, ranks)
	if model == prismName {
		r.summaries = append(r.summaries, summary)
	}
	return r.addSlices(model, p, ranks)
}

// list describes what the model recommends to each user with an answer. Of a
// kNN, or a model without a history to go by, some lists may be empty.
func (r *report) list(ctx context.Context, model string, p *part, scorer ranking.Scorer, workers int) error {
	k := 0
	for _, cutoff := range r.stage.Ks {
		k = max(k, cutoff)
	}
	lists, err := ranking.List(ctx, scorer, p.queries, k, r.options(workers))
	if err != nil {
		return err
	}
	r.done += len(p.queries)
	users := 0
	for _, list := range lists {
		users += min(1, len(list))
	}
	if users == 0 {
		return nil // a model that recommends nothing to anybody has no such metrics
	}
	spreads, err := r.training.Spreads(lists, r.stage.Ks)
	for _, s := range spreads {
		for _, m := range []struct {
			name  string
			value float64
		}{{"coverage", s.Coverage}, {"gini", s.Gini}, {"average_popularity", s.AveragePopularity}, {"novelty", s.Novelty}} {
			r.metrics = append(r.metrics, tables.Metric{
				Model: model, Split: p.name, Metric: m.name, K: int32(s.K), Value: m.value, Users: int64(users),
			})
		}
	}
	return err
}

const models = 3

func (r *report) options(workers int) ranking.Options {
	before, total := r.done, 0
	for _, p := range r.parts {
		total += models * len(p.cases)
		if r.stage.Beyond {
			total += models * len(p.queries)
		}
	}
	return ranking.Options{
		Items: r.items, FilterSeen: r.stage.FilterSeen, Ties: ranking.Ties(r.stage.Ties), Workers: workers,
		Progress: func(done, _ int) { r.env.Progress(int64(before+done), int64(total), "rankings") },
	}
}

// accuracy are the metrics of ranks.
var accuracy = []ranking.Metric{ranking.Recall, ranking.NDCG, ranking.MRR}

func (r *report) addMetrics(model string, p *part, summary ranking.Summary) {
	for _, at := range summary.At {
		for _, metric := range accuracy {
			r.metrics = append(r.metrics, tables.Metric{
				Model: model, Split: p.name, Metric: string(metric), K: int32(at.K), Value: at.Value(metric), Users: int64(summary.Users),
			})
		}
	}
}

func (r *report) addRanks(model string, p *part, ranks []ranking.Rank) {
	for i, rank := range ranks {
		if rank.Outcome == ranking.Unanswered {
			continue
		}
		r.ranks = append(r.ranks, tables.Rank{
			Model: model, Split: p.name, User: int32(rank.User), Answer: rank.Answer, Rank: rank.Position(),
			Candidates: int32(rank.Candidates), Repeated: p.repeated[i],
		})
	}
}

func (r *report) countParts() {
	for i, p := range r.parts {
		s := r.summaries[i]
		repeated := 0
		for j := range p.cases {
			if p.cases[j].Answer > 0 && p.repeated[j] {
				repeated++
			}
		}
		r.env.Count(p.name+"_users", float64(s.Users))
		r.env.Count(p.name+"_users_without_answer", float64(s.Unanswered))
		r.env.Count(p.name+"_answers", float64(s.Answers))
		r.env.Count(p.name+"_repeated_answers", float64(repeated))
		r.env.Count(p.name+"_tied_share", float64(s.Tied)/float64(s.Answers))
	}
}
