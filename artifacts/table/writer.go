package table

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"reflect"
	"unicode/utf8"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/prismflow/prismflow/artifacts"
)

// A record batch ends at whichever of these it reaches first. They depend on
// the rows alone, so that the same rows give the same file.
const (
	maxBatchRows  = 64 << 10
	maxBatchBytes = 16 << 20
)

// An Option changes how a table is written.
type Option func(*config)

type config struct {
	widths    map[string]int
	allocator memory.Allocator
}

// WithWidth gives the length of a column's fixed-size lists, which otherwise
// is that of the first row. A table that may come out empty needs it.
func WithWidth(column string, width int) Option {
	return func(c *config) { c.widths[column] = width }
}

// A Writer writes a table to a file. It is for one goroutine. It must be
// closed or aborted.
type Writer[Row any] struct {
	file     *os.File
	sink     *sink
	fields   []rowField
	builders []builder
	digests  []*digester
	ipc      *ipc.FileWriter // nil until the first batch, which tells the widths
	schema   *arrow.Schema
	options  config
	row      Row   // the one that Append is given, which must not escape by itself
	pending  int64 // rows in the builders
	rows     int64 // rows in batches
	held     int64 // bytes in the builders
	err      error // the first one, which makes the file worthless
	done     bool
}

// Create makes the file, or empties one that exists.
func Create[Row any](path string, opts ...Option) (*Writer[Row], error) {
	fields, err := rowFieldsOf(reflect.TypeFor[Row]())
	if err != nil {
		return nil, err
	}
	options := config{widths: map[string]int{}, allocator: memory.DefaultAllocator}
	for _, opt := range opts {
		opt(&options)
	}
	if err := setWidths(fields, options.widths); err != nil {
		return nil, err
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("creating table: %w", err)
	}
	w := &Writer[Row]{file: file, sink: newSink(file), fields: fields, options: options}
	for _, f := range fields {
		w.builders = append(w.builders, f.codec.builder(f, &w.held))
	}
	return w, nil
}

func setWidths(fields []rowField, widths map[string]int) error {
	for name, width := range widths {
		i := indexOfField(fields, name)
		switch {
		case i < 0:
			return fmt.Errorf("table: width of %d for %q: %w", width, name, missingColumn(name, "fixed_size_list", schemaOfFields(fields).Names()))
		case !fields[i].fixed:
			return fmt.Errorf("table: width of %d for column %q, which is %s and no fixed-size list", width, name, fields[i].Type)
		case width < 1 || fields[i].width > 0 && fields[i].width != width:
			return fmt.Errorf("table: width of %d for column %q of type %s", width, name, fields[i].Type)
		}
		fields[i].width = width
		fields[i].Type = fields[i].codec.typeName(width)
	}
	return nil
}

func indexOfField(fields []rowField, name string) int {
	for i, f := range fields {
		if f.Name == name {
			return i
		}
	}
	return -1
}

// Append adds a row. It copies what it keeps. After an error the table is
// worthless, and Close returns the same error.
func (w *Writer[Row]) Append(row Row) error {
	w.row = row
	return w.append(&w.row)
}

