package pipelines

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages/exec"
)

// definedKinds is a pipeline that defines a kind and uses it.
const definedKinds = `[kinds.top]
summary = "the most frequent words"
command = ["sh", "-c", "head -{param.n} {input.words} > {output.top}"]
inputs = { words = { columns = { word = "utf8", count = "int64" }, help = "words" } }
outputs = { top = { columns = { word = "utf8", score = "float64" } } }

[kinds.top.params.n]
type = "integer"
default = 10
max = 100
help = "how many"

[stages.tokens]
kind = "text.tokens"
source = "x.txt"

[stages.best]
kind = "top"
words = "tokens.words"
n = 3

[stages.rest]
kind = "text.score"
words = "best.top"
`

func TestDefinedKind(t *testing.T) {
	p := mustLoad(t, definedKinds, nil)
	best := p.Stages[1]
	want := map[string]any{
		"command": []any{"sh", "-c", "head -{param.n} {input.words} > {output.top}"},
		"columns": map[string]any{"words": []any{"count", "word"}}, "params": map[string]any{"n": int64(3)},
		"outputs": map[string]any{"top": map[string]any{"type": "arrow", "columns": map[string]any{"word": "utf8", "score": "float64"}}},
	}
	if diff := cmp.Diff(want, best.Stage.Request().Params); diff != "" || best.Kind != "top" || p.Warnings != nil {
		t.Errorf("%s %v (-want +got):\n%s", best.Kind, p.Warnings, diff)
	}
}

func TestDefinedKindDiagnostics(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"columns of a command": {definedKinds + "[stages.more]\nkind = \"text.top\"\nwords = \"best.top\"\nmore = \"best.top\"\ncount = 1\n",
			"words.toml:28:8: stage more: more: best.top: no column \"count\" of type int64; the columns are score, word\n"},
		"columns of exec": {oneStage + "[stages.run]\nkind = \"exec\"\ncommand = [\"true\"]\noutputs = { o = { columns = { word = \"int64\" } } }\n" +
			"inputs = { i = { from = \"tokens.words\", columns = { word = \"int64\" } } }\n[stages.top]\nkind = \"text.top\"\nwords = \"run.o\"\ncount = 1\n",
			"words.toml:8:16: stage run: inputs.i: tokens.words: column \"word\" has type utf8, its reader needs int64\n" +
				"words.toml:11:9: stage top: words: run.o: column \"word\" has type int64, its reader needs utf8\n"},
		"a stage of it": {definedKinds + "[stages.more]\nkind = \"top\"\nwords = \"tokens.raw\"\nn = 1000\nm = 3\ntimeout = 3\n[stages.none]\nkind = \"tpo\"\n",
			"words.toml:27:9: stage more: words: tokens.raw is a plain file, and a table is wanted here\n" +
				"words.toml:28:5: stage more: n: must be at most 100, not 1000\n" +
				"words.toml:29:1: stage more: m: unknown key (did you mean n?)\n" +
				"words.toml:30:11: stage more: timeout: must be a duration such as \"90s\", \"90m\" or \"1h30m\", not the number 3\n" +
				"words.toml:32:8: stage none: there is no kind \"tpo\" (did you mean top?)\n"},
		"a wrong kind, and nothing of its stages": {"[kinds.top]\ncomand = [\"x\"]\nparams = { n = { type = \"int\", kepy = 1 }, cache = { type = \"integer\" } }\noutputs = { o = { columns = { a = \"string\" } } }\n" +
			"inputs = { after = \"arrow\", timeout = \"file\" }\n" + oneStage + "[stages.x]\nkind = \"top\"\nwrods = 3\n[stages.top]\nkind = \"text.top\"\nwords = \"x.nothing\"\ncount = 1\n",
			"words.toml:1:8: kind top: needs a command, for example command = [\"python3\", \"count.py\", \"{output.counts}\"]\n" +
				"words.toml:2:1: kind top: comand: unknown key (did you mean command?)\n" +
				"words.toml:3:25: kind top: params.n.type: must be one of string, integer, number, boolean, strings, integers, numbers, booleans\n" +
				"words.toml:3:32: kind top: params.n.kepy: unknown key\n" +
				"words.toml:3:52: kind top: params.cache: cache is a key that every stage may have; give it another name\n" +
				"words.toml:4:35: kind top: outputs.o.columns.a: there is no type \"string\"; write utf8\n" +
				"words.toml:5:20: kind top: inputs.after: after is a key that every stage may have; give it another name\n" +
				"words.toml:5:39: kind top: inputs.timeout: timeout is a key that every stage may have; give it another name\n"},
		"names": {"[kinds.\"text.top\"]\n[kinds.Top]\n[kinds.my.top]\ncommand = [\"true\"]\n[kinds]\nx = 3\n" + oneStage,
			"words.toml:1:8: kind text.top: a kind of that name comes with prismflow; give it another, such as \"my.text.top\"\n" +
				"words.toml:2:8: kind \"Top\": a name is small letters, digits and _, in parts with dots between them\n" +
				"words.toml:3:11: a name with a dot is written in quotes: [kinds.\"my.top\"]\n" +
				"words.toml:6:1: kinds.x must be a table, not the number 3\n"},
		"what has no help": {"[kinds.bare]\ncommand = [\"true\"]\ninputs = { i = \"arrow\", f = \"file\" }\noutputs = { o = \"file\" }\nparams = { n = { type = \"integer\" } }\n[stages.x]\nkind = \"bare\"\n",
			"words.toml:6:9: stage x: needs f\n" +
				"words.toml:6:9: stage x: needs n\n" +
				"words.toml:6:9: stage x: needs the input i: set i = \"<stage>.<output>\"\n"},
		"no table": {"kinds = 3\n" + oneStage, "words.toml:1:1: kinds must be a table, not the number 3\n"},
		"parameter": {"[params]\nn = 3\n[kinds.top]\ncommand = [\"true\", \"${params.m}\"]\noutputs = { o = \"file\" }\nparams = { k = { type = \"integer\", default = \"${params.n}\" }, s = { type = \"string\", default = \"${params.n}\" } }\n" + oneStage,
			"words.toml:4:20: there is no parameter \"m\" (did you mean n?)\n" +
				"words.toml:6:96: kind top: params.s.default: must be a string, not the number 3\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, problems(t, test.text, nil)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// LoadKinds asks nothing of a file but that its kinds are right.
func TestLoadKinds(t *testing.T) {
	read := func(text string) ([]string, error) {
		registry, err := LoadKinds(write(t, text), Options{Registry: toys(t)})
		return kindNames(registry), err
	}
	names, err := read("[kinds.top]\ncommand = [\"true\"]\noutputs = { o = \"file\" }\n[stages.x]\nkind = \"nothing\"\n")
	if err != nil || !slices.Contains(names, "top") || !slices.Contains(names, exec.Kinds()[0].Name) {
		t.Errorf("got %v, %v", names, err)
	}
	registry, err := LoadKinds(write(t, "[kinds.top]\ncommand = [\"true\"]\noutputs = { o = \"file\" }\n"), Options{Registry: toys(t)})
	if err != nil {
		t.Fatal(err)
	}
	kind, _ := registry.Kind("top")
	var described strings.Builder
	if err := DescribeKind(&described, kind); err != nil || !strings.Contains(described.String(), "\n  o (a plain file)\n") {
		t.Errorf("%v: got %q", err, described.String())
	}
	var invalid *Invalid
	if _, err := read("[kinds.top]\n"); !errors.As(err, &invalid) || len(invalid.Diagnostics) != 2 {
		t.Errorf("got %v", err)
	}
}
