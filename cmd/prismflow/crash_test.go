package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/stages/engine"
)

// A process is the program in a process of its own, which can be killed.
type process struct {
	dir   string
	cache string
}

func (p process) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Args[0] = "prismflow" // see TestMain
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "PRISMFLOW_CACHE="+p.cache)
	return cmd
}

// run runs the program to its end.
func (p process) run(args ...string) (output string, code int) {
	cmd := p.command(args...)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return both.String(), cmd.ProcessState.ExitCode()
}

func (p process) must(t *testing.T, args ...string) string {
	t.Helper()
	output, code := p.run(args...)
	if code != 0 {
		t.Fatalf("prismflow %s: exit code %d\n%s", strings.Join(args, " "), code, output)
	}
	return output
}

// digests are those of all outputs of a pipeline that is up to date.
func (p process) digests(t *testing.T, file string) map[string]string {
	t.Helper()
	var status engine.Status
	if err := json.Unmarshal([]byte(p.must(t, "status", file, "--json")), &status); err != nil {
		t.Fatal(err)
	}
	digests := map[string]string{}
	for _, stage := range status.Stages {
		if stage.State != engine.StateFresh {
			t.Errorf("stage %s is %s: %s", stage.Name, stage.State, stage.Reason)
		}
		for name, output := range stage.Outputs {
			digests[stage.Name+"."+name] = string(output.Digest)
		}
	}
	return digests
}

// chain writes a pipeline of stages that each take a moment and write some
// hundred kilobytes in pieces, so that a kill finds some of them half-way.
func chain(t *testing.T, path string, stages, kilobytes int) {
	t.Helper()
	var b strings.Builder
	for i := range stages {
		input, from := "", "/dev/null"
		if i > 1 {
			input, from = fmt.Sprintf("inputs = { x = \"s%d.out\" }\n", i-2), "{input.x}"
		}
		fmt.Fprintf(&b, "[stages.s%d]\nkind = \"exec\"\n%soutputs = { out = \"file\", log = \"file\" }\n", i, input)
		fmt.Fprintf(&b, "command = [\"sh\", \"-c\", \"set -e; head -c 100000 %s > {output.out}; for i in 1 2 3 4; do head -c %d /dev/zero | tr '\\\\000' %c >> {output.out}; done; wc -c {output.out} | cut -d' ' -f1 > {output.log}\"]\n",
			from, kilobytes*256, 'a'+rune(i%26))
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestKilled kills a run of commands at random moments.
func TestKilled(t *testing.T) {
	p := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	chain(t, filepath.Join(p.dir, "p.toml"), 8, 512)
	killed(t, p, 10, "p.toml")
}

// TestKilledTraining kills the demonstration in small, which generates data,
// trains two models and evaluates them. A fixed number of threads and the CPU
// make training repeatable.
func TestKilledTraining(t *testing.T) {
	if os.Getenv("PRISMFLOW_LONG") == "" {
		t.Skip("trains some twenty models; set PRISMFLOW_LONG")
	}
	if _, err := gotorch.Find(t.Context(), torchtest.Options()); err != nil {
		t.Skipf("needs libtorch: %v", err)
	}
	p := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	// Four epochs of a dozen steps, and a checkpoint after each: the run is killed in the middle of an epoch, too.
	p.must(t, "init", "p.toml", "--from", "demo")
	text, err := os.ReadFile(filepath.Join(p.dir, "p.toml"))
	if err != nil {
		t.Fatal(err)
	}
	small := strings.NewReplacer("users = 3000", "users = 400", "items = 1200", "items = 200", "epochs = 30", "epochs = 4",
		`epochs = "${params.epochs}"`, "epochs = \"${params.epochs}\"\nbatch_size = 32\ncheckpoint_every = 0.00001").Replace(string(text))
	if err := os.WriteFile(filepath.Join(p.dir, "p.toml"), []byte(small), 0o666); err != nil {
		t.Fatal(err)
	}
	killed(t, p, 10, "p.toml")
}

// killed kills runs of a pipeline, each at a random moment of its time. What is
// left is whole, and a rerun comes to the same as a run that nobody disturbed.
func killed(t *testing.T, undisturbed process, moments int, file string) {
	t.Helper()
	began := time.Now()
	undisturbed.must(t, "run", file, "-j", "2")
	took := time.Since(began)
	want := undisturbed.digests(t, file)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, an undisturbed run takes %s", seed, took)
	random := rand.New(rand.NewPCG(seed, 0))
	for range moments {
		p := process{undisturbed.dir, filepath.Join(t.TempDir(), "cache")}
		if err := os.RemoveAll(filepath.Join(p.dir, "out")); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(random.Int64N(int64(took)))
		p.kill(t, after, "run", file, "-j", "2")
		p.must(t, "cache", "verify")
		p.must(t, "run", file)
		if got := p.digests(t, file); !maps.Equal(got, want) {
			t.Errorf("killed after %s (seed %d): digests %v, want %v", after, seed, got, want)
		}
		p.must(t, "cache", "verify")
		p.must(t, "cache", "gc") // removes what the killed process left in tmp/
		if left, err := filepath.Glob(filepath.Join(p.cache, "tmp", "*")); err != nil || len(left) > 0 {
			t.Errorf("killed after %s (seed %d): %v is left (%v)", after, seed, left, err)
		}
	}
}

// kill starts the program and kills it after a while.
func (p process) kill(t *testing.T, after time.Duration, args ...string) {
	t.Helper()
	cmd := p.command(args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Logf("it had ended already: %v", err)
	}
	_ = cmd.Wait() // "signal: killed"
}
