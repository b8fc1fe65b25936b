package tabular

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/prismflow/prismflow/stages"
)

// maxFieldBytes bounds a text, or the texts of a list together: the longest texts
// of products have some hundred kilobytes.
const maxFieldBytes = 1 << 20

// A column is one that a parameter names. Where the name is empty nothing is
// read, and the column's fields are empty.
type column struct {
	param, name string
	holds       role
}

// A role says what a column's fields are for, and so which types they may have.
type role uint8

const (
	words  role = iota // text, or whole numbers as text
	number             // a number, or the text of one
	moment             // a time, or the number or the text of one
	list               // texts, or one text that is divided
)

func (r role) String() string {
	return [...]string{"text or whole numbers", "numbers", "times, or numbers or text of which time_format speaks", "text or lists of text"}[r]
}

// A field is one value of a record, valid until the next record is read.
type field struct {
	text     string
	seconds  int64    // since 1970, of a time that is known to be one
	list     []string // of a list that is known to be one
	kind     fieldKind
	sequence bool // text of a column that says to be divided by spaces
}

type fieldKind uint8

const (
	textField fieldKind = iota
	timeField
	listField
)

// A table reads the records of one file.
type table interface {
	// next goes to the next record and fills in the fields of the columns. At the
	// end it returns io.EOF; a *rowError concerns this record alone.
	next(fields []field) error
	// place is where the i-th column's field of the record stands, for a message.
	place(i int) string
	close()
}

// A reader reads the records of files one after the other, of each the fields of
// some columns.
type reader struct {
	files   []stages.File // not yet opened
	open    func(stages.File) (table, error)
	finish  func() error // what there is to say of all files together
	table   table        // of the current file; nil between files
	columns []column
	fields  []field
	bad     badRows

	row  int64 // of the record, from 1 through all files, without headers
	rows int64 // read well
	err  error // that ended the reading
}

// openTables starts reading files of that form. The reader must be closed.
func openTables(ctx context.Context, env *stages.Env, files []stages.File, f form, maxBad int64, columns ...column) *reader {
	o := newOpener(ctx, env, files, f, columns)
	return &reader{
		files: files, open: o.open, finish: o.fields.check,
		columns: columns, fields: make([]field, len(columns)),
		bad: badRows{allowed: maxBad, log: env.Log},
	}
}

func (r *reader) close() {
	if r.table != nil {
		r.table.close()
	}
}

// next reads the next record and has parse take it in, until that succeeds. It
// reports false at the end, and when err says why there is no further.
func (r *reader) next(parse func() error) bool {
	for r.err == nil {
		err := r.read()
		if err == nil {
			err = parse()
		}
		var bad *rowError
		switch {
		case err == nil:
			r.rows++
			return true
		case errors.As(err, &bad):
			r.err = r.bad.reject(bad)
		case err == io.EOF:
			r.err = r.finish()
			return false
		default:
			r.err = err
		}
	}
	return false
}

// read reads the next record, of the next file where the current one ends, and
// checks what is wanted of it.
func (r *reader) read() (err error) {
	for {
		if r.table == nil {
			if len(r.files) == 0 {
				return io.EOF
			}
			if r.table, err = r.open(r.files[0]); err != nil {
				return err
			}
			r.files = r.files[1:]
		}
		err := r.table.next(r.fields)
		switch {
		case err == nil:
			r.row++
			return r.check()
		case errors.As(err, new(*rowError)):
			r.row++
			return err
		case err != io.EOF:
			return err
		}
		r.table.close()
		r.table = nil
	}
}

// check checks what all fields must be.
func (r *reader) check() error {
	for i := range r.fields {
		f := &r.fields[i]
		size, valid := len(f.text), utf8.ValidString(f.text)
		for _, text := range f.list {
			size += len(text)
			valid = valid && utf8.ValidString(text)
		}
		switch {
		case size > maxFieldBytes:
			return r.errorf(i, "more than %d bytes", maxFieldBytes)
		case !valid && f.kind == listField:
			return r.errorf(i, "a text that is not UTF-8")
		case !valid:
			return r.errorf(i, "%.40q is not UTF-8", f.text)
		}
	}
	return nil
}

// named says whether a parameter names the i-th column.
func (r *reader) named(i int) bool { return r.columns[i].name != "" }

// text is the current record's field of the i-th column. It is valid until the
// next record is read.
func (r *reader) text(i int) string { return r.fields[i].text }

// id is a field that must not be empty.
func (r *reader) id(i int) (string, error) {
	text := r.text(i)
	if text == "" {
		return "", r.errorf(i, "empty, where an id should be")
	}
	return text, nil
}

// time is a field that is a time, by its type or else by read.
func (r *reader) time(i int, read clock) (int64, error) {
	f := r.fields[i]
	if f.kind != timeField {
		seconds, err := read(f.text)
		if err != nil {
			err = r.errorf(i, "%w", err)
		}
		return seconds, err
	}
	if f.seconds < 0 {
		return 0, r.errorf(i, "%s is before 1970", time.Unix(f.seconds, 0).UTC().Format(time.RFC3339))
	}
	return f.seconds, nil
}

// errorf is an error about the current record's field of the i-th column.
func (r *reader) errorf(i int, format string, args ...any) error {
	return fieldError(r.table.place(i), r.columns[i].name, format, args...)
}

// fieldError is an error about one field.
func fieldError(place, name, format string, args ...any) error {
	return &rowError{place: place, cause: fmt.Errorf("column %q: %w", name, fmt.Errorf(format, args...))}
}
