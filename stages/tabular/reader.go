package tabular

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
)

const (
	maxRecordBytes = 16 << 20 // as lines has it for one line
	maxFieldBytes  = 1 << 20  // the longest texts of products have some hundred kilobytes
)

// A column is one that a parameter names. Where the name is empty nothing is
// read, and the column's fields are empty.
type column struct{ param, name string }

// A reader reads the records of CSV files, of each the fields of some columns.
type reader struct {
	texts     *lines.Texts
	delimiter rune
	columns   []column
	bad       badRows

	csv    *csv.Reader // of the current file; nil between files
	bound  *boundedReader
	fields int   // of the current file's header
	at     []int // where in a record each of columns stands, -1 where it is not read
	record []string
	line   int   // where record begins, 0 before the first of a file
	offset int64 // in the current file, where record ends

	row  int64 // of record, from 1 through all files, without headers
	rows int64 // read well
	err  error // that ended the reading
}

// openTable starts reading files. The reader must be closed.
func openTable(ctx context.Context, env *stages.Env, files []stages.File, delimiter string, maxBad int64, columns ...column) *reader {
	comma, _ := utf8.DecodeRuneInString(delimiter)
	progress := func(done, total int64) { env.Progress(done, total, "bytes") }
	return &reader{
		texts:     lines.OpenTexts(ctx, files, lines.Options{OnProgress: progress}),
		delimiter: comma, columns: columns, at: make([]int, len(columns)),
		bad: badRows{allowed: maxBad, log: env.Log},
	}
}

func (r *reader) close() { r.texts.Close() }

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
			r.err = r.texts.Err()
			return false
		default:
			r.err = err
		}
	}
	return false
}

// read reads the next record, of the next file where the current one ends. An
// error that concerns this record alone is a *rowError.
func (r *reader) read() error {
	for {
		if r.csv == nil {
			if !r.texts.NextFile() {
				return io.EOF
			}
			if err := r.readHeader(); err != nil {
				return err
			}
		}
		if err := r.readRecord(); err != io.EOF {
			return err
		}
		r.csv = nil
	}
}

// readHeader starts a file.
func (r *reader) readHeader() error {
	r.bound = &boundedReader{from: r.texts}
	r.csv = csv.NewReader(r.bound)
	r.csv.Comma = r.delimiter
	r.csv.FieldsPerRecord = -1 // counted here, for a better message
	r.csv.ReuseRecord = true
	r.line, r.offset = 0, 0
	switch err := r.scan(); {
	case err == io.EOF:
		return fmt.Errorf("%s: the file is empty: a table begins with a header", r.texts.File())
	case err != nil:
		return err
	}
	r.fields = len(r.record)
	return r.locate(r.record)
}

// locate finds the columns in the header.
func (r *reader) locate(header []string) error {
	for _, name := range header {
		if !utf8.ValidString(name) {
			return fmt.Errorf("%s:1: the header is not UTF-8%s", r.texts.File(), otherEncoding(header[0]))
		}
	}
	var problems []error
	for i, c := range r.columns {
		r.at[i] = -1
		if c.name == "" {
			continue
		}
		r.at[i] = slices.Index(header, c.name)
		switch {
		case r.at[i] < 0:
			problems = append(problems, fmt.Errorf("%s:1: no column %q%s, which %s names; the header has %s%s",
				r.texts.File(), c.name, stages.Suggest(c.name, header), c.param, listed(header), otherDelimiter(header, r.delimiter)))
		case slices.Contains(header[r.at[i]+1:], c.name):
			problems = append(problems, fmt.Errorf("%s:1: the header has column %q twice", r.texts.File(), c.name))
		}
	}
	return errors.Join(problems...)
}

// listed names the columns of a header for a message.
func listed(header []string) string {
	const most = 20
	var b strings.Builder
	for i, name := range header[:min(len(header), most)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%.40s", name)
	}
	if len(header) > most {
		fmt.Fprintf(&b, " and %d more", len(header)-most)
	}
	return b.String()
}

