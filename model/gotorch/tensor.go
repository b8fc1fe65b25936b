package gotorch

import (
	"fmt"
	"unsafe"
)

// A Tensor is an array on a device. It belongs to a scope of its session (see
// [Session.Scoped]) and cannot be used after that scope ended: doing so is an
// error, not a crash. Methods that compute return a new Tensor of the current
// scope and panic with an [*Error] when they fail; those whose name ends in
// InPlace change the receiver and return it.
//
// In the methods' comments [a, b] is a shape and a scalar has none; "elementwise"
// means that the result has the operand's shape, and "broadcast" that shapes are
// aligned at their last dimensions, sizes of one being repeated. Negative
// dimensions count from the end. Shapes that do not fit, element types that an
// operator does not have, dimensions and indices out of range, devices that
// differ are errors. On CUDA an index out of range is found while the device
// works and ends the use of that device in the process.
type Tensor struct {
	session *Session
	handle  uint64 // one counted reference in libtorch; zero once freed
	owner   *scope
}

func (t *Tensor) moveTo(sc *scope) {
	if t.owner != nil && t.owner == t.session.persistent {
		t.owner.drop(t)
	}
	t.owner = sc
	sc.tensors = append(sc.tensors, t)
}

// own returns the receiver's session after checking that it can be used.
func (t *Tensor) own(op string) *Session {
	if t == nil {
		panic(&Error{Op: op, Msg: "nil tensor"})
	}
	t.session.valid(op, t)
	return t.session
}

// info is what pf_info reports.
type info struct {
	dtype        DType
	device       Device
	requiresGrad bool
	leaf         bool
	shape        []int64
}

// infoFixed is the number of words that pf_info writes before the sizes.
const infoFixed = 5

func (t *Tensor) info(op string) info {
	s := t.own(op)
	for {
		r := s.lib.invoke(s.lib.fn.info, uintptr(t.handle), uintptr(unsafe.Pointer(&s.results[0])), uintptr(len(s.results)), uintptr(unsafe.Pointer(&s.errText)))
		s.check(op, nil, r)
		if int(r) <= len(s.results) {
			break
		}
		s.results = make([]uint64, r)
	}
	w := s.results
	shape := make([]int64, w[4])
	for i := range shape {
		shape[i] = int64(w[infoFixed+i])
	}
	return info{dtype: DType(w[0]), device: deviceOf(w[1]), requiresGrad: w[2] != 0, leaf: w[3] != 0, shape: shape}
}

// Session is the tensor's.
func (t *Tensor) Session() *Session { return t.session }

// Valid reports whether the tensor can still be used.
func (t *Tensor) Valid() bool { return t != nil && t.handle != 0 }

// Shape is the size of each dimension.
func (t *Tensor) Shape() []int64 { return t.info("Shape").shape }

// Dim is the number of dimensions.
func (t *Tensor) Dim() int { return len(t.info("Dim").shape) }

// Size is the size of one dimension; negative ones count from the end.
func (t *Tensor) Size(dim int) int64 {
	shape := t.info("Size").shape
	i := dim
	if i < 0 {
		i += len(shape)
	}
	if i < 0 || i >= len(shape) {
		t.session.fail("Size", []any{t, dim}, fmt.Sprintf("dimension out of range for %d dimensions", len(shape)))
	}
	return shape[i]
}

// Numel is the number of elements.
func (t *Tensor) Numel() int64 { return product(t.info("Numel").shape) }

