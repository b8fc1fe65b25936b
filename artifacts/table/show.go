package table

import (
	"bufio"
	"io"
	"iter"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

// vectors reads the table batch by batch, all columns.
func (f *File) vectors() iter.Seq2[[]*vector, error] {
	return func(yield func([]*vector, error) bool) {
		first := int64(0)
		for i := range f.batches {
			columns, rows, err := f.wholeBatch(i, first)
			if err != nil {
				yield(nil, err)
				return
			}
			if rows > 0 && !yield(columns, nil) {
				return
			}
			first += rows
		}
	}
}

func (f *File) wholeBatch(i int, first int64) (columns []*vector, rows int64, err error) {
	defer f.guard(&err)
	l, err := f.batch(i)
	if err != nil {
		return nil, 0, err
	}
	columns = make([]*vector, len(f.columns))
	for j := range f.columns {
		if columns[j], err = l.column(&f.columns[j]); err != nil {
			return nil, 0, inColumn(f.columns[j].name, first, err)
		}
	}
	return columns, l.header.rows, nil
}

// ArrowSchema is the schema of Records.
func (f *File) ArrowSchema() *arrow.Schema {
	fields := make([]arrow.Field, len(f.columns))
	for i, c := range f.columns {
		fields[i] = arrow.Field{Name: c.name, Type: c.dt, Nullable: c.nullable}
	}
	return arrow.NewSchema(fields, nil)
}

// Records reads the table as the Arrow library's record batches, for exporters
// to other formats. Dictionaries come expanded. Nothing needs to be released.
func (f *File) Records() iter.Seq2[arrow.Record, error] {
	schema := f.ArrowSchema()
	return func(yield func(arrow.Record, error) bool) {
		for columns, err := range f.vectors() {
			if err != nil {
				yield(nil, err)
				return
			}
			arrays := make([]arrow.Array, len(columns))
			for i, v := range columns {
				arrays[i] = array.MakeFromData(v.toArrow())
			}
			if !yield(array.NewRecord(schema, arrays, columns[0].n), nil) {
				return
			}
		}
	}
}

// eachRow calls print with the text of each of the first rows, all when head
// is negative. ofBatch makes the cell that is a whole row of a batch.
func (f *File) eachRow(head int64, ofBatch func([]*vector) cell, print func(line []byte) error) error {
	var line []byte
	for columns, err := range f.vectors() {
		if err != nil {
			return err
		}
		row, err := guarded(f, func() cell { return ofBatch(columns) })
		if err != nil {
			return err
		}
		for i := range columns[0].n {
			if head == 0 {
				return nil
			}
			head--
			if line, err = guarded(f, func() []byte { return row(line[:0], i) }); err != nil {
				return err
			}
			if err := print(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// guarded makes an error of a panic, such as the library's on a value that it
// cannot print.
func guarded[T any](f *File, of func() T) (out T, err error) {
	defer f.guard(&err)
	return of(), nil
}

// writeLines writes a first line, unless it is nil, and one for each row.
func (f *File) writeLines(w io.Writer, first []byte, head int64, ofBatch func([]*vector) cell) error {
	out := bufio.NewWriterSize(w, 64<<10)
	print := func(line []byte) error {
		_, err := out.Write(append(line, '\n'))
		return err
	}
	if first != nil {
		if err := print(first); err != nil {
			return err
		}
	}
	if err := f.eachRow(head, ofBatch, print); err != nil {
		return err
	}
	return out.Flush()
}

// WriteJSONRows writes the first head rows of a table, all when head is
// negative, each as a JSON object on a line, the columns in order. Nulls are
// null; binary is what binary makes of it; times and decimals are text; NaN and the
// infinities, which JSON lacks, are the strings "NaN", "Infinity" and "-Infinity".
func WriteJSONRows(w io.Writer, path string, head int64, binary Binary) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	names := f.Schema().Names()
	return f.writeLines(w, nil, head, func(columns []*vector) cell { return binary.orDefault().jsonObject(names, columns) })
}

// WriteCSV writes a table with a header line in the form of RFC 4180, but with
// line feeds alone at the ends of lines. A null is an empty field and an empty
// text a quoted one. Lists and structs are JSON within a field; other values
// are written as in WriteJSONRows, without its quotes, and binary in base64.
func WriteCSV(w io.Writer, path string) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var header []byte
	for i, name := range f.Schema().Names() {
		if i > 0 {
			header = append(header, ',')
		}
		header = appendCSV(header, name)
	}
	return f.writeLines(w, header, -1, csvRow)
}

func csvRow(columns []*vector) cell {
	cells := make([]cell, len(columns))
	for i, v := range columns {
		cells[i] = csvCell(v)
	}
	return func(dst []byte, row int64) []byte {
		for i, c := range cells {
			if i > 0 {
				dst = append(dst, ',')
			}
			if !columns[i].isNull(row) {
				dst = c(dst, row)
			}
		}
		return dst
	}
}

func csvCell(v *vector) cell {
	if isText(v.dt) {
		return func(dst []byte, i int64) []byte { return appendCSV(dst, v.text(i)) }
	}
	value := Binary{}.orDefault().jsonValue(v)
	if v.children != nil {
		return func(dst []byte, i int64) []byte { return appendCSV(dst, string(value(nil, i))) }
	}
	return func(dst []byte, i int64) []byte {
		return appendCSV(dst, strings.Trim(string(value(nil, i)), `"`))
	}
}

// appendCSV writes a field, quoted where it must be or is empty.
func appendCSV(dst []byte, s string) []byte {
	if s != "" && !strings.ContainsAny(s, "\",\r\n") && strings.TrimSpace(s) == s {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(s, `"`, `""`)...)
	return append(dst, '"')
}
