package training

import (
	"context"
	"fmt"

	"github.com/prismflow/prismflow/model/ranking"
)

// validationCases ask for the items that followed the training part.
func validationCases(users []User) []ranking.Case {
	var cases []ranking.Case
	for i := range users {
		if len(users[i].Valid) > 0 {
			cases = ranking.AppendCases(cases, ranking.Query{User: int(users[i].ID), History: users[i].Train}, users[i].Valid)
		}
	}
	return cases
}

// judge decides what an epoch is worth, and keeps the model of the best one.
func (t *trainer) judge(ctx context.Context, e *Epoch) (err error) {
	t.model.Prepare()
	defer t.model.Release()
	if t.due(e.Epoch) {
		if e.Value, err = t.value(ctx, e); err != nil {
			return fmt.Errorf("validating epoch %d: %w", e.Epoch, err)
		}
	}
	judged := e.Value != nil || !t.validates()
	if e.Best = judged && t.improves(e.Value); e.Best {
		t.best, err = t.model.Export()
	}
	return err
}

// validates reports whether epochs get a value at all.
func (t *trainer) validates() bool { return t.config.Monitor == lossMonitor || len(t.cases) > 0 }

// due reports whether an epoch is to be validated: every one or so, and the
// last.
func (t *trainer) due(epoch int) bool {
	return t.validates() && (epoch%t.config.EvalEvery == 0 || epoch == t.config.Epochs)
}

func (t *trainer) value(ctx context.Context, e *Epoch) (*float64, error) {
	if t.config.Monitor == lossMonitor {
		loss := e.Loss
		return &loss, nil
	}
	want, err := parseMonitor(t.config.Monitor)
	if err != nil {
		return nil, err
	}
	options := ranking.DefaultOptions(t.data.Items)
	options.Workers = 1 // the session is this goroutine's
	ranks, err := ranking.Evaluate(ctx, t.model.Scorer(), t.cases, options)
	if err != nil {
		return nil, err
	}
	sum, users := 0.0, 0
	for answers := range ranking.Users(ranks) {
		sum += answers.Value(want.metric, want.k)
		users++
	}
	value := sum / float64(users)
	return &value, nil
}
