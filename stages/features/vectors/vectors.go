// Package vectors reads files of one vector a row, as a team's own encoder
// leaves them: .npy, safetensors, Parquet and Arrow. Which it is, is told by a
// file's first bytes.
//
//	f, err := vectors.Open("clip.parquet", vectors.Options{ItemColumn: "item", VectorColumn: "image"})
//	defer f.Close()
//	for row, err := range f.All() {
//		use(row.Item, row.Vector)
//	}
//
// Nothing in a file is believed: what it says of sizes is checked against the
// file's own before anything is allocated by it. A row is in memory while it is
// looked at, with its batch or page where the format has those.
//
// The package does not know which item a row of .npy or safetensors is about,
// and it does not look at the values. It executes nothing: arrays of pickled
// Python objects are refused.
package vectors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"unicode/utf8"

	"github.com/prismflow/prismflow/artifacts/table/foreign"
	"github.com/prismflow/prismflow/artifacts/table/lists"
)

// MaxWidth is the most components that a vector may have.
const MaxWidth = lists.MaxLength

// Options say what is what in a file.
type Options struct {
	Tensor       string // of safetensors; may be empty when there is one
	ItemColumn   string // of Parquet and Arrow: text or whole numbers
	VectorColumn string // of Parquet and Arrow: lists of float32 or float64
}

// A Row is one row of a file.
type Row struct {
	Item   string    // empty where the file does not say
	Vector []float64 // valid until the next row; nil for a null or an empty list
}

// A File is an open file of vectors. It must be closed.
type File struct {
	source source
	named  bool
	rows   int64
}

// A source is a file in one format.
type source interface {
	// all gives the rows, and an error without a place after the last good one.
	all() iter.Seq2[Row, error]
	Close() error
}

// Open opens a file and reads what it says of its form.
func Open(path string, o Options) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := open(file, o)
	if err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

func open(file *os.File, o Options) (*File, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, 9)
	n, err := io.ReadFull(io.NewSectionReader(file, 0, info.Size()), head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return nil, err
	}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte(npyMagic)):
		return openNPY(file, info.Size())
	case bytes.HasPrefix(head, []byte(foreign.ParquetMagic)), bytes.HasPrefix(head, []byte(foreign.ArrowMagic)):
		return openTable(file, o)
	case len(head) == 9 && head[8] == '{':
		return openSafetensors(file, info.Size(), o.Tensor)
	}
	return nil, errors.New("not a file of vectors: neither .npy nor safetensors, Parquet or Arrow" + otherFormat(head))
}

// otherFormat says what a file is that was probably not meant.
func otherFormat(head []byte) string {
	for _, format := range []struct{ magic, hint string }{
		{"PK\x03\x04", " (a zip file, such as .npz or .pt: take the array out of it)"},
		{"\x80", " (a pickle: save the array with numpy.save)"},
		{"\x1f\x8b", " (a gzip file: unpack it)"},
		{"\xff\xff\xff\xff", " (an Arrow stream: write an Arrow file, with pyarrow.ipc.new_file)"},
		{"FEA1", " (Feather 1: write Feather 2, which is an Arrow file)"},
		{"PARE", " (encrypted Parquet)"},
		{"\x89HDF", " (HDF5)"},
	} {
		if bytes.HasPrefix(head, []byte(format.magic)) {
			return format.hint
		}
	}
	return ""
}

// Close closes the file.
func (f *File) Close() error { return f.source.Close() }

// Named says whether rows have an Item.
func (f *File) Named() bool { return f.named }

// Rows is how many rows the file says to have. All gives as many, or an error.
func (f *File) Rows() int64 { return f.rows }

// All gives the rows in order. After an error, which names the row (from 0, as
// NumPy and Arrow count), there is no further.
func (f *File) All() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		n, width := 0, 0
		for row, err := range f.source.all() {
			if err == nil {
				err = f.check(row, &width)
			}
			if err != nil {
				yield(Row{}, fmt.Errorf("row %d: %w", n, err))
				return
			}
			if !yield(row, nil) {
				return
			}
			n++
		}
	}
}

// check checks what must hold for a row of any format; width is that of the
// vectors before, 0 when there is none.
func (f *File) check(row Row, width *int) error {
	if f.named {
		switch {
		case row.Item == "":
			return errors.New("no item")
		case !utf8.ValidString(row.Item):
			return fmt.Errorf("item %.40q is not UTF-8", row.Item)
		}
	}
	switch n := len(row.Vector); {
	case n == 0:
	case *width == 0:
		*width = n
	case n != *width:
		return fmt.Errorf("a vector of %d components, where those before have %d", n, *width)
	}
	return nil
}
