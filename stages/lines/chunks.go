package lines

import (
	"context"
	"fmt"
	"iter"

	"github.com/prismflow/prismflow/stages"
)

// Chunks reads files in pieces of whole lines, for who wants to share the work
// on them among goroutines:
//
//	chunks := lines.OpenChunks(ctx, source.Files(), lines.Options{})
//	defer chunks.Close()
//	for chunk := range chunks.All() {
//		for i, line := range chunk.Lines() { // in whichever goroutine
//			use(line, i)
//		}
//		chunk.Release()
//	}
//	err := chunks.Err()
//
// It is for one goroutine, and must be closed. OnProgress of the options is not
// heard; the chunks say how far they are.
type Chunks struct {
	ahead   *ahead
	options Options
	err     error
}

// OpenChunks starts reading files. Errors of the files come from the chunks.
func OpenChunks(ctx context.Context, files []stages.File, options Options) *Chunks {
	options = options.withDefaults()
	return &Chunks{ahead: readAhead(ctx, files, options.Member, options.MaxBytes), options: options}
}

// Close stops reading.
func (c *Chunks) Close() { c.ahead.stop() }

// Err is not nil when the reading was cancelled.
func (c *Chunks) Err() error { return c.err }

// All are the chunks in the order of the files.
func (c *Chunks) All() iter.Seq[*Chunk] {
	return func(yield func(*Chunk) bool) {
		for {
			next, ok, err := c.ahead.next()
			c.err = err
			if !ok || !yield(&Chunk{block: next, from: c}) {
				return
			}
		}
	}
}

// A Chunk is a piece of a file. It is for one goroutine at a time.
type Chunk struct {
	block block
	from  *Chunks
	err   error // a line that is too long
}

// First says whether it is the first of its file, from whose beginning lines
// are counted.
func (c *Chunk) First() bool { return c.block.first }

// Lines are the lines without their ends, counted from 0 in the chunk. They
// last until the chunk is released.
func (c *Chunk) Lines() iter.Seq2[int64, []byte] {
	return func(yield func(int64, []byte) bool) {
		line, rest := []byte(nil), c.block.data
		for i := int64(0); len(rest) > 0; i++ {
			if line, rest = cutLine(rest); len(line) > c.from.options.MaxBytes {
				c.err = tooLong(c.from.options.MaxBytes)
				return
			}
			if !yield(i, withoutReturn(line)) {
				return
			}
		}
	}
}

// Err says, after Lines, why there are no more lines in the file when that is
// not its end. It belongs to the line behind the chunk's last.
func (c *Chunk) Err() error {
	if c.err != nil {
		return c.err
	}
	return c.block.err
}

// Place is where a line stands: "file:line". line counts from 1 in the file.
func (c *Chunk) Place(line int64) string { return fmt.Sprintf("%s:%d", c.block.file, line) }

// Progress says how many bytes of the files, as they lie on the disk, were taken
// up, and how many there are.
func (c *Chunk) Progress() (done, total int64) { return c.block.done, c.from.ahead.total }

// Release gives the chunk's memory back, and may be called in any goroutine.
func (c *Chunk) Release() { c.from.ahead.recycle(c.block.data) }
