package table

import (
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
)

// maxLength bounds the number of values of a vector, so that products with a
// type's width cannot overflow.
const maxLength = 1 << 38

// A loader reads the columns of one record batch in order, checking each
// against its buffers: no offset, index or length that it lets through leads
// outside a vector.
type loader struct {
	file   *File
	block  block
	header batchHeader
	nodes  []nodeHeader   // those not yet used
	rest   []bufferHeader // the buffers not yet used
	views  []int64        // the numbers of view columns' buffers not yet used
	strict bool           // check also what reading does not depend on
}

func newLoader(f *File, b block, h batchHeader) *loader {
	return &loader{file: f, block: b, header: h, nodes: h.nodes, rest: h.buffers, views: h.views}
}

// column reads the next column, which must be c.
func (l *loader) column(c *fileColumn) (*vector, error) {
	v, err := l.vector(c)
	if err == nil && v.n != l.header.rows {
		err = fmt.Errorf("%w: %d values in a batch of %d rows", ErrFormat, v.n, l.header.rows)
	}
	if err == nil && l.strict {
		err = checkText(v)
	}
	return v, err
}

// skip passes over column c without reading it.
func (l *loader) skip(c *fileColumn) error {
	buffers := int64(2)
	switch {
	case c.dictionary != nil:
	case c.view:
		n, err := l.viewBuffers()
		if err != nil {
			return err
		}
		buffers += n
	case layoutOf(c.dt) == layoutVar || layoutOf(c.dt) == layoutLargeVar:
		buffers = 3
	case layoutOf(c.dt) == layoutFixedList || layoutOf(c.dt) == layoutStruct:
		buffers = 1
	}
	if len(l.nodes) < 1 || int64(len(l.rest)) < buffers {
		return l.missing()
	}
	l.nodes, l.rest = l.nodes[1:], l.rest[buffers:]
	for i := range c.children {
		if err := l.skip(&c.children[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) missing() error {
	return fmt.Errorf("%w: fewer buffers than the columns need", ErrFormat)
}

// finished checks that nothing is left over.
func (l *loader) finished() error {
	if len(l.nodes)+len(l.rest)+len(l.views) > 0 {
		return fmt.Errorf("%w: more buffers than the columns need", ErrFormat)
	}
	return nil
}

// vector reads a column or the child of one.
func (l *loader) vector(c *fileColumn) (*vector, error) {
	if len(l.nodes) == 0 {
		return nil, l.missing()
	}
	node := l.nodes[0]
	l.nodes = l.nodes[1:]
	if node.length < 0 || node.length > maxLength || node.nulls < 0 || node.nulls > node.length {
		return nil, fmt.Errorf("%w: %d values, %d of them null", ErrFormat, node.length, node.nulls)
	}
	v := &vector{dt: c.dt, n: node.length}
	if err := l.validity(v, node.nulls); err != nil {
		return nil, err
	}
	if c.dictionary != nil {
		return l.dictionaryColumn(c, v)
	}
	if c.view {
		return v, l.viewColumn(v)
	}
	return v, l.body(c, v)
}

// body reads what follows the validity.
func (l *loader) body(c *fileColumn, v *vector) (err error) {
	switch layoutOf(c.dt) {
	case layoutBool:
		v.data, err = l.take((v.n + 7) / 8)
		return err
	case layoutFixed:
		v.data, err = l.take(v.n * byteWidth(c.dt))
		return err
	case layoutVar, layoutLargeVar:
		end, err := l.offsets(v, layoutOf(c.dt) == layoutLargeVar)
		if err == nil {
			v.data, err = l.take(end)
		}
		return err
	case layoutList, layoutLargeList:
		end, err := l.offsets(v, layoutOf(c.dt) == layoutLargeList)
		if err != nil {
			return err
		}
		return l.children(c, v, end)
	case layoutFixedList:
		return l.children(c, v, v.n*int64(c.dt.(*arrow.FixedSizeListType).Len()))
	case layoutStruct:
		return l.children(c, v, v.n)
	}
	return fmt.Errorf("the type %s is not supported", c.dt)
}

// children reads the children of v, each of which must have at least need values.
func (l *loader) children(c *fileColumn, v *vector, need int64) error {
	for i := range c.children {
		child, err := l.vector(&c.children[i])
		if err != nil {
			return err
		}
		if child.n < need {
			return fmt.Errorf("%w: a child of %d values where %d belong", ErrFormat, child.n, need)
		}
		v.children = append(v.children, child)
	}
	return nil
}

// validity reads the bitmap and checks it against the announced nulls.
func (l *loader) validity(v *vector, nulls int64) error {
	if nulls == 0 && (!l.strict || len(l.rest) > 0 && l.rest[0].length == 0) {
		return l.discard()
	}
	bitmap, err := l.take((v.n + 7) / 8)
	if err != nil {
		return err
	}
	if zeros := countZeros(bitmap, v.n); zeros != nulls {
		return fmt.Errorf("%w: %d nulls announced, %d in the bitmap", ErrFormat, nulls, zeros)
	}
	if nulls > 0 {
		v.valid, v.nulls = bitmap, nulls
	}
	return nil
}

// offsets reads the offsets of a text or list, and returns the last.
func (l *loader) offsets(v *vector, large bool) (int64, error) {
	if v.n == 0 { // some writers leave the single offset out
		return 0, l.discard()
	}
	width := int64(4)
	if large {
		width = 8
	}
	data, err := l.take((v.n + 1) * width)
	if err != nil {
		return 0, err
	}
	if large {
		v.large = viewAs[int64](data)
		return lastOffset(v.large)
	}
	v.offsets = viewAs[int32](data)
	return lastOffset(v.offsets)
}

// lastOffset checks that offsets do not fall, and returns the last.
func lastOffset[O offset](offsets []O) (int64, error) {
	previous := offsets[0]
	if previous < 0 {
		return 0, fmt.Errorf("%w: the first offset is %d", ErrFormat, previous)
	}
	for i, o := range offsets {
		if o < previous {
			return 0, fmt.Errorf("%w: offset %d falls from %d to %d", ErrFormat, i, previous, o)
		}
		previous = o
	}
	return int64(previous), nil
}

// next is the place of the next buffer, checked to lie within the body.
func (l *loader) next() (bufferHeader, error) {
	if len(l.rest) == 0 {
		return bufferHeader{}, l.missing()
	}
	b := l.rest[0]
	l.rest = l.rest[1:]
	if b.length < 0 || b.offset < 0 || b.offset > l.block.body-b.length {
		return b, fmt.Errorf("%w: a buffer of %d bytes at %d in a body of %d", ErrFormat, b.length, b.offset, l.block.body)
	}
	b.offset += l.block.offset + l.block.metadata
	return b, nil
}

func (l *loader) discard() error {
	_, err := l.next()
	return err
}

// take reads the first need bytes of the next buffer.
func (l *loader) take(need int64) ([]byte, error) {
	b, err := l.next()
	if err != nil {
		return nil, err
	}
	if l.stored(b) {
		if b.length < need {
			return nil, tooShort(b.length, need)
		}
		return l.file.read(b.offset, need)
	}
	data, err := l.inflate(b)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) < need {
		return nil, tooShort(int64(len(data)), need)
	}
	return data[:need], nil
}

// takeAll reads the next buffer, however long.
func (l *loader) takeAll() ([]byte, error) {
	b, err := l.next()
	if err != nil {
		return nil, err
	}
	if l.stored(b) {
		return l.file.read(b.offset, b.length)
	}
	return l.inflate(b)
}

func tooShort(length, need int64) error {
	return fmt.Errorf("%w: a buffer of %d bytes where %d belong", ErrFormat, length, need)
}

// stored says whether a buffer is in the file as it is. An empty one is, in a
// compressed batch too.
func (l *loader) stored(b bufferHeader) bool { return l.header.codec == codecNone || b.length == 0 }

func (l *loader) inflate(b bufferHeader) ([]byte, error) {
	raw, err := l.file.read(b.offset, b.length)
	if err != nil {
		return nil, err
	}
	data, err := l.file.inflate(l.header.codec, raw)
	if err != nil {
		return nil, unsound(err)
	}
	return data, nil
}
