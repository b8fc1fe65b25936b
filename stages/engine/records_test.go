package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages/engine"
)

func TestRecordsAreKeptAndRemoved(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	w.run("")
	state := filepath.Join(w.cache, "state")
	store := w.store()
	records, err := engine.Records(state, filepath.Join(w.project, "toy.toml"))
	if err != nil || len(records) != 2 || !records[0].OK || records[0].Unended || records[0].Run < records[1].Run {
		t.Fatalf("records %+v, %v", records, err)
	}
	if n, err := engine.RemoveRecords(store, time.Now().Add(-time.Hour), 1); n != 0 || err != nil {
		t.Errorf("%d recent records removed, %v", n, err)
	}
	if n, err := engine.RemoveRecords(store, time.Now().Add(time.Hour), 1); n != 1 || err != nil {
		t.Errorf("%d records removed, %v: all but the newest were to go", n, err)
	}
	if _, err := w.engine().LastManifest(context.Background(), "total"); err != nil {
		t.Errorf("the newest result is still to be found: %v", err)
	}
}

// What a record says of its own name is not believed: paths are made of it.
func TestRecordWithAHostileName(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	runs := filepath.Join(w.cache, "state", "runs")
	for name, record := range map[string]string{
		"20200101-000000.000-hostile": `{"run":"../..","path":"x"}`, "20200102-000000.000-ended": `{"run":".","path":"x"}`,
	} {
		if err := os.Mkdir(filepath.Join(runs, name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(runs, name, "run.json"), []byte(record), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := engine.RemoveRecords(w.store(), time.Now(), 1); n != 1 || err != nil {
		t.Errorf("%d records removed, %v", n, err)
	}
	w.run("") // the cache is still there
}

// A run that was killed is no answer to "what came out last": the run before
// it stays, and so does one that is going on.
func TestRecordsThatStay(t *testing.T) {
	w := newWorld(t)
	w.run("read lengths total ids")
	store := w.store()
	lease, err := store.Lease(context.Background(), "29990101-000000.000-running")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	for _, name := range []string{"29990101-000000.000-running", "29990102-000000.000-killed"} {
		dir := filepath.Join(w.cache, "state", "runs", name)
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		record := fmt.Sprintf(`{"path":%q,"unended":true}`, filepath.Join(w.project, "toy.toml"))
		if err := os.WriteFile(filepath.Join(dir, "run.json"), []byte(record), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := engine.RemoveRecords(store, time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC), 1); err != nil {
		t.Fatal(err)
	}
	records, err := engine.Records(filepath.Join(w.cache, "state"), "")
	if err != nil || len(records) != 2 || records[0].Run != "29990101-000000.000-running" || !records[1].OK {
		t.Errorf("left are %+v, %v", records, err)
	}
}

// Two runs of one pipeline that overlap both leave what they found.
func TestHistoryOfOverlappingRuns(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	first, second := w.engine(), w.engine()
	for e, stage := range map[*engine.Engine]string{first: "lengths", second: "ids"} {
		if _, err := e.Run(ctx, engine.RunOptions{Stages: []string{stage}, Budget: dag.Resources{CPU: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, stage := range []string{"lengths", "ids"} {
		if _, err := w.engine().LastManifest(ctx, stage); err != nil {
			t.Error(err)
		}
	}
}
