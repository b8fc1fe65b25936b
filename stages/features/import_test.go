package features

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/artifacts/table/parquet"
	"github.com/prismflow/prismflow/model/safetensors"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// imports runs the stage, with the defaults of its columns, on items a, b, c.
func imports(t testing.TB, stage Import) ([]tables.Features, map[string]float64, error) {
	t.Helper()
	items := []tables.CorpusItem{{ID: 1, Item: "a"}, {ID: 2, Item: "b"}, {ID: 3, Item: "c"}}
	stage.Items = stagetest.Table[itemID](t, items)
	stage.ItemColumn, stage.ImageColumn, stage.TextColumn = "item", "image", "text"
	result := stagetest.Result(t, &stage.Features)
	env := stagetest.Env(t)
	if err := stage.Run(context.Background(), env); err != nil {
		return nil, nil, err
	}
	return result(), stagetest.Counts(env), nil
}

func source(t testing.TB, name string, data []byte) stages.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return stages.SourceFiles(path)
}

// npyOf is a matrix as numpy.save writes it.
func npyOf(t testing.TB, width int, values ...float64) []byte {
	t.Helper()
	header := fmt.Sprintf("{'descr': '<f8', 'fortran_order': False, 'shape': (%d, %d), }\n", len(values)/width, width)
	b := bytes.NewBuffer(binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(header))))
	b.WriteString(header)
	if err := binary.Write(b, binary.LittleEndian, values); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func safetensorsOf(t testing.TB, list ...safetensors.Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := safetensors.Write(&b, nil, list); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImportOfMatrices(t *testing.T) {
	rows, report, err := imports(t, Import{
		Image:     source(t, "image.npy", npyOf(t, 2, 3, 4, 0, 0, 1, 0, -1e300, 0)),
		IDs:       source(t, "ids.txt", []byte("c\r\na\nstranger\nb")),
		Text:      source(t, "text.safetensors", safetensorsOf(t, safetensors.FromFloat32("x", []int{2, 1}, []float32{-2, 5}))),
		TextIDs:   source(t, "ids.json", []byte(" [\n\"b\", 17]\n")),
		Normalise: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []tables.Features{
		{ID: 1, Item: "a", Image: []float32{0, 0}, Text: []float32{0}},
		{ID: 2, Item: "b", Image: []float32{-1, 0}, ImagePresent: true, Text: []float32{-1}, TextPresent: true},
		{ID: 3, Item: "c", Image: []float32{0.6, 0.8}, ImagePresent: true, Text: []float32{0}},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	wantReport := map[string]float64{
		"items": 3, "items_with_image": 2, "items_with_text": 1,
		"image_rows": 4, "image_unknown_items": 1, "image_empty_vectors": 0, "image_zero_vectors": 1,
		"text_rows": 2, "text_unknown_items": 1, "text_empty_vectors": 0, "text_zero_vectors": 0,
	}
	if diff := cmp.Diff(wantReport, report); diff != "" {
		t.Errorf("report (-want +got)\n%s", diff)
	}
}

// features written by any stage, exported as Parquet and imported again are the
// same, and so are those of Arrow, with both modalities in one file.
func TestImportOfFeatures(t *testing.T) {
	want := []tables.Features{
		{ID: 1, Item: "a", Image: []float32{0.6, 0.8}, ImagePresent: true, Text: []float32{1}, TextPresent: true},
		{ID: 2, Item: "b", Image: []float32{0, 0}, Text: []float32{-1}, TextPresent: true},
		{ID: 3, Item: "c", Image: []float32{0, 1}, ImagePresent: true, Text: []float32{0}},
	}
	arrow := filepath.Join(t.TempDir(), "features.arrow")
	if err := stages.ToFile[tables.Features](arrow).WriteAll(want); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, arrow); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]stages.Source{"Arrow": stages.SourceFiles(arrow), "Parquet": source(t, "features.parquet", b.Bytes())} {
		for _, normalise := range []bool{false, true} {
			got, report, err := imports(t, Import{Image: file, Text: file, Normalise: normalise})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-7)); diff != "" {
				t.Errorf("%s, normalised %v: (-want +got)\n%s", name, normalise, diff)
			}
			if report["image_zero_vectors"] != 1 || report["text_zero_vectors"] != 1 {
				t.Errorf("%s: report %v", name, report)
			}
		}
	}
}