func product(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

// DType is the element type.
func (t *Tensor) DType() DType { return t.info("DType").dtype }

// Device is where the tensor lives.
func (t *Tensor) Device() Device { return t.info("Device").device }

// NeedsGrad reports whether gradients are recorded for the tensor.
func (t *Tensor) NeedsGrad() bool { return t.info("NeedsGrad").requiresGrad }

// String describes the tensor, without its values.
func (t *Tensor) String() string { return t.describe() }

func (t *Tensor) describe() string {
	if !t.Valid() {
		if t == nil {
			return "nil"
		}
		return "Tensor (freed)"
	}
	i := t.info("String")
	return fmt.Sprintf("Tensor %s%v", i.dtype, i.shape)
}

// Float32s copies the values to the host, row by row, converting to float32.
func (t *Tensor) Float32s() []float32 {
	out := make([]float32, t.info("Float32s").numel())
	t.CopyToFloat32(out)
	return out
}

// CopyToFloat32 is Float32s into a slice of exactly the tensor's size.
func (t *Tensor) CopyToFloat32(dst []float32) { toHost(t, "CopyToFloat32", Float32, dst) }

// Float64s copies the values to the host, row by row, converting to float64.
func (t *Tensor) Float64s() []float64 {
	out := make([]float64, t.info("Float64s").numel())
	toHost(t, "Float64s", Float64, out)
	return out
}

// Int64s copies the values of an integer or bool tensor to the host, row by row.
func (t *Tensor) Int64s() []int64 {
	i := t.info("Int64s")
	if !i.dtype.integral() {
		t.session.fail("Int64s", []any{t}, "not an integer tensor: convert it with To(gotorch.Int64)")
	}
	out := make([]int64, i.numel())
	toHost(t, "Int64s", Int64, out)
	return out
}

// Bools copies a bool tensor to the host, row by row.
func (t *Tensor) Bools() []bool {
	i := t.info("Bools")
	if i.dtype != Bool {
		t.session.fail("Bools", []any{t}, "not a bool tensor: compare it with Ne(0)")
	}
	raw := make([]uint8, i.numel())
	toHost(t, "Bools", Uint8, raw)
	out := make([]bool, len(raw))
	for j, b := range raw {
		out[j] = b != 0
	}
	return out
}

func (i info) numel() int64 { return product(i.shape) }

// Item is the value of a tensor of one element.
func (t *Tensor) Item() float64 {
	if n := t.info("Item").numel(); n != 1 {
		t.session.fail("Item", []any{t}, fmt.Sprintf("has %d elements, want 1", n))
	}
	var out [1]float64
	toHost(t, "Item", Float64, out[:])
	return out[0]
}

// element is the Go types that tensors are copied from and to.
type element interface {
	~float32 | ~float64 | ~int64 | ~uint8
}

func toHost[E element](t *Tensor, op string, dtype DType, dst []E) {
	s := t.own(op)
	bytes := uintptr(len(dst)) * unsafe.Sizeof(*new(E))
	r := s.lib.invoke(s.lib.fn.toHost, uintptr(t.handle), uintptr(dtype), uintptr(unsafe.Pointer(unsafe.SliceData(dst))), bytes, uintptr(unsafe.Pointer(&s.errText)))
	s.check(op, []any{t}, r)
}

func fromHost[E element](s *Session, op string, dtype DType, data []E, shape []int64) *Tensor {
	s.mustRun(op)
	if len(shape) == 0 {
		shape = []int64{int64(len(data))}
	}
	if err := fits(len(data), shape); err != "" {
		s.fail(op, []any{len(data), shape}, err)
	}
	bytes := uintptr(len(data)) * unsafe.Sizeof(*new(E))
	var handle uint64
	r := s.lib.invoke(s.lib.fn.fromHost, uintptr(unsafe.Pointer(unsafe.SliceData(data))), bytes,
		uintptr(unsafe.Pointer(&shape[0])), uintptr(len(shape)), uintptr(dtype), uintptr(s.device.word()),
		uintptr(unsafe.Pointer(&handle)), uintptr(unsafe.Pointer(&s.errText)))
	s.check(op, []any{shape}, r)
	return s.adopt(handle)
}

func fits(n int, shape []int64) string {
	size := 1.0 // cannot overflow
	for _, d := range shape {
		if d < 0 {
			return fmt.Sprintf("negative size in shape %v", shape)
		}
		size *= float64(d)
	}
	if size != float64(n) {
		return fmt.Sprintf("%d values for shape %v", n, shape)
	}
	return ""
}

// FromFloat32 copies values, row by row, to a tensor on the session's device.
// Without a shape it has one dimension.
func (s *Session) FromFloat32(data []float32, shape ...int64) *Tensor {
	return fromHost(s, "FromFloat32", Float32, data, shape)
}

// FromFloat64 is FromFloat32 for float64.
func (s *Session) FromFloat64(data []float64, shape ...int64) *Tensor {
	return fromHost(s, "FromFloat64", Float64, data, shape)
}

// FromInt64 is FromFloat32 for int64, the type of indices.
func (s *Session) FromInt64(data []int64, shape ...int64) *Tensor {
	return fromHost(s, "FromInt64", Int64, data, shape)
}

// FromUint8 is FromFloat32 for bytes.
func (s *Session) FromUint8(data []uint8, shape ...int64) *Tensor {
	return fromHost(s, "FromUint8", Uint8, data, shape)
}

// FromBool is FromFloat32 for masks.
func (s *Session) FromBool(data []bool, shape ...int64) *Tensor {
	raw := make([]uint8, len(data))
	for i, b := range data {
		if b {
			raw[i] = 1
		}
	}
	return fromHost(s, "FromBool", Bool, raw, shape)
}

// Scalar makes a float32 tensor without dimensions.
func (s *Session) Scalar(value float64) *Tensor { return s.Full(value) }
