package pipelines

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/exec"
)

var update = flag.Bool("update", false, "rewrite golden files")

type word struct {
	Word  string `arrow:"word" doc:"as it stands in the text"`
	Count int64  `arrow:"count" doc:"how often"`
}

type onlyWord struct {
	Word string `arrow:"word"`
}

type scored struct {
	Word  string  `arrow:"word"`
	Score float64 `arrow:"score"`
}

type countFloat struct {
	Count float64 `arrow:"count"`
}

// tokens reads files and makes a table and a plain file.
type tokens struct {
	Source stages.Source       `stage:"source" doc:"text files"`
	Lower  bool                `stage:"lower" default:"true" doc:"fold case"`
	Rate   float64             `stage:"rate" default:"0.5" min:"0" max:"1" unit:"share of lines" doc:"how many lines are read"`
	Mode   string              `stage:"mode" default:"fast" enum:"fast,slow" doc:"how"`
	Stop   []string            `stage:"stop" optional:"true" doc:"words left out"`
	Jobs   stages.Setting[int] `stage:"jobs" default:"2" min:"1" doc:"files read at once"`
	Words  stages.Out[word]    `stage:"words" doc:"the words"`
	Raw    stages.OutFile      `stage:"raw" doc:"the text"`
}

func (*tokens) Run(context.Context, *stages.Env) error { return nil }

// top reads a table.
type top struct {
	Words stages.In[onlyWord] `stage:"words" doc:"words to choose from"`
	More  stages.In[word]     `stage:"more" optional:"true" doc:"other words"`
	Count int64               `stage:"count" min:"1" doc:"how many to keep"`
	First stages.Out[word]    `stage:"first" doc:"the first of them"`
}

func (*top) Run(context.Context, *stages.Env) error { return nil }

// score reads columns that tokens does not make.
type score struct {
	Words  stages.In[scored]     `stage:"words" doc:"scored words"`
	Counts stages.In[countFloat] `stage:"counts" optional:"true" doc:"counts as numbers"`
	Best   stages.Out[scored]    `stage:"best" doc:"the best"`
}

func (*score) Run(context.Context, *stages.Env) error { return nil }

func toys(t testing.TB) stages.Registry {
	t.Helper()
	registry, err := stages.NewRegistry(append(exec.Kinds(),
		stages.Declare[tokens]("text.tokens", 1, "words of text files").WithDoc("Reads text.", "[stages.tokens]\nkind = \"text.tokens\""),
		stages.Declare[top]("text.top", 1, "the most frequent words"),
		stages.Declare[score]("text.score", 2, "the best words"))...)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// write puts a pipeline into a directory of its own.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "words.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t testing.TB, text string, params map[string]string) (*Pipeline, error) {
	t.Helper()
	return Load(write(t, text), Options{Registry: toys(t), Params: params})
}

func mustLoad(t testing.TB, text string, params map[string]string) *Pipeline {
	t.Helper()
	p, err := load(t, text, params)
	if err != nil {
		t.Fatalf("unexpected:\n%v", err)
	}
	return p
}

// problems are the diagnostics of a text, one a line, without its directory.
func problems(t testing.TB, text string, params map[string]string) string {
	t.Helper()
	path := write(t, text)
	p, err := Load(path, Options{Registry: toys(t), Params: params})
	list := []Diagnostic(nil)
	var invalid *Invalid
	switch {
	case err == nil:
		list = p.Warnings
	case errors.As(err, &invalid):
		list = invalid.Diagnostics
	default:
		t.Fatalf("not an Invalid: %v", err)
	}
	var b strings.Builder
	for _, d := range list {
		b.WriteString(strings.ReplaceAll(d.String(), filepath.Dir(path)+"/", "") + "\n")
	}
	return b.String()
}

const whole = `name = "words"
description = "words of ${params.what}"

[params]
what = "a text"
count = 5
rate = 0.25
stop = ["a", "the"]

[cache]
dir = "cache"

[stages.tokens]
kind = "text.tokens"
source = "data/${params.what}.txt"
rate = "${params.rate}"
stop = "${params.stop}"
jobs = 4

[stages.top]
kind = "text.top"
words = "tokens.words"
count = "${params.count}"
after = "upper"
timeout = "1h30m"
retries = 2
cache = false
resources = { cpu = 2, gpu = 1, memory = "1.5GiB" }

[stages.upper]
kind = "exec"
command = ["tr", "a-z", "A-Z", "{input.raw}", "${HOME}", "${{params.count}}"]
inputs = { raw = "tokens.raw", extra = "file:x.txt" }
outputs = { out = "file" }
`

