package exec

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
)

type tbl = map[string]any

// topKind is a definition that uses everything.
func topKind() tbl {
	return tbl{
		"summary": "the most frequent words",
		"doc":     "Counts.\n",
		"command": list("sh", "-c", "echo {param.n} {param.rate} {param.mode} {param.extra} {param.jobs} stop={input.stop} > {output.top}"),
		"inputs": tbl{
			"words": tbl{"columns": tbl{"word": "utf8", "n": tbl{"type": "int64, nullable", "help": "how often"}}, "help": "words to choose from"},
			"stop":  tbl{"type": "file", "optional": true, "help": "words left out"},
		},
		"outputs": tbl{"top": tbl{"type": "file", "help": "the first of them"}},
		"params": tbl{
			"n":     tbl{"type": "integer", "default": int64(10), "min": int64(1), "max": int64(99), "unit": "words", "help": "how many"},
			"rate":  tbl{"type": "number", "default": int64(1)},
			"mode":  tbl{"type": "string", "default": "fast", "enum": list("fast", "slow")},
			"extra": tbl{"type": "strings", "default": []any{}},
			"jobs":  tbl{"type": "integer", "default": int64(2), "keyed": false},
		},
		"env": list("TZ"),
	}
}

// edited is topKind with some keys replaced, or without them.
func edited(changes tbl) tbl {
	t := topKind()
	maps.Copy(t, changes)
	maps.DeleteFunc(t, func(_ string, v any) bool { return v == nil })
	return t
}

func defined(t *testing.T, definition tbl) (stages.Kind, []string) {
	t.Helper()
	kind, problems := Define("top", valuesIn("/project", definition))
	return kind, problemTexts(problems)
}

func valuesIn(dir string, t tbl) stages.Values {
	values := stages.Values{}
	for name, v := range t {
		values[name] = stages.Value{V: v, Base: dir}
	}
	return values
}

func problemTexts(problems []stages.Problem) []string {
	var texts []string
	for _, p := range problems {
		texts = append(texts, strings.TrimPrefix(p.Param+": "+p.Message, ": "))
	}
	return texts
}

// stageOf binds a stage of a definition that must be right.
func stageOf(t *testing.T, definition, settings tbl, env map[string]string) *command {
	t.Helper()
	kind, problems := defined(t, definition)
	if problems != nil {
		t.Fatal(problems)
	}
	stage, bad := kind.Bind(valuesIn("/stage", settings), stages.BindContext{IsStage: func(name string) bool { return name == "a" }, LookupEnv: lookup(env)})
	if bad != nil {
		t.Fatal(bad)
	}
	return stage.(*command)
}

func keyOf(t *testing.T, c *command) string {
	t.Helper()
	key, err := c.Request().Key()
	if err != nil {
		t.Fatal(err)
	}
	return string(key)
}

