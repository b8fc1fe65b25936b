package table

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/google/go-cmp/cmp"
)

// everyType has a column of every type that a row can declare.
type everyType struct {
	Text       string    `arrow:"text"`
	MaybeText  *string   `arrow:"maybe_text"`
	Bool       bool      `arrow:"bool"`
	MaybeBool  *bool     `arrow:"maybe_bool"`
	I8         int8      `arrow:"i8"`
	I16        int16     `arrow:"i16"`
	I32        int32     `arrow:"i32"`
	I64        int64     `arrow:"i64"`
	U8         uint8     `arrow:"u8"`
	U16        uint16    `arrow:"u16"`
	U32        uint32    `arrow:"u32"`
	U64        uint64    `arrow:"u64"`
	F32        float32   `arrow:"f32"`
	F64        float64   `arrow:"f64"`
	MaybeI64   *int64    `arrow:"maybe_i64"`
	MaybeF32   *float32  `arrow:"maybe_f32"`
	Bytes      []byte    `arrow:"bytes"`
	MaybeBytes []byte    `arrow:"maybe_bytes,nullable"`
	Texts      []string  `arrow:"texts"`
	MaybeTexts []string  `arrow:"maybe_texts,nullable"`
	Ints       []int32   `arrow:"ints"`
	Longs      []int64   `arrow:"longs,nullable"`
	Floats     []float32 `arrow:"floats"`
	Doubles    []float64 `arrow:"doubles"`
	Vector     []float32 `arrow:"vector,fixed"`
	MaybeVec   []float32 `arrow:"maybe_vector,fixed=3,nullable"`
}

func ptr[T any](x T) *T { return &x }

func everyTypeRows() []everyType {
	return []everyType{
		{
			Text: "a", MaybeText: ptr("ä"), Bool: true, MaybeBool: ptr(false), I8: -1, I16: -2, I32: -3, I64: -4,
			U8: 1, U16: 2, U32: 3, U64: 4, F32: 1.5, F64: 2.5, MaybeI64: ptr(int64(7)), MaybeF32: ptr(float32(8)),
			Bytes: []byte{0, 1}, MaybeBytes: []byte{}, Texts: []string{"x", ""}, MaybeTexts: []string{},
			Ints: []int32{1, 2}, Longs: []int64{}, Floats: []float32{1}, Doubles: []float64{}, Vector: []float32{1, 2}, MaybeVec: []float32{1, 2, 3},
		},
		{
			Bytes: []byte{}, Texts: []string{}, Ints: []int32{}, Floats: []float32{}, Doubles: []float64{1}, Vector: []float32{3, 4},
		},
	}
}

func write[Row any](t testing.TB, rows []Row, opts ...Option) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "table.arrow")
	w, err := Create[Row](path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AppendAll(rows); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEveryTypeReadsBack(t *testing.T) {
	rows := everyTypeRows()
	got, err := ReadAll[everyType](write(t, rows))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rows, got); diff != "" {
		t.Error(diff)
	}
}

func TestSchemaOf(t *testing.T) {
	type base struct {
		ID int64 `arrow:"id" doc:"from 1"`
	}
	type row struct {
		base
		Title  *string   `arrow:"title"`
		Vector []float32 `arrow:"vector,fixed" doc:"unit length"`
		Image  []float32 `arrow:"image,fixed=8,nullable"`
		hidden int
		Other  chan int `arrow:"-"`
	}
	want := Schema{
		{Name: "id", Type: "int64", Doc: "from 1"},
		{Name: "title", Type: "utf8", Nullable: true},
		{Name: "vector", Type: "fixed_size_list<float32>[?]", Doc: "unit length"},
		{Name: "image", Type: "fixed_size_list<float32>[8]", Nullable: true},
	}
	got := SchemaOf[row]()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantText := `id      int64                                  from 1
title   utf8, nullable
vector  fixed_size_list<float32>[?]            unit length
image   fixed_size_list<float32>[8], nullable
`
	if got.String() != wantText {
		t.Errorf("printed as\n%s", got)
	}
	_ = row{hidden: 1}
}

