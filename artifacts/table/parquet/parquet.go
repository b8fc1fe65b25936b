// Package parquet exports a table as a Parquet file.
//
//	out, err := os.Create("features.parquet")
//	err = parquet.Write(out, "features.arrow")
//	err = out.Close()
//
// It is a package of its own because Parquet more than triples the size of a
// program that links it: only the command that exports should.
//
// The file has the table's columns, with two differences: fixed-size lists are
// lists, since the Parquet writer of Arrow 17 drops the values of fixed-size
// ones without a word, and dictionaries are plain columns, which the writer
// dictionary-encodes anyway. It does not read Parquet.
package parquet

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"github.com/prismflow/prismflow/artifacts/table"
)

// Write writes the table in the Arrow file at path to w as Parquet, compressed by
// zstd, a row group for each record batch.
func Write(w io.Writer, path string) (err error) {
	f, err := table.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	defer func() {
		if cause := recover(); cause != nil { // the library's, on a type that it does not know
			err = fmt.Errorf("%v", cause)
		}
		if err != nil {
			err = fmt.Errorf("exporting table %s to Parquet: %w", path, err)
		}
	}()
	return export(w, f)
}

func export(w io.Writer, f *table.File) (err error) {
	schema := plainSchema(f.ArrowSchema())
	properties := parquet.NewWriterProperties(
		parquet.WithCompression(compress.Codecs.Zstd),
		parquet.WithVersion(parquet.V2_6), // nanoseconds and unsigned 32 bits as they are
	)
	for _, field := range schema.Fields() { // one by one, since the library's error names none
		one := arrow.NewSchema([]arrow.Field{field}, nil)
		if _, err := pqarrow.ToParquet(one, properties, pqarrow.NewArrowWriterProperties()); err != nil {
			return fmt.Errorf("column %q: %w", field.Name, err)
		}
	}
	out, err := pqarrow.NewFileWriter(schema, onlyWriter{w}, properties, pqarrow.NewArrowWriterProperties())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for record, err := range f.Records() {
		if err != nil {
			return err
		}
		plain, err := plainRecord(schema, record)
		if err != nil {
			return err
		}
		if err := out.Write(plain); err != nil {
			return err
		}
	}
	return nil
}

// onlyWriter hides a Close, which the library would call.
type onlyWriter struct{ io.Writer }

// plainSchema is the schema with the types that the library writes correctly.
func plainSchema(schema *arrow.Schema) *arrow.Schema {
	fields := make([]arrow.Field, schema.NumFields())
	for i, f := range schema.Fields() {
		f.Type = plainType(f.Type)
		fields[i] = f
	}
	return arrow.NewSchema(fields, nil)
}

// plainType replaces every kind of list by the one that the library knows, a
// list of 32-bit offsets with elements that may be null.
func plainType(dt arrow.DataType) arrow.DataType {
	switch t := dt.(type) {
	case *arrow.MapType:
		return t
	case *arrow.StructType:
		fields := make([]arrow.Field, t.NumFields())
		for i, f := range t.Fields() {
			f.Type = plainType(f.Type)
			fields[i] = f
		}
		return arrow.StructOf(fields...)
	case arrow.ListLikeType:
		return arrow.ListOf(plainType(t.Elem()))
	}
	return dt
}

func plainRecord(schema *arrow.Schema, record arrow.Record) (arrow.Record, error) {
	columns := make([]arrow.Array, record.NumCols())
	for i, column := range record.Columns() {
		data, err := plainData(column.Data(), schema.Field(i).Type)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", schema.Field(i).Name, err)
		}
		columns[i] = array.MakeFromData(data)
	}
	return array.NewRecord(schema, columns, record.NumRows()), nil
}

// plainData gives data the type plainType(its type). Data is as a table's
// records have it: no offset, and nothing to release.
func plainData(data arrow.ArrayData, dt arrow.DataType) (arrow.ArrayData, error) {
	switch t := dt.(type) {
	case *arrow.ListType:
		return plainList(data, t)
	case *arrow.StructType:
		return plainStruct(data, t)
	case arrow.BinaryDataType:
		return withFirstOffset(data), nil
	}
	return data, nil
}

// withFirstOffset gives texts of which there are none, such as the elements of
// lists that are all empty, the offset 0 that Arrow lets them lack and the library
// reads.
func withFirstOffset(data arrow.ArrayData) arrow.ArrayData {
	if data.Len() > 0 {
		return data
	}
	buffers := slices.Clone(data.Buffers())
	buffers[1] = memory.NewBufferBytes(make([]byte, arrow.Int64SizeBytes)) // enough for large ones, too
	return array.NewData(data.DataType(), 0, buffers, data.Children(), 0, 0)
}

func plainStruct(data arrow.ArrayData, dt *arrow.StructType) (arrow.ArrayData, error) {
	children := make([]arrow.ArrayData, dt.NumFields())
	for i, child := range data.Children() {
		var err error
		if children[i], err = plainData(child, dt.Field(i).Type); err != nil {
			return nil, err
		}
	}
	return array.NewData(dt, data.Len(), data.Buffers(), children, data.NullN(), 0), nil
}

// plainList leaves out the elements that lie below null lists, which the
// elements of a Parquet column cannot.
func plainList(data arrow.ArrayData, dt *arrow.ListType) (arrow.ArrayData, error) {
	lists := array.MakeFromData(data).(array.ListLike)
	offsets := make([]int32, 1, data.Len()+1)
	var kept runs
	for i := range data.Len() {
		if lists.IsValid(i) {
			from, to := lists.ValueOffsets(i)
			kept.add(from, to)
		}
		if kept.n > math.MaxInt32 {
			return nil, fmt.Errorf("lists of more than %d elements in one record batch", math.MaxInt32)
		}
		offsets = append(offsets, int32(kept.n))
	}
	elements, err := plainData(lists.ListValues().Data(), dt.Elem())
	if err != nil {
		return nil, err
	}
	if elements, err = kept.of(elements); err != nil {
		return nil, err
	}
	buffers := []*memory.Buffer{data.Buffers()[0], memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets))}
	return array.NewData(dt, data.Len(), buffers, []arrow.ArrayData{elements}, data.NullN(), 0), nil
}

// runs are ranges of elements, joined where they touch.
type runs struct {
	ranges [][2]int64
	n      int64 // elements in all
}

func (r *runs) add(from, to int64) {
	if from == to {
		return
	}
	r.n += to - from
	if last := len(r.ranges) - 1; last >= 0 && r.ranges[last][1] == from {
		r.ranges[last][1] = to
		return
	}
	r.ranges = append(r.ranges, [2]int64{from, to})
}

// of is the elements in the ranges, one after another.
func (r *runs) of(elements arrow.ArrayData) (arrow.ArrayData, error) {
	if len(r.ranges) == 0 {
		return array.NewSliceData(elements, 0, 0), nil
	}
	parts := make([]arrow.Array, len(r.ranges))
	for i, part := range r.ranges {
		parts[i] = array.MakeFromData(array.NewSliceData(elements, part[0], part[1]))
	}
	if len(parts) == 1 {
		return parts[0].Data(), nil
	}
	joined, err := array.Concatenate(parts, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	return joined.Data(), nil
}