func TestLoad(t *testing.T) {
	path := write(t, whole)
	dir := filepath.Dir(path)
	p, err := Load(path, Options{Registry: toys(t), Params: map[string]string{"count": "7"}})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{p.Name, p.Description, p.Path, p.Dir, p.Cache, p.Params, p.Warnings}
	want := []any{"words", "words of a text", path, dir, CacheConfig{Dir: filepath.Join(dir, "cache")}, []Parameter{
		{Name: "what", Value: "a text", Default: "a text", File: path, Line: 5, Column: 1},
		{Name: "count", Value: int64(7), Default: int64(5), Overridden: true, File: path, Line: 6, Column: 1},
		{Name: "rate", Value: 0.25, Default: 0.25, File: path, Line: 7, Column: 1},
		{Name: "stop", Value: []any{"a", "the"}, Default: []any{"a", "the"}, File: path, Line: 8, Column: 1},
	}, []Diagnostic(nil)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pipeline (-want +got):\n%s", diff)
	}
	var order []string
	for _, s := range p.Stages {
		order = append(order, s.Name+" "+s.Kind)
	}
	if diff := cmp.Diff([]string{"tokens text.tokens", "top text.top", "upper exec"}, order); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	options := stages.Options{After: []string{"upper"}, Uses: dag.Resources{CPU: 2, GPU: 1, Memory: 3 << 29},
		Timeout: 90 * time.Minute, Retries: 2, NoCache: true}
	if diff := cmp.Diff(options, p.Stages[1].Options); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	params := map[string]any{"lower": true, "rate": 0.25, "mode": "fast", "stop": []any{"a", "the"}}
	if diff := cmp.Diff(params, p.Stages[0].Stage.Request().Params); diff != "" {
		t.Errorf("parameters of tokens (-want +got):\n%s", diff)
	}
	source := p.Stages[0].Stage.Sources()[0].Patterns
	if diff := cmp.Diff([]stages.Value{{V: "data/a text.txt", Base: dir}}, source); diff != "" {
		t.Errorf("source of tokens (-want +got):\n%s", diff)
	}
	command := p.Stages[2].Stage.Request().Params["command"]
	if diff := cmp.Diff([]any{"tr", "a-z", "A-Z", "{input.raw}", "${HOME}", "${params.count}"}, command); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
}

// TestGolden compares what is said of each file in testdata with the file
// beside it that ends in .golden.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := Load(file, Options{Registry: toys(t)})
			var invalid *Invalid
			if !errors.As(err, &invalid) {
				t.Fatalf("got %v", err)
			}
			golden := strings.TrimSuffix(file, ".toml") + ".golden"
			got := []byte(invalid.Error() + "\n")
			if *update {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, got) {
				t.Errorf("(-want +got):\n%s", cmp.Diff(string(want), string(got)))
			}
		})
	}
}

const oneStage = "[stages.tokens]\nkind = \"text.tokens\"\nsource = \"x.txt\"\n"

