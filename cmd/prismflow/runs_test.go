package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/prismflow/prismflow/stages/engine"
)

// lastRecord is the path of the newest run's record.
func lastRecord(ts *testscript.TestScript) string {
	records, err := filepath.Glob(filepath.Join(ts.Getenv("PRISMFLOW_CACHE"), "state", "runs", "*", "run.json"))
	ts.Check(err)
	if len(records) == 0 {
		ts.Fatalf("there is no record")
	}
	return slices.Max(records)
}

// scriptDamageRecord cuts the newest run's record short.
func scriptDamageRecord(ts *testscript.TestScript, _ bool, _ []string) {
	path := lastRecord(ts)
	data, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(path, data[:len(data)/2], 0o666))
}

// scriptStripRecord makes the newest run's record one of the first versions of
// the program.
func scriptStripRecord(ts *testscript.TestScript, _ bool, _ []string) {
	path := lastRecord(ts)
	data, err := os.ReadFile(path)
	ts.Check(err)
	var fields map[string]any
	ts.Check(json.Unmarshal(data, &fields))
	for _, name := range []string{"params", "versions", "requests", "made"} {
		if _, ok := fields[name]; !ok {
			ts.Fatalf("the record has no %s", name)
		}
		delete(fields, name)
	}
	data, err = json.Marshal(fields)
	ts.Check(err)
	ts.Check(os.WriteFile(path, data, 0o666))
}

func runsNamed(names ...string) []engine.Record {
	var all []engine.Record
	for _, name := range names {
		all = append(all, engine.Record{Report: engine.Report{Run: name}})
	}
	return all
}

func TestFindRun(t *testing.T) {
	book := runBook{records: runsNamed("20261126-093000.000-bbbbbb", "20261126-091500.000-aaaaaa", "20261125-000000.000-cccccc", "20261125-000000.000-cccccc1")}
	for text, want := range map[string]string{
		"last": "20261126-093000.000-bbbbbb", "last~0": "20261126-093000.000-bbbbbb", "last~2": "20261125-000000.000-cccccc",
		"20261126-0930": "20261126-093000.000-bbbbbb", "20261126-091500.000-aaaaaa": "20261126-091500.000-aaaaaa",
		"20261125-000000.000-cccccc":  "20261125-000000.000-cccccc", // whole, although another begins so
		"20261125-000000.000-cccccc1": "20261125-000000.000-cccccc1",
		"20261126":                    "2 runs begin with 20261126",
		"20261125-000000.000":         "2 runs begin with",
		"last~4":                      "4 runs recorded here",
		"last~":                       "there is no run last~",
		"last~-1":                     "there is no run last~-1",
		"lasting":                     "there is no run lasting",
		"":                            "which run?",
		"20261126-093000.000-bbbbbX":  "did you mean 20261126-093000.000-bbbbbb?",
	} {
		record, err := book.find(text)
		got := record.Run
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestParseBefore(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-11-01":           time.Date(2026, 11, 1, 0, 0, 0, 0, time.Local),
		"2026-11-01T10:00:00Z": time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC),
		"12h":                  now.Add(-12 * time.Hour),
		"2d":                   now.Add(-48 * time.Hour),
	} {
		if got, err := parseBefore(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "-1h", "2026-13-01"} {
		if got, err := parseBefore(text, now); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

// --keep counts for each pipeline file.
func TestOlderThan(t *testing.T) {
	all := runsNamed("5", "4", "3", "2", "1")
	for i, path := range []string{"a", "b", "a", "a", "b"} {
		all[i].Path = path
	}
	for keep, want := range map[int]string{0: "[5 4 3 2 1]", 1: "[3 2 1]", 2: "[2]", 3: "[]"} {
		names := []string{}
		for _, record := range olderThan(all, keep) {
			names = append(names, record.Run)
		}
		if got := fmt.Sprint(names); got != want {
			t.Errorf("keep %d: %s would go, want %s", keep, got, want)
		}
	}
}

// The headline is of the model, not of a baseline that may be better, and what
// is nearest to ndcg at 10 of the test answers.
func TestHeadlines(t *testing.T) {
	rows := []metricRow{
		{Stage: "a", Model: "popularity", Split: "test", Metric: "ndcg", K: 10, Value: 9},
		{Stage: "a", Model: "prism", Split: "valid", Metric: "ndcg", K: 10, Value: 1},
		{Stage: "a", Model: "prism", Split: "test", Metric: "recall", K: 10, Value: 2},
		{Stage: "a", Model: "prism", Split: "test", Metric: "ndcg", K: 5, Value: 3},
		{Stage: "a", Model: "prism", Split: "test", Metric: "ndcg", K: 10, Value: 4},
		{Stage: "a", Model: "prism", Split: "test", Metric: "ndcg", K: 20, Value: 5},
		{Stage: "b", Model: "prism", Split: "valid", Metric: "mrr", K: 1, Value: 6},
	}
	if got, want := headlineText(headlines(rows)), "a ndcg@10 4.0000, b mrr@1 6.0000"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	many := append(rows[:len(rows):len(rows)], metricRow{Stage: "c", Model: "prism", Metric: "mrr", K: 1}, metricRow{Stage: "d", Model: "prism", Metric: "mrr", K: 1})
	if got, want := headlineText(headlines(many)), "a ndcg@10 4.0000, b mrr@1 6.0000, and of 2 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := headlineText(headlines(rows[:5])), "ndcg@10 4.0000"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMetricChanges(t *testing.T) {
	row := func(model string, value float64) metricRow {
		return metricRow{Stage: "evaluate", Model: model, Split: "test", Metric: "ndcg", K: 10, Value: value}
	}
	changes := metricChanges([]metricRow{row("prism", 0.1), row("knn", 0.2)}, []metricRow{row("popularity", 0.3), row("prism", 0.4)})
	var got []string
	for _, c := range changes {
		got = append(got, c.Model+" "+valueOrNone(c.Before)+" "+valueOrNone(c.After))
	}
	if want := []string{"popularity – 0.3000", "prism 0.1000 0.4000", "knn 0.2000 –"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// Of a stage that one run lacks it is enough to say so.
	alone := metricChanges([]metricRow{{Stage: "gone", Model: "prism", Split: "test", Metric: "mrr", K: 10, Value: 0.1}}, nil)
	var out bytes.Buffer
	diff := engine.RunDiff{Stages: []engine.StageDiff{{Name: "gone", Change: engine.StageRemoved}, {Name: "evaluate", Change: engine.StageSame}}}
	if err := writeMetricChanges(stream{Writer: &out}, diff, append(alone, changes...)); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(text, "gone") || !strings.Contains(text, "+0.3000") {
		t.Errorf("got %q", text)
	}
}
