package records

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
)

// Options say how records are read.
type Options struct {
	What   string                  // the records are, for messages: "reviews"
	MaxBad int64                   // how many bad rows may be left out
	Member string                  // as [lines.Options] has it
	Python func(field string) bool // as [Parser] has it
}

// A Reader reads the records of a source line by line and leaves out those bad
// ones that it may. It is for one goroutine, and must be closed.
type Reader struct {
	lines  *lines.Reader
	parser Parser
	bad    badRows
	what   string
	rows   int64
	err    error
}

// Open starts reading files, and tells env how far it is.
func Open(ctx context.Context, env *stages.Env, files []stages.File, options Options) *Reader {
	progress := func(done, total int64) { env.Progress(done, total, "bytes") }
	return &Reader{
		lines:  lines.Open(ctx, files, lines.Options{Member: options.Member, OnProgress: progress}),
		parser: Parser{Python: options.Python},
		bad:    badRows{allowed: options.MaxBad, log: env.Log},
		what:   options.What,
	}
}

// Close stops reading.
func (r *Reader) Close() { r.lines.Close() }

// Next gives the next record to take, and the one after it where that refuses
// it, until one is taken. It reports false at the end, and when Err says why
// there is no further. A source without a record is an error.
func (r *Reader) Next(take func(Record) error) bool {
	for r.lines.Next() {
		if blank(r.lines.Text()) {
			continue
		}
		record, err := r.parser.Parse(r.lines.Text())
		if err == nil {
			err = take(record)
		}
		if err == nil {
			r.rows++
			return true
		}
		if r.err = r.bad.reject(r.Place(), r.lines.Text(), err); r.err != nil {
			return false
		}
	}
	if r.err = r.lines.Err(); r.err == nil && r.rows == 0 {
		r.err = noRows(r.what, r.bad.count)
	}
	return false
}

// Place is where the current record stands: "file:line".
func (r *Reader) Place() string { return fmt.Sprintf("%s:%d", r.lines.File(), r.lines.Line()) }

// Row is the current line's number through all files, from 1.
func (r *Reader) Row() int64 { return r.lines.Row() }

// Rows is how many records were taken.
func (r *Reader) Rows() int64 { return r.rows }

// Bad is how many rows were left out.
func (r *Reader) Bad() int64 { return r.bad.count }

// Err is what ended the reading, or nil at the end of the files.
func (r *Reader) Err() error { return r.err }

// badRows counts rows that are left out, and says when they are too many.
type badRows struct {
	allowed int64
	count   int64
	log     zerolog.Logger
}

// logged is how many bad rows are described in the log.
const logged = 20

// reject leaves out the line at place because of err. It returns an error when
// no more lines may be left out.
func (b *badRows) reject(place string, line []byte, err error) error {
	if stop := (stopError{}); errors.As(err, &stop) {
		return stop.error
	}
	if at := Column(line, err); at > 0 {
		place = fmt.Sprintf("%s:%d", place, at)
	}
	err = fmt.Errorf("%s: %w%s", place, err, hint(line))
	if errors.As(err, new(fatalError)) {
		return err
	}
	b.count++
	switch {
	case b.count <= b.allowed:
		if b.count <= logged {
			b.log.Warn().Err(err).Msg("row left out")
		}
		return nil
	case b.allowed == 0:
		return fmt.Errorf("%w; correct the file, or allow some such rows with max_bad_rows", err)
	default:
		return fmt.Errorf("%w; this is bad row %d and max_bad_rows allows %d", err, b.count, b.allowed)
	}
}

// hint says what the file might be instead.
func hint(line []byte) string {
	if len(line) > 0 && line[0] == '<' {
		return " (this looks like a web page: was the download refused?)"
	}
	return ""
}

// noRows is the error about a source of nothing but bad or blank lines.
func noRows(what string, bad int64) error {
	if bad > 0 {
		return fmt.Errorf("the source holds no %s but %d bad rows", what, bad)
	}
	return fmt.Errorf("the source holds no %s: is it the right file?", what)
}

func blank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' {
			return false
		}
	}
	return true
}
