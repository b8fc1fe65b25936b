package features

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// describe runs the stage on items with the external ids named.
func describe(t *testing.T, stage Attributes, items []string, paths ...string) ([]tables.Features, map[string]float64, error) {
	t.Helper()
	rows := make([]tables.CorpusItem, len(items))
	for i, item := range items {
		rows[i] = tables.CorpusItem{ID: int32(i + 1), Item: item}
	}
	stage.Items, stage.Source = stagetest.Table[itemID](t, rows), stages.SourceFiles(paths...)
	result := stagetest.Result(t, &stage.Features)
	env := stagetest.Env(t)
	if err := stage.Run(context.Background(), env); err != nil {
		return nil, nil, err
	}
	return result(), stagetest.Counts(env), nil
}

func attributeFile(t *testing.T, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "attributes.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const someAttributes = `{"b": [30, 7], "a": [7, 7, 200], "stranger": [1], "c": []}`

func TestAttributesAreComponents(t *testing.T) {
	half := math.Sqrt(0.5)
	rare, common := 1+math.Log(3.0/2), 1.0 // 1 + ln((1+2)/(1+d))
	length := math.Hypot(rare, common)
	for _, tt := range []struct {
		weights string
		text    []byte
		a, b    []float64 // of the attributes 7, 30 and 200
	}{
		{"multi_hot", []byte(someAttributes), []float64{half, 0, half}, []float64{half, half, 0}},
		{"multi_hot", stagetest.Gzip(someAttributes), []float64{half, 0, half}, []float64{half, half, 0}},
		{"tf_idf", []byte(someAttributes), []float64{common / length, 0, rare / length}, []float64{common / length, rare / length, 0}},
	} {
		rows, report, err := describe(t, Attributes{Weights: tt.weights}, []string{"a", "b", "c", "d"}, attributeFile(t, tt.text))
		if err != nil {
			t.Fatal(err)
		}
		want := []tables.Features{
			{ID: 1, Item: "a", Image: []float32{0}, Text: float32s(tt.a), TextPresent: true},
			{ID: 2, Item: "b", Image: []float32{0}, Text: float32s(tt.b), TextPresent: true},
			{ID: 3, Item: "c", Image: []float32{0}, Text: make([]float32, 3)},
			{ID: 4, Item: "d", Image: []float32{0}, Text: make([]float32, 3)},
		}
		if diff := cmp.Diff(want, rows, cmpopts.EquateApprox(0, 1e-6)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.weights, diff)
		}
		wantReport := map[string]float64{"items": 4, "items_with_text": 2, "items_without_text": 2, "attributes": 3, "repeated_attributes": 1, "unknown_items": 1}
		if diff := cmp.Diff(wantReport, report); diff != "" {
			t.Errorf("%s: report (-want +got)\n%s", tt.weights, diff)
		}
	}
}

func float32s(values []float64) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(v)
	}
	return out
}

// Hashing keeps what vectors have in common, but for collisions.
func TestHashedAttributesKeepSimilarity(t *testing.T) {
	lists := map[string][]int{}
	var items []string
	for i := range 3 {
		item := string(rune('a' + i))
		items = append(items, item)
		for k := range 20 {
			lists[item] = append(lists[item], 10*i+k) // half of them are the next item's too
		}
	}
	text, err := json.Marshal(lists)
	if err != nil {
		t.Fatal(err)
	}
	rows, _, err := describe(t, Attributes{Weights: "multi_hot", Size: 4096}, items, attributeFile(t, text))
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range []struct {
		i, j int
		want float64
	}{{0, 0, 1}, {0, 1, 0.5}, {1, 2, 0.5}, {0, 2, 0}} {
		if got := dot(rows[pair.i].Text, rows[pair.j].Text); math.Abs(got-pair.want) > 0.11 || len(rows[pair.i].Text) != 4096 {
			t.Errorf("items %d and %d: cosine %.3f in %d components, want %.1f", pair.i, pair.j, got, len(rows[pair.i].Text), pair.want)
		}
	}
}

func TestBrokenAttributesAreErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", `:1:1: the text ends here, unfinished`},
		{"[1]", `:1:1: want an object of lists, {"item": [attribute, …], …}, not "["`},
		{"{\"a\": [1],\n \"é\": [2], \"a\": [3]}", `:2:12: item "a" has a list already`},
		{"{\"a\": [1],\n \"b\": 2}", `:2:7: item "b": want a list of attributes, not "2"`},
		{`{"a": [1, "x"]}`, `:1:11: item "a": an attribute is a whole number, not "x"`},
		{`{"a": [1, [2]]}`, `:1:11: item "a": an attribute is a whole number, not "["`},
		{`{"a": [1, 2.5]}`, `:1:11: item "a": an attribute is a whole number from 0 to 2147483647, not 2.5`},
		{`{"a": [-1]}`, `:1:8: item "a": an attribute is a whole number from 0 to 2147483647, not -1`},
		{`{"a": [2147483648]}`, `:1:8: item "a": an attribute is a whole number from 0 to 2147483647, not 2147483648`},
		{`{"a": [1]`, `:2:1: the text ends here, unfinished`},
		{`{"a": [1`, `:2:1: item "a": the text ends here, unfinished`},
		{`{"a": [1]} {}`, `:1:12: something stands behind the object`},
		{`{"a": [1]} "`, `:1:12: something stands behind the object`},
		{"{\"a\": [1], \"\xff\": [2]}", `:1:13: not valid UTF-8`},
		{`{"a": [` + strings.Repeat("1,", maxAttributes) + `1]}`, `:1:131080: item "a": more than 65536 attributes`},
	} {
		path := attributeFile(t, []byte(c.text))
		_, _, err := describe(t, Attributes{Weights: "multi_hot"}, []string{"a"}, path)
		if err == nil || err.Error() != path+c.want {
			t.Errorf("%.60q: error %v\nwant %s", c.text, err, path+c.want)
		}
	}
	for _, text := range []string{`{"a" [1]}`, `{"a": [1 2]}`, `{"a": [1],, "b": [2]}`, `{a: [1]}`, `{"a": [1]]`, `{"a": nul}`} {
		if _, _, err := describe(t, Attributes{Weights: "multi_hot"}, []string{"a"}, attributeFile(t, []byte(text))); err == nil || !strings.Contains(err.Error(), ".json:1:") {
			t.Errorf("%s: error %v", text, err)
		}
	}
	one := attributeFile(t, []byte(`{"a": [1]}`))
	for want, c := range map[string]struct {
		stage Attributes
		item  string
		paths []string
	}{
		`item "a" has a list already`:                                       {Attributes{}, "a", []string{one, one}},
		"attributes of none of the items":                                   {Attributes{}, "b", []string{one}},
		"the items have 65537 attributes, and a vector at most 65536 compo": {Attributes{}, "a", []string{attributeFile(t, manyAttributes())}},
	} {
		if _, _, err := describe(t, c.stage, []string{c.item, "second"}, c.paths...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nwant %s", err, want)
		}
	}
}

// manyAttributes gives two items one attribute more than a vector may have.
func manyAttributes() []byte {
	var text bytes.Buffer
	text.WriteString(`{"a": [0`)
	for i := 1; i < maxWidth; i++ {
		fmt.Fprintf(&text, ",%d", i)
	}
	fmt.Fprintf(&text, `], "second": [%d]}`, maxWidth)
	return text.Bytes()
}

func TestRealAttributes(t *testing.T) {
	sequences, err := os.ReadFile(stagetest.RealData(t, "sequences/Beauty.txt"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(sequences)) {
		for _, item := range strings.Fields(line)[1:] {
			known[item] = true
		}
	}
	var items []string
	for item := range known {
		items = append(items, item)
	}
	slices.Sort(items)
	rows, report, err := describe(t, Attributes{Weights: "multi_hot"}, items, stagetest.RealData(t, "sequences/Beauty_item2attributes.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"items": 12101, "items_with_text": 12101, "items_without_text": 0, "attributes": 637, "repeated_attributes": 5, "unknown_items": 0}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(rows) != 12101 || len(rows[0].Text) != 637 {
		t.Errorf("%d rows with %d components", len(rows), len(rows[0].Text))
	}
}

func FuzzParseAttributes(f *testing.F) {
	for _, seed := range []string{someAttributes, "{}", "", `{"a":[1]}`, `{"a":[1],"a":[2]}`, `{"\ud800":[1]}`, `{"a":[1e2]}`, `{"a":[0`, `{}"`, "{\"a\"\n:\n[1\n,2]}x", "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lists := &attributeLists{of: map[string][]int32{}}
		if err := parseAttributes(text, lists.add); err != nil {
			var misplaced *placedError
			if !errors.As(err, &misplaced) || misplaced.offset < 0 || misplaced.offset > len(text) {
				t.Errorf("%q: %v has no place in the text", text, err)
			}
			return
		}
		// What is taken is what a lenient reader sees, with nothing left out.
		var want map[string][]int32
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("%q was taken: %v", text, err)
		}
		for item, attributes := range want {
			slices.Sort(attributes)
			want[item] = slices.Compact(attributes)
		}
		if diff := cmp.Diff(want, lists.of); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", text, diff)
		}
	})
}
