// Package lists reads two columns of a table that another program wrote, as an
// Arrow or a Parquet file: keys, which are text or whole numbers, and lists of
// float32 or float64.
//
//	f, err := lists.Open("clip.parquet", "item", "image")
//	defer f.Close()
//	for row, err := range f.All() {
//		use(row.Key, row.List)
//	}
//
// Nothing in a file is believed: what it says of sizes is checked against the
// file's own before anything is allocated by it. A row is in memory while it is
// looked at, with its batch or page.
//
// The package reads no other types and no other columns, and does not look at
// the values.
package lists

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// MaxLength is the most elements that a list may have.
const MaxLength = 1 << 16

// A Row is one row of the two columns.
type Row struct {
	Key  string    // empty for a null
	List []float64 // valid until the next row; nil for a null or an empty list
}

// A File is an open file. It must be closed.
type File struct {
	source source
	rows   int64
}

// A source is a file in one format.
type source interface {
	all() iter.Seq2[Row, error]
	Close() error
}

// The first bytes of the two formats.
const (
	ArrowMagic   = "ARROW1"
	ParquetMagic = "PAR1"
)

// Open opens the file at path and finds the columns of those names.
func Open(path, keys, lists string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := open(file, keys, lists)
	if err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

func open(file *os.File, keys, lists string) (*File, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, len(ArrowMagic))
	if _, err := io.ReadFull(io.NewSectionReader(file, 0, info.Size()), head); err != nil {
		return nil, fmt.Errorf("reading the first bytes: %w", err)
	}
	switch {
	case string(head) == ArrowMagic:
		return openArrow(file, keys, lists)
	case string(head[:len(ParquetMagic)]) == ParquetMagic:
		return openParquet(file, info.Size(), keys, lists)
	}
	return nil, errors.New("neither an Arrow nor a Parquet file")
}

// Close closes the file.
func (f *File) Close() error { return f.source.Close() }

// Rows is how many rows the file says to have. All gives as many, or an error.
func (f *File) Rows() int64 { return f.rows }

// All gives the rows in order. After an error, which is about the row behind the
// last that was given, there is no further.
func (f *File) All() iter.Seq2[Row, error] { return f.source.all() }