// AppendAll adds rows in order, as Append does.
func (w *Writer[Row]) AppendAll(rows []Row) error {
	for i := range rows {
		if err := w.append(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer[Row]) append(row *Row) error {
	if w.err != nil {
		return w.err
	}
	if w.done {
		return w.fail(errors.New("the table is closed"))
	}
	for i, b := range w.builders {
		if err := b.append(unsafe.Pointer(row)); err != nil {
			return w.fail(fmt.Errorf("column %q, row %d: %w", w.fields[i].Name, w.rows+w.pending, err))
		}
	}
	w.pending++
	if (w.pending >= maxBatchRows || w.held >= maxBatchBytes) && w.unknownWidth() == "" {
		return w.flush()
	}
	return nil
}

// fail keeps the first error.
func (w *Writer[Row]) fail(err error) error {
	w.err = fmt.Errorf("writing table %s: %w", w.file.Name(), err)
	return w.err
}

// unknownWidth names a column of fixed-size lists without any so far.
func (w *Writer[Row]) unknownWidth() string {
	for i, f := range w.fields {
		if f.fixed && w.builders[i].width() == 0 {
			return f.Name
		}
	}
	return ""
}

// flush writes the rows in the builders as one record batch.
func (w *Writer[Row]) flush() error {
	if err := w.start(); err != nil {
		return w.fail(err)
	}
	columns := make([]arrow.Array, len(w.builders))
	for i, b := range w.builders {
		v := b.take()
		if err := checkText(v); err != nil {
			return w.fail(inColumn(w.fields[i].Name, w.rows, err))
		}
		w.digests[i].add(v)
		columns[i] = array.MakeFromData(v.toArrow())
	}
	batch := array.NewRecord(w.schema, columns, w.pending)
	defer batch.Release()
	for _, column := range columns {
		column.Release()
	}
	if err := w.ipc.Write(batch); err != nil {
		return w.fail(err)
	}
	w.rows += w.pending
	w.pending, w.held = 0, 0
	return nil
}

// start writes the schema, once all widths are known.
func (w *Writer[Row]) start() error {
	if w.ipc != nil {
		return nil
	}
	if name := w.unknownWidth(); name != "" {
		return fmt.Errorf("column %q: no row has told the length of its lists; give it by WithWidth(%q, …)", name, name)
	}
	columns := make([]arrow.Field, len(w.fields))
	for i := range w.fields {
		f := &w.fields[i]
		f.width = w.builders[i].width()
		columns[i] = arrow.Field{Name: f.Name, Type: f.dataType(), Nullable: f.Nullable}
		w.digests = append(w.digests, newDigester(f.dataType()))
	}
	w.schema = arrow.NewSchema(columns, nil)
	var err error
	w.ipc, err = ipc.NewFileWriter(w.sink, w.ipcOptions()...)
	return err
}

// ipcOptions compresses tables without fixed-size lists. Those hold embeddings
// as a rule, which no compressor makes smaller (measured: not by a percent)
// and which are read faster as they are. A buffer that does not shrink, such
// as one of pictures, stays as it is in any table.
func (w *Writer[Row]) ipcOptions() []ipc.Option {
	options := []ipc.Option{ipc.WithSchema(w.schema), ipc.WithAllocator(w.options.allocator)}
	for _, f := range w.fields {
		if f.fixed {
			return options
		}
	}
	return append(options, ipc.WithZstd(), ipc.WithMinSpaceSavings(minSpaceSavings))
}

const minSpaceSavings = 0.1

// Close writes what is left, closes the file and describes it. When it fails
// it removes the file.
func (w *Writer[Row]) Close() (artifacts.Output, error) {
	if w.done {
		return artifacts.Output{}, w.closedTwice()
	}
	if err := w.finish(); err != nil {
		w.Abort()
		return artifacts.Output{}, err
	}
	w.done = true
	if err := w.file.Close(); err != nil {
		_ = os.Remove(w.file.Name())
		return artifacts.Output{}, fmt.Errorf("closing table: %w", err)
	}
	return w.output(), nil
}

func (w *Writer[Row]) closedTwice() error {
	if w.err != nil {
		return w.err
	}
	return fmt.Errorf("closing table %s: it is closed", w.file.Name())
}

func (w *Writer[Row]) finish() error {
	if w.err != nil {
		return w.err
	}
	if err := w.start(); err != nil {
		return w.fail(err)
	}
	if w.pending > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if err := w.ipc.Close(); err != nil {
		return w.fail(err)
	}
	if err := w.sink.flush(); err != nil {
		return w.fail(err)
	}
	return nil
}

func (w *Writer[Row]) output() artifacts.Output {
	out := artifacts.Output{
		Digest: artifacts.DigestOfHash(w.sink.hash),
		Bytes:  w.sink.position,
		Rows:   w.rows,
	}
	for i, f := range w.fields {
		out.Columns = append(out.Columns, artifacts.Column{
			Name:   f.Name,
			Type:   typeName(w.schema.Field(i).Type),
			Digest: w.digests[i].sum(),
		})
	}
	return out
}

// Abort closes and removes the file. After Close it does nothing.
func (w *Writer[Row]) Abort() {
	if w.done {
		return
	}
	w.done = true
	_ = w.file.Close()
	_ = os.Remove(w.file.Name())
}

// A sink gathers the library's many small writes into large ones, which make
// the file many times faster to map and to read first, and hashes them.
type sink struct {
	w        io.Writer
	hash     hash.Hash
	pending  []byte
	position int64
}

const writeSize = 4 << 20

func newSink(w io.Writer) *sink { return &sink{w: w, hash: sha256.New()} }

func (s *sink) Write(p []byte) (int, error) {
	if len(s.pending)+len(p) > writeSize {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	s.position += int64(len(p))
	if len(p) >= writeSize {
		return len(p), s.emit(p)
	}
	s.pending = append(s.pending, p...)
	return len(p), nil
}

// Seek tells the position; the library asks for nothing else.
func (s *sink) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return 0, errors.New("a table's file is written from front to back")
	}
	return s.position, nil
}

func (s *sink) flush() error {
	pending := s.pending
	s.pending = s.pending[:0]
	return s.emit(pending)
}

func (s *sink) emit(p []byte) error {
	s.hash.Write(p)
	_, err := s.w.Write(p)
	return err
}

// inColumn says where in the table a value is at fault. first is the number
// of the vector's first row.
func inColumn(name string, first int64, err error) error {
	var at valueError
	if errors.As(err, &at) {
		return fmt.Errorf("column %q, row %d: %s", name, first+at.row, at.text)
	}
	return fmt.Errorf("column %q: %w", name, err)
}

// checkText refuses text that is not UTF-8, which other readers of the file
// would choke on.
func checkText(v *vector) error {
	if isText(v.dt) {
		return checkUTF8(v)
	}
	for _, child := range v.children {
		err := checkText(child)
		if at := (valueError{}); errors.As(err, &at) { // it counts elements and not rows
			return fmt.Errorf("element %d of all: %s", at.row, at.text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkUTF8 looks at all bytes at once, and at single values only to find the
// one at fault.
func checkUTF8(v *vector) error {
	from, to := v.extent(0, v.n)
	if utf8.Valid(v.data[from:to]) && cutsNoRune(v) {
		return nil
	}
	for i := range v.n {
		if b := v.bytesOf(i); !v.isNull(i) && !utf8.Valid(b) {
			return valueError{i, fmt.Sprintf("%.40q is not UTF-8", b)}
		}
	}
	return nil
}

// cutsNoRune says whether every value begins where a rune does.
func cutsNoRune(v *vector) bool {
	for i := range v.n {
		if from, to := v.span(i); from < to && !utf8.RuneStart(v.data[from]) {
			return false
		}
	}
	return true
}
