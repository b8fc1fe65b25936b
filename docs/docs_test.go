// Package docs tests what README.md and this folder say: their TOML is valid,
// their Go is that of a test that runs, their scripts run, the commands that
// they name exist, and the imports are as the architecture draws them.
//
// It has no code of its own for others to use.
package docs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
	"github.com/prismflow/prismflow/stages/kinds"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// documents are those whose every example is tested here.
var documents = []string{
	"../README.md", "add-a-stage.md", "backbones.md", "architecture.md", "cache-server.md", "evaluation.md",
	"experiments.md", "sharing.md", "your-data.md",
}

// tests are where the Go code of the documents stands.
var tests = []string{"*_test.go", "../model/backbone/*_test.go"}

// A block is a fenced piece of a document. A first line that is a comment with
// nothing but a file name in it, such as "# count.py", names the block.
type block struct {
	place    string // document and line
	language string
	name     string
	text     string
}

var (
	fence    = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")
	fileName = regexp.MustCompile(`^(?:#|//) ([a-z_]+\.[a-z]+)\n`)
)

func blocks(t *testing.T, document string) []block {
	t.Helper()
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var found []block
	for _, at := range fence.FindAllSubmatchIndex(data, -1) {
		b := block{
			place:    fmt.Sprintf("%s:%d", document, 1+bytes.Count(data[:at[0]], []byte("\n"))),
			language: string(data[at[2]:at[3]]),
			text:     string(data[at[4]:at[5]]),
		}
		if m := fileName.FindStringSubmatch(b.text); m != nil {
			b.name = m[1]
		}
		found = append(found, b)
	}
	return found
}

func ofLanguage(t *testing.T, document string, languages ...string) []block {
	t.Helper()
	return slices.DeleteFunc(blocks(t, document), func(b block) bool { return !slices.Contains(languages, b.language) })
}

