package lines

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/prismflow/prismflow/stages"
)

// DefaultMaxBytes bounds a line unless Options say otherwise. The longest
// lines of the Amazon files have some hundred kilobytes, and a parser may need
// fifty times the memory of a hostile one.
const DefaultMaxBytes = 16 << 20

// ErrDamaged is wrapped by errors about a compressed file that is incomplete
// or otherwise not what was compressed. How many lines it lost is not known.
var ErrDamaged = errors.New("damaged gzip data")

// ErrTooLong is wrapped by the error about a line longer than the bound.
var ErrTooLong = errors.New("line too long")

// Options change how files are read. The zero value is useful.
type Options struct {
	MaxBytes int // longest line, with its carriage return if any; 0 means DefaultMaxBytes
	// Member is the name of a file, without its directories, that is read of
	// each file that is a tar archive, gzip-compressed or not. Messages name it
	// behind the archive. Where it is empty archives are not looked into.
	Member string
	// OnProgress hears how many bytes of the files, as they lie on the disk,
	// were taken up, and how many there are. It may be nil.
	OnProgress func(done, total int64)
}

// A Reader reads the lines of several files, one file after the other. It is
// for one goroutine, and must be closed.
type Reader struct {
	ahead   *ahead
	options Options

	block block  // the one being read
	rest  []byte // of block, not yet returned
	text  []byte
	line  int64
	row   int64
	err   error
}

// Open starts reading files. Errors, those of opening a file too, come from
// Err when their place is reached.
func Open(ctx context.Context, files []stages.File, options Options) *Reader {
	options = options.withDefaults()
	return &Reader{ahead: readAhead(ctx, files, options.Member, options.MaxBytes), options: options}
}

func (o Options) withDefaults() Options {
	o.MaxBytes = cmp.Or(o.MaxBytes, DefaultMaxBytes)
	return o
}

// Close stops reading.
func (r *Reader) Close() { r.ahead.stop() }

// Next goes to the next line. It returns false at the end and at an error.
func (r *Reader) Next() bool {
	for r.err == nil {
		switch {
		case len(r.rest) > 0:
			return r.cut()
		case r.block.err != nil:
			r.fail(r.block.err)
		case !r.advance():
			return false
		}
	}
	return false
}

// cut makes the first line of what is left of the block the current one.
func (r *Reader) cut() bool {
	line, rest := cutLine(r.rest)
	if len(line) > r.options.MaxBytes {
		r.fail(tooLong(r.options.MaxBytes))
		return false
	}
	r.text, r.rest = withoutReturn(line), rest
	r.line++
	r.row++
	return true
}

// cutLine is the first line of text, and what is behind its end.
func cutLine(text []byte) (line, rest []byte) {
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		return text[:i], text[i+1:]
	}
	return text, nil // the last line of a file may lack its end
}

func withoutReturn(line []byte) []byte { return bytes.TrimSuffix(line, []byte{'\r'}) }

// advance goes to the next block.
func (r *Reader) advance() bool {
	r.ahead.recycle(r.block.data)
	next, ok, err := r.ahead.next()
	if !ok {
		r.block, r.err = block{}, err
		return false
	}
	if next.first {
		r.line = 0
	}
	r.block, r.rest = next, next.data
	if r.options.OnProgress != nil {
		r.options.OnProgress(next.done, r.ahead.total)
	}
	return true
}

// fail ends the reading at the line after the current one.
func (r *Reader) fail(err error) {
	r.line++
	r.err = r.Errorf("%w", err)
}

// Text is the current line without its end, valid until Next is called.
func (r *Reader) Text() []byte { return r.text }

// File is the name of the current line's file.
func (r *Reader) File() string { return r.block.file }

// Line is the current line's number in its file, from 1.
func (r *Reader) Line() int64 { return r.line }

// Row is the current line's number through all files, from 1.
func (r *Reader) Row() int64 { return r.row }

// Err is what ended the reading, or nil at the end of the files.
func (r *Reader) Err() error { return r.err }

// Errorf is an error at the current line: "file:line: …".
func (r *Reader) Errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", r.block.file, r.line, fmt.Errorf(format, args...))
}
