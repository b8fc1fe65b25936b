// Package foreigntest writes tables as other programs do, for tests of what reads
// them: with Arrow's own library, and columns that may be null.
//
//	data := foreigntest.File(t, "parquet", []string{"user", "at"}, []any{"", time.Time{}}, rows)
//
// It is no writer of tables for anything else.
package foreigntest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
)

// File is a file in the format "arrow" or "parquet". Values are string, int64,
// float64, []string, time.Time, which becomes a timestamp in nanoseconds with a
// zone, or nil, which becomes null; a column's type is that of its example.
func File(t testing.TB, format string, header []string, example []any, rows [][]any) []byte {
	t.Helper()
	var fields []arrow.Field
	for i, name := range header {
		fields = append(fields, arrow.Field{Name: name, Type: columnType(example[i]), Nullable: true})
	}
	schema := arrow.NewSchema(fields, nil)
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for _, row := range rows {
		for i, v := range row {
			appendValue(builder.Field(i), v)
		}
	}
	write := writeArrow
	if format == "parquet" {
		write = writeParquet
	}
	data, err := write(schema, builder.NewRecord())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func columnType(example any) arrow.DataType {
	switch example.(type) {
	case int64:
		return arrow.PrimitiveTypes.Int64
	case float64:
		return arrow.PrimitiveTypes.Float64
	case []string:
		return arrow.ListOf(arrow.BinaryTypes.String)
	case time.Time:
		return &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "Asia/Tokyo"}
	}
	return arrow.BinaryTypes.String
}

func appendValue(to array.Builder, v any) {
	switch v := v.(type) {
	case nil:
		to.AppendNull()
	case string:
		to.(*array.StringBuilder).Append(v)
	case int64:
		to.(*array.Int64Builder).Append(v)
	case float64:
		to.(*array.Float64Builder).Append(v)
	case time.Time:
		to.(*array.TimestampBuilder).Append(arrow.Timestamp(v.UnixNano()))
	case []string:
		list := to.(*array.ListBuilder)
		list.Append(true)
		for _, element := range v {
			appendValue(list.ValueBuilder(), element)
		}
	}
}

func writeArrow(schema *arrow.Schema, record arrow.Record) ([]byte, error) {
	var b bytes.Buffer
	w, err := ipc.NewFileWriter(onlyAppending{&b}, ipc.WithSchema(schema))
	if err != nil {
		return nil, err
	}
	if err := w.Write(record); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

// An onlyAppending is a file to the library, which asks where it is and never
// goes back.
type onlyAppending struct{ *bytes.Buffer }

func (b onlyAppending) Seek(int64, int) (int64, error) { return int64(b.Len()), nil }

func writeParquet(schema *arrow.Schema, record arrow.Record) ([]byte, error) {
	const rowsAGroup = 1000 // so that files have several
	return parquetFile(record, nil, parquet.WithMaxRowGroupLength(rowsAGroup))
}

func parquetFile(record arrow.Record, arrowOptions []pqarrow.WriterOption, options ...parquet.WriterProperty) ([]byte, error) {
	var b bytes.Buffer
	w, err := pqarrow.NewFileWriter(record.Schema(), &b, parquet.NewWriterProperties(options...), pqarrow.NewArrowWriterProperties(arrowOptions...))
	if err != nil {
		return nil, err
	}
	if record.NumRows() > 0 {
		if err := w.Write(record); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return b.Bytes(), err
}

// Record is what a program would write, from rows in JSON.
func Record(t testing.TB, schema *arrow.Schema, rows string) arrow.Record {
	t.Helper()
	r, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Parquet is a Parquet file of a record.
func Parquet(t testing.TB, r arrow.Record, arrowOptions []pqarrow.WriterOption, options ...parquet.WriterProperty) []byte {
	t.Helper()
	data, err := parquetFile(r, arrowOptions, options...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Write is the path of a temporary file that holds data.
func Write(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
