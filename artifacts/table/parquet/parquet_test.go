package parquet_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
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
