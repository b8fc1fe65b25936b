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
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
)

// gc empties the cache but for what pins and the last runs keep.
func (w *world) gc(keepRuns int) disk.GCReport {
	w.t.Helper()
	store := w.store()
	report, err := store.GC(context.Background(), disk.GCOptions{MaxBytes: 1, Keep: func(ctx context.Context) ([]disk.Keep, error) {
		pinned, err := engine.Pinned(ctx, store)
		if err != nil {
			return nil, err
		}
		last, err := engine.LastRuns(ctx, store, keepRuns)
		return []disk.Keep{
			{Why: "pinned", Keys: pinned.Keys, Blobs: pinned.Blobs}, {Why: "last", Keys: last.Keys, Blobs: last.Blobs},
		}, err
	}})
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
	if report := w.gc(0); report.KeptActions != 4 || report.Actions != 3 {
		t.Errorf("gc kept %d results and removed %d, want 4 and 3", report.KeptActions, report.Actions)
	}
	w.write("1 one\n2 three\n")
	w.run("")
	w.write("1 one\n2 four\n")
	w.run("read lengths total")
	if err := engine.Unpin(w.store(), pinned.Run); err != nil {
		t.Fatal(err)
	}
	if report := w.gc(0); report.KeptActions != 0 {
		t.Errorf("gc kept %d results of no pinned run", report.KeptActions)
	}
}

// What the last runs of a pipeline made and read stays, whichever run made it
// and whatever other pipelines did since.
func TestLastRunsSurviveGC(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	w.write("1 one\n2 four\n")
	w.run("read lengths total") // ids are the same as before
	w.write("1 one\n2 fifteen\n")
	w.run("read lengths total")
	other := w.engineWith(func(c *engine.Config) { c.Path = "other.toml" }, w.specs())
	if _, err := other.Run(context.Background(), engine.RunOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(w.cache, "state", "runs", "30000101-000000.000-abcdef"), 0o777); err != nil {
		t.Fatal(err) // a run that was killed is not one of the last: it has no results
	}
	report := w.gc(2)
	if report.Actions != 3 || len(report.Stays) != 1 || report.Stays[0].Why != "last" || report.Stays[0].Actions != 7 {
		t.Errorf("gc removed %d results, want the first three; what stays: %+v", report.Actions, report.Stays)
	}
	w.run("")
	w.write("1 one\n2 four\n")
	w.run("")
	if report := w.gc(1); report.Actions != 0 { // the last of this, and of the other
		t.Errorf("gc removed %d results of the last runs", report.Actions)
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
	w.gc(0)
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
	w.gc(0)
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

// Of transfers that broke off, those go to which nothing was added for long.
func TestOldTransfersAreRemoved(t *testing.T) {
	w := newWorld(t)
	store := w.store()
	long := time.Now().Add(-48 * time.Hour)
	for _, dir := range []string{"downloads", "outbox/of-a-remote", "urls/partial"} {
		dir = filepath.Join(store.StateDir(), dir)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		for name, written := range map[string]time.Time{"old": long, "new": time.Now()} {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.WriteFile(path, nil, 0o666), os.Chtimes(path, written, written)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, want := range []int{3, 0} {
		if n, err := engine.RemoveTransfers(store, time.Now().Add(-time.Hour)); n != want || err != nil {
			t.Errorf("%d removed, %v, want %d", n, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(store.StateDir(), "outbox", "of-a-remote", "new")); err != nil {
		t.Error(err)
	}
}
