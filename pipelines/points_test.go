package pipelines

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAxis(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"x=a,b,c", []string{"a", "b", "c"}},
		{"x=1..4", []string{"1", "2", "3", "4"}},
		{"x=-2..3:2,9", []string{"-2", "0", "2", "9"}},
		{"x=5..5", []string{"5"}},
		{"x=", []string{""}},
		{"x=a=b,c", []string{"a=b", "c"}},
		{"x=[1,2],[3]", []string{"[1,2]", "[3]"}},
		{`x="a,b",c`, []string{"a,b", "c"}},
		{`x="1..3"`, []string{"1..3"}},
		{"x=1..b", []string{"1..b"}},
		{"x=0.1,1e-3", []string{"0.1", "1e-3"}},
	} {
		got, err := ParseAxis(tt.text)
		if err != nil || got.Param != "x" {
			t.Errorf("%s: %v, %v", tt.text, got, err)
		}
		if diff := cmp.Diff(tt.want, got.Texts); diff != "" {
			t.Errorf("%s: %s", tt.text, diff)
		}
	}
}

func TestParseAxisRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"x":                         "write key=value,value",
		"=1":                        "write key=value,value",
		"x=5..1":                    "is empty: write the smaller number first",
		"x=1..9:0":                  "the step must be at least 1",
		"x=1..10001":                "more than 10000 values",
		"x=1..9999,1..9999":         "more than 10000 values",
		"x=1..99999999999999999999": "a number is too large",
		"x=-9223372036854775808..9223372036854775807": "more than 10000 values",
	} {
		if _, err := ParseAxis(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestReadPoints(t *testing.T) {
	got, err := ReadPoints(strings.NewReader("backbone, hidden\nsasrec, 32\n\"a,b\",64\n"), "points.csv")
	want := []Point{{{"backbone", "sasrec"}, {"hidden", "32"}}, {{"backbone", "a,b"}, {"hidden", "64"}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for text, want := range map[string]string{
		"":         "points.csv is empty",
		"a,b\n":    "lists no point",
		"a,b\n1\n": "line 2: wrong number of fields",
	} {
		if _, err := ReadPoints(strings.NewReader(text), "points.csv"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestCross(t *testing.T) {
	listed := []Point{{{"a", "1"}}, {{"a", "2"}}}
	got, err := Cross(listed, []Axis{{"b", []string{"x", "y"}}, {"c", []string{"0"}}})
	want := []string{"a=1 b=x c=0", "a=1 b=y c=0", "a=2 b=x c=0", "a=2 b=y c=0"}
	var texts []string
	for _, p := range got {
		texts = append(texts, p.String())
	}
	if diff := cmp.Diff(want, texts); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := Cross(listed, []Axis{{"a", []string{"x"}}}); err == nil || !strings.Contains(err.Error(), "a is given twice") {
		t.Errorf("got %v", err)
	}
	hundred := make([]string, 101)
	if _, err := Cross(nil, []Axis{{"a", hundred}, {"b", hundred}}); err == nil || !strings.Contains(err.Error(), "more than 10000 points") {
		t.Errorf("got %v", err)
	}
}

func TestDraw(t *testing.T) {
	points, err := Cross(nil, []Axis{{"a", strings.Split("0123456789", "")}})
	if err != nil {
		t.Fatal(err)
	}
	first := Draw(points, 4, 1)
	if diff := cmp.Diff(first, Draw(points, 4, 1)); diff != "" {
		t.Errorf("the same seed: %s", diff)
	}
	if cmp.Equal(first, Draw(points, 4, 2)) {
		t.Error("another seed draws the same")
	}
	seen := map[string]bool{}
	for _, p := range first {
		seen[p.String()] = true
	}
	if len(seen) != 4 {
		t.Errorf("%v are not 4 points", first)
	}
	if diff := cmp.Diff(points, Draw(points, 11, 1)); diff != "" {
		t.Errorf("more than there are: %s", diff)
	}
}

func TestLoadPoints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.toml")
	file := "[params]\nn = 1\nname = \"a\"\n[stages.x]\nkind = \"exec\"\ncommand = [\"x\", \"${params.name}\"]\noutputs = { o = \"file\" }\nparams = { n = \"${params.n}\" }\n"
	if err := os.WriteFile(path, []byte(file), 0o666); err != nil {
		t.Fatal(err)
	}
	points, err := Cross(nil, []Axis{{"n", []string{"1", "01", "2"}}})
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{Registry: toys(t), Params: map[string]string{"name": "b"}}
	distinct, loaded, err := LoadPoints(path, opts, points)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Point{{{"n", "1"}}, {{"n", "2"}}}, distinct); diff != "" {
		t.Errorf("points: %s", diff)
	}
	for i, want := range []int64{1, 2} {
		if got := loaded[i].Params[0].Value; got != want {
			t.Errorf("point %d has n = %v, want %d", i, got, want)
		}
		if got := loaded[i].Params[1].Value; got != "b" {
			t.Errorf("point %d has name = %v, which was set to b", i, got)
		}
	}
}

// Everything that is wrong at any point is said, once.
func TestLoadPointsListsAllProblems(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.toml")
	file := "[params]\nn = 1\n[stages.x]\nkind = \"exec\"\ncommand = [\"x\"]\noutputs = { o = \"file\" }\nparams = { n = \"${params.n}\" }\n"
	if err := os.WriteFile(path, []byte(file), 0o666); err != nil {
		t.Fatal(err)
	}
	points, err := Cross(nil, []Axis{{"n", []string{"1", "one", "2", "two"}}, {"m", []string{"3", "4"}}})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = LoadPoints(path, Options{Registry: toys(t)}, points)
	var invalid *Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, d := range invalid.Diagnostics {
		got = append(got, d.File+": "+strings.SplitN(d.Message, ";", 2)[0])
	}
	want := []string{
		"-p m: " + path + " declares no such parameter (did you mean n?)",
		"-p n: must be an integer like 1, not \"one\"",
		"-p n: must be an integer like 1, not \"two\"",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
