package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
)

// plain hides that a stage is a Revalidator.
type plain struct{ stages.Stage }

// verifyAll runs a rows world whose rows stage is no Revalidator, or is one, and
// computes again what it finds.
func (w *rowsWorld) verifyAll(ctx context.Context, hide bool, listen dag.Listener) (engine.Report, error) {
	w.t.Helper()
	rows := w.rowsSpec("rows")
	if hide {
		rows.Stage = plain{rows.Stage}
	}
	total := w.spec("total", stages.Declare[totalStage]("toy.total", 1, "adds"), stages.Values{"lengths": stages.Value{V: "rows.lengths"}})
	w.plan.entered, w.computed, w.resumed = 0, nil, "nothing"
	e := w.engineWith(func(*engine.Config) {}, []stages.Spec{rows, total})
	return e.Run(ctx, engine.RunOptions{Budget: dag.Resources{CPU: 1}, Listener: listen, Verify: 1})
}

func verdicts(report engine.Report) string {
	var texts []string
	for _, v := range report.Verified {
		texts = append(texts, v.Stage+" "+v.Verdict)
	}
	return strings.Join(texts, ", ")
}

// What is computed again begins from nothing: neither rows nor checkpoints of
// before are used, none are left, and the run's own event is still the last.
func TestVerifyBeginsFromNothing(t *testing.T) {
	w := newRowsWorld(t)
	w.run("rows total", "one three")
	var last string
	report, err := w.verifyAll(context.Background(), true, func(e dag.Event) { last = e.Type })
	if err != nil || verdicts(report) != "rows same, total same" || !report.OK {
		t.Errorf("%s, %v", verdicts(report), err)
	}
	if last != dag.RunFinished {
		t.Errorf("the last event is %s", last)
	}
	w.expectComputed("one three")
	if w.resumed != "" {
		t.Errorf("it went on from %q", w.resumed)
	}
	left, err := os.ReadDir(filepath.Join(w.cache, "state", "checkpoints"))
	if len(left) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("checkpoints left: %v, %v", left, err)
	}
	w.run("", "")
}

// A stage that panics when it is computed again breaks nothing else.
func TestVerifySurvivesAPanic(t *testing.T) {
	w := newRowsWorld(t)
	w.run("rows total", "one three")
	w.then = func(*stages.Env) error { panic("broken") }
	report, err := w.verifyAll(context.Background(), true, nil)
	var discrepancy *engine.Discrepancy
	if !errors.As(err, &discrepancy) || verdicts(report) != "rows broken, total same" || !strings.Contains(report.Verified[0].Reason, "broken") {
		t.Errorf("of one that panics: %+v, %v", report.Verified, err)
	}
	w.then = nil
	w.run("", "")
}

// What may be another thing by now, or is incomplete, is not compared.
func TestVerifyLeavesOutWhatShowsNothing(t *testing.T) {
	w := newRowsWorld(t)
	w.run("rows total", "one three")
	report, err := w.verifyAll(context.Background(), false, nil)
	if err != nil || verdicts(report) != "rows unchecked, total same" {
		t.Errorf("of a revalidator: %s, %v", verdicts(report), err)
	}
	w.incomplete = "this time a row failed"
	report, err = w.verifyAll(context.Background(), true, nil)
	if err != nil || verdicts(report) != "rows unchecked, total same" || !strings.Contains(report.Verified[0].Reason, "a row failed") {
		t.Errorf("of one that is incomplete this time: %+v, %v", report.Verified, err)
	}
	w.incomplete = ""
	if report, err = w.verifyAll(context.Background(), true, nil); err != nil || verdicts(report) != "rows same, total same" {
		t.Errorf("afterwards: %s, %v", verdicts(report), err)
	}
}

func TestVerifyCalledOff(t *testing.T) {
	w := newRowsWorld(t)
	w.run("rows total", "one three")
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	w.then = func(*stages.Env) error { stop(); return ctx.Err() }
	report, err := w.verifyAll(ctx, true, nil)
	var discrepancy *engine.Discrepancy
	if !errors.Is(err, context.Canceled) || errors.As(err, &discrepancy) || len(report.Stages) != 2 {
		t.Errorf("%+v, %v", report, err)
	}
}

// The sample is of the share that was asked for, at least one, and by the seed.
func TestVerifySample(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	sample := func(share float64, seed string) string {
		report, err := w.engine().Run(context.Background(), engine.RunOptions{Verify: share, VerifySeed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return verdicts(report)
	}
	drawn := map[string]bool{}
	for _, seed := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		one := sample(0.001, seed)
		if strings.Count(one, "same") != 1 || one != sample(0.001, seed) {
			t.Errorf("seed %s: %s", seed, one)
		}
		drawn[one] = true
	}
	if len(drawn) < 2 {
		t.Errorf("eight seeds drew %v", drawn)
	}
	if half := sample(0.5, ""); strings.Count(half, "same") != 2 {
		t.Errorf("half of four: %s", half)
	}
}