// otherDelimiter says what a header of one column may be delimited by.
func otherDelimiter(header []string, delimiter rune) string {
	if len(header) > 1 {
		return ""
	}
	for _, other := range ",;\t|" {
		if other != delimiter && strings.ContainsRune(header[0], other) {
			return fmt.Sprintf(" (is it delimited by %q? set delimiter)", other)
		}
	}
	return ""
}

func otherEncoding(start string) string {
	if strings.HasPrefix(start, "\xff\xfe") || strings.HasPrefix(start, "\xfe\xff") {
		return " but UTF-16: save the file as UTF-8"
	}
	return ": save the file as UTF-8"
}

// readRecord reads the next record of the current file and checks what is
// wanted of it.
func (r *reader) readRecord() error {
	if err := r.scan(); err != nil {
		return err
	}
	r.row++
	if len(r.record) != r.fields {
		return r.rowErrorf("%d fields, and the header has %d", len(r.record), r.fields)
	}
	for i, at := range r.at {
		switch {
		case at < 0:
		case len(r.record[at]) > maxFieldBytes:
			return r.errorf(i, "more than %d bytes", maxFieldBytes)
		case !utf8.ValidString(r.record[at]):
			return r.errorf(i, "%.40q is not UTF-8", r.record[at])
		}
	}
	return nil
}

// scan reads a record of any content.
func (r *reader) scan() error {
	r.bound.left = maxRecordBytes + readAhead
	record, err := r.csv.Read()
	var syntax *csv.ParseError
	switch {
	case err == io.EOF:
		return err
	case errors.As(err, &syntax):
		return r.syntaxError(syntax)
	case err == nil && r.csv.InputOffset()-r.offset > maxRecordBytes:
		err = errTooLong
	}
	if err != nil {
		return fmt.Errorf("%s: after line %d: %w", r.texts.File(), r.line, err)
	}
	r.record, r.offset = record, r.csv.InputOffset()
	r.line, _ = r.csv.FieldPos(0)
	return nil
}

// syntaxError is no *rowError: where a quotation mark is missing, nobody knows
// how many rows are in quotes that should not be.
func (r *reader) syntaxError(err *csv.ParseError) error {
	begin := ""
	if err.StartLine != err.Line {
		begin = fmt.Sprintf(" in the record that begins at line %d", err.StartLine)
	}
	return fmt.Errorf("%s:%d:%d: %w%s; in CSV a field with quotation marks is itself in them, and they are doubled",
		r.texts.File(), err.Line, err.Column, err.Err, begin)
}

// text is the current record's field of the i-th column. It is valid until the
// next record is read.
func (r *reader) text(i int) string {
	if r.at[i] < 0 {
		return ""
	}
	return r.record[r.at[i]]
}

// id is a field that must not be empty.
func (r *reader) id(i int) (string, error) {
	text := r.text(i)
	if text == "" {
		return "", r.errorf(i, "empty, where an id should be")
	}
	return text, nil
}

// errorf is an error about the current record's field of the i-th column.
func (r *reader) errorf(i int, format string, args ...any) error {
	line, column := r.csv.FieldPos(r.at[i])
	return &rowError{
		place: fmt.Sprintf("%s:%d:%d", r.texts.File(), line, column),
		cause: fmt.Errorf("column %q: %w", r.columns[i].name, fmt.Errorf(format, args...)),
	}
}

// rowErrorf is an error about the current record as a whole.
func (r *reader) rowErrorf(format string, args ...any) error {
	return &rowError{place: fmt.Sprintf("%s:%d", r.texts.File(), r.line), cause: fmt.Errorf(format, args...)}
}

var errTooLong = fmt.Errorf("a record of more than %d bytes: is a quotation mark left open?", maxRecordBytes)

// readAhead is what encoding/csv may have buffered of the record behind.
const readAhead = 4 << 10

// A boundedReader gives no more than left bytes, since encoding/csv would take
// a file whose first quotation mark is never closed into memory as one field.
type boundedReader struct {
	from io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
