package parquet_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/artifacts/table/parquet"
)

type item struct {
	ID       string    `arrow:"id"`
	Price    *float64  `arrow:"price"`
	Count    uint32    `arrow:"count"`
	Seen     bool      `arrow:"seen"`
	Picture  []byte    `arrow:"picture,nullable"`
	Tags     []string  `arrow:"tags,nullable"`
	History  []int32   `arrow:"history"`
	Features []float32 `arrow:"features,fixed"`
	Image    []float32 `arrow:"image,fixed,nullable"`
}

func items(n int) []item {
	rows := make([]item, n)
	for i := range rows {
		f := float32(i)
		price := float64(i) / 4
		rows[i] = item{
			ID: string(rune('a' + i%26)), Price: &price, Count: uint32(i), Seen: i%2 == 0,
			Picture: []byte{byte(i)}, Tags: []string{"x", "yz"}, History: []int32{int32(i), 2}[:i%3],
			Features: []float32{f, f + .25, -f, 1}, Image: []float32{f * 2, 7},
		}
		if i%3 == 1 {
			rows[i].Price, rows[i].Picture, rows[i].Tags, rows[i].Image = nil, nil, nil, nil
		}
	}
	return rows
}

// export writes rows as a table, exports it, and reads the Parquet file.
func export[Row any](t *testing.T, rows []Row) arrow.Table {
	t.Helper()
	path := filepath.Join(t.TempDir(), "items.arrow")
	w, err := table.Create[Row](path)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AppendAll(rows); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return readParquet(t, path)
}

func readParquet(t *testing.T, path string) arrow.Table {
	t.Helper()
	var out bytes.Buffer
	if err := parquet.Write(&out, path); err != nil {
		t.Fatal(err)
	}
	reader, err := file.NewParquetReader(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pqarrow.NewFileReader(reader, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	got, err := columns.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// values are a column's values as Go values, nil for null.
func values(t *testing.T, got arrow.Table, name string) []any {
	t.Helper()
	index := got.Schema().FieldIndices(name)
	if len(index) != 1 {
		t.Fatalf("no column %q in %s", name, got.Schema())
	}
	var all []any
	for _, chunk := range got.Column(index[0]).Data().Chunks() {
		for i := range chunk.Len() {
			all = append(all, value(chunk, i))
		}
	}
	return all
}

func value(a arrow.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	if list, ok := a.(array.ListLike); ok {
		from, to := list.ValueOffsets(i)
		elements := []any{}
		for j := from; j < to; j++ {
			elements = append(elements, value(list.ListValues(), int(j)))
		}
		return elements
	}
	return a.GetOneForMarshal(i)
}

func TestEveryColumnReadsBack(t *testing.T) {
	const n = 70000 // more than one record batch
	rows := items(n)
	got := export(t, rows)
	if got.NumRows() != n {
		t.Fatalf("%d rows, want %d", got.NumRows(), n)
	}
	columns := map[string]func(item) any{
		"id":       func(r item) any { return r.ID },
		"price":    func(r item) any { return orNil(r.Price) },
		"count":    func(r item) any { return r.Count },
		"seen":     func(r item) any { return r.Seen },
		"picture":  func(r item) any { return unlessNil(r.Picture, func() any { return r.Picture }) },
		"tags":     func(r item) any { return unlessNil(r.Tags, func() any { return list(r.Tags) }) },
		"history":  func(r item) any { return list(r.History) },
		"features": func(r item) any { return list(r.Features) },
		"image":    func(r item) any { return unlessNil(r.Image, func() any { return list(r.Image) }) },
	}
	for name, of := range columns {
		want := make([]any, n)
		for i, r := range rows {
			want[i] = of(r)
		}
		if diff := cmp.Diff(want, values(t, got, name)); diff != "" {
			t.Errorf("%s: %.2000s", name, diff)
		}
	}
}

func orNil(p *float64) any {
	if p == nil {
		return nil
	}
	return *p
}

func unlessNil[T any](s []T, of func() any) any {
	if s == nil {
		return nil
	}
	return of()
}

func list[T any](s []T) []any {
	out := []any{}
	for _, x := range s {
		out = append(out, x)
	}
	return out
}

// Files that others wrote: every kind of list, lists within lists and structs,
// and elements below nulls.
func TestForeignListsReadBack(t *testing.T) {
	fixed := arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Float32)
	fields := []arrow.Field{
		{Name: "large", Type: arrow.LargeListOf(arrow.BinaryTypes.String), Nullable: true},
		{Name: "required", Type: arrow.ListOfNonNullable(arrow.PrimitiveTypes.Int32)},
		{Name: "nested", Type: arrow.ListOf(fixed), Nullable: true},
		{Name: "struct", Type: arrow.StructOf(arrow.Field{Name: "v", Type: fixed, Nullable: true}), Nullable: true},
		{Name: "word", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}, Nullable: true},
		{Name: "when", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, Nullable: true},
		{Name: "decimal", Type: &arrow.Decimal128Type{Precision: 10, Scale: 2}, Nullable: true},
		{Name: "map", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64), Nullable: true},
		{Name: "half", Type: arrow.FixedWidthTypes.Float16, Nullable: true},
	}
	const rows = `[
{"large":["a","b"],"required":[1],"nested":[[1,2],[3,4]],"struct":{"v":[5,6]},"word":"red","when":"2020-02-29 01:02:03.000004Z","decimal":"1.25","map":[{"key":"k","value":1}],"half":1.5},
{"required":[]},
{"large":[],"required":[2,3],"nested":[null,[7,8]],"struct":{"v":null},"word":"green"},
{"large":[null,"c"],"required":[4],"nested":[[9,10]],"struct":{"v":[11,12]},"word":"red"}]`
	path := writeForeign(t, fields, rows)
	got := readParquet(t, path)
	var before, after bytes.Buffer
	if err := table.WriteJSONRows(&before, path, -1, table.Binary{}); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again.arrow")
	writeRecords(t, again, got)
	if err := table.WriteJSONRows(&after, again, -1, table.Binary{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.String(), after.String()); diff != "" {
		t.Error(diff)
	}
}

func TestElementsBelowNullsAreLeftOut(t *testing.T) {
	offsets, elements := []int32{0, 1, 2, 4}, []int32{7, 99, 8, 9, 100}
	child := array.NewData(arrow.PrimitiveTypes.Int32, len(elements),
		[]*memory.Buffer{nil, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(elements))}, nil, 0, 0)
	dt := arrow.ListOf(arrow.PrimitiveTypes.Int32)
	data := array.NewData(dt, 3, []*memory.Buffer{memory.NewBufferBytes([]byte{0b101}), memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets))},
		[]arrow.ArrayData{child}, array.UnknownNullCount, 0)
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: dt, Nullable: true}}, nil)
	path := filepath.Join(t.TempDir(), "x.arrow")
	writeRecords(t, path, array.NewTableFromRecords(schema, []arrow.Record{array.NewRecord(schema, []arrow.Array{array.MakeFromData(data)}, 3)}))
	want := []any{list([]int32{7}), nil, list([]int32{8, 9})}
	if diff := cmp.Diff(want, values(t, readParquet(t, path), "x")); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyTable(t *testing.T) {
	got := export(t, []struct {
		X int32 `arrow:"x"`
	}{})
	if got.NumRows() != 0 || got.NumCols() != 1 {
		t.Errorf("%d rows of %d columns", got.NumRows(), got.NumCols())
	}
}

