package stages

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type sampleRow struct {
	ID    int64  `arrow:"id"`
	Title string `arrow:"title"`
}

// limits are parameters that several kinds may share.
type limits struct {
	Share float64 `stage:"share" default:"0.5" min:"0" max:"1" doc:"how much"`
	Ks    []int64 `stage:"ks" default:"5,10" min:"1" doc:"cut-offs"`
}

type sample struct {
	Source Source        `stage:"source" doc:"files"`
	Rows   In[sampleRow] `stage:"rows" optional:"true" doc:"rows"`
	Mode   string        `stage:"mode" default:"fast" enum:"fast,slow" doc:"how"`
	limits
	Since   *int64         `stage:"since" optional:"true" doc:"earliest"`
	Count   int64          `stage:"count" doc:"how many"`
	Workers Setting[int64] `stage:"workers" default:"2" min:"1" doc:"how many at once"`
	Out     Out[sampleRow] `stage:"out" doc:"rows"`
	Text    OutFile        `stage:"text" doc:"text"`
}

func (s *sample) Run(context.Context, *Env) error { return nil }

func bindSample(t *testing.T, values map[string]any) (Stage, []string) {
	t.Helper()
	kind := Declare[sample]("test.sample", 3, "a sample")
	wrapped := Values{}
	for name, v := range values {
		wrapped[name] = Value{V: v, Base: "/base"}
	}
	stage, problems := kind.Bind(wrapped, BindContext{IsStage: func(name string) bool { return name == "other" }})
	var texts []string
	for _, p := range problems {
		texts = append(texts, strings.TrimPrefix(p.Param+": "+p.Message, ": "))
	}
	return stage, texts
}

func TestBindResolvesDefaults(t *testing.T) {
	stage, problems := bindSample(t, map[string]any{"source": "x.gz", "count": int64(7), "workers": int64(9)})
	if problems != nil {
		t.Fatal(problems)
	}
	want := map[string]any{"mode": "fast", "share": 0.5, "ks": []any{int64(5), int64(10)}, "count": int64(7)}
	if diff := cmp.Diff(want, stage.Request().Params); diff != "" {
		t.Errorf("parameters in the key (-want +got):\n%s", diff)
	}
	if got := stage.(*declared).runner.(*sample).Workers.Value; got != 9 {
		t.Errorf("workers = %d, want 9: a setting is set though it is in no key", got)
	}
}

