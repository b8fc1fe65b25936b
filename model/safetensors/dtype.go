package safetensors

import (
	"encoding/binary"
	"math"
)

// DType is the element type of a tensor, in the spelling of the format.
type DType string

// The element types that can be read and written.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	I64  DType = "I64"
	I32  DType = "I32"
	I16  DType = "I16"
	I8   DType = "I8"
	U64  DType = "U64"
	U32  DType = "U32"
	U16  DType = "U16"
	U8   DType = "U8"
	Bool DType = "BOOL" // one byte, 0 or 1
	F16  DType = "F16"  // IEEE 754 binary16
	BF16 DType = "BF16" // the upper half of a float32
)

// Size returns the bytes of one element, 0 for a type that is not known.
func (d DType) Size() int {
	switch d {
	case F64, I64, U64:
		return 8
	case F32, I32, U32:
		return 4
	case F16, BF16, I16, U16:
		return 2
	case I8, U8, Bool:
		return 1
	}
	return 0
}

// The three decoders below read one element, and are not ok for a type of another kind or with values that they would
// have to round.

func (d DType) float64Of() (decode func([]byte) float64, ok bool) {
	switch d {
	case F64:
		return func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }, true
	case F32, F16, BF16:
		narrow, _ := d.float32Of()
		return func(b []byte) float64 { return float64(narrow(b)) }, true
	}
	return nil, false
}

func (d DType) float32Of() (decode func([]byte) float32, ok bool) {
	switch d {
	case F32:
		return func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }, true
	case F16:
		return func(b []byte) float32 { return halfToFloat32(binary.LittleEndian.Uint16(b)) }, true
	case BF16:
		return func(b []byte) float32 { return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16) }, true
	}
	return nil, false
}

func (d DType) int64Of() (decode func([]byte) int64, ok bool) {
	switch d {
	case I64:
		return func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }, true
	case I32:
		return func(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) }, true
	case I16:
		return func(b []byte) int64 { return int64(int16(binary.LittleEndian.Uint16(b))) }, true
	case I8:
		return func(b []byte) int64 { return int64(int8(b[0])) }, true
	case U32:
		return func(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b)) }, true
	case U16:
		return func(b []byte) int64 { return int64(binary.LittleEndian.Uint16(b)) }, true
	case U8:
		return func(b []byte) int64 { return int64(b[0]) }, true
	}
	return nil, false
}

// halfToFloat32 is exact: every binary16 is a float32. A NaN keeps its sign and payload.
func halfToFloat32(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exponent := uint32(h>>10) & 0x1f
	fraction := uint32(h & 0x3ff)
	switch exponent {
	case 0: // zero and subnormal: fraction · 2⁻²⁴
		magnitude := float32(fraction) * 0x1p-24
		return math.Float32frombits(sign | math.Float32bits(magnitude))
	case 0x1f: // infinity and NaN
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
