package table

import (
	"path/filepath"
	"testing"

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

func TestWriterAndInspectAgree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.arrow")
	w, err := Create[everyType](path)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AppendAll(everyTypeRows()); err != nil {
		t.Fatal(err)
	}
	written, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	inspected, err := Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(written, inspected); diff != "" {
		t.Error(diff)
	}
	t.Log(SchemaOf[everyType]())
	for _, c := range written.Columns {
		t.Log(c)
	}
}
