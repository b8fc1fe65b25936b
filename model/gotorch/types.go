package gotorch

import (
	"fmt"
	"strconv"
	"strings"
)

// DType is a tensor's element type. The numbers are libtorch's ScalarType.
type DType int8

// The element types. Their numbers are the same in every libtorch since 1.0.
const (
	Uint8    DType = 0
	Int8     DType = 1
	Int16    DType = 2
	Int32    DType = 3
	Int64    DType = 4
	Float16  DType = 5
	Float32  DType = 6
	Float64  DType = 7
	Bool     DType = 11
	BFloat16 DType = 15
)

func (d DType) String() string {
	switch d {
	case Uint8:
		return "uint8"
	case Int8:
		return "int8"
	case Int16:
		return "int16"
	case Int32:
		return "int32"
	case Int64:
		return "int64"
	case Float16:
		return "float16"
	case Float32:
		return "float32"
	case Float64:
		return "float64"
	case Bool:
		return "bool"
	case BFloat16:
		return "bfloat16"
	}
	return fmt.Sprintf("dtype(%d)", int8(d))
}

// integral reports whether values convert to int64 without loss.
func (d DType) integral() bool {
	return d == Bool || (d >= Uint8 && d <= Int64)
}

// Layout is a tensor's memory layout, for operators that take one.
type Layout int8

// Strided is the ordinary dense layout.
const Strided Layout = 0

// MemoryFormat is the order of a dense tensor's elements, for operators that
// take one.
type MemoryFormat int8

// The memory formats.
const (
	ContiguousFormat MemoryFormat = 0
	PreserveFormat   MemoryFormat = 1
	ChannelsLast     MemoryFormat = 2
)

// Device is where a tensor lives.
type Device struct {
	Type  DeviceType
	Index int // -1: the current one of its type
}

// DeviceType is a kind of device. The numbers are libtorch's.
type DeviceType int8

// The device types that this package creates sessions on.
const (
	CPU  DeviceType = 0
	CUDA DeviceType = 1
)

func (d DeviceType) String() string {
	switch d {
	case CPU:
		return "cpu"
	case CUDA:
		return "cuda"
	}
	return fmt.Sprintf("device(%d)", int8(d))
}

// NewDevice parses "cpu", "cuda" or "cuda:N". It does not ask whether the
// device is there; [Library.NewSession] does.
func NewDevice(name string) (Device, error) {
	kind, number, indexed := strings.Cut(name, ":")
	if kind == "cpu" && !indexed {
		return Device{CPU, -1}, nil
	}
	if kind == "cuda" && !indexed {
		return Device{CUDA, 0}, nil
	}
	if kind == "cuda" {
		if n, err := strconv.ParseUint(number, 10, 7); err == nil {
			return Device{CUDA, int(n)}, nil
		}
	}
	return Device{}, fmt.Errorf("device %q: want cpu, cuda, cuda:N or auto", name)
}

func (d Device) String() string {
	if d.Type == CPU || d.Index < 0 {
		return d.Type.String()
	}
	return fmt.Sprintf("%s:%d", d.Type, d.Index)
}

func (d Device) word() uint64 {
	return uint64(uint8(d.Type)) | uint64(uint8(int8(d.Index)))<<8
}

func deviceOf(word uint64) Device {
	return Device{DeviceType(int8(word)), int(int8(word >> 8))}
}
