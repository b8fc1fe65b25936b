package table

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
)

// Dictionaries and views name a value once that many rows have. Here each row
// gets its own, so that nothing else in the package knows of them.

// maxExpanded bounds what the values of such a column then take in one record
// batch.
const maxExpanded = 1 << 30

// dictionaryColumn reads the indices of v and writes each value out.
func (l *loader) dictionaryColumn(c *fileColumn, v *vector) (*vector, error) {
	data, err := l.take(v.n * byteWidth(c.dictionary.index))
	if err != nil {
		return nil, err
	}
	dictionary, err := l.file.dictionary(c)
	if err != nil {
		return nil, err
	}
	indices, err := readIndices(v, c.dictionary.index, data, dictionary)
	if err != nil {
		return nil, err
	}
	return v, v.fillFrom(dictionary, indices)
}

// readIndices widens the indices, makes those of null values -1, and checks
// the others. A null in the dictionary becomes a null of v.
func readIndices(v *vector, index arrow.DataType, data []byte, dictionary *vector) ([]int64, error) {
	indices := widen(index, data)
	for i, x := range indices {
		switch {
		case v.isNull(int64(i)):
			indices[i] = -1
		case x < 0 || x >= dictionary.n:
			return nil, fmt.Errorf("%w: index %d into a dictionary of %d", ErrFormat, x, dictionary.n)
		case dictionary.isNull(x):
			indices[i] = -1
		}
	}
	return indices, nil
}

func widen(index arrow.DataType, data []byte) []int64 {
	switch index.ID() {
	case arrow.INT8:
		return widened[int8](data)
	case arrow.UINT8:
		return widened[uint8](data)
	case arrow.INT16:
		return widened[int16](data)
	case arrow.UINT16:
		return widened[uint16](data)
	case arrow.INT32:
		return widened[int32](data)
	case arrow.UINT32:
		return widened[uint32](data)
	case arrow.UINT64:
		return widened[uint64](data)
	}
	return widened[int64](data)
}

func widened[T number](data []byte) []int64 {
	narrow := viewAs[T](data)
	wide := make([]int64, len(narrow))
	for i, x := range narrow {
		wide[i] = int64(x)
	}
	return wide
}

// fillFrom makes v the values of a dictionary at indices, where -1 is null.
func (v *vector) fillFrom(dictionary *vector, indices []int64) error {
	var flags validity
	for _, x := range indices {
		flags.append(x >= 0)
	}
	v.valid, v.nulls = nil, 0
	flags.takeInto(v)
	if layoutOf(dictionary.dt) == layoutFixed {
		return v.fillFixed(dictionary, indices)
	}
	return v.fillTexts(dictionary, indices)
}

func (v *vector) fillFixed(dictionary *vector, indices []int64) error {
	width := byteWidth(dictionary.dt)
	if width*v.n > maxExpanded {
		return tooMuchExpanded()
	}
	v.data = alignedBytes(width * v.n)
	for i, x := range indices {
		if x >= 0 {
			copy(v.data[int64(i)*width:], dictionary.data[x*width:(x+1)*width])
		}
	}
	return nil
}

func (v *vector) fillTexts(dictionary *vector, indices []int64) error {
	var total int64
	ends := make([]int64, 1, len(indices)+1)
	for _, x := range indices {
		if x >= 0 {
			from, to := dictionary.span(x)
			total += to - from
		}
		if total > maxExpanded {
			return tooMuchExpanded()
		}
		ends = append(ends, total)
	}
	v.data = slices.Grow([]byte(nil), int(total))
	for _, x := range indices {
		if x >= 0 {
			v.data = append(v.data, dictionary.bytesOf(x)...)
		}
	}
	if layoutOf(v.dt) == layoutLargeVar {
		v.large = ends
		return nil
	}
	v.offsets = make([]int32, len(ends))
	for i, end := range ends {
		v.offsets[i] = int32(end)
	}
	return nil
}

func tooMuchExpanded() error {
	return unsupportedError(fmt.Sprintf("its values take more than %d bytes in one record batch; write smaller batches", maxExpanded))
}

// viewBuffers is how many buffers hold the bytes of the next view column.
func (l *loader) viewBuffers() (int64, error) {
	if len(l.views) == 0 || l.views[0] < 0 || l.views[0] > int64(len(l.rest)) {
		return 0, l.missing()
	}
	n := l.views[0]
	l.views = l.views[1:]
	return n, nil
}

// viewSize is the size of a view: the length, then up to inlineSize bytes, or
// four bytes of prefix, the number of a buffer and a place in it.
const (
	viewSize   = 16
	inlineSize = 12
)

// viewColumn reads text or binary that lies in several buffers.
func (l *loader) viewColumn(v *vector) error {
	n, err := l.viewBuffers()
	if err != nil {
		return err
	}
	views, err := l.take(v.n * viewSize)
	if err != nil {
		return err
	}
	buffers := make([][]byte, n)
	for i := range buffers {
		if buffers[i], err = l.takeAll(); err != nil {
			return err
		}
	}
	v.offsets = make([]int32, 1, v.n+1)
	for i := range v.n {
		if !v.isNull(i) {
			value, err := viewed(views[i*viewSize:(i+1)*viewSize], buffers)
			if err != nil {
				return err
			}
			v.data = append(v.data, value...)
		}
		if len(v.data) > maxExpanded {
			return tooMuchExpanded()
		}
		v.offsets = append(v.offsets, int32(len(v.data)))
	}
	return nil
}

// viewed is the value of a view.
func viewed(view []byte, buffers [][]byte) ([]byte, error) {
	length := int64(int32(binary.LittleEndian.Uint32(view)))
	if length >= 0 && length <= inlineSize {
		return view[4 : 4+length], nil
	}
	buffer := int64(int32(binary.LittleEndian.Uint32(view[8:])))
	offset := int64(int32(binary.LittleEndian.Uint32(view[12:])))
	if length < 0 || buffer < 0 || buffer >= int64(len(buffers)) || offset < 0 || offset > int64(len(buffers[buffer]))-length {
		return nil, fmt.Errorf("%w: a view of %d bytes at %d of buffer %d", ErrFormat, length, offset, buffer)
	}
	return buffers[buffer][offset : offset+length], nil
}