func TestImportOfOneModality(t *testing.T) {
	rows, report, err := imports(t, Import{
		Text: source(t, "text.npy", npyOf(t, 1, 2, 8)),
		IDs:  source(t, "ids.txt", []byte("b\na\n")),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []tables.Features{
		{ID: 1, Item: "a", Image: []float32{0}, Text: []float32{8}, TextPresent: true},
		{ID: 2, Item: "b", Image: []float32{0}, Text: []float32{2}, TextPresent: true},
		{ID: 3, Item: "c", Image: []float32{0}, Text: []float32{0}},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, said := report["image_rows"]; said {
		t.Errorf("report %v", report)
	}
}

func TestImportOfSeveralFiles(t *testing.T) {
	first, second := source(t, "1.npy", npyOf(t, 1, 2, 8)).Files()[0].Path, source(t, "2.npy", npyOf(t, 1, -4)).Files()[0].Path
	rows, _, err := imports(t, Import{Image: stages.SourceFiles(first, second), IDs: source(t, "ids.txt", []byte("b\na\nc\n"))})
	if err != nil {
		t.Fatal(err)
	}
	if rows[0].Image[0] != 8 || rows[1].Image[0] != 2 || rows[2].Image[0] != -4 {
		t.Errorf("got %+v", rows)
	}
}

func TestImportThatIsRefused(t *testing.T) {
	ids := func(text string) stages.Source { return source(t, "ids.txt", []byte(text)) }
	one := func(values ...float64) stages.Source { return source(t, "image.npy", npyOf(t, 1, values...)) }
	type named struct {
		Item  string    `arrow:"item"`
		Image []float32 `arrow:"image"`
	}
	arrow := func(rows ...named) stages.Source {
		path := filepath.Join(t.TempDir(), "image.arrow")
		if err := stages.ToFile[named](path).WriteAll(rows); err != nil {
			t.Fatal(err)
		}
		return stages.SourceFiles(path)
	}
	wide := source(t, "wide.npy", npyOf(t, 2, 1, 2)).Files()[0].Path
	for _, c := range []struct {
		stage Import
		want  []string
	}{
		{Import{Image: one(1)}, []string{"image: ", "image.npy does not say whose vector a row is: set ids"}},
		{Import{Image: one(1, 2), IDs: ids("a\n")}, []string{"2 rows of vectors, but 1 ids in ", "ids.txt"}},
		{Import{Image: one(1), IDs: ids("a\nb\n")}, []string{"1 rows of vectors, but 2 ids in "}},
		{Import{Image: one(1, 2, 3), IDs: ids("a\nx\na\n")}, []string{`item "a" has two vectors: row 0 of `, " and row 2 of "}},
		{Import{Image: one(1, 2, 3), IDs: ids("a\nx\nx\n")}, []string{`item "x" has two vectors: row 1 of `}},
		{Import{Image: one(1, math.NaN()), IDs: ids("a\nb\n")}, []string{`image.npy: row 1, item "b": component 0 is NaN`}},
		{Import{Image: one(1, math.Inf(1)), IDs: ids("a\nx\n")}, []string{`image.npy: row 1, item "x": component 0 is +Inf`}},
		{Import{Image: one(1e39), IDs: ids("a\n")}, []string{`row 0, item "a": component 0 is 1e+39, beyond float32`}},
		{Import{Image: one(1), IDs: ids("x\n")}, []string{"the source has vectors of none of the items: is it that of these items?"}},
		{Import{Image: one(1, 2), IDs: ids("a\n\n")}, []string{"ids.txt:2: an empty id"}},
		{Import{Image: one(1), IDs: ids("\xff\n")}, []string{`ids.txt:1: id "\xff" is not UTF-8`}},
		{Import{Image: one(1), IDs: ids(strings.Repeat("x", maxID+1))}, []string{"ids.txt:1: an id of 4097 bytes"}},
		{Import{Image: one(1), IDs: ids("[1.5]")}, []string{"ids.txt: element 0: 1.5 is no id: want a string or a whole number"}},
		{Import{Image: one(1), IDs: ids("[null]")}, []string{"element 0: null is no id"}},
		{Import{Image: one(1), IDs: ids(`[""]`)}, []string{"element 0: an empty id"}},
		{Import{Image: one(1), IDs: ids(`["a"`)}, []string{"begins like a JSON list, and is none"}},
		{Import{Image: arrow(named{"a", []float32{1}}), IDs: ids("a\n")}, []string{"ids is not needed"}},
		{Import{Image: arrow(named{"a", []float32{1}}), ImageIDs: ids("a\n")}, []string{"image_ids is not needed"}},
		{Import{Image: arrow(named{"a", []float32{1}}, named{"b", []float32{1, 2}})}, []string{"image.arrow: row 1: a vector of 2 components, where those before have 1"}},
		{Import{Image: arrow(named{"a", []float32{1}}, named{"a", []float32{1}})}, []string{`item "a" has two vectors`}},
		{
			Import{Image: stages.SourceFiles(one(1).Files()[0].Path, wide), IDs: ids("a\nb\n")},
			[]string{`wide.npy: row 0, item "b": a vector of 2 components, where those of other files have 1`},
		},
		{Import{Text: source(t, "text.csv", []byte("item,x\n"))}, []string{"text: ", "text.csv: not a file of vectors"}},
	} {
		_, _, err := imports(t, c.stage)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
	}
}

func TestImportValidates(t *testing.T) {
	some := stages.SourceFiles("x")
	for _, c := range []struct {
		stage Import
		want  int
	}{
		{Import{}, 1},
		{Import{IDs: some}, 1},
		{Import{Image: some}, 0},
		{Import{Text: some, TextIDs: some}, 0},
		{Import{Text: some, ImageIDs: some}, 1},
	} {
		if got := c.stage.Validate(); len(got) != c.want {
			t.Errorf("%+v: %v, want %d", c.stage, got, c.want)
		}
	}
}

// Whatever a vector's scale, its direction is kept and its length is 1.
func TestImportNormalises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		vector := rapid.SliceOfN(rapid.Float64Range(-1, 1), 1, 8).Draw(rt, "vector")
		scale := math.Pow(10, rapid.Float64Range(-290, 300).Draw(rt, "exponent"))
		var sum float64
		for _, x := range vector {
			sum += x * x
		}
		if sum < 1e-10 {
			rt.Skip("too short to be compared")
		}
		scaled := make([]float64, len(vector))
		for i, x := range vector {
			scaled[i] = x * scale
		}
		got := make([]float32, len(vector))
		im := importer{normalise: true}
		if present, err := im.put(got, scaled); err != nil || !present {
			rt.Fatalf("present %v, error %v", present, err)
		}
		for i, x := range vector {
			if want := x / math.Sqrt(sum); math.Abs(float64(got[i])-want) > 1e-6 {
				rt.Fatalf("component %d is %v, want %v", i, got[i], want)
			}
		}
	})
}
