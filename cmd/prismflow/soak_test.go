package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestGCBesideRuns: four times the program runs a pipeline again and again while a
// fifth empties the cache in a loop. Whatever of its results is gone, each run
// comes to the right one. (Package artifacts/disk has the control without leases.)
func TestGCBesideRuns(t *testing.T) {
	lasts := 3 * time.Second
	if os.Getenv("PRISMFLOW_LONG") != "" {
		lasts = time.Minute
	}
	cache := filepath.Join(t.TempDir(), "cache")
	var writers, collector sync.WaitGroup
	end := time.Now().Add(lasts)
	stop := make(chan struct{})
	collector.Go(func() {
		for round := 0; ; round++ {
			select {
			case <-stop:
				t.Logf("%d rounds of gc", round)
				return
			default:
			}
			if output, code := (process{t.TempDir(), cache}).run("cache", "gc", "--max-size", "1"); code != 0 {
				t.Errorf("gc: exit code %d\n%s", code, output)
				return
			}
		}
	})
	for w := range 4 {
		p := process{t.TempDir(), cache}
		if err := os.WriteFile(filepath.Join(p.dir, "p.toml"), []byte(soakPipeline), 0o666); err != nil {
			t.Fatal(err)
		}
		writers.Go(func() {
			n := w
			for ; time.Now().Before(end); n++ {
				limit := 1000 + n%6
				if output, code := p.run("run", "p.toml", "-p", fmt.Sprint("n=", limit)); code != 0 {
					t.Errorf("a run beside gc: exit code %d\n%s", code, output)
					return
				}
				sum, err := os.ReadFile(filepath.Join(p.dir, "out", "p", "sum", "out"))
				if want := fmt.Sprint(limit * (limit + 1) / 2); err != nil || strings.TrimSpace(string(sum)) != want {
					t.Errorf("the sum up to %d is %q, %v", limit, sum, err)
				}
			}
			t.Logf("%d runs", n-w)
		})
	}
	writers.Wait()
	close(stop)
	collector.Wait()
	if output, code := (process{t.TempDir(), cache}).run("cache", "verify"); code != 0 {
		t.Errorf("the cache afterwards: %s", output)
	}
}

// In soakPipeline results are shared by all points and by some, and a result is
// read a moment after it was made.
const soakPipeline = `
[params]
n = 1

[stages.fixed]
kind    = "exec"
command = ["sh", "-c", "seq 1000 > {output.out}"]
outputs = { out = "file" }

[stages.numbers]
kind    = "exec"
command = ["sh", "-c", "{ cat {input.fixed}; seq 1001 {param.n}; } > {output.out}"]
inputs  = { fixed = "fixed.out" }
outputs = { out = "file" }
params  = { n = "${params.n}" }

[stages.sum]
kind    = "exec"
command = ["sh", "-c", "awk '{ s += $1 } END { print s }' {input.numbers} > {output.out}"]
inputs  = { numbers = "numbers.out" }
outputs = { out = "file" }
`