func TestDiagnostics(t *testing.T) {
	for _, test := range []struct {
		name, text string
		params     map[string]string
		want       string
	}{
		{"empty", "", nil, "words.toml:1:1: a pipeline needs stages: add a table [stages.NAME] with a kind\n"},
		{"empty stages", "[stages]\n", nil, "words.toml:1:2: a pipeline needs stages: add a table [stages.NAME] with a kind\n"},
		{"syntax", "a = \"b\nc = 1\n", nil, "words.toml:1:7: strings cannot contain newlines\n"},
		{"unquoted", oneStage + "mode = fast\n", nil, "words.toml:4:8: expected value but found \"fast\" instead\n"},
		{"not UTF-8", "é = 1\nb = \"\xff\"\n", nil, "words.toml:2:6: byte 0xff is not UTF-8; a TOML file must be\n"},
		{"mark", "\ufeffnaem = 1\n" + oneStage, nil, "words.toml:1:1: unknown key \"naem\" (did you mean name?)\n"},
		{"duplicates", oneStage + "[stages.tokens]\n[params]\na.b = 1\nc = 1\nc = 2\n", nil,
			"words.toml:4:9: stages.tokens is already set at 1:9\nwords.toml:8:1: params.c is already set at 7:1\n"},
		{"no tables", "params = 1\nstages = 2\ncache = 3\nname = 4\n", nil,
			"words.toml:1:1: params must be a table, not the number 1\nwords.toml:2:1: stages must be a table, not the number 2\n" +
				"words.toml:3:1: cache must be a table, not the number 3\nwords.toml:4:8: name must be a string, not the number 4\n"},
		{"names", "name = \"../x\"\n[params]\nBig = 1\n[stages.Tokens]\nkind = \"text.tokens\"\nsource = \"x\"\n", nil,
			"words.toml:1:8: name: \"../x\" is no name for a pipeline: use letters, digits, _, . and -\n" +
				"words.toml:3:1: parameter \"Big\": a name is a small letter followed by small letters, digits and _\n" +
				"words.toml:4:9: stage \"Tokens\": a name is a small letter followed by small letters, digits and _\n"},
		{"kinds", "[stages]\na = 1\nb = {}\nc = { kind = 1 }\nd = { kind = \"text.tokns\" }\n", nil,
			"words.toml:2:1: stages.a must be a table, not the number 1\nwords.toml:3:1: stage b: has no kind\n" +
				"words.toml:4:14: stage c: kind must be a string, not the number 1\n" +
				"words.toml:5:14: stage d: there is no kind \"text.tokns\" (did you mean text.tokens?)\n"},
		{"common keys", oneStage + "after = [\"tokns\", 3]\nresources = { cpu = 0, gpus = 1, memory = \"lots\" }\ntimeout = 90\nretries = -1\ncache = \"no\"\nretires = 1\n", nil,
			"words.toml:4:19: stage tokens: after must be a list of strings; this is the number 3\n" +
				"words.toml:5:21: stage tokens: resources.cpu: must be between 1 and 1048576, not 0\n" +
				"words.toml:5:24: stage tokens: resources: unknown key \"gpus\" (did you mean gpu?)\n" +
				"words.toml:5:43: stage tokens: resources.memory: must be an amount of memory such as \"4GiB\" or \"500MB\", not the string \"lots\"\n" +
				"words.toml:6:11: stage tokens: timeout: must be a duration such as \"90s\", \"90m\" or \"1h30m\", not the number 90\n" +
				"words.toml:7:11: stage tokens: retries: must be between 0 and 1000, not -1\n" +
				"words.toml:8:9: stage tokens: cache: must be true or false, not the string \"no\"\n" +
				"words.toml:9:1: stage tokens: retires: unknown key (did you mean retries?)\n"},
		{"after", oneStage + "after = [\"tokns\"]\n", nil, "words.toml:4:10: stage tokens: after: there is no stage \"tokns\" (did you mean tokens?)\n"},
		{"values", oneStage + "rate = 2\nmode = \"fsat\"\nlower = \"yes\"\n", nil,
			"words.toml:4:8: stage tokens: rate: must be at most 1, not 2\n" +
				"words.toml:5:8: stage tokens: mode: \"fsat\" is not one of fast, slow (did you mean fast?)\n" +
				"words.toml:6:9: stage tokens: lower: must be a boolean, not the string \"yes\"\n"},
		{"a value by parameter", "[params]\nrate = 2\n" + oneStage + "rate = \"${params.rate}\"\n", nil,
			"words.toml:6:8: stage tokens: rate: must be at most 1, not 2; the value is that of parameter rate at 2:1\n"},
		{"a value by -p", "[params]\nrate = 0.5\n" + oneStage + "rate = \"${params.rate}\"\n", map[string]string{"rate": "2"},
			"words.toml:6:8: stage tokens: rate: must be at most 1, not 2; the value is that of -p rate\n"},
		{"a value to give", "[params]\nfile = \"\"\n[stages.tokens]\nkind = \"text.tokens\"\nsource = \"${params.file}\"\n", nil,
			"words.toml:5:10: stage tokens: source: must be a path, a glob, a URL or \"<stage>.<output>\", not the string \"\"; set it with -p file=…\n"},
		{"a value to give by one of two", "[params]\nfile = \"${params.dataset}\"\ndataset = \"\"\n[stages.tokens]\nkind = \"text.tokens\"\nsource = \"${params.file}\"\n", nil,
			"words.toml:6:10: stage tokens: source: must be a path, a glob, a URL or \"<stage>.<output>\", not the string \"\"; set it with -p file=… or -p dataset=…\n"},
		{"references", oneStage + "[stages.top]\nkind = \"text.top\"\nwords = \"tokns.words\"\nmore = \"tokens.wrods\"\ncount = 1\n", nil,
			"words.toml:6:9: stage top: words: tokns.words: there is no stage tokns (did you mean tokens?)\n" +
				"words.toml:7:8: stage top: more: tokens.wrods: stage tokens (text.tokens) has no output wrods (did you mean words?)\n"},
		{"missing", oneStage + "[stages.top]\nkind = \"text.top\"\n", nil,
			"words.toml:4:9: stage top: needs count (how many to keep)\n" +
				"words.toml:4:9: stage top: needs the input words (words to choose from): set words = \"<stage>.<output>\"\n"},
		{"columns", oneStage + "[stages.score]\nkind = \"text.score\"\nwords = \"tokens.words\"\ncounts = \"tokens.words\"\n" +
			"[stages.run]\nkind = \"exec\"\ncommand = [\"true\"]\ninputs = { a = { from = \"tokens.words\", columns = [\"word\", \"cuont\"] } }\noutputs = { o = \"arrow\" }\n", nil,
			"words.toml:6:9: stage score: words: tokens.words: no column \"score\" of type float64; the columns are word, count\n" +
				"words.toml:7:10: stage score: counts: tokens.words: column \"count\" has type int64, its reader needs float64\n" +
				"words.toml:11:16: stage run: inputs.a: tokens.words has no column \"cuont\" (did you mean count?)\n"},
		{"files and tables", oneStage + "[stages.top]\nkind = \"text.top\"\nwords = \"tokens.raw\"\ncount = 1\n[stages.more]\nkind = \"text.tokens\"\nsource = \"tokens.words\"\n", nil,
			"words.toml:6:9: stage top: words: tokens.raw is a plain file, and a table is wanted here\n" +
				"words.toml:10:10: stage more: source: tokens.words is a table, and a plain file is wanted here\n"},
		{"cycle", "[stages.a]\nkind = \"text.top\"\nwords = \"b.first\"\ncount = 1\n[stages.b]\nkind = \"text.top\"\nwords = \"c.first\"\ncount = 1\n" +
			"[stages.c]\nkind = \"text.top\"\nwords = \"b.first\"\ncount = 1\nafter = [\"a\"]\n", nil,
			"words.toml:1:9: cycle: a -> c -> b -> a\n"},
		{"a file called as its stage", "[stages.tokens]\nkind = \"text.tokens\"\nsource = \"tokens.csv\"\n", nil,
			"words.toml:3:10: stage tokens: source: tokens.csv: stage tokens (text.tokens) has no output csv; write \"./tokens.csv\" if it is a file\n"},
		{"itself", oneStage + "after = \"tokens\"\n", nil, "words.toml:1:9: cycle: tokens -> tokens\n"},
		{"no consequences", "[stages.a]\nkind = \"nothing\"\n[stages.b]\nkind = \"text.top\"\nwords = \"a.first\"\ncount = 1\n" +
			"[stages.x]\nkind = \"exec\"\ncommand = [\"true\"]\noutputs = { o = \"arow\" }\n[stages.y]\nkind = \"text.top\"\nwords = \"x.o\"\ncount = 1\n", nil,
			"words.toml:2:8: stage a: there is no kind \"nothing\"\nwords.toml:10:17: stage x: outputs.o: must be \"arrow\", \"file\", or { type = \"arrow\", columns = { NAME = \"TYPE\" } }\n"},
		{"inside tables", oneStage + "[stages.run]\nkind = \"exec\"\ncommand = [\"true\"]\n[stages.run.inputs]\nw = \"tokens.wrods\"\nv = 3\n[stages.run.outputs]\no = \"arrow\"\n", nil,
			"words.toml:8:5: stage run: inputs.w: tokens.wrods: stage tokens (text.tokens) has no output wrods (did you mean words?)\n" +
				"words.toml:9:5: stage run: inputs.v: must be \"<stage>.<output>\", \"file:PATH\", or { from = \"<stage>.<output>\", columns = [\"…\"] }\n"},
		{"parameters", "[params]\na = \"${params.b}\"\nb = \"${params.a}\"\nc = { x = 1 }\nd = [[1]]\n" + oneStage + "mode = \"${params.mod}\"\nstop = [\"${params.a\"]\n", nil,
			"words.toml:3:5: parameter a is defined by itself\nwords.toml:4:5: parameter c: must be a string, a number, a boolean or a list of them\n" +
				"words.toml:5:5: parameter d: must be a string, a number, a boolean or a list of them\n" +
				"words.toml:9:8: there is no parameter \"mod\"\nwords.toml:10:9: \"${params.a\" has no closing brace\n"},
		{"overrides", "[params]\nseed = 1\nrate = 0.5\non = true\nlist = [1]\n" + oneStage,
			map[string]string{"sede": "1", "seed": "x", "rate": "x", "on": "1", "list": "1,x"},
			"-p list: element 2 must be an integer like 1, not \"x\"; the default is at words.toml:5:1\n" +
				"-p on: must be true or false, not \"1\"; the default is at words.toml:4:1\n" +
				"-p rate: must be a number like 0.5, not \"x\"; the default is at words.toml:3:1\n" +
				"-p sede: words.toml declares no such parameter (did you mean seed?); it has seed, rate, on, list\n" +
				"-p seed: must be an integer like 1, not \"x\"; the default is at words.toml:2:1\n" +
				"words.toml:2:1: warning: parameter seed is used nowhere\nwords.toml:3:1: warning: parameter rate is used nowhere\n" +
				"words.toml:4:1: warning: parameter on is used nowhere\nwords.toml:5:1: warning: parameter list is used nowhere\n"},
		{"a list in a text", "[params]\nlist = [1]\n[stages.tokens]\nkind = \"text.tokens\"\nsource = \"x/${params.list}\"\n", nil,
			"words.toml:5:10: parameter list is a list and cannot stand inside a text\n"},
		{"mistyped", "[params]\na = \"x\"\n[stages.tokens]\nkind = \"text.tokens\"\nsource = \"${parms.a}${params.a}${HOME}\"\n", nil,
			"words.toml:5:10: warning: \"${parms.a}\" is left as it is (did you mean params?)\n"},
		{"tables that are lists", "[[stages.a]]\nkind = \"exec\"\n[[cache]]\ndir = \"x\"\n", nil,
			"words.toml:1:10: stages.a must be a table, not a list\nwords.toml:3:3: cache must be a table, not a list\n"},
		{"tables that are none", oneStage + "resources = 2\nafter = 3\n[stages.x]\nkind = \"exec\"\ncommand = [\"true\"]\n[[stages.x.outputs]]\na = 2020-01-01\n", nil,
			"words.toml:4:13: stage tokens: resources must be a table such as { cpu = 2, gpu = 1, memory = \"4GiB\" }, not the number 2\n" +
				"words.toml:5:9: stage tokens: after must be a list of strings, not the number 3\n" +
				"words.toml:6:9: stage x: needs outputs: without one there is nothing to keep, for example outputs = { counts = \"arrow\" }\n" +
				"words.toml:9:12: stage x: outputs: must be a table, { NAME = … }\n"},
		{"cache", oneStage + "[cache]\ndir = true\nremotes = 2020-01-01\n", nil,
			"words.toml:5:7: cache.dir must be a directory, not true\n" +
				"words.toml:6:11: cache.remotes must be a list of URLs and tables { url = … }, not a date; write one as a string\n"},
		{"long names", strings.Repeat("x", 1000) + " = 1\n" + oneStage, nil,
			"words.toml:1:1: unknown key \"" + strings.Repeat("x", maxNameShown) + "…\"\n"},
		{"lists of the caller", "[params]\na = [1]\nb = [1]\nc = [1]\n" + oneStage, map[string]string{"a": "[1, \"x\"]", "b": "[1", "c": "[[1]]"},
			"-p a: element 2 must be of the type of 1, not x; the default is at words.toml:2:1\n" +
				"-p b: is no TOML list: expected a comma (',') or array terminator (']'), but got end of file; the default is at words.toml:3:1\n" +
				"-p c: must be a list of strings, numbers or booleans, not \"[[1]]\"; the default is at words.toml:4:1\n" +
				"words.toml:2:1: warning: parameter a is used nowhere\nwords.toml:3:1: warning: parameter b is used nowhere\n" +
				"words.toml:4:1: warning: parameter c is used nowhere\n"},
		{"no parameters", oneStage, map[string]string{"seed": "1"}, "-p seed: words.toml declares no such parameter; it has none\n"},
		{"remotes", oneStage + "[cache]\nremotes = [\"file:///x\"]\ndri = \"x\"\n", nil,
			"words.toml:6:1: cache: unknown key \"dri\" (did you mean dir?)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, problems(t, test.text, test.params)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParameterTypes(t *testing.T) {
	text := "[params]\ni = 1\nf = 1.5\nb = false\ns = \"x\"\nis = [1]\nfs = [0.5]\nss = []\ncopy = \"${params.i}\"\n" + oneStage +
		"[stages.run]\nkind = \"exec\"\ncommand = [\"true\"]\noutputs = { o = \"arrow\" }\n[stages.run.params]\n"
	for _, name := range []string{"i", "f", "b", "s", "is", "fs", "ss", "copy"} {
		text += fmt.Sprintf("%s = \"${params.%s}\"\n", name, name)
	}
	text += "inside = \"${params.i}/${params.f}/${params.b}/${params.s}/${params.copy}\"\n"
	for name, test := range map[string]struct {
		given map[string]string
		want  map[string]any
	}{
		"defaults": {nil, map[string]any{"i": int64(1), "f": 1.5, "b": false, "s": "x", "is": []any{int64(1)}, "fs": []any{0.5},
			"ss": []any{}, "copy": int64(1), "inside": "1/1.5/false/x/1"}},
		"given": {map[string]string{"i": " 1_000", "f": "2", "b": "true", "s": " 7,${params.i} ", "is": "1, 2", "fs": "[1, 2.5]", "ss": "a,b"},
			map[string]any{"i": int64(1000), "f": 2.0, "b": true, "s": " 7,${params.i} ", "is": []any{int64(1), int64(2)}, "fs": []any{1.0, 2.5},
				"ss": []any{"a", "b"}, "copy": int64(1000), "inside": "1000/2/true/ 7,${params.i} /1000"}},
		"empty lists": {map[string]string{"is": "", "fs": "[]", "ss": "[\"x,y\"]", "copy": "3"},
			map[string]any{"i": int64(1), "f": 1.5, "b": false, "s": "x", "is": []any{}, "fs": []any{}, "ss": []any{"x,y"}, "copy": int64(3),
				"inside": "1/1.5/false/x/3"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustLoad(t, text, test.given)
			if diff := cmp.Diff(test.want, p.Stages[1].Stage.Request().Params["params"]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEscapes(t *testing.T) {
	for text, want := range map[string]string{
		"${params.a}":              "x",
		"-${params.a}-":            "-x-",
		"${{params.a}}":            "${params.a}",
		"${{params.a}":             "${params.a}",
		"$${params.a}":             "$x",
		"${HOME} ${x[0]} $x ${":    "${HOME} ${x[0]} $x ${",
		"${{ x }}":                 "${{ x }}",
		"${{params.a":              "${params.a",
		"{${params.a}}":            "{x}",
		"${params.a}${{params.a}}": "x${params.a}",
	} {
		p := mustLoad(t, "[params]\na = \"x\"\n[stages.x]\nkind = \"exec\"\ncommand = [\"true\", '"+text+"']\noutputs = { o = \"file\" }\n", nil)
		got := p.Stages[0].Stage.Request().Params["command"].([]any)[1]
		if got != want {
			t.Errorf("%s becomes %s, not %s", text, got, want)
		}
	}
}

// TestPaths checks what each path is relative to.
func TestPaths(t *testing.T) {
	const work = "/base/dir"
	for _, test := range []struct {
		name, source string
		given        map[string]string
		want         []stages.Value // Base "" stands for the file's directory
	}{
		{"in the file", `"data/x.txt"`, nil, []stages.Value{{V: "data/x.txt"}}},
		{"a default", `"${params.a}"`, nil, []stages.Value{{V: "a.txt"}}},
		{"given", `"${params.a}"`, map[string]string{"a": "b.txt"}, []stages.Value{{V: "b.txt", Base: work}}},
		{"begins with what is given", `"${params.a}/x.txt"`, map[string]string{"a": "d"}, []stages.Value{{V: "d/x.txt", Base: work}}},
		{"given inside", `"data/${params.a}"`, map[string]string{"a": "b.txt"}, []stages.Value{{V: "data/b.txt"}}},
		{"given through a default", `"${params.b}"`, map[string]string{"a": "d"}, []stages.Value{{V: "d/b.txt", Base: work}}},
		{"a list", `["${params.a}", "${params.b}"]`, map[string]string{"a": "d"}, []stages.Value{{V: "d", Base: work}, {V: "d/b.txt", Base: work}}},
		{"a mixed list", `["x.txt", "${params.a}", "${params.c}"]`, map[string]string{"a": "d", "c": "http://h/x"},
			[]stages.Value{{V: "x.txt"}, {V: work + "/d"}, {V: "http://h/x"}}},
		{"a given list", `"${params.l}"`, map[string]string{"l": "x,y"}, []stages.Value{{V: "x", Base: work}, {V: "y", Base: work}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, "[params]\na = \"a.txt\"\nb = \"${params.a}/b.txt\"\nc = \"\"\nl = []\n[stages.tokens]\nkind = \"text.tokens\"\nsource = "+test.source+"\n")
			p, err := Load(path, Options{Registry: toys(t), Params: test.given, WorkDir: work})
			if err != nil {
				t.Fatal(err)
			}
			for i := range test.want {
				if test.want[i].Base == "" {
					test.want[i].Base = filepath.Dir(path)
				}
			}
			if diff := cmp.Diff(test.want, p.Stages[0].Stage.Sources()[0].Patterns); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestPathsInTables checks the same for the inputs of a command, among which
// only what is marked as a file is one.
func TestPathsInTables(t *testing.T) {
	path := write(t, "[params]\nf = \"\"\nt = \"\"\n"+oneStage+"[stages.run]\nkind = \"exec\"\ncommand = [\"true\"]\noutputs = { o = \"arrow\" }\n"+
		"inputs = { own = \"file:own.txt\", given = \"file:${params.f}\", table = \"${params.t}\" }\n")
	p, err := Load(path, Options{Registry: toys(t), Params: map[string]string{"f": "g.txt", "t": "tokens.words"}, WorkDir: "/base/dir"})
	if err != nil {
		t.Fatal(err)
	}
	var got []stages.Value
	for _, source := range p.Stages[1].Stage.Sources() {
		got = append(got, source.Patterns...)
	}
	dir := filepath.Dir(path)
	if diff := cmp.Diff([]stages.Value{{V: "/base/dir/g.txt", Base: dir}, {V: "own.txt", Base: dir}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadErrors(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.toml"), Options{Registry: toys(t)})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	_, err = Load("embedded:dmeo.toml", Options{Registry: toys(t)})
	if err == nil || !strings.Contains(err.Error(), "did you mean demo.toml?") {
		t.Errorf("got %v", err)
	}
	_, err = load(t, strings.Repeat("#", maxSize+1), nil)
	if err == nil || !strings.Contains(err.Error(), "larger than 4 MiB") {
		t.Errorf("got %v", err)
	}
}

// loadTexts checks the first of some files, which are in memory in /x.
func loadTexts(registry stages.Registry, params, texts map[string]string) ([]Diagnostic, error) {
	l := &loader{workDir: "/", read: func(at place) ([]byte, error) {
		text, ok := texts[at.file]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return []byte(text), nil
	}}
	at := place{file: "main.toml", path: "/x/main.toml", dir: "/x"}
	doc, err := l.load(at)
	if doc == nil {
		return l.diagnostics, err
	}
	c := &checker{opts: Options{Registry: registry, Params: params}, place: at, workDir: "/", doc: doc, registry: registry}
	p, err := c.check()
	var invalid *Invalid
	switch {
	case errors.As(err, &invalid):
		return invalid.Diagnostics, nil
	case err != nil:
		return nil, err
	}
	return p.Warnings, nil
}

// FuzzLoad reads any two texts as a pipeline and what it may include. Nothing
// may panic, and what is said stands in one of the files.
func FuzzLoad(f *testing.F) {
	f.Add(whole, "")
	f.Add(many(3), "")
	f.Add(oneStage+"[[stages.a]]\n[[stages.a.b]]\nx = [{ y = \"${params.z}\" }]\nafter = [[]]\n", "")
	f.Add("include = \"base.toml\"\n[params]\ncount = 3\n[stages.best]\nn = \"${params.count}\"\n", definedKinds)
	f.Add("include = [\"base.toml\", \"main.toml\", \"embedded:demo.toml\", 3]\n", "include = [\"main.toml\", \"base.toml\"]\nname = 3\n")
	f.Add(definedKinds+"[kinds.top.params.n]\nmin = 5\n", "x")
	registry := toys(f)
	f.Fuzz(func(t *testing.T, text, base string) {
		texts := map[string]string{"main.toml": text, "base.toml": base}
		diagnostics, err := loadTexts(registry, map[string]string{"what": text}, texts)
		if err != nil {
			t.Fatalf("not an Invalid: %v", err)
		}
		for _, d := range diagnostics {
			if d.Message == "" || len(d.Message) > 1<<12+2*len(text+base) {
				t.Errorf("%v", d)
			}
			if !strings.HasPrefix(d.File, "-p ") && !inside(texts[d.File], d) {
				t.Errorf("is in no file: %v", d)
			}
		}
	})
}

// inside says whether a place is in a text, or just behind one of its lines.
func inside(text string, d Diagnostic) bool {
	lines := strings.Split(text, "\n")
	return d.Line >= 1 && d.Line <= len(lines) && d.Column >= 1 && d.Column <= 1+utf8.RuneCountInString(lines[d.Line-1])
}

func TestNameOf(t *testing.T) {
	for path, want := range map[string]string{
		"/a/sports.toml": "sports", "embedded:demo.toml": "demo", "/a/my data.v2.toml": "my_data.v2", "/a/.toml": "pipeline", "/a/é.toml": "_",
	} {
		if got := nameOf(path); got != want {
			t.Errorf("%s is named %s, not %s", path, got, want)
		}
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]int64{
		"4GiB": 4 << 30, "500MB": 500e6, "1.5 KiB": 1536, "10B": 10, "2TB": 2e12, "1kB": 1000,
		"": 0, "4": 0, "GiB": 0, "-1GiB": 0, "nanMB": 0, "infGiB": 0, "99999999TiB": 0, "4Gib": 0,
	} {
		if got, err := parseBytes(text); got != want || (err != nil) != (want == 0) {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
	if got, err := parseBytes(int64(5)); got != 5 || err != nil {
		t.Errorf("5 is %d, %v", got, err)
	}
}

// many is a pipeline of n stages, each of which reads the one before.
func many(n int) string {
	var b strings.Builder
	b.WriteString("name = \"many\"\n[params]\ncount = 3\n\n" + oneStage)
	for i := range n - 1 {
		from := fmt.Sprintf("s%d.first", i-1)
		if i == 0 {
			from = "tokens.words"
		}
		fmt.Fprintf(&b, "\n[stages.s%d] # number %d\nkind = \"text.top\"\nwords = %q\ncount = \"${params.count}\"\nresources = { cpu = 2 }\n", i, i, from)
	}
	return b.String()
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("stages=%d", n), func(b *testing.B) {
			path, registry := write(b, many(n)), toys(b)
			for b.Loop() {
				if _, err := Load(path, Options{Registry: registry}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
