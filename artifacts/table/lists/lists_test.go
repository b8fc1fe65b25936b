package lists

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/artifacts/table/foreign/foreigntest"
)

// readAll reads a file, as lists of their own.
func readAll(path, keys, lists string) ([]Row, error) {
	f, err := Open(path, keys, lists)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []Row
	for row, err := range f.All() {
		if err != nil {
			return rows, err
		}
		row.List = append([]float64(nil), row.List...)
		rows = append(rows, row)
	}
	if int64(len(rows)) != f.Rows() {
		return rows, fmt.Errorf("%d rows where the file says %d", len(rows), f.Rows())
	}
	return rows, nil
}

func listSchema(elementNull bool) *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "item", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "vector", Type: arrow.ListOfField(arrow.Field{Name: "item", Type: arrow.PrimitiveTypes.Float32, Nullable: elementNull}), Nullable: true},
	}, nil)
}

func TestNullsInParquet(t *testing.T) {
	for _, c := range []struct {
		json, want string
	}{
		{`[{"item": "a", "vector": [1, null]}]`, "element 1 is null"},
		{`[{"item": "a", "vector": [null, 1]}]`, "element 0 is null"},
		{`[{"item": "a", "vector": [null]}]`, "element 0 is null"},
	} {
		got, err := readAll(foreigntest.Write(t, foreigntest.Parquet(t, foreigntest.Record(t, listSchema(true), c.json), nil)), "item", "vector")
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v and %v, want %s", c.json, got, err, c.want)
		}
	}
	for _, elementNull := range []bool{false, true} {
		data := foreigntest.Parquet(t, foreigntest.Record(t, listSchema(elementNull), `[{"item": "a", "vector": null}, {"item": "b", "vector": []}, {"item": null, "vector": [1, 2]}]`), nil)
		got, err := readAll(foreigntest.Write(t, data), "item", "vector")
		if diff := cmp.Diff([]Row{{Key: "a"}, {Key: "b"}, {List: []float64{1, 2}}}, got); err != nil || diff != "" {
			t.Errorf("elements that may be null %v: %v\n%s", elementNull, err, diff)
		}
	}
}

// Any table comes back, through pages of both versions, dictionaries, row
// groups and compressions.
func TestParquetComesBack(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		width := rapid.IntRange(1, 40).Draw(rt, "width")
		rows := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) Row {
			row := Row{Key: rapid.StringMatching(`[a-c]{1,3}`).Draw(rt, "item")}
			if rapid.IntRange(0, 4).Draw(rt, "null") > 0 {
				for range width {
					row.List = append(row.List, float64(rapid.Float32Range(-2, 2).Draw(rt, "x")))
				}
			}
			return row
		}), 0, 50).Draw(rt, "rows")
		builder := array.NewRecordBuilder(memory.DefaultAllocator, listSchema(true))
		lists := builder.Field(1).(*array.ListBuilder)
		for _, row := range rows {
			builder.Field(0).(*array.StringBuilder).Append(row.Key)
			lists.Append(row.List != nil)
			for _, x := range row.List {
				lists.ValueBuilder().(*array.Float32Builder).Append(float32(x))
			}
		}
		var b bytes.Buffer
		w, err := pqarrow.NewFileWriter(listSchema(true), &b, parquet.NewWriterProperties(
			parquet.WithDataPageVersion(rapid.SampledFrom([]parquet.DataPageVersion{parquet.DataPageV1, parquet.DataPageV2}).Draw(rt, "version")),
			parquet.WithDataPageSize(rapid.Int64Range(1, 2000).Draw(rt, "page")),
			parquet.WithDictionaryDefault(rapid.Bool().Draw(rt, "dictionary")),
			parquet.WithCompression(rapid.SampledFrom([]compress.Compression{
				compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Zstd, compress.Codecs.Gzip,
			}).Draw(rt, "compression")),
			parquet.WithMaxRowGroupLength(rapid.Int64Range(1, 60).Draw(rt, "row group")),
			parquet.WithBatchSize(7),
		), pqarrow.NewArrowWriterProperties())
		if err != nil {
			rt.Fatal(err)
		}
		if err := w.Write(builder.NewRecord()); err != nil {
			rt.Fatal(err)
		}
		if err := w.Close(); err != nil {
			rt.Fatal(err)
		}
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			rt.Fatal(err)
		}
		got, err := readAll(path, "item", "vector")
		if err != nil {
			rt.Fatal(err)
		}
		if len(rows) == 0 {
			rows = nil
		}
		if diff := cmp.Diff(rows, got); diff != "" {
			rt.Fatalf("(-want +got)\n%s", diff)
		}
	})
}

func arrowFile(t testing.TB) string {
	t.Helper()
	type row struct {
		Item   int64     `arrow:"item"`
		Vector []float64 `arrow:"vector,nullable"`
	}
	path := filepath.Join(t.TempDir(), "file.arrow")
	w, err := table.Create[row](path)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AppendAll([]row{{-3, []float64{1, 2}}, {4, nil}, {5, []float64{}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestArrow(t *testing.T) {
	got, err := readAll(arrowFile(t), "item", "vector")
	if diff := cmp.Diff([]Row{{Key: "-3", List: []float64{1, 2}}, {Key: "4"}, {Key: "5"}}, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got)\n%s", err, diff)
	}
}
