package table

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
)

// numberCodec is for T, or for *T where pointer is set.
type numberCodec[T number] struct{ pointer bool }

func (numberCodec[T]) typeName(int) string         { return typeName(arrowNumber[T]()) }
func (numberCodec[T]) dataType(int) arrow.DataType { return arrowNumber[T]() }

func (c numberCodec[T]) builder(f rowField, held *int64) builder {
	return &numberBuilder[T]{offset: f.offset, pointer: c.pointer, held: held}
}

func (c numberCodec[T]) decode(v *vector, from, to int64, out fieldColumn) error {
	vals := values[T](v)[from:to]
	if !c.pointer {
		for i, x := range vals {
			*at[T](out, int64(i)) = x
		}
		return nil
	}
	for i := range vals {
		*at[*T](out, int64(i)) = pointerUnlessNull(v, from+int64(i), &vals[i])
	}
	return nil
}

func pointerUnlessNull[T any](v *vector, i int64, p *T) *T {
	if v.isNull(i) {
		return nil
	}
	return p
}

type numberBuilder[T number] struct {
	offset  uintptr
	pointer bool
	held    *int64
	values  []T
	valid   validity
}

func (b *numberBuilder[T]) width() int { return 0 }

func (b *numberBuilder[T]) append(row unsafe.Pointer) error {
	field := unsafe.Add(row, b.offset)
	*b.held += int64(unsafe.Sizeof(*new(T)))
	if !b.pointer {
		b.values = append(b.values, *(*T)(field))
		return nil
	}
	p := *(**T)(field)
	b.valid.append(p != nil)
	var x T
	if p != nil {
		x = *p
	}
	b.values = append(b.values, x)
	return nil
}

func (b *numberBuilder[T]) take() *vector {
	v := &vector{dt: arrowNumber[T](), n: int64(len(b.values)), data: viewBytes(b.values)}
	b.valid.takeInto(v)
	b.values = b.values[:0]
	return v
}

// boolCodec is for bool, or for *bool where pointer is set.
type boolCodec struct{ pointer bool }

func (boolCodec) typeName(int) string         { return "bool" }
func (boolCodec) dataType(int) arrow.DataType { return arrow.FixedWidthTypes.Boolean }

func (c boolCodec) builder(f rowField, held *int64) builder {
	return &boolBuilder{offset: f.offset, pointer: c.pointer, held: held}
}

func (c boolCodec) decode(v *vector, from, to int64, out fieldColumn) error {
	if !c.pointer {
		for i := from; i < to; i++ {
			*at[bool](out, i-from) = v.bit(i)
		}
		return nil
	}
	copies := make([]bool, to-from)
	for i := range copies {
		copies[i] = v.bit(from + int64(i))
		*at[*bool](out, int64(i)) = pointerUnlessNull(v, from+int64(i), &copies[i])
	}
	return nil
}

// bit is value i of a boolean column.
func (v *vector) bit(i int64) bool { return v.data[i/8]>>(i%8)&1 == 1 }

type boolBuilder struct {
	offset  uintptr
	pointer bool
	held    *int64
	values  validity // a bitmap, like the validity
	valid   validity
}

func (b *boolBuilder) width() int { return 0 }

func (b *boolBuilder) append(row unsafe.Pointer) error {
	field := unsafe.Add(row, b.offset)
	*b.held++
	if !b.pointer {
		b.values.append(*(*bool)(field))
		return nil
	}
	p := *(**bool)(field)
	b.valid.append(p != nil)
	b.values.append(p != nil && *p)
	return nil
}

func (b *boolBuilder) take() *vector {
	v := &vector{dt: arrow.FixedWidthTypes.Boolean, n: b.values.n, data: b.values.bits}
	b.valid.takeInto(v)
	b.values = validity{bits: b.values.bits[:0]}
	return v
}

// textCodec is for string, or for *string where pointer is set.
type textCodec struct{ pointer bool }