func TestUnknownTypeIsAnError(t *testing.T) {
	path := writeForeign(t, []arrow.Field{{Name: "x", Type: arrow.FixedWidthTypes.Duration_ms}}, `[{"x":"5ms"}]`)
	err := parquet.Write(&bytes.Buffer{}, path)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), `column "x"`) {
		t.Error(err)
	}
}

func writeForeign(t *testing.T, fields []arrow.Field, rows string) string {
	t.Helper()
	schema := arrow.NewSchema(fields, nil)
	record, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "foreign.arrow")
	writeRecords(t, path, array.NewTableFromRecords(schema, []arrow.Record{record}))
	return path
}

func writeRecords(t *testing.T, path string, rows arrow.Table) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := ipc.NewFileWriter(f, ipc.WithSchema(rows.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	records := array.NewTableReader(rows, rows.NumRows())
	for records.Next() {
		if err := w.Write(records.Record()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEmptyLists(t *testing.T) {
	type row struct {
		ID      string    `arrow:"id"`
		Tags    []string  `arrow:"tags"`
		History []float32 `arrow:"history"`
	}
	for _, rows := range [][]row{{{ID: "a"}, {ID: "b"}}, {}} {
		got := export(t, rows)
		want := []any{}
		for range rows {
			want = append(want, []any{})
		}
		for _, name := range []string{"tags", "history"} {
			if diff := cmp.Diff(want, append([]any{}, values(t, got, name)...)); diff != "" {
				t.Errorf("column %s of %d rows (-want +got):\n%s", name, len(rows), diff)
			}
		}
	}
}
