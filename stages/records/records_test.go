package records

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/amazon/pyliteral"
	"github.com/prismflow/prismflow/stages/stagetest"
)

// read takes the id of each record, and n where there is one.
func read(t *testing.T, options Options, text string) (ids []string, r *Reader) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	options.What = "things"
	r = Open(context.Background(), stagetest.Env(t), []stages.File{{Name: "f", Path: path}}, options)
	t.Cleanup(r.Close)
	var id string
	for r.Next(func(rec Record) error {
		b, err := rec.ID("id")
		if err == nil && rec.Has("n") {
			_, err = rec.Float("n")
		}
		if err == nil && rec.Has("stop") {
			err = Fatal(FieldErrorf("stop", "is there"))
		}
		id = string(b)
		return err
	}) {
		ids = append(ids, id)
	}
	return ids, r
}

func TestPlacesOfErrors(t *testing.T) {
	python := func(string) bool { return true }
	for _, c := range []struct{ line, want string }{
		{`{"id": "x", "n": }`, `f:2:18: no complete JSON object: `},
		{`{"id": "x"`, `f:2:10: no complete JSON object: `},
		{`nothing`, `f:2:2: no complete JSON object: `},
		{`["id"]`, `f:2: want an object, not a list`},
		{`{"n": 1}`, `f:2: no field "id"`},
		{`{"id" : 	 7}`, `f:2:11: field "id" is a number, not a string`},
		{`{"a": {"id": 1}, "id": null, "id": ""}`, `f:2: no field "id"`},
		{`{"a": {"id": 1}, "id": ""}`, `f:2:24: field "id" is empty`},
		{`{"id": "x", "n": "5"}`, `f:2:18: field "n" is a string, not a number`},
		{`{"id": "x", "n": NaN}`, `f:2:18: field "n" is not a number: NaN`},
		{`{'id': 'x', 'n': f()}`, `f:2:18: no complete Python literal: unknown name "f"`},
		{`{'id': ''}`, `f:2: field "id" is empty`},
	} {
		ids, r := read(t, Options{Python: python}, `{"id": "first"}`+"\n"+c.line+"\n"+`{'id': 'last'}`+"\n")
		if err := r.Err(); err == nil || !strings.HasPrefix(err.Error(), c.want) || !strings.HasSuffix(err.Error(), "allow some such rows with max_bad_rows") {
			t.Errorf("%s: error %v\nwant %s", c.line, err, c.want)
		}
		if len(ids) != 1 {
			t.Errorf("%s: read %v", c.line, ids)
		}
		ids, r = read(t, Options{Python: python, MaxBad: 1}, c.line+"\n \t\n"+`{'id': 'last'}`)
		if r.Err() != nil || r.Bad() != 1 || r.Rows() != 1 || r.Row() != 3 || len(ids) != 1 {
			t.Errorf("%s: with a bad row allowed: %v, %d bad, error %v", c.line, ids, r.Bad(), r.Err())
		}
	}
}

func TestPythonHasToBeAllowed(t *testing.T) {
	if _, r := read(t, Options{}, `{'id': 'x'}`); r.Err() == nil || !strings.HasPrefix(r.Err().Error(), "f:1:2: no complete JSON object") {
		t.Errorf("error %v", r.Err())
	}
}

func TestFatalErrorsAreNoBadRows(t *testing.T) {
	ids, r := read(t, Options{MaxBad: 9}, "x\n"+`{"id": "a"}`+"\n"+`{"id": "b", "stop": 1}`+"\n"+`{"id": "c"}`)
	if want := `f:3:21: field "stop" is there`; r.Err() == nil || r.Err().Error() != want || len(ids) != 1 {
		t.Errorf("%v, error %v, want %s", ids, r.Err(), want)
	}
}

func TestValues(t *testing.T) {
	var p Parser
	rec, err := p.Parse([]byte(`{"o": {"a": [1.50, null, true, "x"], "b": {}}, "null": null, "s": " a\n b\tc "}`))
	if err != nil {
		t.Fatal(err)
	}
	want := pyliteral.Dict{{Key: "a", Value: []any{pyliteral.Number("1.50"), nil, true, "x"}}, {Key: "b", Value: pyliteral.Dict{}}}
	if diff := cmp.Diff(any(want), rec.Value("o")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if rec.Has("null") || rec.Has("none") || !rec.Has("o") {
		t.Error("what is null is there, or what is there is not")
	}
	for name, want := range map[string]string{"s": "a b c", "null": "", "none": ""} {
		if got, err := rec.Words(name); err != nil || got != want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, want)
		}
	}
	if _, err := rec.Words("o"); err == nil {
		t.Error("an object passes for words")
	}
}

// What is JSON by the standard must be read like it, and whatever is an error
// must have a column within the line.
func FuzzRecord(f *testing.F) {
	for _, line := range []string{`{"id": "a\u00e9", "n": 1e3}`, `{"a": [1, {"b": null}], "id": "x`, `{'id': u'x'}`, `{"id": NaN}`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		p := Parser{Python: func(string) bool { return true }}
		rec, err := p.Parse(line)
		if err != nil {
			if at := Column(line, err); at < 0 || at > len(line)+1 {
				t.Fatalf("column %d of %d: %v", at, len(line), err)
			}
			return
		}
		_, err = rec.ID("id")
		if at := Column(line, err); at < 0 || at > len(line) {
			t.Fatalf("column %d of %d: %v", at, len(line), err)
		}
		var strict map[string]any
		if rec.json == nil || json.Unmarshal(line, &strict) != nil {
			return
		}
		for name, want := range strict {
			if s, ok := want.(string); ok && strings.Count(string(line), name) == 1 {
				if got, err := rec.text(name); err != nil || string(got) != s && !strings.Contains(s, "\uFFFD") {
					t.Errorf("field %q is %q (%v), want %q", name, got, err, s)
				}
			}
		}
	})
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := Open(ctx, stagetest.Env(t), []stages.File{{Name: "f", Path: os.DevNull}}, Options{})
	defer r.Close()
	if r.Next(func(Record) error { return nil }) || !errors.Is(r.Err(), context.Canceled) {
		t.Errorf("error %v", r.Err())
	}
}
