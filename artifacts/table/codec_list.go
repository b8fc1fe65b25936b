package table

import (
	"fmt"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
)

// listCodec is for []T.
type listCodec[T number] struct{ nullable bool }

func (c listCodec[T]) typeName(int) string { return typeName(c.dataType(0)) }
func (listCodec[T]) dataType(int) arrow.DataType {
	return arrow.ListOfNonNullable(arrowNumber[T]())
}

func (c listCodec[T]) builder(f rowField, held *int64) builder {
	return &listBuilder[T]{offset: f.offset, nullable: c.nullable, held: held}
}

func (c listCodec[T]) decode(v *vector, from, to int64, out fieldColumn) error {
	return decodeSpans(v, from, to, out, values[T](v.children[0]), 0)
}

// decodeSpans gives the rows [from,to) their shares of elements, the first of which
// is the child's element first.
func decodeSpans[E any](v *vector, from, to int64, out fieldColumn, elements []E, first int64) error {
	for i := from; i < to; i++ {
		if v.isNull(i) {
			*at[[]E](out, i-from) = nil
			continue
		}
		a, b := v.span(i)
		if err := noNullElement(v, i, a, b); err != nil {
			return err
		}
		*at[[]E](out, i-from) = share(elements, a-first, b-first)
	}
	return nil
}

// noNullElement refuses a null among the elements [a,b) of list i.
func noNullElement(v *vector, i, a, b int64) error {
	child := v.children[0]
	if child.valid == nil {
		return nil
	}
	if null := nextBit(child.valid, a, b, false); null < b {
		return valueError{i, fmt.Sprintf("element %d is null, and the reader has no place for that", null-a)}
	}
	return nil
}

type listBuilder[T number] struct {
	offset   uintptr
	nullable bool
	held     *int64
	offsets  []int32
	elements []T
	valid    validity
}

func (b *listBuilder[T]) width() int { return 0 }

func (b *listBuilder[T]) append(row unsafe.Pointer) error {
	value := *(*[]T)(unsafe.Add(row, b.offset))
	if int64(len(b.elements))+int64(len(value)) > maxOffset {
		return fmt.Errorf("a list of %d elements: one record batch holds at most 2^31 of a column", len(value))
	}
	if b.nullable {
		b.valid.append(value != nil)
	}
	if len(b.offsets) == 0 {
		b.offsets = append(b.offsets, 0)
	}
	b.elements = append(b.elements, value...)
	b.offsets = append(b.offsets, int32(len(b.elements)))
	*b.held += int64(len(value))*int64(unsafe.Sizeof(*new(T))) + 4
	return nil
}

func (b *listBuilder[T]) take() *vector {
	v := &vector{
		dt:       listCodec[T]{}.dataType(0),
		n:        int64(max(0, len(b.offsets)-1)),
		offsets:  b.offsets,
		children: []*vector{{dt: arrowNumber[T](), n: int64(len(b.elements)), data: viewBytes(b.elements)}},
	}
	b.valid.takeInto(v)
	b.offsets, b.elements = b.offsets[:0], b.elements[:0]
	return v
}

// textListCodec is for []string.
type textListCodec struct{ nullable bool }

func (c textListCodec) typeName(int) string { return "list<utf8>" }
func (textListCodec) dataType(int) arrow.DataType {
	return arrow.ListOfNonNullable(arrow.BinaryTypes.String)
}

func (c textListCodec) builder(f rowField, held *int64) builder {
	return &textListBuilder{offset: f.offset, nullable: c.nullable, held: held, texts: texts{held: held}}
}

func (c textListCodec) decode(v *vector, from, to int64, out fieldColumn) error {
	child := v.children[0]
	first, last := v.extent(from, to)
	elements := make([]string, last-first)
	for i := range elements {
		elements[i] = child.text(first + int64(i))
	}
	return decodeSpans(v, from, to, out, elements, first)
}

type textListBuilder struct {
	offset   uintptr
	nullable bool
	held     *int64
	offsets  []int32
	texts    texts
	valid    validity
}

func (b *textListBuilder) width() int { return 0 }

