package table

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"unsafe"
)

// Rows reads a table row by row. The columns that Row declares must be there
// with their types; others are not read. Given names, it reads those columns
// alone and leaves the other fields zero. An error ends the rows.
//
// Strings, slices and pointers share memory with others of their column in the
// same record batch: keep all of them or few, but copy (strings.Clone,
// slices.Clone) what is kept of many batches for long. Nobody changes that
// memory; slices may be changed in place and appended to.
func Rows[Row any](path string, columns ...string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		var zero Row
		r, err := newRowReader[Row](path, columns)
		if err != nil {
			yield(zero, err)
			return
		}
		defer r.close()
		for {
			rows, err := r.next()
			if err != nil {
				yield(zero, err)
				return
			}
			if len(rows) == 0 {
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

// ReadAll reads a whole table, as Rows does.
func ReadAll[Row any](path string, columns ...string) ([]Row, error) {
	r, err := newRowReader[Row](path, columns)
	if err != nil {
		return nil, err
	}
	defer r.close()
	var all []Row
	for {
		rows, err := r.next()
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			return all, nil
		}
		all = append(all, rows...)
	}
}

// rowsAtOnce are decoded column by column before they are handed out: enough
// to make up for the calls, few enough to stay in a cache.
const rowsAtOnce = 2048

// A rowReader decodes a table a few rows at a time.
type rowReader[Row any] struct {
	file   *File
	wanted []*rowField // the field to read each of the file's columns into, nil for none
	batch  int         // the next record batch
	first  int64       // the number of the current batch's first row
	loaded []*vector   // of the current batch, nil for columns not wanted
	rows   int64       // in the current batch
	at     int64       // the next row of it
	buffer []Row
}

func newRowReader[Row any](path string, columns []string) (*rowReader[Row], error) {
	fields, err := rowFieldsOf(reflect.TypeFor[Row]())
	if err != nil {
		return nil, err
	}
	fields, err = selectFields(fields, columns)
	if err != nil {
		return nil, err
	}
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	r := &rowReader[Row]{file: f, wanted: make([]*rowField, len(f.columns)), loaded: make([]*vector, len(f.columns))}
	if err := r.match(fields); err != nil {
		return nil, errors.Join(fmt.Errorf("reading table %s: %w", path, err), f.Close())
	}
	return r, nil
}

// selectFields keeps the fields of the named columns, or all without names.
func selectFields(fields []rowField, columns []string) ([]rowField, error) {
	if len(columns) == 0 {
		return fields, nil
	}
	var selected []rowField
	for _, name := range columns {
		i := indexOfField(fields, name)
		if i < 0 {
			return nil, fmt.Errorf("table: the row has %w", missingColumn(name, "any", schemaOfFields(fields).Names()))
		}
		selected = append(selected, fields[i])
	}
	return selected, nil
}

// match finds each field's column.
func (r *rowReader[Row]) match(fields []rowField) error {
	have := r.file.Schema()
	want := schemaOfFields(fields)
	for i := range want {
		want[i].Nullable = true // what counts is whether a value is null
	}
	if err := CheckColumns(have, want); err != nil {
		return err
	}
	for i := range fields {
		column := slices.Index(have.Names(), fields[i].Name)
		r.wanted[column] = &fields[i]
	}
	return nil
}

func (r *rowReader[Row]) close() { _ = r.file.Close() }

// next returns the rows that follow, none at the end. They are valid until the
// next call; what they point to stays.
func (r *rowReader[Row]) next() (rows []Row, err error) {
	defer r.file.guard(&err)
	for r.at == r.rows {
		if r.batch == len(r.file.batches) {
			return nil, nil
		}
		r.first += r.rows
		if err := r.load(); err != nil {
			return nil, err
		}
		r.batch++
	}
	n := min(rowsAtOnce, r.rows-r.at)
	if int64(len(r.buffer)) < n {
		r.buffer = make([]Row, n)
	}
	rows = r.buffer[:n]
	for i, f := range r.wanted {
		if f == nil {
			continue
		}
		if err := decodeColumn(f, r.loaded[i], r.at, r.at+n, unsafe.Pointer(unsafe.SliceData(rows)), unsafe.Sizeof(rows[0])); err != nil {
			return nil, inColumn(f.Name, r.first, err)
		}
	}
	r.at += n
	return rows, nil
}

// load reads the wanted columns of the next batch.
func (r *rowReader[Row]) load() error {
	l, err := r.file.batch(r.batch)
	if err != nil {
		return err
	}
	for i := range r.file.columns {
		c := &r.file.columns[i]
		if r.wanted[i] == nil {
			err = l.skip(c)
		} else {
			r.loaded[i], err = l.column(c)
		}
		if err != nil {
			return inColumn(c.name, r.first, err)
		}
	}
	r.rows, r.at = l.header.rows, 0
	return nil
}

// decodeColumn sets a field of consecutive rows to the values [from,to) of v.
func decodeColumn(f *rowField, v *vector, from, to int64, firstRow unsafe.Pointer, rowSize uintptr) error {
	if v.valid != nil && !f.Nullable {
		if null := nextBit(v.valid, from, to, false); null < to {
			return valueError{null, "is null, and the reader needs a value in every row"}
		}
	}
	return f.codec.decode(v, from, to, fieldColumn{first: unsafe.Add(firstRow, f.offset), stride: rowSize})
}
