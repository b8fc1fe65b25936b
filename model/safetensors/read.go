package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// ErrNotFound is wrapped when a file has no tensor of the name asked for.
var ErrNotFound = errors.New("no such tensor")

// File is an open file whose header was read and checked. It reads tensors when asked, owns nothing that needs closing,
// and is safe for concurrent use as far as its io.ReaderAt is.
type File struct {
	data     *io.SectionReader // behind the header
	metadata map[string]string
	entries  map[string]entry
}

// Open reads and checks the header of a file of size bytes. The reader stays the caller's, and must stay open while
// tensors are read. Memory grows with the header only, which is at most as large as the file.
func Open(r io.ReaderAt, size int64) (*File, error) {
	header, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	begin := int64(lengthSize + len(header))
	metadata, entries, err := parseHeader(header, size-begin)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return &File{data: io.NewSectionReader(r, begin, size-begin), metadata: metadata, entries: entries}, nil
}

// Parse is Open for a file in memory. The bytes must not change while the File is used.
func Parse(data []byte) (*File, error) {
	return Open(bytes.NewReader(data), int64(len(data)))
}

func readHeader(r io.ReaderAt, size int64) ([]byte, error) {
	var length [lengthSize]byte
	if size < lengthSize {
		return nil, fmt.Errorf("%w: it has %d bytes, too few for a header", ErrFormat, size)
	}
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, lengthSize), length[:]); err != nil {
		return nil, fmt.Errorf("reading the header length: %w", err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeaderSize || n > uint64(size-lengthSize) {
		return nil, fmt.Errorf("%w: its header says to be %d bytes long, in a file of %d (and %d are allowed)", ErrFormat, n, size, maxHeaderSize)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, lengthSize, int64(n)), header); err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	return header, nil
}

// Metadata returns the free texts of the header, a copy.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Names returns the names of all tensors, sorted.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.entries)) }

// Info returns what the header says of a tensor, or an error that wraps ErrNotFound.
func (f *File) Info(name string) (Info, error) {
	e, ok := f.entries[name]
	if !ok {
		return Info{}, fmt.Errorf("tensor %q: %w among the %d of the file", name, ErrNotFound, len(f.entries))
	}
	info := e.Info
	info.Shape = slices.Clone(info.Shape)
	return info, nil
}

// Read fills dst with the bytes of a tensor, row-major and little-endian. dst must have exactly Info.Bytes bytes.
func (f *File) Read(name string, dst []byte) error {
	e, ok := f.entries[name]
	if !ok {
		_, err := f.Info(name)
		return err
	}
	if int64(len(dst)) != e.end-e.begin {
		return fmt.Errorf("tensor %q: room for %d bytes, want %d", name, len(dst), e.end-e.begin)
	}
	if _, err := io.ReadFull(io.NewSectionReader(f.data, e.begin, e.end-e.begin), dst); err != nil {
		return fmt.Errorf("tensor %q: reading %d bytes: %w", name, len(dst), err)
	}
	return nil
}

// Tensor reads a tensor as it is.
func (f *File) Tensor(name string) (Tensor, error) {
	info, err := f.Info(name)
	if err != nil {
		return Tensor{}, err
	}
	e := f.entries[name]
	data := make([]byte, e.end-e.begin)
	return Tensor{Info: info, Data: data}, f.Read(name, data)
}

// Float32 reads a tensor of F32, F16 or BF16. F64 is an error, since it would lose digits: use Float64.
func (f *File) Float32(name string) ([]float32, error) {
	return decode(f, name, "float32", DType.float32Of)
}

// Float64 reads a tensor of F64, F32, F16 or BF16.
func (f *File) Float64(name string) ([]float64, error) {
	return decode(f, name, "float64", DType.float64Of)
}

// Int64 reads a tensor of any integer type but U64.
func (f *File) Int64(name string) ([]int64, error) {
	return decode(f, name, "int64", DType.int64Of)
}

// Bool reads a tensor of BOOL. A byte other than 0 and 1 is an error.
func (f *File) Bool(name string) ([]bool, error) {
	raw, err := decode(f, name, "bool", func(d DType) (func([]byte) byte, bool) {
		return func(b []byte) byte { return b[0] }, d == Bool
	})
	if err != nil {
		return nil, err
	}
	values := make([]bool, len(raw))
	for i, b := range raw {
		if b > 1 {
			return nil, fmt.Errorf("tensor %q: element %d is the byte %d, want 0 or 1: %w", name, i, b, ErrFormat)
		}
		values[i] = b == 1
	}
	return values, nil
}

// decode reads a tensor in pieces, so that a large one is not in memory twice.
func decode[T any](f *File, name, as string, decoder func(DType) (func([]byte) T, bool)) ([]T, error) {
	info, err := f.Info(name)
	if err != nil {
		return nil, err
	}
	of, ok := decoder(info.DType)
	if !ok {
		return nil, fmt.Errorf("tensor %q: cannot give %s as %s exactly", name, info.DType, as)
	}
	const piece = 1 << 16
	e, size := f.entries[name], info.DType.Size()
	n := int(e.end-e.begin) / size
	values := make([]T, 0, n)
	buffer := make([]byte, min(n*size, piece))
	r := io.NewSectionReader(f.data, e.begin, e.end-e.begin)
	for len(values) < n {
		part := buffer[:min(len(buffer), (n-len(values))*size)]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, fmt.Errorf("tensor %q: reading from element %d on: %w", name, len(values), err)
		}
		for ; len(part) > 0; part = part[size:] {
			values = append(values, of(part))
		}
	}
	return values, nil
}
