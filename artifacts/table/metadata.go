package table

import (
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
)

// The numbers below are of Arrow's File.fbs, Message.fbs and Schema.fbs,
// version 5 of the format. Each metadata reader takes the flatbuffer and
// returns what it says, after checking that it is possible.

// Limits on what a schema may hold, far above what tables need: a flatbuffer
// of a few bytes can describe an endless tree.
const (
	maxColumns   = 1 << 16 // nodes of the type tree
	maxTypeDepth = 16
)

// A fileColumn is a column as the file has it.
type fileColumn struct {
	name       string
	nullable   bool
	dt         arrow.DataType // the logical type: of a dictionary, its values'
	dictionary *dictionaryRef // nil for a column that is not a dictionary
	view       bool           // text or binary as views, in several buffers
	children   []fileColumn
}

type dictionaryRef struct {
	id    int64
	index arrow.DataType
}

// A block says where a message lies in the file.
type block struct {
	offset   int64
	metadata int64 // bytes, the message's length prefix included
	body     int64
}

// A footer is what the end of the file says.
type footer struct {
	columns      []fileColumn
	dictionaries []block
	batches      []block
}

func readFooter(data []byte) (footer, error) {
	fb := &flatbuffer{data: data}
	root := fb.root()
	if version := root.int(0, 2, 0); fb.err == nil && (version < 3 || version > 4) {
		return footer{}, fmt.Errorf("format version V%d; V4 and V5 are known", version+1)
	}
	schema := root.table(1)
	if endian := schema.int(0, 2, 0); fb.err == nil && endian != 0 {
		return footer{}, errors.New("a big-endian file")
	}
	reader := schemaReader{}
	columns, err := reader.fields(schema.vector(1, 4), 0)
	if err != nil {
		return footer{}, err
	}
	out := footer{columns: columns, dictionaries: readBlocks(root.vector(2, 24)), batches: readBlocks(root.vector(3, 24))}
	return out, fb.err
}

func readBlocks(v fbVector) []block {
	blocks := make([]block, v.n)
	for i := range blocks {
		n := int64(i)
		blocks[i] = block{offset: v.int64(n, 0), metadata: v.int32(n, 8), body: v.int64(n, 16)}
	}
	return blocks
}

type schemaReader struct{ count int }

func (r *schemaReader) fields(v fbVector, depth int) ([]fileColumn, error) {
	if r.count += int(v.n); r.count > maxColumns {
		return nil, fmt.Errorf("more than %d columns", maxColumns)
	}
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("a type nested more than %d deep", maxTypeDepth)
	}
	columns := make([]fileColumn, v.n)
	for i := range columns {
		var err error
		if columns[i], err = r.field(v.table(int64(i)), depth); err != nil {
			return nil, err
		}
	}
	return columns, v.f.err
}

func (r *schemaReader) field(t fbTable, depth int) (fileColumn, error) {
	c := fileColumn{name: t.string(0), nullable: t.bool(1)}
	var err error
	if c.children, err = r.fields(t.vector(5, 4), depth+1); err != nil {
		return c, err
	}
	number := t.int(2, 1, 0)
	c.view = number == typeBinaryView || number == typeTextView
	c.dt, err = readType(number, t, c.children)
	if err == nil && t.f.err == nil && t.has(4) {
		c.dictionary, err = readDictionaryRef(t.table(4), c)
	}
	if t.f.err != nil {
		return c, t.f.err
	}
	if err != nil {
		return c, fmt.Errorf("column %q: %w", c.name, err)
	}
	return c, nil
}

func readDictionaryRef(t fbTable, c fileColumn) (*dictionaryRef, error) {
	if len(c.children) > 0 {
		return nil, unsupportedError(fmt.Sprintf("a dictionary of %s; dictionaries of text, binary and numbers are known", typeName(c.dt)))
	}
	ref := &dictionaryRef{id: t.int(0, 8, 0), index: arrow.PrimitiveTypes.Int32}
	if t.has(1) {
		var err error
		if ref.index, err = readInt(t.table(1)); err != nil {
			return nil, err
		}
	}
	return ref, nil
}

// unsupported are the types that a table cannot have, by their number.
var unsupported = map[int64]string{
	1: "null", 11: "interval", 14: "union", 22: "run-end encoded", 25: "list view", 26: "large list view",
}

