package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

// story is a run in which one stage makes progress, one trains, one fails and
// one is skipped.
func story() []dag.Event {
	made := engine.StageDetail{Outputs: map[string]engine.OutputReport{
		"items": {Rows: 12101, Path: "/cas/12/34", Table: true}, "log": {Bytes: 2048, Path: "/out/log"},
	}}
	return []dag.Event{
		{Time: at(0), Type: dag.RunStarted, Total: 5},
		{Time: at(0), Type: dag.StageFinished, Stage: "raw", State: dag.Cached, Reason: "unchanged"},
		{Time: at(0), Type: dag.StageStarted, Stage: "corpus", State: dag.Running, Reason: "parameter min_core: 5 → 3", Attempt: 1},
		{Time: at(1), Type: dag.StageProgress, Stage: "corpus", Done: 1000, Total: 10000, Unit: "rows"},
		{Time: at(6), Type: dag.StageProgress, Stage: "corpus", Done: 6000, Total: 10000, Unit: "rows"},
		{Time: at(7), Type: dag.StageProgress, Stage: "corpus", Done: 7000, Total: 10000, Unit: "rows"},
		{Time: at(10), Type: dag.StageFinished, Stage: "corpus", State: dag.Ran, Seconds: 10, Reason: "parameter min_core: 5 → 3", Attempt: 1, Detail: made},
		{Time: at(10), Type: dag.StageStarted, Stage: "train", State: dag.Running, Reason: "never run", Attempt: 1},
		{Time: at(16), Type: dag.StageMetrics, Stage: "train", Fields: map[string]any{"epoch": 3, "epochs": 50, "loss": 0.41234567, "ndcg@10": 0.0312}},
		{Time: at(17), Type: dag.Note, Level: "warn", Message: "input.txt changed while the stage read it"},
		{Time: at(18), Type: dag.StageFinished, Stage: "train", State: dag.Failed, Seconds: 8, Error: "out of memory", Attempt: 1},
		{Time: at(18), Type: dag.StageFinished, Stage: "evaluate", State: dag.Skipped, CausedBy: "train"},
		{Time: at(18), Type: dag.RunFinished},
	}
}