func (b *textListBuilder) append(row unsafe.Pointer) error {
	value := *(*[]string)(unsafe.Add(row, b.offset))
	if b.nullable {
		b.valid.append(value != nil)
	}
	for _, s := range value {
		if err := b.texts.append(s); err != nil {
			return err
		}
	}
	if len(b.offsets) == 0 {
		b.offsets = append(b.offsets, 0)
	}
	b.offsets = append(b.offsets, b.offsets[len(b.offsets)-1]+int32(len(value)))
	*b.held += 4
	return nil
}

func (b *textListBuilder) take() *vector {
	v := &vector{
		dt:       textListCodec{}.dataType(0),
		n:        int64(max(0, len(b.offsets)-1)),
		offsets:  b.offsets,
		children: []*vector{b.texts.take(arrow.BinaryTypes.String)},
	}
	b.valid.takeInto(v)
	b.offsets = b.offsets[:0]
	return v
}

// fixedListCodec is for []T with a length that is the same in every row.
type fixedListCodec[T number] struct{ nullable bool }

func (fixedListCodec[T]) typeName(width int) string {
	return fixedListName(typeName(arrowNumber[T]()), width)
}

func (fixedListCodec[T]) dataType(width int) arrow.DataType {
	return arrow.FixedSizeListOfNonNullable(int32(width), arrowNumber[T]())
}

func (c fixedListCodec[T]) builder(f rowField, held *int64) builder {
	return &fixedListBuilder[T]{offset: f.offset, nullable: c.nullable, held: held, size: f.width}
}

func (c fixedListCodec[T]) decode(v *vector, from, to int64, out fieldColumn) error {
	elements := values[T](v.children[0])
	width := int64(v.dt.(*arrow.FixedSizeListType).Len())
	for i := from; i < to; i++ {
		if v.isNull(i) {
			*at[[]T](out, i-from) = nil
			continue
		}
		a, b := i*width, (i+1)*width
		if err := noNullElement(v, i, a, b); err != nil {
			return err
		}
		*at[[]T](out, i-from) = share(elements, a, b)
	}
	return nil
}

type fixedListBuilder[T number] struct {
	offset   uintptr
	nullable bool
	held     *int64
	size     int   // 0 until the first list that is not null
	n        int64 // lists, null ones included
	elements []T
	valid    validity
}

func (b *fixedListBuilder[T]) width() int { return b.size }

func (b *fixedListBuilder[T]) append(row unsafe.Pointer) error {
	value := *(*[]T)(unsafe.Add(row, b.offset))
	if b.nullable {
		b.valid.append(value != nil)
		if value == nil {
			b.appendNull()
			return nil
		}
	}
	if b.size == 0 && len(value) > 0 {
		b.learnSize(len(value))
	}
	if len(value) != b.size || b.size == 0 {
		return b.wrongLength(len(value))
	}
	b.elements = append(b.elements, value...)
	b.n++
	*b.held += b.listBytes()
	return nil
}

func (b *fixedListBuilder[T]) listBytes() int64 {
	return int64(b.size) * int64(unsafe.Sizeof(*new(T)))
}

func (b *fixedListBuilder[T]) appendNull() {
	b.elements = append(b.elements, make([]T, b.size)...)
	b.n++
	*b.held += b.listBytes()
}

// learnSize gives the null lists so far the length that the others have.
func (b *fixedListBuilder[T]) learnSize(size int) {
	b.size = size
	b.elements = make([]T, b.n*int64(size))
	*b.held += b.n * b.listBytes()
}

func (b *fixedListBuilder[T]) wrongLength(length int) error {
	if length == 0 && !b.nullable {
		return fmt.Errorf("an empty list where every row needs one of the same length; tag the field nullable if it may be absent")
	}
	if b.size == 0 {
		return fmt.Errorf("an empty list; a null one is nil")
	}
	return fmt.Errorf("a list of length %d where every row needs %d", length, b.size)
}

func (b *fixedListBuilder[T]) take() *vector {
	v := &vector{
		dt:       fixedListCodec[T]{}.dataType(b.size),
		n:        b.n,
		children: []*vector{{dt: arrowNumber[T](), n: int64(len(b.elements)), data: viewBytes(b.elements)}},
	}
	b.valid.takeInto(v)
	b.n, b.elements = 0, b.elements[:0]
	return v
}