func TestRowsThatAreNoTable(t *testing.T) {
	for want, create := range map[string]func() error{
		"no struct":   func() error { return declare[int]() },
		"no exported": func() error { return declare[struct{ x int }]() },
		"no tag":      func() error { return declare[struct{ X int32 }]() },
		"names no column": func() error {
			return declare[struct {
				X int32 `arrow:",nullable"`
			}]()
		},
		"use int64": func() error {
			return declare[struct {
				X int `arrow:"x"`
			}]()
		},
		"use uint64": func() error {
			return declare[struct {
				X []uint `arrow:"x"`
			}]()
		},
		"no column type": func() error {
			return declare[struct {
				X map[string]int `arrow:"x"`
			}]()
		},
		"for slices": func() error {
			return declare[struct {
				X int32 `arrow:"x,nullable"`
			}]()
		},
		"fixed is for": func() error {
			return declare[struct {
				X []string `arrow:"x,fixed"`
			}]()
		},
		"no number above": func() error {
			return declare[struct {
				X []int32 `arrow:"x,fixed=0"`
			}]()
		},
		`unknown option`: func() error {
			return declare[struct {
				X int32 `arrow:"x,omitempty"`
			}]()
		},
		`column "x" twice`: func() error {
			return declare[struct {
				X, Y int32 `arrow:"x"`
			}]()
		},
	} {
		if err := create(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func declare[Row any]() error {
	_, err := Create[Row]("unused")
	return err
}

type word struct {
	Text   string    `arrow:"text"`
	Vector []float32 `arrow:"vector,fixed"`
}

func TestWriterErrors(t *testing.T) {
	ok := word{"ok", []float32{1, 2}}
	for want, rows := range map[string][]word{
		`column "vector", row 1: a list of length 3 where every row needs 2`: {ok, {"x", []float32{1, 2, 3}}},
		`column "vector", row 0: an empty list`:                              {{"x", nil}},
		`column "text", row 2: "\xff" is not UTF-8`:                          {ok, ok, {"\xff", ok.Vector}},
		`column "text", row 1: "\xc3" is not UTF-8`:                          {ok, {"\xc3", ok.Vector}, {"\xa4", ok.Vector}},
		`by WithWidth("vector", …)`:                                          {},
	} {
		path := filepath.Join(t.TempDir(), "words.arrow")
		w, err := Create[word](path)
		if err != nil {
			t.Fatal(err)
		}
		appendErr := w.AppendAll(rows)
		_, err = w.Close()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("want %q, got %v", want, err)
		}
		if appendErr != nil && appendErr.Error() != err.Error() {
			t.Errorf("Close hides %v", appendErr)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the file is still there: %v", err)
		}
		if err := w.Append(ok); err == nil {
			t.Error("a closed table takes rows")
		}
	}
}

func TestWidths(t *testing.T) {
	for want, opt := range map[string]Option{
		"did you mean":       WithWidth("vectro", 2),
		"no fixed-size list": WithWidth("text", 2),
		"width of 0":         WithWidth("vector", 0),
	} {
		if _, err := Create[word]("unused", opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	out := output(t, []word{}, WithWidth("vector", 7))
	if out.Rows != 0 || out.Columns[1].Type != "fixed_size_list<float32>[7]" {
		t.Errorf("%+v", out)
	}
}

// A width that only a late row tells, after more rows than a batch holds.
func TestLateWidth(t *testing.T) {
	type row struct {
		Vector []float32 `arrow:"vector,fixed,nullable"`
	}
	rows := make([]row, maxBatchRows+10)
	rows[len(rows)-3].Vector = []float32{1, 2}
	got, err := ReadAll[row](write(t, rows))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rows, got); diff != "" {
		t.Error(diff)
	}
}

func TestAbortRemovesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "words.arrow")
	w, err := Create[word](path)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(word{"x", []float32{1}}); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}

// The same rows are the same bytes: however they are appended, and however
// many processors there are.
func TestSameRowsSameBytes(t *testing.T) {
	rows := interactions(150_000)
	want := output(t, rows)
	for _, processors := range []int{1, 2, 7} {
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			w, err := Create[interaction](filepath.Join(t.TempDir(), "again.arrow"))
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				if err := w.Append(row); err != nil {
					t.Fatal(err)
				}
			}
			got, err := w.Close()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("with %d processors: %s", processors, diff)
			}
		}()
	}
}

// A table of several batches, cut by rows and by bytes, read in full, in part
// and not to its end.
func TestManyBatches(t *testing.T) {
	rows := interactions(150_000)
	path := write(t, rows)
	i := 0
	for row, err := range Rows[interaction](path) {
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rows[i], row); diff != "" {
			t.Fatalf("row %d: %s", i, diff)
		}
		i++
	}
	if i != len(rows) {
		t.Fatalf("%d rows, want %d", i, len(rows))
	}
	for row, err := range Rows[interaction](path, "rating") {
		if err != nil || row.Rating != rows[0].Rating || row.User != "" {
			t.Fatal(row, err)
		}
		break
	}
	vectors := embeddings(20_000, 512) // 41 MB
	got, err := ReadAll[embedding](write(t, vectors))
	if err != nil {
		t.Fatal(err)
	}
	for i := range vectors {
		if vectors[i].Item != got[i].Item || !slices.Equal(vectors[i].Vector, got[i].Vector) {
			t.Fatalf("row %d differs", i)
		}
	}
}

// The library reads what this package writes, to the same values.
func TestLibraryReadsFiles(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	path := write(t, everyTypeRows(), func(c *config) { c.allocator = mem })
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := ipc.NewFileReader(f)
	if err != nil {
		t.Fatal(err)
	}
	record, err := r.Record(0)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range inspect(t, path).Columns {
		if want := referenceDigest(record.Column(i)); c.Digest != want {
			t.Errorf("%s differs", c.Name)
		}
	}
}

