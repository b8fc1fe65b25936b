package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// inProcess is the program with everything around it under the test's control.
type inProcess struct {
	dir      string
	env      map[string]string
	out, err bytes.Buffer
}

func newInProcess(tb testing.TB) *inProcess {
	dir := tb.TempDir()
	return &inProcess{dir: dir, env: map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": dir, "PRISMFLOW_CACHE": filepath.Join(dir, ".cache"),
	}}
}

// run runs one command line and returns its exit code.
func (p *inProcess) run(args ...string) int {
	p.out.Reset()
	p.err.Reset()
	return execute(context.Background(), args, &streams{
		out: stream{Writer: &p.out}, err: stream{Writer: &p.err},
		lookupEnv: func(name string) (string, bool) { v, ok := p.env[name]; return v, ok },
		dir:       p.dir, now: time.Now,
	})
}

func (p *inProcess) must(tb testing.TB, args ...string) {
	tb.Helper()
	if code := p.run(args...); code != 0 {
		tb.Fatalf("prismflow %s: exit code %d\n%s%s", strings.Join(args, " "), code, p.out.String(), p.err.String())
	}
}

// trivialStages writes a pipeline of n stages that do next to nothing: ten
// layers, in which each stage reads one of the layer before.
func trivialStages(tb testing.TB, path string, n int) {
	var b strings.Builder
	width := max(1, n/10)
	for i := range n {
		fmt.Fprintf(&b, "[stages.s%d]\nkind = \"exec\"\noutputs = { out = \"file\" }\n", i)
		if i < width {
			fmt.Fprintf(&b, "command = [\"sh\", \"-c\", \"echo %d > {output.out}\"]\n", i)
		} else {
			fmt.Fprintf(&b, "command = [\"cp\", \"{input.x}\", \"{output.out}\"]\ninputs = { x = \"s%d.out\" }\n", i-width)
		}
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		tb.Fatal(err)
	}
}

func benchmarkWarm(b *testing.B, stages int, args ...string) {
	p := newInProcess(b)
	trivialStages(b, filepath.Join(p.dir, "p.toml"), stages)
	p.must(b, "run", "p.toml")
	for b.Loop() {
		p.must(b, args...)
	}
	b.ReportMetric(float64(stages), "stages")
}

// BenchmarkNoOp10 is a run that finds everything in the cache, in this process.
func BenchmarkNoOp10(b *testing.B) { benchmarkWarm(b, 10, "run", "p.toml") }

// BenchmarkNoOp1000 is the same for a pipeline of 1,000 stages.
func BenchmarkNoOp1000(b *testing.B) { benchmarkWarm(b, 1000, "run", "p.toml") }

// BenchmarkStatus1000 plans without running.
func BenchmarkStatus1000(b *testing.B) { benchmarkWarm(b, 1000, "status", "p.toml") }

// BenchmarkValidate1000 only reads the pipeline.
func BenchmarkValidate1000(b *testing.B) { benchmarkWarm(b, 1000, "validate", "p.toml") }

// BenchmarkNoOpProcess is what a person waits for: the program started anew.
func BenchmarkNoOpProcess(b *testing.B) {
	program := filepath.Join(b.TempDir(), "prismflow")
	if output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("building the program: %v\n%s", err, output)
	}
	for _, stages := range []int{10, 1000} {
		b.Run(fmt.Sprint(stages), func(b *testing.B) {
			p := newInProcess(b)
			path := filepath.Join(p.dir, "p.toml")
			trivialStages(b, path, stages)
			p.must(b, "run", "p.toml")
			for b.Loop() {
				cmd := exec.Command(program, "run", path)
				cmd.Env = append(os.Environ(), "PRISMFLOW_CACHE="+p.env["PRISMFLOW_CACHE"])
				if output, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v\n%s", err, output)
				}
			}
		})
	}
}