func (textCodec) typeName(int) string         { return "utf8" }
func (textCodec) dataType(int) arrow.DataType { return arrow.BinaryTypes.String }

func (c textCodec) builder(f rowField, held *int64) builder {
	return &textBuilder{offset: f.offset, pointer: c.pointer, texts: texts{held: held}}
}

func (c textCodec) decode(v *vector, from, to int64, out fieldColumn) error {
	if !c.pointer {
		for i := from; i < to; i++ {
			*at[string](out, i-from) = v.text(i)
		}
		return nil
	}
	copies := make([]string, to-from)
	for i := range copies {
		row := from + int64(i)
		copies[i] = v.text(row)
		*at[*string](out, int64(i)) = pointerUnlessNull(v, row, &copies[i])
	}
	return nil
}

// text is value i of a text column, in the vector's own memory.
func (v *vector) text(i int64) string {
	b := v.bytesOf(i)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

type textBuilder struct {
	offset  uintptr
	pointer bool
	texts   texts
	valid   validity
}

func (b *textBuilder) width() int { return 0 }

func (b *textBuilder) append(row unsafe.Pointer) error {
	field := unsafe.Add(row, b.offset)
	if !b.pointer {
		return b.texts.append(*(*string)(field))
	}
	p := *(**string)(field)
	b.valid.append(p != nil)
	if p == nil {
		return b.texts.append("")
	}
	return b.texts.append(*p)
}

func (b *textBuilder) take() *vector {
	v := b.texts.take(arrow.BinaryTypes.String)
	b.valid.takeInto(v)
	return v
}

// binaryCodec is for []byte.
type binaryCodec struct{ nullable bool }

func (binaryCodec) typeName(int) string         { return "binary" }
func (binaryCodec) dataType(int) arrow.DataType { return arrow.BinaryTypes.Binary }

func (c binaryCodec) builder(f rowField, held *int64) builder {
	return &binaryBuilder{offset: f.offset, nullable: c.nullable, texts: texts{held: held}}
}

func (c binaryCodec) decode(v *vector, from, to int64, out fieldColumn) error {
	for i := from; i < to; i++ {
		field := at[[]byte](out, i-from)
		if v.isNull(i) {
			*field = nil
		} else {
			a, b := v.span(i)
			*field = share(v.data, a, b)
		}
	}
	return nil
}

type binaryBuilder struct {
	offset   uintptr
	nullable bool
	texts    texts
	valid    validity
}

func (b *binaryBuilder) width() int { return 0 }

func (b *binaryBuilder) append(row unsafe.Pointer) error {
	value := *(*[]byte)(unsafe.Add(row, b.offset))
	if b.nullable {
		b.valid.append(value != nil)
	}
	return b.texts.append(unsafe.String(unsafe.SliceData(value), len(value)))
}

func (b *binaryBuilder) take() *vector {
	v := b.texts.take(arrow.BinaryTypes.Binary)
	b.valid.takeInto(v)
	return v
}

// texts gathers strings of bytes.
type texts struct {
	held    *int64
	offsets []int32
	data    []byte
}

func (t *texts) append(s string) error {
	if int64(len(t.data))+int64(len(s)) > maxOffset {
		return fmt.Errorf("a value of %d bytes: one record batch holds at most 2 GiB of a column", len(s))
	}
	if len(t.offsets) == 0 {
		t.offsets = append(t.offsets, 0)
	}
	t.data = append(t.data, s...)
	t.offsets = append(t.offsets, int32(len(t.data)))
	*t.held += int64(len(s)) + 4
	return nil
}

func (t *texts) take(dt arrow.DataType) *vector {
	v := &vector{dt: dt, n: int64(max(0, len(t.offsets)-1)), offsets: t.offsets, data: t.data}
	t.offsets, t.data = t.offsets[:0], t.data[:0]
	return v
}

// maxOffset is the last position that a 32-bit offset reaches.
const maxOffset = math.MaxInt32