// The numbers of the types that are views.
const (
	typeBinaryView = 23
	typeTextView   = 24
)

// readType reads the type of field t, whose number is given.
func readType(number int64, t fbTable, children []fileColumn) (arrow.DataType, error) {
	if name, ok := unsupported[number]; ok {
		return nil, unsupportedError(fmt.Sprintf("the type %s is not supported; write the column as another type", name))
	}
	if !t.has(3) {
		return nil, errFlatbuffer
	}
	spec := t.table(3)
	switch number {
	case 2:
		return readInt(spec)
	case 3:
		return readFloat(spec.int(0, 2, 0))
	case 4, typeBinaryView:
		return arrow.BinaryTypes.Binary, nil
	case 5, typeTextView:
		return arrow.BinaryTypes.String, nil
	case 6:
		return arrow.FixedWidthTypes.Boolean, nil
	case 19:
		return arrow.BinaryTypes.LargeBinary, nil
	case 20:
		return arrow.BinaryTypes.LargeString, nil
	case 7:
		return readDecimal(spec)
	case 15:
		return readFixedBinary(spec)
	case 8, 9, 10, 18:
		return readTemporal(number, spec)
	}
	return readNested(number, spec, children)
}

func readInt(t fbTable) (arrow.DataType, error) {
	width, signed := t.int(0, 4, 0), t.bool(1)
	types := map[int64][2]arrow.DataType{
		8:  {arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Int8},
		16: {arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Int16},
		32: {arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Int32},
		64: {arrow.PrimitiveTypes.Uint64, arrow.PrimitiveTypes.Int64},
	}
	pair, ok := types[width]
	if !ok {
		return nil, fmt.Errorf("an integer of %d bits", width)
	}
	if signed {
		return pair[1], nil
	}
	return pair[0], nil
}

func readFloat(precision int64) (arrow.DataType, error) {
	types := []arrow.DataType{arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64}
	if precision < 0 || precision > 2 {
		return nil, fmt.Errorf("a float of precision %d", precision)
	}
	return types[precision], nil
}

func readDecimal(t fbTable) (arrow.DataType, error) {
	precision, scale := int32(t.int(0, 4, 0)), int32(t.int(1, 4, 0))
	if scale < 0 || scale > precision {
		return nil, fmt.Errorf("a decimal of precision %d and scale %d", precision, scale)
	}
	switch bits := t.int(2, 4, 128); {
	case bits == 128 && precision >= 1 && precision <= 38:
		return &arrow.Decimal128Type{Precision: precision, Scale: scale}, nil
	case bits == 256 && precision >= 1 && precision <= 76:
		return &arrow.Decimal256Type{Precision: precision, Scale: scale}, nil
	default:
		return nil, fmt.Errorf("a decimal of %d bits and precision %d", bits, precision)
	}
}

// maxFixedWidth bounds one value of a fixed-size binary or list.
const maxFixedWidth = 1 << 24

func readFixedBinary(t fbTable) (arrow.DataType, error) {
	width := t.int(0, 4, 0)
	if width < 1 || width > maxFixedWidth {
		return nil, fmt.Errorf("a fixed-size binary of %d bytes", width)
	}
	return &arrow.FixedSizeBinaryType{ByteWidth: int(width)}, nil
}

func readTemporal(number int64, t fbTable) (arrow.DataType, error) {
	absent := int64(1) // the default unit is milliseconds, of a timestamp seconds
	if number == 10 {
		absent = 0
	}
	n := t.int(0, 2, absent)
	if n < 0 || n > 3 {
		return nil, fmt.Errorf("a time in units of kind %d", n)
	}
	unit := [...]arrow.TimeUnit{arrow.Second, arrow.Millisecond, arrow.Microsecond, arrow.Nanosecond}[n]
	switch number {
	case 8:
		if n == 0 {
			return arrow.FixedWidthTypes.Date32, nil
		}
		return arrow.FixedWidthTypes.Date64, nil
	case 9:
		if t.int(1, 4, 32) == 32 {
			return &arrow.Time32Type{Unit: unit}, nil
		}
		return &arrow.Time64Type{Unit: unit}, nil
	case 10:
		return &arrow.TimestampType{Unit: unit, TimeZone: t.string(1)}, nil
	}
	return &arrow.DurationType{Unit: unit}, nil
}

