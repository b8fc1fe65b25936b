package tabular

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
)

// maxRecordBytes bounds a record, as lines has it for one line.
const maxRecordBytes = 16 << 20

// A quotedReader reads records whose fields may be in quotation marks, as RFC
// 4180 has it.
type quotedReader struct {
	texts  *lines.Texts
	csv    *csv.Reader
	bound  *boundedReader
	line   int   // where the record begins, 0 before the first
	offset int64 // where it ends
}

func openQuoted(ctx context.Context, file stages.File, delimiter string, options lines.Options) *quotedReader {
	r := &quotedReader{texts: lines.OpenTexts(ctx, []stages.File{file}, options)}
	r.texts.NextFile() // what is wrong with it comes from Read
	r.bound = &boundedReader{from: r.texts}
	r.csv = csv.NewReader(r.bound)
	r.csv.Comma, _ = utf8.DecodeRuneInString(delimiter)
	r.csv.FieldsPerRecord = -1 // counted by the table, for a better message
	r.csv.ReuseRecord = true
	return r
}

func (r *quotedReader) close() { r.texts.Close() }

func (r *quotedReader) read() ([]string, error) {
	r.bound.left = maxRecordBytes + readAhead
	record, err := r.csv.Read()
	var syntax *csv.ParseError
	switch {
	case err == io.EOF:
		return nil, err
	case errors.As(err, &syntax):
		return nil, r.syntaxError(syntax)
	case err == nil && r.csv.InputOffset()-r.offset > maxRecordBytes:
		err = errTooLong
	}
	if err != nil {
		return nil, fmt.Errorf("%s: after line %d: %w", r.texts.File(), r.line, err)
	}
	r.offset = r.csv.InputOffset()
	r.line, _ = r.csv.FieldPos(0)
	return record, nil
}

func (r *quotedReader) position(field int) (line, column int) { return r.csv.FieldPos(field) }

// syntaxError is no *rowError: where a quotation mark is missing, nobody knows
// how many rows are in quotes that should not be.
func (r *quotedReader) syntaxError(err *csv.ParseError) error {
	begin := ""
	if err.StartLine != err.Line {
		begin = fmt.Sprintf(" in the record that begins at line %d", err.StartLine)
	}
	return fmt.Errorf("%s:%d:%d: %w%s; in CSV a field with quotation marks is itself in them, and they are doubled (quotes = false takes them as they are)",
		r.texts.File(), err.Line, err.Column, err.Err, begin)
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
