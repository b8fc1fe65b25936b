package safetensors

import (
	"fmt"
	"io"
)

// Section reads the bytes of one tensor, row-major and little-endian, for tensors of which a caller wants one part after
// another. It stays valid as long as the reader that Open was given.
func (f *File) Section(name string) (*io.SectionReader, error) {
	e, ok := f.entries[name]
	if !ok {
		_, err := f.Info(name)
		return nil, err
	}
	return io.NewSectionReader(f.data, e.begin, e.end-e.begin), nil
}

// Float64s decodes elements of type F64, F32, F16 or BF16 from src into dst. Src must have exactly len(dst) elements.
func (d DType) Float64s(dst []float64, src []byte) error {
	decode, ok := d.float64Of()
	if !ok {
		return fmt.Errorf("element type %q cannot be read as float64", string(d))
	}
	size := d.Size()
	if len(src) != len(dst)*size {
		return fmt.Errorf("%d bytes are not %d elements of %s", len(src), len(dst), d)
	}
	for i := range dst {
		dst[i] = decode(src[i*size:])
	}
	return nil
}
