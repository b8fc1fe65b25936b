package lines

import (
	"bytes"
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
	carry []byte // a line that began in an earlier block
	text  []byte
	line  int64
	row   int64
	err   error
}

// Open starts reading files. Errors, those of opening a file too, come from
// Err when their place is reached.
func Open(ctx context.Context, files []stages.File, options Options) *Reader {
	if options.MaxBytes == 0 {
		options.MaxBytes = DefaultMaxBytes
	}
	return &Reader{ahead: readAhead(ctx, files, options.Member), options: options}
}

// Close stops reading.
func (r *Reader) Close() { r.ahead.stop() }

// Next goes to the next line. It returns false at the end and at an error.
func (r *Reader) Next() bool {
	r.carry = r.carry[:0]
	for r.err == nil {
		part, ended := r.part()
		switch {
		case len(r.carry)+len(part) > r.options.MaxBytes:
			r.fail(fmt.Errorf("%w: it has more than %d bytes, so this is no file of lines", ErrTooLong, r.options.MaxBytes))
		case ended:
			return r.found(part)
		case r.block.err != nil:
			// A line that the error cut off is none.
			r.fail(r.block.err)
		case r.block.end && len(r.carry)+len(part) > 0:
			return r.found(part) // the last line of a file may lack its end
		default:
			r.carry = append(r.carry, part...)
			if !r.advance() {
				return false
			}
		}
	}
	return false
}

// part takes from the block what belongs to the current line.
func (r *Reader) part() (part []byte, ended bool) {
	part = r.rest
	i := bytes.IndexByte(r.rest, '\n')
	if ended = i >= 0; ended {
		part, r.rest = r.rest[:i], r.rest[i+1:]
	} else {
		r.rest = nil
	}
	return part, ended
}

// found makes what was carried and part the current line.
func (r *Reader) found(part []byte) bool {
	r.text = part
	if len(r.carry) > 0 {
		r.carry = append(r.carry, part...)
		r.text = r.carry
	}
	r.text = bytes.TrimSuffix(r.text, []byte{'\r'})
	r.line++
	r.row++
	return true
}

// advance goes to the next block.
func (r *Reader) advance() bool {
	next, ok, err := r.ahead.next(r.block)
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