// registry is that of the program and of the example.
func registry(t *testing.T) stages.Registry {
	t.Helper()
	all, err := kinds.All()
	if err != nil {
		t.Fatal(err)
	}
	registry, err := stages.NewRegistry(append(all.Kinds(), Kinds()...)...)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// project writes the named files of a document into a directory and returns it.
func project(t *testing.T, document string) string {
	t.Helper()
	dir := t.TempDir()
	for _, b := range blocks(t, document) {
		if b.name == "" {
			continue
		}
		text := b.text
		if b.language == "text" { // it has no comments
			_, text, _ = strings.Cut(text, "\n")
		}
		writeFile(t, filepath.Join(dir, b.name), text)
	}
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, path string) *pipelines.Pipeline {
	t.Helper()
	pipeline, err := pipelines.Load(path, pipelines.Options{Registry: registry(t), LookupEnv: os.LookupEnv})
	if err != nil {
		t.Fatal(err)
	}
	return pipeline
}

func TestPipelinesAreValid(t *testing.T) {
	for _, document := range documents {
		for i, b := range ofLanguage(t, document, "toml") {
			t.Run(b.place, func(t *testing.T) {
				path := filepath.Join(project(t, document), fmt.Sprintf("block%d.toml", i))
				writeFile(t, path, b.text)
				load(t, path)
			})
		}
	}
}

// Go code in a document stands in a test, which compiles and runs it.
func TestGoIsTested(t *testing.T) {
	var tested strings.Builder
	for _, pattern := range tests {
		sources, err := filepath.Glob(pattern)
		if err != nil || len(sources) == 0 {
			t.Fatalf("%s: %d files (%v)", pattern, len(sources), err)
		}
		for _, path := range sources {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tested.Write(data)
		}
	}
	for _, document := range documents {
		for _, b := range ofLanguage(t, document, "go") {
			if !strings.Contains(tested.String(), b.text) {
				t.Errorf("%s: this Go code is in no test:\n%s", b.place, b.text)
			}
		}
	}
}

// The pipelines of add-a-stage.md run, once.
func TestScriptsRun(t *testing.T) {
	const meta = `{"asin": "a", "brand": "Ace"}` + "\n" + `{"asin": "b", "brand": "Ace"}` + "\n"
	for _, tt := range []struct {
		pipeline string
		needs    []string // a command that works where the pipeline does
		output   string
		want     string // where it is text
	}{
		{"words.toml", []string{"python3", "-c", "pass"}, "count/counts", "the 2\ncache 1\n"},
		{"ratings.toml", []string{"python3", "-c", "pass"}, "ratings/ratings", "user,item,time\r\nann,film 7,1700000000\r\n"},
		{"ratings.toml", []string{"python3", "-c", "pass"}, "interactions/interactions.arrow", ""},
		{"brands.toml", []string{"python3", "-c", "import pyarrow"}, "brands/brands.arrow", ""},
		{"frequent.toml", []string{"sh", "-c", "awk 1 /dev/null"}, "top/words", "the 2\ncache 1\n"},
		{"more.toml", []string{"sh", "-c", "awk 1 /dev/null"}, "top/words", "the 2\n"},
	} {
		t.Run(tt.pipeline+" "+filepath.Base(tt.output), func(t *testing.T) {
			if out, err := exec.Command(tt.needs[0], tt.needs[1:]...).CombinedOutput(); err != nil {
				t.Skipf("needs a machine on which %q works: %v %s", tt.needs, err, out)
			}
			dir := project(t, "add-a-stage.md")
			writeFile(t, filepath.Join(dir, "meta.json"), meta)
			pipeline := load(t, filepath.Join(dir, tt.pipeline))
			wantStates(t, run(t, pipeline, filepath.Join(dir, "cache")), dag.Ran)
			wantStates(t, run(t, pipeline, filepath.Join(dir, "cache")), dag.Cached)
			got, err := os.ReadFile(filepath.Join(dir, "out", pipeline.Name, tt.output))
			if err != nil {
				t.Fatal(err)
			}
			if tt.want != "" && string(got) != tt.want {
				t.Errorf("%s is %q, want %q", tt.output, got, tt.want)
			}
		})
	}
}

// The pipelines of your-data.md run, and those of events read the same.
func TestYourData(t *testing.T) {
	dir := project(t, "your-data.md")
	header, types := []string{"sku", "customer", "ordered_at"}, []any{"", "", int64(0)}
	rows := [][]any{{"ball", "ann", int64(1709285400)}, {"net", "bob", int64(1709287200)}, {"net", "ann", int64(1709367300)}}
	if err := os.Mkdir(filepath.Join(dir, "export"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"orders.arrow":          stagetest.TableFile(t, "arrow", header, types, rows),
		"export/part-0.parquet": stagetest.TableFile(t, "parquet", header, types, rows[:2]),
		"export/part-1.parquet": stagetest.TableFile(t, "parquet", header, types, rows[2:]),
		"export/_SUCCESS":       nil,
	} {
		writeFile(t, filepath.Join(dir, name), string(data))
	}
	first := ""
	for _, b := range ofLanguage(t, "your-data.md", "toml") {
		pipeline := load(t, filepath.Join(dir, b.name))
		wantStates(t, run(t, pipeline, filepath.Join(dir, "cache")), dag.Ran)
		if b.name == "items.toml" {
			continue
		}
		got, err := os.ReadFile(filepath.Join(dir, "out", pipeline.Name, "events", "interactions.arrow"))
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(got)
		}
		if string(got) != first {
			t.Errorf("%s reads other rows than the first example", b.name)
		}
	}
	if rows, err := table.ReadAll[tables.Interaction](filepath.Join(dir, "out", "csv", "events", "interactions.arrow")); err != nil || len(rows) != 3 || rows[2].Timestamp != 1709367300 {
		t.Errorf("%v, %v", rows, err)
	}
}

func wantStates(t *testing.T, report engine.Report, want dag.State) {
	t.Helper()
	for _, stage := range report.Stages {
		if stage.State != string(want) {
			t.Errorf("%s is %s (%s) %s, want %s", stage.Name, stage.State, stage.Reason, stage.Error, want)
		}
	}
}

// run runs a pipeline as the program does.
func run(t *testing.T, pipeline *pipelines.Pipeline, cache string) engine.Report {
	t.Helper()
	report, err := newEngine(t, pipeline, cache).Run(t.Context(), engine.RunOptions{Budget: dag.Resources{CPU: 2}})
	if err != nil {
		t.Log(err)
	}
	return report
}

func newEngine(t *testing.T, pipeline *pipelines.Pipeline, cache string) *engine.Engine {
	t.Helper()
	store, err := disk.Open(cache, disk.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	e, err := engine.New(engine.Config{
		Pipeline: pipeline.Name, Path: pipeline.Path, Out: filepath.Join(pipeline.Dir, "out", pipeline.Name),
		Store: store, LookupEnv: os.LookupEnv, Clock: time.Now,
	}, pipeline.Stages)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The README draws the pipeline that it tells of as `prismflow dag` does.
func TestDrawing(t *testing.T) {
	var want strings.Builder
	graph := newEngine(t, load(t, pipelines.EmbeddedPrefix+"sports.toml"), t.TempDir()).Graph()
	if err := graph.Mermaid(&want, nil); err != nil {
		t.Fatal(err)
	}
	drawn := ofLanguage(t, "../README.md", "mermaid")
	if len(drawn) != 1 || drawn[0].text != want.String() {
		t.Errorf("README.md draws %v, want the one drawing\n%s", drawn, want.String())
	}
}

var (
	command = regexp.MustCompile(`(?m)^(?:\$ )?(?:bin/)?prismflow ([a-z]+(?: [a-z]+)*)((?: .*)?)$`) // its words may end in arguments
	flags   = regexp.MustCompile(` (--[a-z-]+|-[a-z])\b`)
)

// The commands of the documents exist, with the flags that they are given.
func TestCommandsExist(t *testing.T) {
	program := build(t)
	for _, document := range documents {
		for _, b := range ofLanguage(t, document, "sh", "console") {
			for _, m := range command.FindAllStringSubmatch(b.text, -1) {
				help := helpOf(t, program, m[1])
				for _, flag := range flags.FindAllStringSubmatch(m[2], -1) {
					if !strings.Contains(help, flag[1]) {
						t.Errorf("%s: prismflow %s has no flag %s", b.place, m[1], flag[1])
					}
				}
			}
		}
	}
}

// The sweeps of experiments.md span points that its pipeline can be run at.
func TestSweepsArePlanned(t *testing.T) {
	program, dir := build(t), project(t, "experiments.md")
	writeFile(t, filepath.Join(dir, "Office_Products.txt"), "1 1 2 3\n")
	planned := 0
	for _, b := range ofLanguage(t, "experiments.md", "sh") {
		for line := range strings.Lines(b.text) {
			if !strings.HasPrefix(line, "prismflow sweep ") {
				continue
			}
			planned++
			cmd := exec.CommandContext(t.Context(), program, append(strings.Fields(line)[1:], "--dry-run")...)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "PRISMFLOW_CACHE="+filepath.Join(dir, "cache"))
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "train[") {
				t.Errorf("%s: %s%v\n%s", b.place, line, err, out)
			}
		}
	}
	if planned == 0 {
		t.Error("experiments.md has no sweep")
	}
}

func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "prismflow")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "../cmd/prismflow") // git tells the revision to the owner alone
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building prismflow: %v\n%s", err, out)
	}
	return program
}

func helpOf(t *testing.T, program, words string) string {
	t.Helper()
	name, _, _ := strings.Cut(words, " ")
	out, err := exec.CommandContext(t.Context(), program, append(strings.Fields(words), "--help")...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "prismflow "+name) {
		t.Errorf("prismflow %s --help: %v\n%s", words, err, out)
	}
	return string(out)
}

var link = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)

// Links lead somewhere.
func TestLinks(t *testing.T) {
	for _, document := range documents {
		data, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(string(data), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), m[1])); err != nil {
				t.Errorf("%s: the link to %s: %v", document, m[1], err)
			}
		}
	}
}
