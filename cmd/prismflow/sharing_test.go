package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prismflow/prismflow/artifacts/remote/cloud/cloudtest"
)

// notedPipeline notes each execution of a stage in a file that all who run it
// share.
const notedPipeline = `
name = "noted"

[stages.numbers]
kind    = "exec"
command = ["sh", "-c", "echo numbers >> $NOTES; sleep 0.05; seq 1000 > {output.out}"]
outputs = { out = "file" }
secrets = ["NOTES"]

[stages.evens]
kind    = "exec"
command = ["sh", "-c", "echo evens >> $NOTES; sleep 0.05; grep '[02468]$' {input.numbers} > {output.out}"]
inputs  = { numbers = "numbers.out" }
outputs = { out = "file" }
secrets = ["NOTES"]

[stages.sum]
kind    = "exec"
command = ["sh", "-c", "echo sum >> $NOTES; awk '{ s += $1 } END { print s }' {input.evens} > {output.out}"]
inputs  = { evens = "evens.out" }
outputs = { out = "file" }
secrets = ["NOTES"]
`

// notedDesk is a user with a checkout of notedPipeline and a cache.
func notedDesk(t *testing.T) process {
	t.Helper()
	p := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	if err := os.WriteFile(filepath.Join(p.dir, "p.toml"), []byte(notedPipeline), 0o666); err != nil {
		t.Fatal(err)
	}
	return p
}

// notes has executions noted, and reads which there were, in alphabetical order.
func notes(t *testing.T) (read func() []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notes")
	t.Setenv("NOTES", path)
	return func() []string {
		noted, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(slices.Values(strings.Fields(string(noted))))
	}
}

var eachOnce = []string{"evens", "numbers", "sum"}

// TestBucketsAsRemotes: what one user computed another has by way of a bucket,
// with nothing but its URL and the credentials in the environment.
func TestBucketsAsRemotes(t *testing.T) {
	for name, server := range cloudtest.Servers(t) {
		t.Run(name, func(t *testing.T) {
			server.Start(t)
			server.MakeBucket(t, "team-cache")
			for variable, value := range server.Env {
				t.Setenv(variable, value)
			}
			t.Setenv("PRISMFLOW_REMOTE", server.URL("team-cache/recommender"))
			executed := notes(t)
			ann, bob := notedDesk(t), notedDesk(t)

			said := ann.must(t, "run", "p.toml", "--json") + ann.must(t, "doctor", "p.toml")
			if !strings.Contains(said, "takes uploads") {
				t.Errorf("ann's run and doctor:\n%s", said)
			}
			if output := bob.must(t, "status", "p.toml"); !strings.Contains(output, "3 results would be downloaded, nothing run") {
				t.Errorf("bob's status:\n%s", output)
			}
			if output := bob.must(t, "run", "p.toml"); !strings.Contains(output, "downloaded 3") {
				t.Errorf("bob's run:\n%s", output)
			}
			if got := executed(); !slices.Equal(got, eachOnce) {
				t.Errorf("executed were %v", got)
			}
			if a, b := ann.digests(t, "p.toml"), bob.digests(t, "p.toml"); fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("digests differ: %v and %v", a, b)
			}
			said += bob.must(t, "explain", "p.toml", "sum") + bob.must(t, "runs", "show", "last") + bob.must(t, "cache", "verify")
			if strings.Contains(said, cloudtest.Secret) || strings.Contains(said, cloudtest.AzureKey) {
				t.Errorf("a credential is shown:\n%s", said)
			}
		})
	}
}

// TestEightRunsAtOnce: the program runs one pipeline eight times at once on one
// cache and one remote. Every stage is executed once in all.
func TestEightRunsAtOnce(t *testing.T) {
	executed := notes(t)
	share := t.TempDir()
	together := func(cache string) {
		t.Helper()
		desks := make([]process, 8)
		for i := range desks {
			desks[i] = notedDesk(t)
			desks[i].cache = cache
		}
		outputs := atOnce(desks, "run", "p.toml", "--remote", "file://"+share)
		for i, ended := range outputs {
			sum, err := os.ReadFile(filepath.Join(desks[i].dir, "out", "noted", "sum", "out"))
			if ended.code != 0 || strings.Contains(ended.output, "note ") || err != nil || string(sum) != "250500\n" {
				t.Errorf("run %d: exit code %d, sum %q, %v\n%s", i, ended.code, sum, err, ended.output)
			}
		}
		desks[0].must(t, "cache", "verify")
		desks[0].must(t, "cache", "verify", "--cache", share)
	}
	for range 2 { // the second time with a cache that is empty, and so from the share
		together(filepath.Join(t.TempDir(), "cache"))
		if got := executed(); !slices.Equal(got, eachOnce) {
			t.Errorf("executed were %v", got)
		}
	}
}

// An ended process is what was printed, and the exit code.
type ended struct {
	output string
	code   int
}

// atOnce runs the program for each of several users at the same time.
func atOnce(desks []process, args ...string) []ended {
	outputs := make([]ended, len(desks))
	var running sync.WaitGroup
	for i, p := range desks {
		running.Go(func() { outputs[i].output, outputs[i].code = p.run(args...) })
	}
	running.Wait()
	return outputs
}