func TestReadErrors(t *testing.T) {
	path := write(t, everyTypeRows())
	for want, read := range map[string]func() error{
		`no column "txet" of type utf8; did you mean "text"?`: func() error {
			return readInto[struct {
				X string `arrow:"txet"`
			}](path)
		},
		`column "text" has type utf8, its reader needs int64`: func() error {
			return readInto[struct {
				X int64 `arrow:"text"`
			}](path)
		},
		`column "maybe_text", row 1: is null`: func() error {
			return readInto[struct {
				X string `arrow:"maybe_text"`
			}](path)
		},
		`fixed_size_list<float32>[2], its reader needs fixed_size_list<float32>[3]`: func() error {
			return readInto[struct {
				X []float32 `arrow:"vector,fixed=3"`
			}](path)
		},
		`no column "quux"`: func() error { _, err := ReadAll[everyType](path, "quux"); return err },
	} {
		if err := read(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	_, err := ReadAll[everyType](filepath.Join(t.TempDir(), "absent"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func readInto[Row any](path string) error {
	_, err := ReadAll[Row](path)
	return err
}

func TestCheckColumns(t *testing.T) {
	type have struct {
		ID     int64     `arrow:"id"`
		Title  *string   `arrow:"title"`
		Vector []float32 `arrow:"vector,fixed"`
		Image  []float32 `arrow:"image,fixed=4"`
	}
	type fits struct {
		Image  []float32 `arrow:"image,fixed"`
		Vector []float32 `arrow:"vector,fixed=4,nullable"`
		ID     int64     `arrow:"id"`
	}
	if err := CheckColumns(SchemaOf[have](), SchemaOf[fits]()); err != nil {
		t.Error(err)
	}
	type wants struct {
		ID    int32     `arrow:"id"`
		Title string    `arrow:"title"`
		Image []float32 `arrow:"image,fixed=5"`
		Name  string    `arrow:"imag"`
		Far   string    `arrow:"something_else"`
	}
	err := CheckColumns(SchemaOf[have](), SchemaOf[wants]())
	want := `column "id" has type int64, its reader needs int32
column "title" may be null; its reader needs a value in every row
column "image" has type fixed_size_list<float32>[4], its reader needs fixed_size_list<float32>[5]
no column "imag" of type utf8; did you mean "image"?
no column "something_else" of type utf8; the columns are id, title, vector, image`
	if err == nil || err.Error() != want || !errors.Is(err, ErrColumn) {
		t.Errorf("%v", err)
	}
}

// A disk that fills up at any moment is an error of Close or Append.
func TestWriteErrorsAreReported(t *testing.T) {
	for limit := range 3 {
		s := newSink(&failingWriter{left: limit})
		var err error
		for range 3 {
			if _, err = s.Write(make([]byte, writeSize)); err != nil {
				break
			}
		}
		if err = errors.Join(err, s.flush()); !errors.Is(err, errFull) {
			t.Errorf("after %d writes: %v", limit, err)
		}
	}
}

var errFull = errors.New("disk full")

type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestText(t *testing.T) {
	type row struct {
		Item   string    `arrow:"item"`
		Score  float64   `arrow:"score"`
		Vector []float32 `arrow:"vector,fixed"`
		Bytes  []byte    `arrow:"picture"`
	}
	vector := make([]float32, 512)
	vector[0], vector[1] = .123456, -.0345
	path := write(t, []row{
		{"a long title with \x1b[31m escapes\n and 日本語, which is wide, and then goes on", .0803, vector, []byte("x")},
		{"short", 1234567, vector, nil},
	})
	var out strings.Builder
	if err := WriteText(&out, path, -1, 90, Binary{}); err != nil {
		t.Fatal(err)
	}
	want := `item                                   score  vector               picture
utf8                                 float64  float32[512]         binary
a long title with \x1b[31m escapes…   0.0803  [0.12 -0.034 … 512]  1 B sha256:2d711642b726
short                                1234567  [0.12 -0.034 … 512]  0 B sha256:e3b0c44298fc
2 rows
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

// Binary values are what the caller makes of them, for people and as JSON.
func TestBinaryIsWrittenByTheCaller(t *testing.T) {
	type row struct {
		One   []byte `arrow:"one"`
		Other []byte `arrow:"other"`
	}
	path := write(t, []row{{[]byte("ab"), nil}})
	binary := Binary{
		Text: func(dst, value []byte) []byte { return fmt.Appendf(dst, "<%s>", value) },
		JSON: func(dst, value []byte) []byte { return fmt.Appendf(dst, `{"n":%d}`, len(value)) },
	}
	var text, json strings.Builder
	if err := errors.Join(WriteText(&text, path, -1, 0, binary), WriteJSONRows(&json, path, -1, binary)); err != nil {
		t.Fatal(err)
	}
	if want := `{"one":{"n":2},"other":{"n":0}}` + "\n"; json.String() != want {
		t.Errorf("JSON is %s, want %s", json.String(), want)
	}
	if !strings.Contains(text.String(), "<ab>    <>") {
		t.Errorf("the text is\n%s", text.String())
	}
}
