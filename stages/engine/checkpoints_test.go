package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
)

// A slow stage writes a checkpoint first, says what it resumed from in its
// output, and then does what the test wants.
type slowStage struct {
	Source stages.Source   `stage:"source" doc:"anything"`
	Out    stages.Out[row] `stage:"out" doc:"what it resumed from"`

	then func() error
}

func (s *slowStage) Run(_ context.Context, env *stages.Env) error {
	counter(env, "slow")
	path := filepath.Join(env.Resume, "progress")
	resumed, _ := os.ReadFile(path)
	content, err := os.ReadFile(s.Source.Files()[0].Path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, content, 0o666); err != nil {
		return err
	}
	if err := s.then(); err != nil {
		return err
	}
	return s.Out.WriteAll([]row{{Title: string(resumed)}})
}

// runSlow runs the slow stage alone and returns what it resumed from; "" when
// it failed.
func runSlow(t *testing.T, w *world, options stages.Options, force bool, then func() error) (resumed, reason string) {
	t.Helper()
	ctx := context.Background()
	kind := stages.Declare[slowStage]("toy.slow", 1, "is slow")
	bind := kind.Bind
	kind.Bind = func(v stages.Values, c stages.BindContext) (stages.Stage, []stages.Problem) {
		stage, problems := bind(v, c)
		return thenStage{stage, then}, problems
	}
	spec := w.spec("slow", kind, stages.Values{"source": stages.Value{V: "in.txt", Base: w.project}})
	spec.Options = options
	e := w.engineOf([]stages.Spec{spec})
	run := engine.RunOptions{Budget: dag.Resources{CPU: 1}}
	if force {
		run.Force = []string{"slow"}
	}
	report, err := e.Run(ctx, run)
	if err != nil {
		return "", report.Stages[0].Error
	}
	_, path, err := e.Output(ctx, stages.Ref{Stage: "slow", Output: "out"})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := stages.FromFile[row](path).All()
	if err != nil {
		t.Fatal(err)
	}
	return rows[0].Title, report.Stages[0].Reason
}

// thenStage gives the declared stage, which is made anew by each Bind, the
// test's function.
type thenStage struct {
	stages.Stage
	then func() error
}

func (s thenStage) Run(ctx context.Context, env *stages.Env) error {
	slow := &slowStage{then: s.then, Out: stages.ToFile[row](env.Outputs["out"])}
	slow.Source = stages.SourceFiles(env.Sources["source"][0].Path)
	return slow.Run(ctx, env)
}

func well() error { return nil }

var errBroken = errors.New("broken")

func broken() error { return errBroken }

func TestCheckpointServesTheSameKeyAlone(t *testing.T) {
	tests := []struct {
		name    string
		options stages.Options
		force   bool
		first   func(w *world) func() error
		want    string
	}{
		{"after a failure", stages.Options{}, false, func(*world) func() error { return broken }, "content"},
		{"forced", stages.Options{}, true, func(*world) func() error { return broken }, ""},
		{"not cached, after it went well", stages.Options{NoCache: true}, false, func(*world) func() error { return well }, ""},
		{"not cached, after a failure", stages.Options{NoCache: true}, false, func(*world) func() error { return broken }, ""},
		{"after a failure in which the input changed", stages.Options{}, false, func(w *world) func() error {
			return func() error { w.write("other"); return errBroken }
		}, ""},
		{"after the input changed", stages.Options{}, false, func(w *world) func() error {
			return func() error { w.write("other"); return nil }
		}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.write("content")
			runSlow(t, w, test.options, test.force, test.first(w))
			w.write("content")
			if got, _ := runSlow(t, w, test.options, test.force, well); got != test.want {
				t.Errorf("resumed from %q, want %q", got, test.want)
			}
		})
	}
}

// Retries of one run go on where the attempt before stopped, forced or not.
func TestRetryResumes(t *testing.T) {
	w := newWorld(t)
	w.write("content")
	attempts := 0
	got, _ := runSlow(t, w, stages.Options{NoCache: true, Retries: 1}, false, func() error {
		if attempts++; attempts == 1 {
			return errBroken
		}
		return nil
	})
	if got != "content" {
		t.Errorf("resumed from %q", got)
	}
}

func TestRemoveCheckpoints(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	runSlow(t, w, stages.Options{}, false, broken)
	store := w.store()
	if n, err := engine.RemoveCheckpoints(ctx, store, time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("%d recent checkpoints removed, %v", n, err)
	}
	later := time.Now().Add(time.Hour)
	runSlow(t, w, stages.Options{}, false, func() error {
		if n, err := engine.RemoveCheckpoints(ctx, store, later); n != 0 || err != nil {
			t.Errorf("%d checkpoints removed under a stage, %v", n, err)
		}
		return errBroken
	})
	if n, err := engine.RemoveCheckpoints(ctx, store, later); n != 1 || err != nil {
		t.Errorf("%d checkpoints removed, %v", n, err)
	}
}
