package stages

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// formOf is the form of a declared kind that has a source of the name source.
func formOf(kind Kind) Form {
	form := Form{Inputs: kind.Inputs}
	for _, param := range kind.Params {
		switch {
		case param.Type == "path":
			form.Sources = append(form.Sources, param)
		case param.Name != "sha256" && param.Name != "since": // a form has no absent parameters
			form.Params = append(form.Params, param)
		}
	}
	return form
}

// A form takes and refuses what the declared kind takes and refuses, in the
// same words.
func TestFormBindsAsDeclared(t *testing.T) {
	kind := Declare[sample]("test.sample", 3, "a sample")
	bc := BindContext{IsStage: func(name string) bool { return name == "other" }}
	for name, settings := range map[string]map[string]any{
		"defaults":  {"source": "x.gz", "count": int64(7)},
		"all":       {"source": "file:x.gz", "sha256": strings.Repeat("a", 64), "rows": "other.rows", "mode": "slow", "share": int64(1), "ks": int64(3), "count": int64(1), "workers": int64(9)},
		"reference": {"source": "other.text", "count": int64(1)},
		"nothing":   {},
		"wrong": {"source": []any{"x", int64(3)}, "sha256": "x", "rows": "nowhere", "mode": "fsat", "share": 1.5, "ks": []any{"5"},
			"count": "three", "workers": int64(0), "shrae": 1.0},
	} {
		t.Run(name, func(t *testing.T) {
			values := Values{}
			for key, v := range settings {
				values[key] = Value{V: v, Base: "/base"}
			}
			stage, problems := kind.Bind(values, bc)
			filled, formProblems := formOf(kind).Bind(values, bc)
			byText := cmp.Transformer("sorted", func(list []Problem) map[string]bool {
				set := map[string]bool{}
				for _, p := range list {
					set[p.String()] = true
				}
				return set
			})
			if diff := cmp.Diff(problems, formProblems, byText); diff != "" {
				t.Errorf("problems (-declared +form):\n%s", diff)
			}
			delete(filled.Params, "workers") // which the kind has as a setting
			if diff := cmp.Diff(stage.Request().Params, filled.Params); diff != "" {
				t.Errorf("parameters (-declared +form):\n%s", diff)
			}
			if diff := cmp.Diff([]any{stage.Inputs(), stage.Sources()}, []any{filled.Inputs, filled.Sources}, cmp.Transformer("set", func(list []Input) map[string]Input {
				set := map[string]Input{}
				for _, input := range list {
					set[input.Port] = input
				}
				return set
			})); diff != "" {
				t.Errorf("inputs and sources (-declared +form):\n%s", diff)
			}
		})
	}
}

// An input without a schema is any table, but no plain file.
func TestFormInputOfAnyTable(t *testing.T) {
	form := Form{Inputs: []Port{{Name: "rows"}}}
	filled, problems := form.Bind(Values{"rows": {V: "other.text"}}, BindContext{})
	if problems != nil || filled.Inputs[0].Columns != nil {
		t.Fatalf("%v, %v", filled, problems)
	}
	kind := Declare[sample]("test.sample", 3, "a sample")
	other, _ := kind.Bind(Values{"source": {V: "x"}, "count": {V: int64(1)}}, BindContext{})
	reader := formStage{Stage: other, inputs: filled.Inputs}
	got := CheckWiring([]Spec{{Name: "other", Stage: other}, {Name: "reader", Stage: reader}})
	if len(got) != 1 || !strings.Contains(got[0].Message, "a table is wanted here") {
		t.Errorf("got %v", got)
	}
}

type formStage struct {
	Stage
	inputs []Input
}

func (s formStage) Inputs() []Input { return s.inputs }

func TestAccept(t *testing.T) {
	least := 1.0
	for _, test := range []struct {
		param Param
		raw   any
		want  any
		err   string
	}{
		{Param{Type: "number"}, int64(2), 2.0, ""},
		{Param{Type: "strings"}, "a", []any{"a"}, ""},
		{Param{Type: "booleans"}, []any{true}, []any{true}, ""},
		{Param{Type: "integer", Min: &least}, int64(0), nil, "at least 1"},
		{Param{Type: "string", Enum: []string{"fast"}}, "fsat", nil, "did you mean fast?"},
		{Param{Type: "integers"}, []any{1.5}, nil, "element 1 must be an integer"},
	} {
		got, err := test.param.Accept(test.raw)
		if diff := cmp.Diff(test.want, got); diff != "" || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%v as %s: %v, %v", test.raw, test.param.Type, got, err)
		}
	}
}