func readNested(number int64, t fbTable, children []fileColumn) (arrow.DataType, error) {
	fields := make([]arrow.Field, len(children))
	for i, c := range children {
		fields[i] = arrow.Field{Name: c.name, Type: c.dt, Nullable: c.nullable}
	}
	if number == 13 && len(fields) > 0 {
		return arrow.StructOf(fields...), nil
	}
	if len(fields) != 1 {
		return nil, fmt.Errorf("a type of kind %d with %d children", number, len(fields))
	}
	switch number {
	case 12:
		return arrow.ListOfField(fields[0]), nil
	case 21:
		return arrow.LargeListOfField(fields[0]), nil
	case 16:
		width := t.int(0, 4, 0)
		if width < 1 || width > maxFixedWidth {
			return nil, fmt.Errorf("a fixed-size list of length %d", width)
		}
		return arrow.FixedSizeListOfField(int32(width), fields[0]), nil
	case 17:
		entry, ok := fields[0].Type.(*arrow.StructType)
		if !ok || entry.NumFields() != 2 {
			return nil, errors.New("a map whose entries are no pairs")
		}
		return arrow.MapOf(entry.Field(0).Type, entry.Field(1).Type), nil
	}
	return nil, fmt.Errorf("a type of the unknown kind %d", number)
}

// The kinds of message that a file's blocks hold.
const (
	messageDictionary = 2
	messageBatch      = 3
)

// A batchHeader is what a record batch's or dictionary's message says.
type batchHeader struct {
	rows    int64
	nodes   []nodeHeader
	buffers []bufferHeader
	views   []int64 // of each view column, the number of buffers with its bytes
	codec   codecID
}

type nodeHeader struct{ length, nulls int64 }

type bufferHeader struct{ offset, length int64 }

type dictionaryHeader struct {
	batchHeader
	id    int64
	delta bool
}

// readMessage opens a message and returns its header, which must be of a kind.
func readMessage(data []byte, kind int64) (*flatbuffer, fbTable, error) {
	fb := &flatbuffer{data: data}
	root := fb.root()
	header := root.table(2)
	if got := root.int(1, 1, 0); fb.err == nil && got != kind {
		return nil, fbTable{}, fmt.Errorf("a message of kind %d where one of kind %d belongs", got, kind)
	}
	return fb, header, fb.err
}

func readBatchMessage(data []byte) (batchHeader, error) {
	fb, t, err := readMessage(data, messageBatch)
	if err != nil {
		return batchHeader{}, err
	}
	h, err := readBatchHeader(t)
	return h, errors.Join(fb.err, err)
}

func readDictionaryMessage(data []byte) (dictionaryHeader, error) {
	fb, t, err := readMessage(data, messageDictionary)
	if err != nil {
		return dictionaryHeader{}, err
	}
	h := dictionaryHeader{id: t.int(0, 8, 0), delta: t.bool(2)}
	h.batchHeader, err = readBatchHeader(t.table(1))
	return h, errors.Join(fb.err, err)
}

func readBatchHeader(t fbTable) (batchHeader, error) {
	h := batchHeader{rows: t.int(0, 8, 0), codec: codecNone}
	nodes, buffers := t.vector(1, 16), t.vector(2, 16)
	h.nodes = make([]nodeHeader, nodes.n)
	for i := range h.nodes {
		h.nodes[i] = nodeHeader{nodes.int64(int64(i), 0), nodes.int64(int64(i), 8)}
	}
	h.buffers = make([]bufferHeader, buffers.n)
	for i := range h.buffers {
		h.buffers[i] = bufferHeader{buffers.int64(int64(i), 0), buffers.int64(int64(i), 8)}
	}
	views := t.vector(4, 8)
	for i := range views.n {
		h.views = append(h.views, views.int64(i, 0))
	}
	if t.has(3) {
		compression := t.table(3)
		h.codec = codecID(compression.int(0, 1, 0))
		if h.codec != codecLZ4 && h.codec != codecZstd {
			return h, fmt.Errorf("unknown compression %d", h.codec)
		}
	}
	if h.rows < 0 {
		return h, fmt.Errorf("a batch of %d rows", h.rows)
	}
	return h, nil
}
