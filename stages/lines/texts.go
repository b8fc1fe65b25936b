package lines

import (
	"context"
	"io"

	"github.com/prismflow/prismflow/stages"
)

// Texts reads files whole rather than line by line, for formats in which a
// record may have several lines. It is for one goroutine, and must be closed.
//
//	texts := lines.OpenTexts(ctx, source.Files(), lines.Options{})
//	defer texts.Close()
//	for texts.NextFile() {
//		use(texts.File(), texts) // an io.Reader of one file, inflated
//	}
//	err := texts.Err()
type Texts struct {
	ahead   *ahead
	options Options

	block block  // the one being read
	rest  []byte // of block, not yet read
	err   error
}

// OpenTexts starts reading files. Errors, those of opening a file too, come
// from Read when their place is reached. MaxBytes does not apply.
func OpenTexts(ctx context.Context, files []stages.File, options Options) *Texts {
	return &Texts{ahead: readAhead(ctx, files, options.Member, 0), options: options}
}

// Close stops reading.
func (t *Texts) Close() { t.ahead.stop() }

// NextFile goes to the next file, over what was not read of the one before. It
// returns false at the end and at an error.
func (t *Texts) NextFile() bool {
	for t.err == nil {
		if t.err = t.block.err; t.err != nil || !t.advance() {
			return false
		}
		if t.block.first {
			return true
		}
	}
	return false
}

// File is the name of the current file.
func (t *Texts) File() string { return t.block.file }

// Err is what ended the reading, or nil at the end of the files.
func (t *Texts) Err() error { return t.err }

// Read reads of the current file, and returns io.EOF at that file's end.
func (t *Texts) Read(p []byte) (int, error) {
	for len(t.rest) == 0 {
		switch {
		case t.block.err != nil:
			t.err = t.block.err
			return 0, t.err
		case t.block.end:
			return 0, io.EOF
		case !t.advance():
			return 0, t.err
		}
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

// advance goes to the next block, and reports false when there is none.
func (t *Texts) advance() bool {
	t.ahead.recycle(t.block.data)
	next, ok, err := t.ahead.next()
	if !ok {
		t.block, t.err = block{end: true}, err
		return false
	}
	t.block, t.rest = next, next.data
	if t.options.OnProgress != nil {
		t.options.OnProgress(next.done, t.ahead.total)
	}
	return true
}
