package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// A File is an open Arrow IPC file, written by anyone. It is for one
// goroutine. It must be closed.
//
// The file is read by this package and not by the Arrow library, which
// believes the sizes that metadata gives (one flipped bit can ask for all
// memory, and Go cannot recover from that), reads every column where one is
// wanted, and copies each twice.
type File struct {
	path         string
	file         *os.File
	size         int64
	columns      []fileColumn
	dictionaries []block
	batches      []block
	loaded       map[int64]*vector // dictionaries by id
	zstd         *zstd.Decoder     // nil until needed
}

var (
	magic       = []byte("ARROW1")
	streamStart = []byte{0xff, 0xff, 0xff, 0xff}
)

// ErrFormat is wrapped by errors about a file that is no sound Arrow IPC file.
var ErrFormat = errors.New("not a sound Arrow file")

// An unsupportedError is about a file that is sound, but holds what a table
// cannot.
type unsupportedError string

func (e unsupportedError) Error() string { return string(e) }

// unsound wraps an error about a file's content.
func unsound(err error) error {
	if errors.As(err, new(unsupportedError)) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}

// Open reads a file's footer. An error about content that no sound file has
// wraps ErrFormat.
func Open(path string) (f *File, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening table: %w", err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	f = &File{path: path, file: file, loaded: map[int64]*vector{}}
	defer f.guard(&err)
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f.size = info.Size()
	return f, f.readFooter()
}

// guard, deferred, names the file in an error, and makes one of a panic.
func (f *File) guard(err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("%w: %v", ErrFormat, cause)
	}
	if *err != nil {
		*err = fmt.Errorf("reading table %s: %w", f.path, *err)
	}
}

// Close releases the file. Rows that were read stay valid.
func (f *File) Close() error {
	if f.zstd != nil {
		f.zstd.Close()
	}
	return f.file.Close()
}

// Schema describes the file's columns.
func (f *File) Schema() Schema {
	schema := make(Schema, len(f.columns))
	for i, c := range f.columns {
		schema[i] = Field{Name: c.name, Type: typeName(c.dt), Nullable: c.nullable}
	}
	return schema
}

// NumRows is the number of rows that the file's record batches announce.
func (f *File) NumRows() (rows int64, err error) {
	defer f.guard(&err)
	for i := range f.batches {
		l, err := f.batch(i)
		if err != nil {
			return 0, err
		}
		rows += l.header.rows
	}
	return rows, nil
}

const (
	headSize = 8  // the magic and its padding
	tailSize = 10 // the footer's length and the magic
)

func (f *File) readFooter() error {
	if err := f.checkMagic(); err != nil {
		return unsound(err)
	}
	tail, err := f.read(f.size-tailSize, tailSize)
	if err != nil {
		return err
	}
	length := int64(binary.LittleEndian.Uint32(tail))
	if length > f.size-tailSize-headSize {
		return fmt.Errorf("%w: a footer of %d bytes in a file of %d", ErrFormat, length, f.size)
	}
	data, err := f.read(f.size-tailSize-length, length)
	if err != nil {
		return err
	}
	foot, err := readFooter(data)
	if err != nil {
		return unsound(err)
	}
	f.columns, f.dictionaries, f.batches = foot.columns, foot.dictionaries, foot.batches
	if err := errors.Join(f.checkColumns(), f.checkBlocks(f.size-tailSize-length)); err != nil {
		return unsound(err)
	}
	return nil
}

// checkMagic tells the usual mistakes apart.
func (f *File) checkMagic() error {
	if f.size == 0 {
		return errors.New("the file is empty")
	}
	head, err := f.read(0, min(headSize, f.size))
	if err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(head, streamStart):
		return errors.New("this is the Arrow stream format; write the file format (in Python pa.ipc.new_file instead of new_stream)")
	case bytes.HasPrefix(head, []byte("PAR1")):
		return errors.New("this is a Parquet file; write an Arrow IPC file (in Python pa.ipc.new_file)")
	case !bytes.HasPrefix(head, magic):
		return errors.New("it does not begin with ARROW1; write an Arrow IPC file (in Python pa.ipc.new_file)")
	case f.size < headSize+tailSize:
		return fmt.Errorf("it ends after %d bytes; was its writer closed?", f.size)
	}
	end, err := f.read(f.size-int64(len(magic)), int64(len(magic)))
	if err == nil && !bytes.Equal(end, magic) {
		err = errors.New("it does not end with ARROW1: cut short, or its writer was not closed")
	}
	return err
}

