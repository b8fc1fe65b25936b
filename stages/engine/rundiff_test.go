package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages/engine"
)

func (w *world) record(run string) engine.FullRecord {
	w.t.Helper()
	record, err := engine.ReadRecord(context.Background(), w.store(), run)
	if err != nil {
		w.t.Fatal(err)
	}
	return record
}

// A record says by itself what keys were made of, and where results are from.
func TestRecordOfARun(t *testing.T) {
	w := newWorld(t)
	first := w.run("read lengths total ids")
	w.unit = 2
	second := w.run("lengths total")
	w.gc(0) // with every manifest
	record := w.record(second.Run)
	if got := fmt.Sprint(record.Requests["lengths"].Params["unit"]); got != "2" {
		t.Errorf("unit %s", got)
	}
	if made := record.Made; made["read"].Run != first.Run || made["total"].Run != second.Run {
		t.Errorf("made by %+v", made)
	}
	d := engine.DiffRuns(w.record(first.Run), record)
	if got, want := changes(d), "read:same lengths:changed(parameter unit: 1 → 2) total:changed(input lengths: column length changed) ids:same"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func changes(d engine.RunDiff) string {
	var all []string
	for _, stage := range d.Stages {
		text := stage.Name + ":" + stage.Change
		for _, difference := range stage.Differences {
			text += "(" + difference.Text + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func TestDiffRuns(t *testing.T) {
	digest := func(text string) artifacts.Digest { return artifacts.DigestOf([]byte(text)) }
	request := func(files ...artifacts.FileDigest) artifacts.Request {
		return artifacts.Request{Kind: "k", Version: 1, Files: map[string][]artifacts.FileDigest{"source": files}}
	}
	output := func(text string) map[string]engine.OutputReport {
		return map[string]engine.OutputReport{"out": {Digest: digest(text)}}
	}
	record := func(change func(*engine.FullRecord)) engine.FullRecord {
		r := engine.FullRecord{
			Record: engine.Record{
				Report: engine.Report{Stages: []engine.StageReport{
					{Name: "drifts", Key: "k1", Outputs: output("a")}, {Name: "fails"}, {Name: "never"}, {Name: "old", Key: "k2"}, {Name: "goes", Key: "k3"},
				}},
				Params:   map[string]any{"seed": 1.0, "gone": "x"},
				Versions: map[string]string{"go": "1.26"},
			},
			Requests: map[string]artifacts.Request{"fails": request(artifacts.FileDigest{Name: "a.txt", Digest: digest("1")}, artifacts.FileDigest{Name: ".gz", Digest: digest("2")})},
			Made:     map[string]artifacts.Provenance{"old": {Versions: map[string]string{"go": "1.25", "device": "cpu"}}},
		}
		change(&r)
		return r
	}
	before := record(func(*engine.FullRecord) {})
	after := record(func(r *engine.FullRecord) {
		r.Stages[0].Outputs, r.Stages[3].Key, r.Stages[4].Name = output("b"), "k4", "comes"
		r.Params = map[string]any{"seed": 2.0, "new": true}
		r.Versions = map[string]string{"go": "1.27"}
		r.Requests = map[string]artifacts.Request{"fails": request(artifacts.FileDigest{Name: "b.txt", Digest: digest("1")}, artifacts.FileDigest{Name: ".gz", Digest: digest("3")})}
		r.Made = map[string]artifacts.Provenance{"old": {Versions: map[string]string{"go": "1.24", "device": "cuda:0"}}}
	})
	d := engine.DiffRuns(before, after)
	wantStages := fmt.Sprintf("drifts:drifted(output out came out differently from the same key: %s → %s) "+
		"fails:changed(file source: the content of b.txt changed) never:unknown old:changed(another key; what it was made of is not recorded of both runs) comes:added goes:removed",
		digest("a").Short(), digest("b").Short())
	if got := changes(d); got != wantStages {
		t.Errorf("got  %s\nwant %s", got, wantStages)
	}
	texts := func(all []engine.Difference) (texts []string) {
		for _, d := range all {
			texts = append(texts, d.Text)
		}
		return texts
	}
	if got, want := texts(d.Params), []string{`gone: "x" → (absent)`, "new: (absent) → true", "seed: 1 → 2"}; !slices.Equal(got, want) {
		t.Errorf("parameters %q, want %q", got, want)
	}
	if got, want := texts(d.Versions), []string{"go: 1.26 → 1.27", "device of stage old: cpu → cuda:0"}; !slices.Equal(got, want) {
		t.Errorf("versions %q, want %q", got, want)
	}
	wantFiles := []engine.FileChange{
		{Stage: "fails", Param: "source", Before: digest("2"), After: digest("3")},
		{Stage: "fails", Param: "source", Name: "a.txt", Before: digest("1")},
		{Stage: "fails", Param: "source", Name: "b.txt", After: digest("1")},
	}
	if !slices.Equal(d.Files, wantFiles) {
		t.Errorf("files %+v", d.Files)
	}
	if d.Same() {
		t.Error("the runs are not the same")
	}
}

// The run before is of the same file, and one that ended.
func TestRunBefore(t *testing.T) {
	of := func(run, path string, unended bool, damaged string) engine.Record {
		return engine.Record{Report: engine.Report{Run: run}, Path: path, Unended: unended, Damaged: damaged}
	}
	records := []engine.Record{of("6", "a", false, ""), of("5", "b", false, ""), of("4", "a", true, ""), of("3", "a", false, "x"), of("2", "a", false, ""), of("1", "a", false, "")}
	if got, ok := engine.RunBefore(records, records[0]); !ok || got.Run != "2" {
		t.Errorf("got %v, %v", got.Run, ok)
	}
	if got, ok := engine.RunBefore(records, records[1]); ok {
		t.Errorf("got %v", got.Run)
	}
}

// A record that cannot be read has its name, and the others are as they were.
func TestDamagedRecord(t *testing.T) {
	w := newWorld(t)
	report := w.run("read lengths total ids")
	dir := filepath.Join(w.cache, "state", "runs", "29990101-000000.000-damaged")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "run.json"), []byte(`{"run":1`), 0o666); err != nil {
		t.Fatal(err)
	}
	records, err := engine.Records(filepath.Join(w.cache, "state"), "")
	if err != nil || len(records) != 2 || records[0].Run != filepath.Base(dir) || records[0].Damaged == "" || records[1].Run != report.Run || !records[1].OK {
		t.Errorf("records %+v, %v", records, err)
	}
}
