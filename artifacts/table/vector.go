package table

import (
	"math/bits"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// A vector is a run of values of one column, in Arrow's memory layout, in
// memory that the Go collector owns and no other vector uses. A dictionary is
// expanded before it becomes a vector.
type vector struct {
	dt       arrow.DataType
	n        int64
	nulls    int64
	valid    []byte  // a bit for each value, least significant first; nil when no value is null
	offsets  []int32 // n+1 for layoutVar and layoutList, or none when n is 0
	large    []int64 // n+1 for layoutLargeVar and layoutLargeList
	data     []byte  // values, text bytes, or bits; 8-byte aligned
	children []*vector
}

// An offset is where a text or list ends in its bytes or child.
type offset interface{ int32 | int64 }

// isNull says whether value i is null.
func (v *vector) isNull(i int64) bool {
	return v.valid != nil && v.valid[i/8]>>(i%8)&1 == 0
}

// span is where value i of a text or list begins and ends.
func (v *vector) span(i int64) (from, to int64) {
	if v.large != nil {
		return v.large[i], v.large[i+1]
	}
	return int64(v.offsets[i]), int64(v.offsets[i+1])
}

// bytesOf is value i of a text or binary column.
func (v *vector) bytesOf(i int64) []byte {
	from, to := v.span(i)
	return v.data[from:to:to]
}

// values views a vector's data as numbers.
func values[T any](v *vector) []T { return viewAs[T](v.data) }

// viewAs views 8-byte aligned bytes as values of a type without pointers.
func viewAs[T any](b []byte) []T {
	var zero T
	n := len(b) / int(unsafe.Sizeof(zero))
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// viewBytes views values of a type without pointers as bytes.
func viewBytes[T any](s []T) []byte {
	var zero T
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(zero)))
}

// alignedBytes allocates n bytes at an address divisible by eight, which a
// []byte need not have.
func alignedBytes(n int64) []byte {
	return viewBytes(make([]uint64, (n+7)/8))[:n:n]
}

// runs calls visit for each longest run [a,b) within [from,to) whose values
// are all valid or all null, in order.
func (v *vector) runs(from, to int64, visit func(valid bool, a, b int64)) {
	if v.valid == nil {
		if from < to {
			visit(true, from, to)
		}
		return
	}
	for a := from; a < to; {
		valid := !v.isNull(a)
		b := nextBit(v.valid, a+1, to, !valid)
		visit(valid, a, b)
		a = b
	}
}

// nextBit is the first position in [from,to) whose bit is want, or to.
func nextBit(bitmap []byte, from, to int64, want bool) int64 {
	flip := byte(0)
	if !want {
		flip = 0xff
	}
	for i := from; i < to; {
		b := (bitmap[i/8] ^ flip) >> (i % 8)
		if b != 0 {
			return min(i+int64(bits.TrailingZeros8(b)), to)
		}
		i += 8 - i%8
	}
	return to
}

// countZeros counts the zero bits among the first n.
func countZeros(bitmap []byte, n int64) int64 {
	ones := 0
	for _, b := range bitmap[:n/8] {
		ones += bits.OnesCount8(b)
	}
	if rest := n % 8; rest > 0 {
		ones += bits.OnesCount8(bitmap[n/8] & (1<<rest - 1))
	}
	return n - int64(ones)
}

// toArrow hands the vector to the Arrow library without copying. The result
// holds nothing that must be released.
func (v *vector) toArrow() arrow.ArrayData {
	buffers := []*memory.Buffer{bufferOf(v.valid)}
	switch layoutOf(v.dt) {
	case layoutBool, layoutFixed:
		buffers = append(buffers, bufferOf(v.data))
	case layoutVar:
		buffers = append(buffers, bufferOf(viewBytes(v.offsets)), bufferOf(v.data))
	case layoutLargeVar:
		buffers = append(buffers, bufferOf(viewBytes(v.large)), bufferOf(v.data))
	case layoutList:
		buffers = append(buffers, bufferOf(viewBytes(v.offsets)))
	case layoutLargeList:
		buffers = append(buffers, bufferOf(viewBytes(v.large)))
	}
	children := make([]arrow.ArrayData, len(v.children))
	for i, c := range v.children {
		children[i] = c.toArrow()
	}
	return array.NewData(v.dt, int(v.n), buffers, children, int(v.nulls), 0)
}

func bufferOf(b []byte) *memory.Buffer {
	if b == nil {
		return nil
	}
	return memory.NewBufferBytes(b)
}

// extent is where the values [a,b) of a text or list lie in its bytes or child.
func (v *vector) extent(a, b int64) (from, to int64) {
	if a == b {
		return 0, 0
	}
	from, _ = v.span(a)
	_, to = v.span(b - 1)
	return from, to
}
