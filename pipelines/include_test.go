package pipelines

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages"
)

// project writes files and returns their directory.
func project(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shared is a file that other files stand on.
const shared = `name = "shared"
description = "not of those that include it"
[params]
data = "../data"
count = 5
[cache]
dir = "cache"
[stages.tokens]
kind = "text.tokens"
source = "${params.data}/x.txt"
rate = 0.25
mode = "slow"
resources = { cpu = 2, memory = "1GiB" }
[stages.top]
kind = "text.top"
words = "tokens.words"
count = "${params.count}"
[stages.run]
kind = "exec"
command = ["./run.sh", "{input.own}", "{input.more}"]
inputs = { own = "file:own.txt" }
outputs = { o = "file" }
`

// One file over another: tables are merged key by key, everything else is
// replaced, and paths belong to the file that they stand in.
func TestInclude(t *testing.T) {
	dir := project(t, map[string]string{
		"lib/shared.toml": shared, "lib/run.sh": "true\n",
		"main.toml": `include = "lib/shared.toml"
[params]
count = 7
files = "more.txt"
[stages.extra]
kind = "text.tokens"
source = ["y.txt", "${params.data}/z.txt"]
[stages.tokens]
rate = 0.75
resources = { cpu = 3 }
[stages.run.inputs]
more = "file:${params.files}"
`})
	p, err := Load("main.toml", Options{Registry: toys(t), WorkDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, s := range p.Stages {
		order = append(order, s.Name)
	}
	byName := func(name string) stages.Spec {
		for _, s := range p.Stages {
			if s.Name == name {
				return s
			}
		}
		t.Fatalf("no stage %s", name)
		return stages.Spec{}
	}
	lib := filepath.Join(dir, "lib")
	got := []any{p.Name, p.Description, p.Path, p.Dir, p.Cache.Dir, order, p.Params, p.Warnings}
	want := []any{"main", "", filepath.Join(dir, "main.toml"), dir, filepath.Join(lib, "cache"), []string{"tokens", "top", "run", "extra"}, []Parameter{
		{Name: "data", Value: "../data", Default: "../data", File: "lib/shared.toml", Line: 4, Column: 1},
		{Name: "count", Value: int64(7), Default: int64(7), File: "main.toml", Line: 3, Column: 1},
		{Name: "files", Value: "more.txt", Default: "more.txt", File: "main.toml", Line: 4, Column: 1},
	}, []Diagnostic(nil)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pipeline (-want +got):\n%s", diff)
	}
	tokens := byName("tokens")
	if diff := cmp.Diff(map[string]any{"lower": true, "rate": 0.75, "mode": "slow"}, tokens.Stage.Request().Params); diff != "" {
		t.Errorf("parameters of tokens (-want +got):\n%s", diff)
	}
	if uses := tokens.Options.Uses; uses.CPU != 3 || uses.Memory != 1<<30 {
		t.Errorf("tokens uses %+v", uses)
	}
	if got := byName("top").Stage.Request().Params["count"]; got != int64(7) {
		t.Errorf("count is %v", got)
	}
	sources := map[string][]stages.Value{}
	for _, name := range []string{"tokens", "extra", "run"} {
		for _, source := range byName(name).Stage.Sources() {
			sources[name] = append(sources[name], source.Patterns...)
		}
	}
	wantSources := map[string][]stages.Value{
		"tokens": {{V: "../data/x.txt", Base: lib}},
		"extra":  {{V: "y.txt", Base: dir}, {V: filepath.Join(dir, "data/z.txt"), Base: dir}},
		"run":    {{V: "run.sh", Base: lib}, {V: "more.txt", Base: dir}, {V: filepath.Join(lib, "own.txt"), Base: dir}},
	}
	if diff := cmp.Diff(wantSources, sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
}

// The same in one file and in several has the same keys.
func TestIncludeIsInNoKey(t *testing.T) {
	dir := project(t, map[string]string{
		"one.toml": definedKinds, "base.toml": definedKinds,
		"two.toml": "include = [\"base.toml\"]\n[params]\nmore = 1\n[stages.other]\nkind = \"text.tokens\"\nsource = \"${params.more}.txt\"\n",
	})
	var requests [2][]any
	for i, name := range []string{"one.toml", "two.toml"} {
		p, err := Load(filepath.Join(dir, name), Options{Registry: toys(t)})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.Stages[:3] {
			requests[i] = append(requests[i], s.Stage.Request(), s.Stage.Inputs(), s.Stage.Sources())
		}
	}
	if diff := cmp.Diff(requests[0], requests[1]); diff != "" {
		t.Errorf("(-one file +two):\n%s", diff)
	}
}

// What is included later is over what is included earlier; a file counts once.
func TestOrderOfIncludes(t *testing.T) {
	params := func(include, text string) string { return include + "\n[params]\n" + text }
	dir := project(t, map[string]string{
		"base.toml": params("", "a = \"base\"\nb = \"base\"\nc = \"base\"\nd = \"base\"\n"),
		"one.toml":  params("include = [\"base.toml\"]", "b = \"one\"\nc = \"one\"\nd = \"one\"\n"),
		"two.toml":  params("include = [\"base.toml\"]", "c = \"two\"\nd = \"two\"\n"),
		"main.toml": params("include = [\"one.toml\", \"./two.toml\", \"sub/../one.toml\"]", "d = \"main\"\n") + oneStage,
	})
	p, err := Load(filepath.Join(dir, "main.toml"), Options{Registry: toys(t)})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	for _, param := range p.Params {
		got[param.Name] = param.Value
	}
	if diff := cmp.Diff(map[string]any{"a": "base", "b": "one", "c": "two", "d": "main"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A stage that says another kind than the one under it stands alone.
func TestStageOfAnotherKind(t *testing.T) {
	dir := project(t, map[string]string{
		"base.toml": shared,
		"main.toml": "include = [\"base.toml\"]\n[stages.tokens]\nkind = \"exec\"\ncommand = [\"true\"]\noutputs = { words = \"arrow\" }\n[stages.top]\nkind = \"text.top\"\ncount = 1\n[stages.run]\nkind = \"text.top\"\nwords = \"tokens.words\"\ncount = 1\n",
	})
	p, err := Load(filepath.Join(dir, "main.toml"), Options{Registry: toys(t)})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Stages[0].Kind + " " + p.Stages[1].Kind + " " + p.Stages[2].Kind; got != "exec text.top text.top" {
		t.Errorf("kinds %s", got)
	}
}

func TestIncludeEmbedded(t *testing.T) {
	dir := project(t, map[string]string{"main.toml": "include = [\"embedded:sequences.toml\"]\n"})
	l := &loader{workDir: dir, read: readPlace}
	m, err := l.load(place{file: "main.toml", path: filepath.Join(dir, "main.toml"), dir: dir})
	if err != nil || m == nil || m.root.child("stages") == nil {
		t.Fatalf("%v %v", err, l.diagnostics)
	}
}

// A shipped pipeline is copied by init, so it stands alone or on others that
// come with the program.
func TestEmbeddedIncludesEmbedded(t *testing.T) {
	l := &loader{workDir: "/", read: func(place) ([]byte, error) { return []byte("include = \"base.toml\"\n"), nil }}
	at := place{file: "embedded:x.toml", path: "embedded:x.toml", dir: "/"}
	if m, err := l.load(at); m != nil || err != nil || len(l.diagnostics) != 1 || !strings.Contains(l.diagnostics[0].Message, "includes only others of them") {
		t.Errorf("%v %v", err, l.diagnostics)
	}
}

func TestIncludeDiagnostics(t *testing.T) {
	deep := map[string]string{"main.toml": "include = \"d1.toml\"\n"}
	for i := range 30 {
		deep[fmt.Sprintf("d%d.toml", i)] = fmt.Sprintf("include = \"d%d.toml\"\n", i+1)
	}
	wide := map[string]string{}
	var names []string
	for i := range 102 {
		name := fmt.Sprintf("w%d.toml", i)
		wide[name] = ""
		names = append(names, fmt.Sprintf("%q", name))
	}
	wide["main.toml"] = "include = [\n" + strings.Join(names, ",\n") + "]\n"
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"types": {map[string]string{"main.toml": "include = [\"base.toml\", 3]\n", "base.toml": ""},
			"main.toml:1:25: include must be a list of files; this is the number 3\n"},
		"no list": {map[string]string{"main.toml": "include = { a = 1 }\n"}, "main.toml:1:11: include must be a list of files, not a table\n"},
		"texts": {map[string]string{"main.toml": "include = [\"\", \"${params.x}.toml\", \"https://x/y.toml\", \"embedded:dmeo.toml\"]\n"},
			"main.toml:1:12: include: \"\" is no path of a file; parameters and URLs cannot be used here\n" +
				"main.toml:1:16: include: \"${params.x}.toml\" is no path of a file; parameters and URLs cannot be used here\n" +
				"main.toml:1:36: include: \"https://x/y.toml\" is no path of a file; parameters and URLs cannot be used here\n" +
				"main.toml:1:56: include: there is no embedded pipeline dmeo.toml (did you mean demo.toml?)\n"},
		"missing": {map[string]string{"main.toml": "include = [\"sub/none.toml\", \"sub\"]\n", "sub/x.toml": ""},
			"main.toml:1:12: include: reading a pipeline: open sub/none.toml: no such file or directory\n" +
				"main.toml:1:29: include: reading a pipeline: read sub: is a directory\n"},
		"no TOML": {map[string]string{"main.toml": "include = [\"a.toml\", \"sub/b.toml\"]\n[stages.x]\nkind = 3\n", "a.toml": "x = 1\nx = 2\n", "sub/b.toml": "\nx = \n"},
			"a.toml:2:1: x is already set at 1:1\nsub/b.toml:2:5: expected value but found '\\n' instead\n"},
		"cycle": {map[string]string{"main.toml": "include = [\"a.toml\"]\n", "a.toml": "\ninclude = [\"sub/b.toml\"]\n", "sub/b.toml": "include = \"../a.toml\"\n"},
			"sub/b.toml:1:11: include: a file cannot include itself: a.toml -> sub/b.toml -> a.toml\n"},
		"itself": {map[string]string{"main.toml": "include = \"main.toml\"\n"}, "main.toml:1:11: include: a file cannot include itself: main.toml -> main.toml\n"},
		"deep":   {deep, "d16.toml:1:11: include: files include one another more than 16 deep\n"},
		"wide":   {wide, "main.toml:102:1: include: more than 100 files are included\nmain.toml:103:1: include: more than 100 files are included\n"},
		"large": {map[string]string{"main.toml": "include = [\"a.toml\", \"b.toml\"]\n", "a.toml": strings.Repeat("#", maxSize/2), "b.toml": strings.Repeat("#", maxSize/2)},
			"main.toml:1:22: include: b.toml: all files together are larger than 4 MiB, which is no pipeline\n"},
		"nothing": {map[string]string{"main.toml": "include = []\n"}, "main.toml:1:1: a pipeline needs stages: add a table [stages.NAME] with a kind\n"},
		"places": {map[string]string{
			"main.toml": "include = [\"lib/a.toml\"]\nnaem = 1\n[params]\nunused = 1\n[stages.tokens]\nmode = \"fsat\"\nrate = \"${params.rate}\"\n",
			"lib/a.toml": "name = 3\nincldue = 1\n[params]\nrate = 3\nspare = 1\n[kinds.top]\ncommand = [\"./none.sh\"]\noutputs = { o = \"file\" }\n" +
				"[stages.tokens]\nkind = \"text.tokens\"\nsource = \"x.txt\"\nlwoer = true\n[stages.top]\nkind = \"text.top\"\n"},
			"main.toml:2:1: unknown key \"naem\" (did you mean name?)\n" +
				"main.toml:4:1: warning: parameter unused is used nowhere\n" +
				"main.toml:6:8: stage tokens: mode: \"fsat\" is not one of fast, slow (did you mean fast?)\n" +
				"main.toml:7:8: stage tokens: rate: must be at most 1, not 3; the value is that of parameter rate at lib/a.toml:4:1\n" +
				"lib/a.toml:2:1: unknown key \"incldue\" (did you mean include?)\n" +
				"lib/a.toml:7:11: kind top: command: ./none.sh is no file beside the pipeline file; a program that is found through PATH is written without a slash\n" +
				"lib/a.toml:12:1: stage tokens: lwoer: unknown key (did you mean lower?)\n" +
				"lib/a.toml:13:9: stage top: needs count (how many to keep)\n" +
				"lib/a.toml:13:9: stage top: needs the input words (words to choose from): set words = \"<stage>.<output>\"\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := project(t, test.files)
			_, err := Load("main.toml", Options{Registry: toys(t), WorkDir: dir})
			var invalid *Invalid
			if !errors.As(err, &invalid) {
				t.Fatalf("got %v", err)
			}
			got := strings.ReplaceAll(invalid.Error()+"\n", dir+"/", "")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What the caller gives for a parameter of an included file is relative to where
// the caller is.
func TestIncludedParameterOfTheCaller(t *testing.T) {
	dir := project(t, map[string]string{"lib/shared.toml": shared, "lib/run.sh": "", "main.toml": "include = [\"lib/shared.toml\"]\n[stages.run]\ninputs = { more = \"file:x\" }\n"})
	p, err := Load(filepath.Join(dir, "main.toml"), Options{Registry: toys(t), Params: map[string]string{"data": "here"}, WorkDir: "/base"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]stages.Value{{V: "here/x.txt", Base: "/base"}}, p.Stages[0].Stage.Sources()[0].Patterns); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = Load(filepath.Join(dir, "main.toml"), Options{Registry: toys(t), Params: map[string]string{"count": "x"}})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "lib/shared.toml")+":5:1") {
		t.Errorf("got %v", err)
	}
}
