package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/sweep"
)

// TestSweepKilledTwice sweeps three backbones and three seeds on published
// sequences, is killed twice on the way, and ends in one table. Over all three
// runs each stage has been computed once.
func TestSweepKilledTwice(t *testing.T) {
	if os.Getenv("PRISMFLOW_LONG") == "" {
		t.Skip("trains nine models; set PRISMFLOW_LONG")
	}
	if _, err := gotorch.Find(t.Context(), torchtest.Options()); err != nil {
		t.Skipf("needs libtorch: %v", err)
	}
	data := stagetest.RealData(t, "sequences/Office_Products.txt")
	p := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	args := []string{
		"sweep", "sequences", "-p", "backbone=sasrec,stosa,indirec", "-p", "seed=1..3", "--name", "office",
		"--set", "file=" + data, "--set", "epochs=1", "--set", "hidden=16",
	}
	for _, done := range []int{2, 5} {
		p.killOnce(t, func() bool { return pointsDone(p.cache) >= done }, args...)
		if got := pointsDone(p.cache); got < done || got == 9 {
			t.Fatalf("killed with %d points done, want from %d to 8", got, done)
		}
	}
	var report sweepReport
	output := p.must(t, append(args, "--json", "--quiet")...)
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &report); err != nil {
		t.Fatal(err)
	}
	if !report.OK || len(report.Sweep.Runs) != 3 || report.Comparison == nil || len(report.Comparison.Tables) != 1 {
		t.Fatalf("the sweep ended with %+v", report)
	}
	table := report.Comparison.Tables[0]
	var labels []string
	for _, row := range table.Rows {
		labels = append(labels, row.Label)
		if !row.Baseline && !slices.Equal(row.Seeds, []string{"1", "2", "3"}) {
			t.Errorf("%s has the seeds %v", row.Label, row.Seeds)
		}
	}
	if want := []string{"backbone=sasrec", "backbone=stosa", "backbone=indirec", "popularity", "knn"}; !slices.Equal(labels, want) {
		t.Errorf("rows %v, want %v", labels, want)
	}
	if n := len(table.Comparisons); n != 3*10 || len(table.Problems) > 0 {
		t.Errorf("%d comparisons of 5 rows in 3 measures, problems %v", n, table.Problems)
	}
	computed := computations(t, p.cache)
	if computed["corpus"] != 1 || computed["split"] != 1 {
		t.Errorf("corpus was computed %d times and split %d times", computed["corpus"], computed["split"])
	}
	// A kill may come between the end of a stage and the word of it.
	if n := len(computed); n < 2+2*9-2 || n > 2+2*9 {
		t.Errorf("%d stages were computed, want corpus, split, and two for each point: %v", n, computed)
	}
	for stage, n := range computed {
		if n != 1 {
			t.Errorf("%s was computed %d times", stage, n)
		}
	}
	t.Logf("\n%s", p.must(t, "compare", "sweep:office"))
}

// killOnce starts the program and kills it as soon as something is so.
func (p process) killOnce(t *testing.T, so func() bool, args ...string) {
	t.Helper()
	cmd := p.command(args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // "signal: killed"
	}()
	for !so() {
		select {
		case <-ended:
			t.Fatal("it ended before it could be killed")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-ended
}

// pointsDone is how many points of the sweep are done, as far as is on record.
func pointsDone(cache string) int {
	record, err := sweep.ReadRecord(filepath.Join(cache, "state"), "office")
	if err != nil {
		return 0
	}
	done := 0
	for _, point := range record.Points {
		if point.State == sweep.PointDone {
			done++
		}
	}
	return done
}

// computations counts how often each stage was computed to its end, in all runs.
func computations(t *testing.T, cache string) map[string]int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cache, "state", "runs", "*", "events.jsonl"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%d runs have events, want 3 (%v)", len(files), err)
	}
	counts := map[string]int{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			var e dag.Event
			if json.Unmarshal([]byte(line), &e) != nil {
				continue // the kill cut it short
			}
			if e.Type == dag.StageFinished && e.State == dag.Ran {
				counts[e.Stage]++
			}
		}
	}
	return counts
}
