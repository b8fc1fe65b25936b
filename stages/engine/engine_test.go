package engine_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages/engine"
)

func TestRunsOnceThenReuses(t *testing.T) {
	w := newWorld(t)
	first := w.run("read lengths total ids")
	if got := reason(t, first, "read"); got != "never run" {
		t.Errorf("reason %q", got)
	}
	second := w.run("")
	if got := reason(t, second, "total"); got != "unchanged" {
		t.Errorf("reason %q", got)
	}
	for i := range first.Stages {
		for name, output := range first.Stages[i].Outputs {
			if again := second.Stages[i].Outputs[name]; again != output {
				t.Errorf("output %s changed: %v → %v", name, output, again)
			}
		}
	}
}

func TestColumnsDecide(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	w.write("1 ONE\n2 THREE\n") // titles change, their lengths and the ids do not
	report := w.run("read lengths")
	if got, want := reason(t, report, "lengths"), "input rows: column title changed"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	if got, want := reason(t, report, "read"), "file source: its content changed"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	w.write("1 one\n2 three\n")
	w.run("") // reverted: everything is there
}

func TestParametersAndSettings(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	w.workers = 8
	w.run("")
	w.unit = 2
	report := w.run("lengths total")
	if got, want := reason(t, report, "lengths"), "parameter unit: 1 → 2"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	w.names = [4]string{"a", "b", "c", "d"}
	w.run("") // names are no part of what a stage is
}

func TestOutputsAreRestored(t *testing.T) {
	w := newWorld(t)
	report := w.run("read lengths total ids")
	path := report.Stages[3].Outputs["ids"].Path
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.WriteFile(path, []byte("tampered"), 0o666) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		w.run("")
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the output is %q (%v), want %q", got, err, want)
		}
	}
}

func TestDamagedCacheIsNeverUsed(t *testing.T) {
	w := newWorld(t)
	report := w.run("read lengths total ids")
	hex := report.Stages[0].Outputs["rows"].Digest.Hex()
	blob := filepath.Join(w.cache, "cas", hex[:2], hex)
	if err := os.Chmod(blob, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blob, []byte("tampered"), 0o644); err != nil {
		t.Fatal(err)
	}
	again := w.run("read")
	if got := reason(t, again, "read"); !strings.Contains(got, "cannot be used") {
		t.Errorf("reason %q", got)
	}
}

func TestInputThatChangesMeanwhileIsNotRecorded(t *testing.T) {
	w := newWorld(t)
	change := func() { w.write("1 one\n2 three\n3 late\n") }
	duringRead.Store(&change)
	report := w.run("read lengths total ids")
	duringRead.Store(nil)
	if got := reason(t, report, "read"); !strings.Contains(got, "changed while") {
		t.Errorf("reason %q", got)
	}
	w.write("1 one\n2 three\n")
	w.run("read") // what was asked for then is still unknown
}

func TestStatusAndExplain(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	status, err := w.engine().Status(ctx, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	states := func(s engine.Status) string {
		var b []string
		for _, stage := range s.Stages {
			b = append(b, stage.State)
		}
		return strings.Join(b, " ")
	}
	if got, want := states(status), "stale unknown unknown unknown"; got != want {
		t.Errorf("states %q, want %q", got, want)
	}
	w.run("read lengths total ids")
	w.unit = 3
	e := w.engine()
	if status, err = e.Status(ctx, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := states(status), "fresh stale unknown fresh"; got != want {
		t.Errorf("states %q, want %q", got, want)
	}
	x, err := e.Explain(ctx, "lengths")
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Changes) != 1 || x.Changes[0].What != "parameter unit" || x.Changes[0].Before != "1" || x.Changes[0].After != "3" {
		t.Errorf("changes %+v", x.Changes)
	}
	if err := os.Remove(filepath.Join(w.project, "in.txt")); err != nil {
		t.Fatal(err)
	}
	if status, err = w.engine().Status(ctx, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := states(status), "missing-input unknown unknown unknown"; got != want {
		t.Errorf("states %q, want %q", got, want)
	}
}

func TestSecondCheckoutElsewhere(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	elsewhere := newWorld(t)
	elsewhere.cache = w.cache
	report := elsewhere.run("")
	if got := reason(t, report, "read"); got != "in the cache already" {
		t.Errorf("reason %q", got)
	}
}

// An entry with other outputs than the stage declares is nobody's result, and
// no file is made by a name in it.
func TestResultWithForeignOutputs(t *testing.T) {
	w := newWorld(t)
	report := w.run("read lengths total ids")
	ctx, store := context.Background(), w.store()
	manifest, err := artifacts.LookupManifest(ctx, store, report.Stages[2].Key)
	if err != nil {
		t.Fatal(err)
	}
	total := manifest.Outputs["total"]
	for want, outputs := range map[string]map[string]artifacts.Output{
		"2 outputs":   {"total": total, "foreign": total},
		"the columns": {"total": {Digest: total.Digest, Bytes: total.Bytes}},
		"declares":    {"total": {Digest: total.Digest, Bytes: total.Bytes, Columns: []artifacts.Column{{Name: "width", Type: "int64", Digest: total.Digest}}}},
	} {
		manifest.Outputs = outputs
		if err := artifacts.Replace(ctx, store, manifest); err != nil {
			t.Fatal(err)
		}
		again := w.run("total")
		if got := reason(t, again, "total"); !strings.Contains(got, want) {
			t.Errorf("reason %q, want %q", got, want)
		}
	}
}
