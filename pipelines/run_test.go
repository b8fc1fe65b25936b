package pipelines_test

import (
	"context"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
	"github.com/prismflow/prismflow/stages/kinds"
)

// runShipped runs a shipped pipeline on a store in a directory.
func runShipped(t *testing.T, name string, params map[string]string, cache string) *engine.Engine {
	t.Helper()
	e, _ := reportShipped(t, name, params, cache)
	return e
}

// reportShipped does the same, and says what became of each stage.
func reportShipped(t *testing.T, name string, params map[string]string, cache string) (*engine.Engine, engine.Report) {
	t.Helper()
	out := t.TempDir()
	registry, err := kinds.All()
	if err != nil {
		t.Fatal(err)
	}
	p, err := pipelines.Load(pipelines.EmbeddedPrefix+name, pipelines.Options{Registry: registry, Params: params, WorkDir: out})
	if err != nil {
		t.Fatal(err)
	}
	store, err := disk.Open(cache, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	e, err := engine.New(engine.Config{
		Pipeline: p.Name, Path: p.Path, Out: out, Store: store, Torch: torchtest.Options(), Clock: time.Now,
	}, p.Stages)
	if err != nil {
		t.Fatal(err)
	}
	report, err := e.Run(context.Background(), engine.RunOptions{Budget: dag.Resources{CPU: 2}})
	if err != nil {
		t.Fatal(err)
	}
	return e, report
}

// result is the rows of an output.
func result[Row any](t *testing.T, e *engine.Engine, name string) []Row {
	t.Helper()
	ref, ok := stages.ParseRef(name)
	if !ok {
		t.Fatalf("%s names no output", name)
	}
	_, path, err := e.Output(context.Background(), ref)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := table.ReadAll[Row](path)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
