package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/fileshare"
	"github.com/prismflow/prismflow/artifacts/tiered"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages/engine"
)

// helperVar tells the test binary that it is one of the processes of a test: the
// project, the cache, the share, and the directory in which executions are noted.
const helperVar = "ENGINE_TEST_HELPER"

// TestProcessHelper is what such a process does. It begins when its input ends.
func TestProcessHelper(t *testing.T) {
	dirs := filepath.SplitList(os.Getenv(helperVar))
	if len(dirs) != 4 {
		t.Skip("this is not one of the processes of another test")
	}
	w := newWorld(t)
	w.project, w.cache = dirs[0], dirs[1]
	if _, err := io.ReadAll(os.Stdin); err != nil {
		t.Fatal(err)
	}
	note := func(c *engine.Config) {
		c.Remotes, c.User, c.Out = shareOf(t, dirs[2], w.store()), "one of eight", ""
		c.LookupEnv = func(name string) (string, bool) {
			kind, counting := strings.CutPrefix(name, "count ")
			if counting {
				executed(t, filepath.Join(dirs[3], kind))
			}
			return "", counting
		}
	}
	report, err := w.engineWith(note, w.specs()).Run(context.Background(), engine.RunOptions{Budget: dag.Resources{CPU: 2}})
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nreport: %s\n", encoded)
}

func shareOf(t *testing.T, dir string, store *disk.Store) *tiered.Cache {
	t.Helper()
	driver, err := fileshare.New("file://" + dir)
	if err != nil {
		t.Fatal(err)
	}
	share, err := remote.New(driver, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cache, err := tiered.New(store, []tiered.Remote{{Store: share}}, tiered.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

// executed notes an execution, and makes it last, so that others come meanwhile.
func executed(t *testing.T, path string) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if _, err := f.WriteString("x"); err != nil {
		t.Error(err)
	}
	time.Sleep(50 * time.Millisecond)
}

// Eight processes run one pipeline at once on one store and one remote: every
// stage is executed once in all, and what it made is at both places, whole.
func TestEightProcesses(t *testing.T) {
	w, share, counts := newWorld(t), t.TempDir(), t.TempDir()
	reports := runProcesses(t, 8, w.project, w.cache, share, counts)
	for _, stage := range []string{"read", "lengths", "total", "ids"} {
		if ran, err := os.ReadFile(filepath.Join(counts, stage)); err != nil || string(ran) != "x" {
			t.Errorf("%s was executed %d times, %v", stage, len(ran), err)
		}
	}
	for _, report := range reports {
		if !report.OK || digests(report) != digests(reports[0]) {
			t.Errorf("a report is ok=%v:\n%s", report.OK, describe(report))
		}
	}
	verify(t, w.store())

	// Another eight, of another store: one of them fetches each result.
	other := newWorld(t)
	other.project = w.project
	downloaded := 0
	for _, report := range runProcesses(t, 8, w.project, other.cache, share, counts) {
		if digests(report) != digests(reports[0]) {
			t.Errorf("digests differ:\n%s", describe(report))
		}
		downloaded += report.Shared.Downloaded
	}
	if downloaded != 4 {
		t.Errorf("%d results were fetched, want each of 4 once", downloaded)
	}
	if ran, _ := os.ReadFile(filepath.Join(counts, "read")); string(ran) != "x" {
		t.Errorf("read was executed %d times", len(ran))
	}
	verify(t, other.store())
	asStore, err := disk.Open(share, disk.Options{}) // a share is laid out as one
	if err != nil {
		t.Fatal(err)
	}
	defer asStore.Close()
	verify(t, asStore)
}

func verify(t *testing.T, store *disk.Store) {
	t.Helper()
	report, err := store.Verify(context.Background(), disk.VerifyOptions{})
	if err != nil || len(report.Problems) > 0 || report.Actions != 4 {
		t.Errorf("verify: %+v, %v", report, err)
	}
}

// runProcesses runs the pipeline in several processes that begin at once.
func runProcesses(t *testing.T, n int, dirs ...string) (reports []engine.Report) {
	t.Helper()
	begin, release, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer begin.Close()
	outputs := make([]bytes.Buffer, n)
	var processes []*exec.Cmd
	for i := range n {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProcessHelper$")
		cmd.Env = append(os.Environ(), helperVar+"="+strings.Join(dirs, string(filepath.ListSeparator)))
		cmd.Stdin, cmd.Stdout, cmd.Stderr = begin, &outputs[i], &outputs[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		processes = append(processes, cmd)
	}
	release.Close() // all of their inputs end
	for i, cmd := range processes {
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %d: %v\n%s", i, err, &outputs[i])
		}
		var report engine.Report
		_, text, _ := strings.Cut(outputs[i].String(), "\nreport: ")
		text, _, _ = strings.Cut(text, "\n")
		if err := json.Unmarshal([]byte(text), &report); err != nil {
			t.Fatalf("process %d: %v\n%s", i, err, &outputs[i])
		}
		if got := len(report.Stages); got != 4 {
			t.Errorf("process %d reports %d stages", i, got)
		}
		reports = append(reports, report)
	}
	return reports
}