func TestDefinedKindDescribesItself(t *testing.T) {
	kind, problems := defined(t, topKind())
	if problems != nil {
		t.Fatal(problems)
	}
	one, most := 1.0, 99.0
	got := []any{kind.Name, kind.Version, kind.Summary, kind.Inputs, kind.Outputs, kind.Params}
	want := []any{"top", 1, "the most frequent words",
		[]stages.Port{{Name: "words", Doc: "words to choose from", Schema: table.Schema{{Name: "n", Type: "int64", Nullable: true, Doc: "how often"}, {Name: "word", Type: "utf8"}}}},
		[]stages.Port{{Name: "top", Doc: "the first of them", File: true}},
		[]stages.Param{
			{Name: "stop", Type: "path", Doc: "words left out", Keyed: true},
			{Name: "stop_sha256", Type: "string", Doc: "SHA-256 (64 hex digits) that the file of stop must have; pins what a URL serves"},
			{Name: "extra", Type: "strings", Default: []any{}, Keyed: true},
			{Name: "jobs", Type: "integer", Default: int64(2)},
			{Name: "mode", Type: "string", Default: "fast", Enum: []string{"fast", "slow"}, Keyed: true},
			{Name: "n", Type: "integer", Doc: "how many", Unit: "words", Default: int64(10), Min: &one, Max: &most, Keyed: true},
			{Name: "rate", Type: "number", Default: 1.0, Keyed: true},
		}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kind (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(kind.Doc, "Counts.\n\nIt runs sh -c \"echo") {
		t.Errorf("doc %q", kind.Doc)
	}
}

// A stage of a defined kind has the key of the exec stage that says the same.
func TestDefinedStageIsAnExecStage(t *testing.T) {
	c := stageOf(t, topKind(), tbl{"words": "a.b", "stop": "stop.txt", "n": int64(3), "jobs": int64(9)}, map[string]string{"TZ": "UTC"})
	e, problems := bound(t, "/stage", tbl{
		"command": topKind()["command"],
		"inputs":  tbl{"words": tbl{"from": "a.b", "columns": list("n", "word")}, "stop": "file:stop.txt"},
		"outputs": tbl{"top": "file"}, "env": list("TZ"),
		"params": tbl{"n": int64(3), "rate": 1.0, "mode": "fast", "extra": []any{}, "jobs": nil},
	}, map[string]string{"TZ": "UTC"})
	if problems != nil {
		t.Fatal(problems)
	}
	e.settings = []string{"jobs"}
	if keyOf(t, c) != keyOf(t, e) {
		t.Errorf("requests (-exec +defined):\n%s", cmp.Diff(e.Request(), c.Request()))
	}
	if diff := cmp.Diff(e.Sources(), c.Sources()); diff != "" {
		t.Errorf("sources (-exec +defined):\n%s", diff)
	}
}

func TestKeyOfDefinedStage(t *testing.T) {
	settings := tbl{"words": "a.b"}
	key := keyOf(t, stageOf(t, topKind(), settings, nil))
	params := func(name string, changes tbl) tbl {
		all := topKind()["params"].(tbl)
		maps.Copy(all[name].(tbl), changes)
		return tbl{"params": all}
	}
	for name, test := range map[string]struct {
		changes, settings tbl
		same              bool
	}{
		"texts":           {tbl{"summary": "x", "doc": "y"}, settings, true},
		"help":            {params("n", tbl{"help": "z", "unit": "w", "max": int64(1000)}), settings, true},
		"version 1":       {tbl{"version": int64(1)}, settings, true},
		"version 2":       {tbl{"version": int64(2)}, settings, false},
		"a default given": {nil, tbl{"words": "a.b", "n": int64(10), "rate": 1.0}, true},
		"a parameter":     {nil, tbl{"words": "a.b", "n": int64(11)}, false},
		"a default":       {params("n", tbl{"default": int64(12)}), settings, false},
		"a setting":       {nil, tbl{"words": "a.b", "jobs": int64(7)}, true},
		"the command":     {tbl{"command": list("true")}, settings, false},
		"a schema":        {tbl{"outputs": tbl{"top": tbl{"columns": tbl{"word": "utf8"}}}}, settings, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := keyOf(t, stageOf(t, edited(test.changes), test.settings, nil)); (got == key) != test.same {
				t.Errorf("the key is the same: %v, want %v", got == key, test.same)
			}
		})
	}
}

func TestProblemsOfDefinitions(t *testing.T) {
	for name, test := range map[string]struct {
		changes tbl
		want    []string
	}{
		"nothing": {tbl{"command": nil, "outputs": nil, "inputs": nil, "params": nil}, []string{
			`needs outputs: without one there is nothing to keep, for example outputs = { counts = "arrow" }`,
			`needs a command, for example command = ["python3", "count.py", "{output.counts}"]`}},
		"texts": {tbl{"summary": int64(3), "doc": true, "version": int64(0), "comand": "x"}, []string{
			"comand: unknown key (did you mean command?)", "doc: must be a string", "summary: must be a string", "version: must be an integer of at least 1"}},
		"ports": {tbl{"command": list("true", "{input.wrods}"), "inputs": tbl{"words": "table", "a": tbl{"colums": tbl{}, "optional": "yes"}, "B": "file"},
			"outputs": tbl{"o": tbl{"type": "file", "columns": tbl{"x": "utf8"}}, "p": tbl{"columns": tbl{"x": "string", "y": int64(3), "": "utf8", "z": tbl{"typ": "utf8"}}}, "q": tbl{"columns": list("x"), "optional": true}}},
			[]string{
				`command: {input.wrods}: the stage has no input wrods`,
				`inputs.B: a name is lower-case letters, digits and underscores, and begins with a letter`,
				`inputs.a.colums: unknown key (did you mean columns?)`,
				`inputs.a.optional: must be true or false`,
				`inputs.words: must be "arrow", "file", or { type = "arrow", columns = { NAME = "TYPE" } }`,
				`outputs.o.columns: a plain file has no columns`,
				`outputs.p.columns.: a column needs a name`,
				`outputs.p.columns.x: there is no type "string"; write utf8`,
				`outputs.p.columns.y: must be a type such as "utf8" or "int64, nullable"`,
				`outputs.p.columns.z: must be a type such as "utf8" or "int64, nullable"`,
				`outputs.p.columns.z.typ: unknown key (did you mean type?)`,
				`outputs.q.columns: must be a table of types, { NAME = "TYPE" }; leave it out to declare no columns`,
				`outputs.q.optional: unknown key`,
			}},
		"names": {tbl{"command": list("true"), "inputs": tbl{"files": "file", "a": "file", "a_sha256": "arrow"}, "params": nil}, []string{
			`inputs.a_sha256: the name is a key of the input a already`, `inputs.files: the name is that of the declared files already`}},
		"params": {tbl{"command": list("true"), "params": tbl{
			"a": int64(3), "b": tbl{"default": int64(3)}, "c": tbl{"type": "integr"}, "d": tbl{"type": "path"},
			"e": tbl{"type": "integer", "min": int64(5), "max": int64(3), "enum": list("x")}, "f": tbl{"type": "string", "min": int64(1), "enum": list()},
			"g": tbl{"type": "integer", "default": "x"}, "h": tbl{"type": "string", "default": "slwo", "enum": list("fast", "slow")},
			"i": tbl{"type": "string", "enum": list("x", "x"), "hlep": "x", "keyed": "no"}, "j": tbl{"type": "string", "default": "a\x00"},
			"words": tbl{"type": "string"}, "stop_sha256": tbl{"type": "string"},
		}}, []string{
			`params.a: must be a table such as { type = "integer", default = 10, help = "how many" }; without a default it has to be given`,
			`params.b: needs a type: one of string, integer, number, boolean, strings, integers, numbers, booleans`,
			`params.c.type: must be one of string, integer, number, boolean, strings, integers, numbers, booleans (did you mean integer?)`,
			`params.d.type: a file is an input, so that its content is part of the key: inputs = { NAME = "file" }`,
			`params.e.enum: must be a list of the strings that a parameter of type string may be`,
			`params.e.min: is more than max, 3`,
			`params.f.enum: must be a list of the strings that a parameter of type string may be`,
			`params.f.min: must be a finite number, of a parameter of type integer or number`,
			`params.g.default: must be an integer, not the string "x"`,
			`params.h.default: "slwo" is not one of fast, slow (did you mean slow?)`,
			`params.i.enum: must be distinct strings`,
			`params.i.hlep: unknown key (did you mean help?)`,
			`params.i.keyed: must be true or false`,
			`params.j.default: must not contain a null character`,
			`params.stop_sha256: the name is a key of the input stop already`,
			`params.words: the name is an input already`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := defined(t, edited(test.changes))
			if diff := cmp.Diff(test.want, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProblemsOfDefinedStages(t *testing.T) {
	kind, _ := defined(t, topKind())
	_, problems := kind.Bind(valuesIn("/stage", tbl{
		"wrods": "a.b", "stop": list("x", "y"), "n": int64(100), "mode": "fsat", "rate": "much", "extra": "a\x00",
	}), stages.BindContext{})
	want := []string{
		`needs the input words (words to choose from): set words = "<stage>.<output>"`,
		`mode: "fsat" is not one of fast, slow (did you mean fast?)`,
		`n: must be at most 99, not 100`,
		`rate: must be a number, not the string "much"`,
		`wrods: unknown key (did you mean words?)`,
		`stop: must name one file`,
		`extra: must not contain a null character`,
	}
	if diff := cmp.Diff(want, problemTexts(problems)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

type readRow struct {
	Word string `arrow:"word"`
	N    *int64 `arrow:"n"`
	More int64  `arrow:"more"`
}

func TestDefinedStageRuns(t *testing.T) {
	words := filepath.Join(t.TempDir(), "words.arrow")
	if err := stages.ToFile[readRow](words).WriteAll([]readRow{{Word: "a"}}); err != nil {
		t.Fatal(err)
	}
	perform := func(definition, settings tbl) (string, error) {
		e := stagetest.Env(t)
		e.LookupEnv, e.Inputs = lookup(nil), map[string]string{"words": words}
		e.Outputs = map[string]string{"top": filepath.Join(t.TempDir(), "top")}
		err := stageOf(t, definition, settings, nil).Run(context.Background(), e)
		written, _ := os.ReadFile(e.Outputs["top"])
		return string(written), err
	}
	got, err := perform(topKind(), tbl{"words": "a.b", "mode": "slow", "extra": list("x", "y")})
	if want := "10 1 slow [x,y] 2 stop=\n"; err != nil || got != want {
		t.Errorf("wrote %q, want %q, %v", got, want, err)
	}
	inputs := topKind()["inputs"].(tbl)
	inputs["words"] = tbl{"columns": tbl{"n": "float64"}}
	_, err = perform(edited(tbl{"inputs": inputs}), tbl{"words": "a.b"})
	if err == nil || !strings.Contains(err.Error(), `input words: column "n" has type int64 and is declared float64`) {
		t.Errorf("an input of another type: %v", err)
	}
}
