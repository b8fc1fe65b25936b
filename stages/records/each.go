package records

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/sourcegraph/conc/stream"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
)

const (
	// chunksAtOnce is how many pieces of a source, of about half a megabyte, are
	// parsed or wait for their turn. More than there are cores wait, so that those
	// have something to do while take is busy with the end of a batch.
	chunksAtOnce = 16
	// longLine is the length in bytes from which lines are parsed one at a time:
	// of a hostile one that takes fifty times its memory, which the parser keeps.
	longLine = 256 << 10
)

// Each reads files as a Reader does, on all cores: decode makes a value of a
// record, in any goroutine and any order; take is given the values one after the
// other in the order of the source. Either may refuse a record. What comes out,
// errors and their places too, is the same whatever the number of cores.
//
//	tally, err := records.Each(ctx, env, source.Files(), options,
//		func(r records.Record) (review, error) { … },            // of this record alone
//		func(at *records.Line, v review) error { … at.Row … })   // may keep state
//
// A value that outlives its record must not refer to the record's memory, as ID
// does and Name does not.
func Each[T any](ctx context.Context, env *stages.Env, files []stages.File, options Options,
	decode func(Record) (T, error), take func(*Line, T) error) (Tally, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	chunks := lines.OpenChunks(ctx, files, lines.Options{Member: options.Member})
	defer chunks.Close()
	o := &ordered[T]{
		env: env, stop: cancel, decode: decode, take: take, what: options.What,
		bad: badRows{allowed: options.MaxBad, log: env.Log}, line: Line{parser: Parser{Python: options.Python}},
	}
	parsers := sync.Pool{New: func() any { return &Parser{Python: options.Python} }}
	batches := sync.Pool{New: func() any { return new(batch[T]) }} // for the memory of their values
	workers := stream.New().WithMaxGoroutines(max(chunksAtOnce, runtime.GOMAXPROCS(0)))
	for chunk := range chunks.All() {
		workers.Go(func() stream.Callback {
			b := batches.Get().(*batch[T])
			*b = batch[T]{chunk: chunk, values: b.values[:0], err: ctx.Err()}
			if b.err == nil {
				parser := parsers.Get().(*Parser)
				b.decode(parser, decode)
				parsers.Put(parser)
			}
			return func() {
				o.add(b)
				chunk.Release()
				batches.Put(b)
			}
		})
	}
	workers.Wait()
	return o.end(chunks.Err())
}

// A Tally is how many records were taken, and how many lines left out.
type Tally struct{ Rows, Bad int64 }

// A Line is where a value comes from.
type Line struct {
	Row    int64 // its number through all files, from 1
	chunk  *lines.Chunk
	number int64 // in its file, from 1
	text   []byte
	parser Parser
}

// Place is the line's file and number: "file:line".
func (l *Line) Place() string { return l.chunk.Place(l.number) }

// Record is the line's record, read once more: for values that take more than
// decode knew. It lasts until take returns.
func (l *Line) Record() (Record, error) { return l.parser.Parse(l.text) }

// A batch is the values of a chunk.
type batch[T any] struct {
	chunk  *lines.Chunk
	lines  int64
	values []decoded[T]
	err    error // why nothing was decoded
}

// A decoded value is what came of a line that is not blank.
type decoded[T any] struct {
	line  int64 // in the chunk, from 0
	text  []byte
	value T
	err   error
	late  bool // a long line, which is decoded when it is taken
}

func (b *batch[T]) decode(parser *Parser, decode func(Record) (T, error)) {
	for i, text := range b.chunk.Lines() {
		b.lines = i + 1
		if blank(text) {
			continue
		}
		d := decoded[T]{line: i, text: text, late: len(text) > longLine}
		if !d.late {
			d.parse(parser, decode)
		}
		b.values = append(b.values, d)
	}
}

func (d *decoded[T]) parse(parser *Parser, decode func(Record) (T, error)) {
	record, err := parser.Parse(d.text)
	if err == nil {
		d.value, err = decode(record)
	}
	d.err = err
}

// ordered takes values in the order of the source, until one ends that.
type ordered[T any] struct {
	env    *stages.Env
	stop   func()
	decode func(Record) (T, error)
	take   func(*Line, T) error
	what   string
	bad    badRows

	line       Line  // the current one
	linesAhead int64 // of its file, before the current chunk
	rowsAhead  int64 // of all files
	rows       int64 // taken
	err        error
}

// add takes the values of the next chunk.
func (o *ordered[T]) add(b *batch[T]) {
	if o.err == nil {
		o.err = b.err
	}
	if o.err != nil {
		return
	}
	done, total := b.chunk.Progress()
	o.env.Progress(done, total, "bytes")
	if b.chunk.First() {
		o.linesAhead = 0
	}
	o.line.chunk = b.chunk
	for i := range b.values {
		if o.err = o.one(&b.values[i]); o.err != nil {
			o.stop()
			return
		}
	}
	o.linesAhead += b.lines
	o.rowsAhead += b.lines
	if err := b.chunk.Err(); err != nil {
		o.err = fmt.Errorf("%s: %w", b.chunk.Place(o.linesAhead+1), err)
		o.stop()
	}
}

func (o *ordered[T]) one(d *decoded[T]) error {
	o.line.number, o.line.Row, o.line.text = o.linesAhead+d.line+1, o.rowsAhead+d.line+1, d.text
	if d.late {
		d.parse(&o.line.parser, o.decode)
	}
	err := d.err
	if err == nil {
		err = o.take(&o.line, d.value)
	}
	if err == nil {
		o.rows++
		return nil
	}
	return o.bad.reject(o.line.Place(), d.text, err)
}

// end says how it went. cancelled is why not all chunks came, if that is so.
func (o *ordered[T]) end(cancelled error) (Tally, error) {
	err := o.err
	switch {
	case err != nil:
	case cancelled != nil:
		err = cancelled
	case o.rows == 0:
		err = noRows(o.what, o.bad.count)
	}
	return Tally{Rows: o.rows, Bad: o.bad.count}, err
}