func TestBindReportsEveryProblem(t *testing.T) {
	_, problems := bindSample(t, map[string]any{
		"source": []any{}, "mode": "fats", "share": 1.5, "ks": []any{int64(0)}, "wrokers": int64(1), "rows": "nonsense", "since": "x",
	})
	want := []string{
		`source: names no file`,
		`rows: an input must be "<stage>.<output>", not the string "nonsense"`,
		`mode: "fats" is not one of fast, slow (did you mean fast?)`,
		`share: must be at most 1, not 1.5`,
		`ks: must be at least 1, not 0`,
		`since: must be an integer, not the string "x"`,
		`needs count (how many)`,
		`wrokers: unknown key (did you mean workers?)`,
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

type twoSources struct {
	Needed Source `stage:"needed" doc:"files"`
	Extra  Source `stage:"extra" optional:"true" doc:"more files"`
}

func (*twoSources) Run(context.Context, *Env) error { return nil }

// A pipeline's parameter can leave an optional source open, and only that.
func TestEmptySourceIsAbsent(t *testing.T) {
	kind := Declare[twoSources]("test.sources", 1, "two sources")
	stage, problems := kind.Bind(Values{"needed": {V: "x"}, "extra": {V: ""}}, BindContext{})
	if len(problems) > 0 || len(stage.Sources()) != 1 || stage.Sources()[0].Param != "needed" {
		t.Errorf("sources %v, problems %v", stage.Sources(), problems)
	}
	if _, problems := kind.Bind(Values{"needed": {V: ""}}, BindContext{}); len(problems) != 1 || problems[0].Param != "needed" {
		t.Errorf("problems %v, want one of needed", problems)
	}
}

func TestProblemsAreShort(t *testing.T) {
	huge := strings.Repeat("x", 1_000_000)
	_, problems := bindSample(t, map[string]any{"source": "x", "count": huge, "mode": huge, "rows": huge})
	if len(problems) != 3 || len(strings.Join(problems, "")) > 1000 {
		t.Errorf("%d problems of %d bytes", len(problems), len(strings.Join(problems, "")))
	}
}

func TestGivenSourcesAreKnownBeforeThereAreFiles(t *testing.T) {
	stage, problems := bindSample(t, map[string]any{"source": "x.gz", "count": int64(7)})
	if problems != nil || !stage.(*declared).runner.(*sample).Source.Given() {
		t.Errorf("a source that the pipeline names is not given: %v", problems)
	}
	if (Source{}).Given() || !SourceFiles("x").Given() {
		t.Error("given without a pipeline is what has files")
	}
}

func TestSourceMayBeAStage(t *testing.T) {
	stage, problems := bindSample(t, map[string]any{"source": "other.file", "count": int64(1)})
	if problems != nil {
		t.Fatal(problems)
	}
	if got := stage.Inputs(); len(got) != 1 || got[0].From != (Ref{"other", "file"}) || !got[0].File {
		t.Errorf("inputs %+v", got)
	}
	// The same text names a file when no stage is called so.
	stage, _ = bindSample(t, map[string]any{"source": "reviews.gz", "count": int64(1)})
	if got := stage.Sources(); len(got) != 1 || len(got[0].Patterns) != 1 || got[0].Patterns[0].V != "reviews.gz" {
		t.Errorf("sources %+v", got)
	}
}

func TestInputReadsItsColumns(t *testing.T) {
	stage, _ := bindSample(t, map[string]any{"source": "x", "count": int64(1), "rows": "other.rows"})
	if diff := cmp.Diff([]string{"id", "title"}, stage.Inputs()[0].Columns); diff != "" {
		t.Error(diff)
	}
}

// A key is a promise to everybody who shares a cache: changing one is a
// decision, to be made here.
func TestKeyIsPinned(t *testing.T) {
	stage, _ := bindSample(t, map[string]any{"source": "x", "count": int64(7)})
	key, err := stage.Request().Key()
	if err != nil {
		t.Fatal(err)
	}
	const want = "3e1b3926f1e8ebfc8c33e1d3cd0c2d51ec38bcc3cdfd0d579baa47946e9e4a5e"
	if string(key) != want {
		canonical, _ := stage.Request().Canonical()
		t.Errorf("key %s, want %s, of %s", key, want, canonical)
	}
}

func TestCheckWiring(t *testing.T) {
	first, _ := bindSample(t, map[string]any{"source": "x", "count": int64(1)})
	tests := map[string]string{
		"first.out":  "",
		"frist.out":  "there is no stage frist (did you mean first?)",
		"first.outt": "has no output outt (did you mean out?)",
		"first.text": "is a plain file, and a table is wanted here",
	}
	for from, want := range tests {
		second, _ := bindSample(t, map[string]any{"source": "x", "count": int64(1), "rows": from})
		problems := CheckWiring([]Spec{{Name: "first", Stage: first}, {Name: "second", Stage: second}})
		switch {
		case want == "" && len(problems) > 0:
			t.Errorf("%s: %v", from, problems)
		case want != "" && (len(problems) != 1 || !strings.Contains(problems[0].Message, want) || problems[0].Param != "rows"):
			t.Errorf("%s: %v, want %q", from, problems, want)
		}
	}
}

// A command names the columns that it reads, and does not know their types.
func TestCheckWiringOfNamedColumns(t *testing.T) {
	first, _ := bindSample(t, map[string]any{"source": "x", "count": int64(1)})
	tests := []struct {
		output  string
		columns []string
		want    string
	}{
		{"out", []string{"title", "id"}, ""},
		{"out", nil, ""},
		{"text", nil, ""},
		{"out", []string{"titel", "id", "x"}, `first.out has no column "titel" (did you mean title?); first.out has no column "x"`},
		{"text", []string{"id"}, "first.text is a plain file, and a table is wanted here"},
	}
	for _, test := range tests {
		reader := namedColumns{first, Input{Port: "in", Key: "inputs.in", From: Ref{"first", test.output}, Columns: test.columns}}
		got := ""
		for _, p := range CheckWiring([]Spec{{Name: "first", Stage: first}, {Name: "reader", Stage: reader}}) {
			got += p.Message
		}
		if got != test.want {
			t.Errorf("%s %v: %q, want %q", test.output, test.columns, got, test.want)
		}
	}
}

type namedColumns struct {
	Stage
	input Input
}

func (s namedColumns) Inputs() []Input { return []Input{s.input} }

func TestSuggest(t *testing.T) {
	known := []string{"dropout", "hidden", "layers", "item", "title", strings.Repeat("dropout", 200_000) + "s"}
	for name, want := range map[string]string{
		"drpout": " (did you mean dropout?)", strings.Repeat("dropout", 200_000): "", "hiden": " (did you mean hidden?)", "titel": " (did you mean title?)", "zzz": "", "": "",
	} {
		if got := Suggest(name, known); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", name, got, want)
		}
	}
}
