package table

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
)

// A codec moves values between fields of one Go type and Arrow columns. It is
// chosen once for each field, so that no reflection happens for a row.
type codec interface {
	// typeName is the column type's canonical name.
	typeName(width int) string
	dataType(width int) arrow.DataType
	// builder gathers the field's values. It adds what it holds to *held, in
	// bytes.
	builder(f rowField, held *int64) builder
	// decode sets the fields of out to the values [from,to) of v, whose type
	// is dataType and which are not null unless the field is nullable. Slices,
	// strings and pointers share v's memory.
	decode(v *vector, from, to int64, out fieldColumn) error
}

// A builder gathers the values of one column.
type builder interface {
	// append adds the field of the row at this address.
	append(row unsafe.Pointer) error
	// width is that of a fixed-size list, 0 while it is unknown.
	width() int
	// take returns what was gathered and starts anew. The vector is valid
	// until the next append.
	take() *vector
}

// A fieldColumn is one field of consecutive rows in memory.
type fieldColumn struct {
	first  unsafe.Pointer // the field of the first row
	stride uintptr        // bytes from one row to the next
}

// at is the field of the i-th row. T must be the field's type, or one with the
// same underlying type.
func at[T any](c fieldColumn, i int64) *T {
	return (*T)(unsafe.Add(c.first, uintptr(i)*c.stride))
}

// share is s[from:to] such that appending to it copies, and never nil, which
// would stand for null.
func share[T any](s []T, from, to int64) []T {
	if from == to {
		return []T{}
	}
	return s[from:to:to]
}

// A valueError is a value that a field cannot hold or a column cannot store.
type valueError struct {
	row  int64 // counted within the vector, or from the table's start
	text string
}

func (e valueError) Error() string { return fmt.Sprintf("row %d: %s", e.row, e.text) }

// validity gathers the flags of a nullable column.
type validity struct {
	bits  []byte
	n     int64
	nulls int64
}

func (b *validity) append(valid bool) {
	if b.n%8 == 0 {
		b.bits = append(b.bits, 0)
	}
	if valid {
		b.bits[b.n/8] |= 1 << (b.n % 8)
	} else {
		b.nulls++
	}
	b.n++
}

// takeInto gives v its nulls, if there are any, and starts anew.
func (b *validity) takeInto(v *vector) {
	if b.nulls > 0 {
		v.valid, v.nulls = b.bits, b.nulls
	}
	*b = validity{bits: b.bits[:0]}
}

// A number is any fixed-width value with a Go type of its own.
type number interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64
}

// A numberKind makes the codecs of one number type.
type numberKind interface {
	scalar(pointer bool) codec
	list(nullable bool) codec
	fixedList(nullable bool) codec
}

type numberKindOf[T number] struct{}

func (numberKindOf[T]) scalar(pointer bool) codec { return numberCodec[T]{pointer: pointer} }
func (numberKindOf[T]) list(nullable bool) codec  { return listCodec[T]{nullable: nullable} }
func (numberKindOf[T]) fixedList(nullable bool) codec {
	return fixedListCodec[T]{nullable: nullable}
}

// numberOf is nil for a kind that is no number of a definite size.
func numberOf(k reflect.Kind) numberKind {
	switch k {
	case reflect.Int8:
		return numberKindOf[int8]{}
	case reflect.Int16:
		return numberKindOf[int16]{}
	case reflect.Int32:
		return numberKindOf[int32]{}
	case reflect.Int64:
		return numberKindOf[int64]{}
	case reflect.Uint8:
		return numberKindOf[uint8]{}
	case reflect.Uint16:
		return numberKindOf[uint16]{}
	case reflect.Uint32:
		return numberKindOf[uint32]{}
	case reflect.Uint64:
		return numberKindOf[uint64]{}
	case reflect.Float32:
		return numberKindOf[float32]{}
	case reflect.Float64:
		return numberKindOf[float64]{}
	}
	return nil
}

func arrowNumber[T number]() arrow.DataType {
	switch any(*new(T)).(type) {
	case int8:
		return arrow.PrimitiveTypes.Int8
	case int16:
		return arrow.PrimitiveTypes.Int16
	case int32:
		return arrow.PrimitiveTypes.Int32
	case int64:
		return arrow.PrimitiveTypes.Int64
	case uint8:
		return arrow.PrimitiveTypes.Uint8
	case uint16:
		return arrow.PrimitiveTypes.Uint16
	case uint32:
		return arrow.PrimitiveTypes.Uint32
	case uint64:
		return arrow.PrimitiveTypes.Uint64
	case float32:
		return arrow.PrimitiveTypes.Float32
	default:
		return arrow.PrimitiveTypes.Float64
	}
}