// checkColumns refuses what a table's columns cannot be called.
func (f *File) checkColumns() error {
	if len(f.columns) == 0 {
		return errors.New("a table without columns")
	}
	seen := map[string]bool{}
	for _, c := range f.columns {
		if c.name == "" {
			return errors.New("a column has no name")
		}
		if seen[c.name] {
			return fmt.Errorf("two columns are named %q", c.name)
		}
		seen[c.name] = true
	}
	return nil
}

// checkBlocks makes sure that messages lie before end and do not overlap, so
// that reading all of them costs no more than the file is long.
func (f *File) checkBlocks(end int64) error {
	all := slices.Concat(f.dictionaries, f.batches)
	slices.SortFunc(all, func(a, b block) int { return int(min(1, max(-1, a.offset-b.offset))) })
	next := int64(headSize)
	for _, b := range all {
		if b.offset < next || b.metadata < 8 || b.body < 0 || b.metadata > end-b.offset || b.body > end-b.offset-b.metadata {
			return fmt.Errorf("a message of %d + %d bytes at %d does not fit into the file's %d", b.metadata, b.body, b.offset, f.size)
		}
		next = b.offset + b.metadata + b.body
	}
	return nil
}

// read returns n bytes at an offset, in memory of their own, 8-byte aligned.
func (f *File) read(offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 || offset > f.size-n {
		return nil, fmt.Errorf("%w: %d bytes at %d do not fit into the file's %d", ErrFormat, n, offset, f.size)
	}
	data := alignedBytes(n)
	if _, err := f.file.ReadAt(data, offset); err != nil {
		return nil, fmt.Errorf("%d bytes at %d: %w", n, offset, err)
	}
	return data, nil
}

// message reads the metadata of a message.
func (f *File) message(b block) ([]byte, error) {
	data, err := f.read(b.offset, b.metadata)
	if err != nil {
		return nil, err
	}
	prefix := int64(4)
	if bytes.HasPrefix(data, streamStart) { // since version 0.15 of the format
		prefix = 8
	}
	length := int64(binary.LittleEndian.Uint32(data[prefix-4:]))
	if length > b.metadata-prefix {
		return nil, fmt.Errorf("%w: a message of %d bytes in a block of %d", ErrFormat, length, b.metadata)
	}
	return data[prefix : prefix+length], nil
}

// batch reads the header of the i-th record batch.
func (f *File) batch(i int) (*loader, error) {
	data, err := f.message(f.batches[i])
	if err != nil {
		return nil, err
	}
	header, err := readBatchMessage(data)
	if err != nil {
		return nil, fmt.Errorf("%w: record batch %d: %w", ErrFormat, i, err)
	}
	return newLoader(f, f.batches[i], header), nil
}

// dictionary is the dictionary of a column, read once.
func (f *File) dictionary(c *fileColumn) (*vector, error) {
	id := c.dictionary.id
	if v, ok := f.loaded[id]; ok {
		if typeName(v.dt) != typeName(c.dt) {
			return nil, fmt.Errorf("%w: dictionary %d is of %s and of %s", ErrFormat, id, typeName(v.dt), typeName(c.dt))
		}
		return v, nil
	}
	v, err := f.loadDictionary(c)
	if err != nil {
		return nil, fmt.Errorf("dictionary %d: %w", id, err)
	}
	f.loaded[id] = v
	return v, nil
}

func (f *File) loadDictionary(c *fileColumn) (*vector, error) {
	var found *loader
	for _, b := range f.dictionaries {
		data, err := f.message(b)
		if err != nil {
			return nil, err
		}
		header, err := readDictionaryMessage(data)
		if err != nil {
			return nil, unsound(err)
		}
		if header.id != c.dictionary.id {
			continue
		}
		if found != nil || header.delta {
			return nil, errors.New("it comes in several parts; write one (in Python Table.unify_dictionaries)")
		}
		found = newLoader(f, b, header.batchHeader)
	}
	if found == nil {
		return nil, fmt.Errorf("%w: it is not in the file", ErrFormat)
	}
	values := *c
	values.dictionary = nil
	return found.column(&values)
}
