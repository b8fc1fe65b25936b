package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/stages/stagetest"
)

// recorded is what .ci/bench-result wrote about one benchmark pipeline.
type recorded struct {
	Pipeline   string            `json:"pipeline"`
	Parameters map[string]string `json:"parameters"`
	Trainings  map[string]struct {
		History []epochRow `json:"history"`
	} `json:"trainings"`
	Metrics []metricRow `json:"metrics"`
}

type epochRow struct {
	Epoch int32    `json:"epoch"`
	Loss  float64  `json:"loss"`
	Value *float64 `json:"value"`
}

// repeatedEpochs is how far a recorded training is repeated.
const repeatedEpochs = 2

// TestBenchmarksRepeat trains the first epochs of every benchmark whose result
// is committed, on the real data, and compares losses and validation with the
// record. Sums differ in the last digits from one processor to another.
func TestBenchmarksRepeat(t *testing.T) {
	if os.Getenv("PRISMFLOW_LONG") == "" {
		t.Skip("trains on Amazon Beauty; set PRISMFLOW_LONG")
	}
	if _, err := gotorch.Find(t.Context(), torchtest.Options()); err != nil {
		t.Skipf("needs libtorch: %v", err)
	}
	data := stagetest.RealData(t, "sequences")
	files := records(t)
	if len(files) == 0 {
		t.Fatal("no result is recorded: .ci/bench-result does that")
	}
	p := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var r recorded
			readJSON(t, file, &r)
			p.repeat(t, r, data)
		})
	}
}

func records(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "pipelines", "bench", "results", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func readJSON(t *testing.T, file string, to any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func (p process) repeat(t *testing.T, r recorded, data string) {
	t.Helper()
	r.Parameters["epochs"] = strconv.Itoa(repeatedEpochs)
	var arguments []string
	for name, value := range r.Parameters {
		if local := filepath.Join(data, value); exists(local) {
			value = local
		}
		arguments = append(arguments, "-p", name+"="+value)
	}
	for stage, want := range r.Trainings {
		p.must(t, append([]string{"run", r.Pipeline, stage}, arguments...)...)
		shown := p.must(t, append([]string{"show", r.Pipeline, stage + ".history", "--head", "-1", "--json"}, arguments...)...)
		lines := strings.Split(strings.TrimSpace(shown), "\n")
		if len(lines) != repeatedEpochs || len(want.History) < repeatedEpochs {
			t.Fatalf("%s: %d epochs, recorded are %d: want %d of both", stage, len(lines), len(want.History), repeatedEpochs)
		}
		for i, line := range lines {
			var got epochRow
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
			compareEpochs(t, stage, got, want.History[i])
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// compareEpochs allows an epoch that has a validation for being the last.
func compareEpochs(t *testing.T, stage string, got, want epochRow) {
	t.Helper()
	if math.Abs(got.Loss-want.Loss) > 1e-3*math.Abs(want.Loss) {
		t.Errorf("%s, epoch %d: loss %v, recorded was %v", stage, got.Epoch, got.Loss, want.Loss)
	}
	switch {
	case want.Value == nil:
	case got.Value == nil:
		t.Errorf("%s, epoch %d: no validation, recorded was %v", stage, got.Epoch, *want.Value)
	case math.Abs(*got.Value-*want.Value) > 0.1**want.Value:
		t.Errorf("%s, epoch %d: validation %v, recorded was %v", stage, got.Epoch, *got.Value, *want.Value)
	}
}

// gates are what a recorded benchmark must reach on the test answers, at 10;
// published numbers are in docs/performance.md.
var gates = map[string]struct{ recall, ndcg float64 }{
	"beauty_sasrec_bce":        {0.050, 0.026},
	"beauty_sasrec_ce":         {0.075, 0.043},
	"beauty_sasrec_sampled_ce": {0.075, 0.043},
}

func TestRecordedBenchmarksHoldTheirGates(t *testing.T) {
	for name, gate := range gates {
		var r recorded
		readJSON(t, filepath.Join("..", "..", "pipelines", "bench", "results", name+".json"), &r)
		for metric, least := range map[string]float64{"recall": gate.recall, "ndcg": gate.ndcg} {
			if got := r.value(t, metric); got < least {
				t.Errorf("%s: %s@10 is %v on test, want at least %v", name, metric, got, least)
			}
		}
	}
}

// TestPerformancePageHasTheRecords keeps the table of qualities true.
func TestPerformancePageHasTheRecords(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range records(t) {
		var r recorded
		readJSON(t, file, &r)
		if len(r.Trainings) != 1 {
			continue // a comparison has a table of its own
		}
		row := fmt.Sprintf("| `%s` | %.4f | %.4f |", r.Pipeline, r.value(t, "recall"), r.value(t, "ndcg"))
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/performance.md has no row that begins with\n%s", row)
		}
	}
}

// value is a metric of the model on test at 10.
func (r recorded) value(t *testing.T, metric string) float64 {
	t.Helper()
	for _, m := range r.Metrics {
		if m.Model == "prism" && m.Split == "test" && m.Metric == metric && m.K == 10 {
			return m.Value
		}
	}
	t.Fatalf("%s: no %s@10 on test", r.Pipeline, metric)
	return 0
}
