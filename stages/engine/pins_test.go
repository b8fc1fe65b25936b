package engine_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
)

// gc empties the cache but for what pins keep.
func (w *world) gc() disk.GCReport {
	w.t.Helper()
	store := w.store()
	pinned, err := engine.Pinned(context.Background(), store)
	if err != nil {
		w.t.Fatal(err)
	}
	report, err := store.GC(context.Background(), disk.GCOptions{MaxBytes: 1, Keep: []disk.Keep{{Why: "pinned", Keys: pinned.Keys, Blobs: pinned.Blobs}}})
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

// What a pinned run made stays, and nothing of others.
func TestPinnedRunSurvivesGC(t *testing.T) {
	w := newWorld(t)
	pinned := w.run("read lengths total ids")
	w.write("1 one\n2 four\n")
	w.run("read lengths total") // ids are the same as before
	if gone, err := engine.Pin(context.Background(), w.store(), pinned.Run); len(gone) > 0 || err != nil {
		t.Fatalf("gone %v, %v", gone, err)
	}
	if report := w.gc(); report.KeptActions != 4 || report.Actions != 3 {
		t.Errorf("gc kept %d results and removed %d, want 4 and 3", report.KeptActions, report.Actions)
	}
	w.write("1 one\n2 three\n")
	w.run("")
	w.write("1 one\n2 four\n")
	w.run("read lengths total")
	if err := engine.Unpin(w.store(), pinned.Run); err != nil {
		t.Fatal(err)
	}
	if report := w.gc(); report.KeptActions != 0 {
		t.Errorf("gc kept %d results of no pinned run", report.KeptActions)
	}
}

// The file that a URL served, which no result refers to, is something that a run
// needs.
func TestPinnedRunKeepsItsDownloads(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Write([]byte("1 one\n"))
	}))
	defer server.Close()
	w := newWorld(t)
	run := func() engine.Report {
		read := w.spec("read", stages.Declare[readStage]("toy.read", 1, "reads"), stages.Values{"source": {V: server.URL}})
		e := w.engineWith(func(c *engine.Config) { c.Client = server.Client() }, []stages.Spec{read})
		report, err := e.Run(context.Background(), engine.RunOptions{Budget: dag.Resources{CPU: 1}})
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	report := run()
	if _, err := engine.Pin(context.Background(), w.store(), report.Run); err != nil {
		t.Fatal(err)
	}
	w.gc()
	if run(); asked != 1 {
		t.Errorf("the server was asked %d times", asked)
	}
}

// The rows that a result's stage remembers are part of what a run needs.
func TestPinnedRunKeepsItsRows(t *testing.T) {
	w := newRowsWorld(t)
	w.plan.incomplete = "a row failed"
	report := w.run("rows total", "one three")
	if _, err := engine.Pin(context.Background(), w.store(), report.Run); err != nil {
		t.Fatal(err)
	}
	w.gc()
	w.plan.incomplete = ""
	w.run("rows", "") // entered again, for no row
}

func TestPinRefuses(t *testing.T) {
	w := newWorld(t)
	report := w.run("read lengths total ids")
	record := filepath.Join(w.cache, "state", "runs", report.Run, "run.json")
	ctx, store := context.Background(), w.store()
	if _, err := engine.Pin(ctx, store, "20260101"); err == nil {
		t.Error("a run that there is not can be pinned")
	}
	if err := os.WriteFile(record, []byte(`{"unended":true}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Pin(ctx, store, report.Run); err == nil || !strings.Contains(err.Error(), "not ended") {
		t.Errorf("got %v", err)
	}
	// A record that is damaged after it was pinned stops a gc.
	if err := os.WriteFile(filepath.Join(filepath.Dir(record), "pinned"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, []byte(`{"un`), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Pin(ctx, store, report.Run); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
	if _, err := engine.Pinned(ctx, store); err == nil || !strings.Contains(err.Error(), "runs unpin "+report.Run) {
		t.Errorf("got %v", err)
	}
}

func TestRemoveRecordRefuses(t *testing.T) {
	w := newWorld(t)
	report := w.run("read lengths total ids")
	ctx, store := context.Background(), w.store()
	lease, err := store.Lease(ctx, report.Run)
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.RemoveRecord(store, report.Run); !errors.Is(err, engine.ErrRunning) {
		t.Errorf("of a run that is going on: %v", err)
	}
	lease.Close()
	if _, err := engine.Pin(ctx, store, report.Run); err != nil {
		t.Fatal(err)
	}
	if err := engine.RemoveRecord(store, report.Run); !errors.Is(err, engine.ErrPinned) {
		t.Errorf("of a pinned run: %v", err)
	}
	if err := engine.Unpin(store, report.Run); err != nil {
		t.Fatal(err)
	}
	if err := engine.RemoveRecord(store, report.Run); err != nil {
		t.Error(err)
	}
	w.run("") // no result went with it
}