func TestLinesView(t *testing.T) {
	var out bytes.Buffer
	v := newLinesView(stream{Writer: &out})
	for _, e := range story() {
		v.event(e)
	}
	v.close()
	want := strings.TrimLeft(`
cached   raw: unchanged
start    corpus: parameter min_core: 5 → 3
…        corpus: 6,000 of 10,000 rows, 1,000 rows/s, 4.0 s left, 6.0 s
ran      corpus in 10.0 s: items 12,101 rows, log 2.0 KiB
start    train: never run
…        train: epoch 3 of 50, loss 0.4123, ndcg@10 0.0312, 6.0 s
note     input.txt changed while the stage read it
failed   train after 8.0 s
`, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

// A pipeline of many cached stages has a few lines and a number.
func TestManyCachedStages(t *testing.T) {
	var out bytes.Buffer
	v := newLinesView(stream{Writer: &out})
	for range mostCached + 3 {
		v.event(dag.Event{Type: dag.StageFinished, Stage: "s", State: dag.Cached})
	}
	v.close()
	if got, want := strings.Count(out.String(), "\n"), mostCached+1; got != want {
		t.Errorf("%d lines, want %d", got, want)
	}
	if !strings.HasSuffix(out.String(), "… and 3 more\n") {
		t.Errorf("the last line is not the number of others:\n%s", out.String())
	}
}

func TestLiveModel(t *testing.T) {
	m := liveModel{began: noon, width: 100, height: 24}
	var drawn []string
	for _, e := range story()[:10] {
		m = m.apply(e)
		drawn = append(drawn, m.text(e.Time))
	}
	want := "▸ corpus  ██████████████░░░░░░  70 %  7,000 of 10,000 rows, 1,000 rows/s, 3.0 s left, 7.0 s\n" +
		"1 of 5 stages, 1 running, 7.0 s"
	if diff := cmp.Diff(want, drawn[5]); diff != "" {
		t.Error(diff)
	}
	want = "▸ train  epoch 3 of 50, loss 0.4123, ndcg@10 0.0312, 7.0 s\n2 of 5 stages, 1 running, 17.0 s"
	if diff := cmp.Diff(want, drawn[9]); diff != "" {
		t.Error(diff)
	}
}

// What does not fit on the terminal is cut, and counted.
func TestLiveModelFits(t *testing.T) {
	m := liveModel{began: noon, width: 30, height: 6}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		m = m.apply(dag.Event{Time: noon, Type: dag.StageStarted, Stage: name})
		m = m.apply(dag.Event{Time: at(1), Type: dag.StageProgress, Stage: name, Done: 1, Total: 2, Unit: "rows"})
	}
	lines := strings.Split(m.text(at(2)), "\n")
	if len(lines) != 5 {
		t.Errorf("%d lines on a terminal of 6:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		if width := len([]rune(line)); width > 30 {
			t.Errorf("%d cells on a terminal of 30: %q", width, line)
		}
	}
	if m.width = 200; !strings.Contains(m.text(at(2)), "(2 not shown)") {
		t.Errorf("nothing says that two stages are not shown:\n%s", m.text(at(2)))
	}
}

func TestMetricsText(t *testing.T) {
	for want, metrics := range map[string]map[string]any{
		"": nil,
		"epoch 3 of 50, loss 0.4123, loss scale 1,024, users per second 88.56": {
			"epoch": 3, "epochs": 50, "users_per_second": 88.56, "loss_scale": 1024.0, "loss": .4123,
		},
		"3.3 MiB, failed 1,160 (9 damaged, 1,151 not found)": {
			"bytes": int64(3408000), "failed": 1160, "failed_not_found": 1151, "failed_damaged": 9,
		},
	} {
		if got := metricsText(metrics); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// The time left neither jumps with one slow moment nor clings to a slow start.
func TestTimeLeft(t *testing.T) {
	p := newProgress(dag.Event{Time: noon, Stage: "s"})
	step := func(seconds float64, done int64) {
		p.apply(dag.Event{Type: dag.StageProgress, Time: at(seconds), Done: done, Total: 10000, Unit: "rows"})
	}
	step(0, 0)
	step(10, 100) // a slow start: 10 a second
	for i := range 60 {
		step(10+float64(i+1), 100+int64(i+1)*100) // then 100 a second
	}
	if left := p.left(); left < 35 || left > 45 {
		t.Errorf("%.0f s left at 100 rows a second for %d rows", left, 10000-p.done)
	}
	step(71, 6101)
	if left := p.left(); left < 35 || left > 50 {
		t.Errorf("one slow second made it %.0f s", left)
	}
	p.apply(dag.Event{Type: dag.StageProgress, Time: at(80), Done: 1, Total: 10, Unit: "epochs"})
	if left := p.left(); left != 0 {
		t.Errorf("%.0f s left of work that has just begun", left)
	}
}

func TestMetricTable(t *testing.T) {
	rows := []metricRow{}
	add := func(stage, model string, values ...float64) {
		for i, metric := range []string{"recall", "ndcg"} {
			for j, k := range []int32{5, 10} {
				rows = append(rows, metricRow{stage, model, "test", metric, k, values[2*i+j], 22363})
			}
		}
	}
	add("evaluate_a", "prism", .05, .08, .03, .04)
	add("evaluate_a", "knn", .04, .06, .02, .03)
	add("evaluate_b", "prism", .06, .07, .035, .039)
	add("evaluate_b", "knn", .04, .06, .02, .03)
	var out bytes.Buffer
	w := &workspace{pipeline: &pipelines.Pipeline{}}
	w.writeMetricTables(stream{Writer: &out}, rows, false)
	want := strings.TrimLeft(`
test split, 22,363 users
                recall@5   recall@10
  evaluate_a      0.0500      0.0800
  evaluate_b      0.0600      0.0700
  knn             0.0400      0.0600
                  ndcg@5     ndcg@10
  evaluate_a      0.0300      0.0400
  evaluate_b      0.0350      0.0390
  knn             0.0200      0.0300
`, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	w.writeMetricTables(stream{Writer: &out}, rows[:8], true)
	if !strings.Contains(out.String(), bold+"    0.0800"+plain) || strings.Contains(out.String(), bold+"    0.0600") {
		t.Errorf("the best of a column is not marked:\n%q", out.String())
	}
}

// What was measured differently is not put side by side, though it is of as many
// users, and one evaluation of a model does not hide another.
func TestMetricTablesOfProtocols(t *testing.T) {
	row := func(stage, model string, value float64) metricRow {
		return metricRow{stage, model, "test", "ndcg", 10, value, 300}
	}
	rows := []metricRow{row("all", "prism", .04), row("all", "knn", .03), row("unseen", "prism", .05), row("unseen", "knn", .02), row("again", "prism", .06)}
	w := &workspace{pipeline: &pipelines.Pipeline{}, protocols: map[string]string{"all": "a", "unseen": "b", "again": "b"}}
	var out bytes.Buffer
	w.writeMetricTables(stream{Writer: &out}, rows, false)
	want := strings.TrimLeft(`
test split, 300 users, by all
            ndcg@10
  prism      0.0400
  knn        0.0300

test split, 300 users, by unseen, again
             ndcg@10
  unseen      0.0500
  again       0.0600
  knn         0.0200
`, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	slice := func(row metricRow) sliceRow {
		return sliceRow{row.Stage, row.Model, row.Split, "item", "warm", row.Metric, row.K, row.Value, row.N}
	}
	w.writeSliceTables(stream{Writer: &out}, []sliceRow{slice(rows[0]), slice(rows[1]), slice(rows[3])}, w.alikeNames(rows))
	want = `
test split, ndcg@10 by item, by all
             users       prism         knn
  warm         300      0.0400      0.0300

test split, ndcg@10 by item, by unseen
             users         knn
  warm         300      0.0200
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

// An evaluatingStage is one of which only the model that it reads is known.
type evaluatingStage struct {
	stages.Stage
	model stages.Ref
}

func (e evaluatingStage) Inputs() []stages.Input {
	return []stages.Input{{Port: modelInput, From: e.model}}
}

// A model that two stages evaluated has a name for each.
func TestModelNamesOfOneModel(t *testing.T) {
	spec := func(name string) stages.Spec {
		return stages.Spec{Name: name, Stage: evaluatingStage{model: stages.Ref{Stage: "train", Output: modelInput}}}
	}
	w := &workspace{pipeline: &pipelines.Pipeline{Stages: []stages.Spec{spec("short"), spec("long"), spec("same")}}}
	name := w.modelNames([]metricRow{
		{"short", "prism", "test", "ndcg", 5, .04, 300}, {"long", "prism", "test", "ndcg", 10, .05, 300}, {"same", "prism", "test", "ndcg", 10, .05, 300},
	})
	if short, long := name("short", "prism"), name("long", "prism"); short != "train of short" || long != "train of long" {
		t.Errorf("%q and %q", short, long)
	}
}

// What a model recommends stands behind what it finds, at one k, and belongs to
// the same users though some are recommended nothing.
func TestMetricTableOfLists(t *testing.T) {
	var rows []metricRow
	for i, model := range []string{"prism", "knn"} {
		for _, k := range []int32{5, 10, 20} {
			rows = append(rows, metricRow{"evaluate", model, "test", "ndcg", k, .04, 300})
		}
		for _, k := range []int32{5, 10, 20} {
			rows = append(rows, metricRow{"evaluate", model, "test", "coverage", k, .5, 300 - int64(i)}, metricRow{"evaluate", model, "test", "average_popularity", k, 12.25, 300 - int64(i)})
		}
	}
	var out bytes.Buffer
	w := &workspace{pipeline: &pipelines.Pipeline{}}
	w.writeMetricTables(stream{Writer: &out}, rows, false)
	want := strings.TrimLeft(`
test split, 300 users
             ndcg@5     ndcg@10     ndcg@20
  prism      0.0400      0.0400      0.0400
  knn        0.0400      0.0400      0.0400
         coverage@10  average popularity@10
  prism       0.5000                12.2500
  knn         0.5000                12.2500
`, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestSliceTables(t *testing.T) {
	var rows []sliceRow
	var metrics []metricRow
	for model, value := range map[string]float64{"prism": .05, "knn": .04} {
		metrics = append(metrics, metricRow{"evaluate", model, "test", "ndcg", 20, value, 1280})
		for _, metric := range []string{"recall", "ndcg"} {
			rows = append(rows,
				sliceRow{"evaluate", model, "test", "item_frequency", "1-4", metric, 20, value, 1200},
				sliceRow{"evaluate", model, "test", "item_frequency", "5+", metric, 20, 2 * value, 80},
				sliceRow{"evaluate", model, "test", "item_frequency", "5+", metric, 5, value / 2, 80})
		}
	}
	// Of another stage, which found the baseline as good and has fewer slices.
	metrics = append(metrics, metricRow{"plain", "prism", "test", "ndcg", 20, .03, 1280}, metricRow{"plain", "knn", "test", "ndcg", 20, .04, 1280})
	rows = append(rows, sliceRow{"evaluate", "prism", "test", "item", "cold", "ndcg", 20, 0, 7},
		sliceRow{"plain", "prism", "test", "item_frequency", "1-4", "ndcg", 20, .03, 1200}, sliceRow{"plain", "knn", "test", "item_frequency", "1-4", "ndcg", 20, .04, 1200})
	var out bytes.Buffer
	w := &workspace{pipeline: &pipelines.Pipeline{}}
	w.writeSliceTables(stream{Writer: &out}, rows, w.modelNames(metrics))
	want := `
test split, ndcg@20 by item frequency
            users    evaluate       plain         knn
  1-4       1,200      0.0500      0.0300      0.0400
  5+           80      0.1000           –      0.0800

test split, ndcg@20 by item
             users    evaluate
  cold           7      0.0000
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestFormats(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{thousands(0), "0"}, {thousands(999), "999"}, {thousands(-1234567), "-1,234,567"},
		{byteSize(1023), "1023 B"}, {byteSize(1 << 20), "1.0 MiB"}, {byteSize(1 << 62), "4.0 EiB"},
		{seconds(0.004), "0.00 s"}, {seconds(59.9), "59.9 s"}, {seconds(59.96), "1m00s"}, {seconds(3599.7), "1h00m"}, {seconds(7325), "2h02m"},
		{count(1, "row"), "1 row"}, {count(2345, "row"), "2,345 rows"},
		{number(3), "3"}, {number(0.412345), "0.4123"}, {number(1234567), "1,234,567"},
		{rate(0.5, "epochs"), "0.5 epochs/s"}, {rate(1234.6, "rows"), "1,235 rows/s"}, {rate(2048, "bytes"), "2.0 KiB/s"},
		{shellWord("a.toml"), "a.toml"}, {shellWord("it's a"), `'it'\''s a'`},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

func TestParseSizeAndAge(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1": 1, "20GiB": 20 << 30, "1.5 MB": 1500000, "7B": 7} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]time.Duration{"": 0, "30d": 720 * time.Hour, "90m": 90 * time.Minute, "0.5d": 12 * time.Hour} {
		if got, err := parseAge(text); err != nil || got != want {
			t.Errorf("parseAge(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "-1", "0", "GiB", "NaNGiB", "1e99GiB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d", text, got)
		}
	}
	for _, text := range []string{"x", "d", "-1d", "0s", "NaNd"} {
		if got, err := parseAge(text); err == nil {
			t.Errorf("parseAge(%q) = %s", text, got)
		}
	}
}
