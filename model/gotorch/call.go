package gotorch

import (
	"fmt"
	"math"
	"strings"
	"unsafe"
)

// tag says what one packed argument or result is. The shim has the same list.
type tag uint8

const (
	tagNone tag = iota
	tagTensor
	tagInt
	tagDouble
	tagBool
	tagString
	tagIntList
	tagDoubleList
	tagBoolList
	tagTensorList
	tagDType
	tagDevice
	tagLayout
	tagMemoryFormat
	tagGenerator
)

// NamedArg is an argument passed by its parameter's name.
type NamedArg struct {
	Name  string
	Value any
}

// Named passes an argument by name, for parameters after the star of a schema
// or behind defaults: s.Call("aten::sum", t, gotorch.Named("dtype", gotorch.Float64)).
func Named(name string, value any) NamedArg { return NamedArg{name, value} }

// Call runs any operator by its ATen name, "aten::add.Tensor" (the overload
// after the dot). Arguments are positional or [Named]; those left out take the
// schema's default, and a Generator left out is the session's. Each may be nil
// (an absent optional), *Tensor, int, int64, float32, float64, bool, string,
// []int, []int64, []float64, []bool, []*Tensor (nil elements where the schema
// allows them), DType, Device, Layout, MemoryFormat or *Generator, and is checked
// against the schema before the operator runs.
//
// The tensors of the result, a list's elements among them, belong to the current
// scope; one that the operator left undefined is nil. Results that are not
// tensors are an error here: use CallAny.
func (s *Session) Call(op string, args ...any) []*Tensor {
	values := s.CallAny(op, args...)
	tensors := make([]*Tensor, 0, len(values))
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			tensors = append(tensors, nil)
		case *Tensor:
			tensors = append(tensors, v)
		case []*Tensor:
			tensors = append(tensors, v...)
		default:
			s.fail(op, args, fmt.Sprintf("returned a %T, not a tensor: use CallAny", v))
		}
	}
	return tensors
}

// Call1 is Call for operators with one result, a tensor: nearly all of them.
func (s *Session) Call1(op string, args ...any) *Tensor {
	words := s.invoke(s.operator(op), args, false)
	if len(words) != 2 || tag(words[0]) != tagTensor {
		s.discardResults(words)
		s.fail(op, args, "does not return one tensor: use Call or CallAny")
	}
	return s.adopt(words[1])
}

// CallAny is Call for operators whose results are not all tensors. Each result
// is nil, *Tensor, []*Tensor, int64, float64, bool, string or []int64.
func (s *Session) CallAny(op string, args ...any) []any {
	words := s.invoke(s.operator(op), args, false)
	var values []any
	for len(words) > 0 {
		var v any
		v, words = s.unpack(words)
		values = append(values, v)
	}
	return values
}

// callInPlace is for operators that change their first argument: the result is
// that argument again, and is not made into another tensor.
func (s *Session) callInPlace(op string, args ...any) {
	s.invoke(s.operator(op), args, true)
}

func (s *Session) operator(name string) *operator {
	if op := s.operators[name]; op != nil {
		return op
	}
	op, err := s.lib.operator(name)
	if err != nil {
		panic(err) // an *Error
	}
	s.operators[name] = op
	return op
}

// invoke packs the arguments, runs the operator and returns the packed results,
// which are valid until the next call.
func (s *Session) invoke(op *operator, args []any, discard bool) []uint64 {
	if s.scope == nil {
		s.fail(op.name, args, "outside Session.Run")
	}
	n := s.pack(op, args)
	fn := &s.lib.fn
	r := s.lib.invoke(fn.call, op.handle, uintptr(unsafe.Pointer(unsafe.SliceData(s.args))), uintptr(n),
		uintptr(unsafe.Pointer(&s.results[0])), uintptr(len(s.results)), word(discard), uintptr(unsafe.Pointer(&s.errText)))
	if r < 0 {
		s.fail(op.name, args, message(&s.errText))
	}
	if int(r) <= len(s.results) {
		return s.results[:r]
	}
	held := s.results[0]
	s.results = make([]uint64, r)
	s.lib.invoke(fn.take, uintptr(held), uintptr(unsafe.Pointer(&s.results[0])), uintptr(r))
	return s.results
}

// adopt makes a handle that the shim gave out a tensor of the current scope.
func (s *Session) adopt(handle uint64) *Tensor {
	if handle == 0 {
		return nil
	}
	t := &Tensor{session: s, handle: handle, owner: s.scope}
	s.scope.tensors = append(s.scope.tensors, t)
	return t
}

func (s *Session) unpack(words []uint64) (any, []uint64) {
	head, rest := words[0], words[1:]
	count := int(head >> 32)
	switch tag(head) {
	case tagNone:
		return nil, rest
	case tagTensor:
		if t := s.adopt(rest[0]); t != nil {
			return t, rest[1:]
		}
		return nil, rest[1:]
	case tagInt:
		return int64(rest[0]), rest[1:]
	case tagDouble:
		return math.Float64frombits(rest[0]), rest[1:]
	case tagBool:
		return rest[0] != 0, rest[1:]
	case tagString:
		n := stringWords(count)
		if count == 0 {
			return "", rest
		}
		return string(unsafe.Slice((*byte)(unsafe.Pointer(&rest[0])), count)), rest[n:]
	case tagTensorList:
		list := make([]*Tensor, count)
		for i := range list {
			list[i] = s.adopt(rest[i])
		}
		return list, rest[count:]
	case tagIntList:
		list := make([]int64, count)
		for i := range list {
			list[i] = int64(rest[i])
		}
		return list, rest[count:]
	}
	panic(fmt.Sprintf("gotorch: the shim returned tag %d", tag(head)))
}

// discardResults takes ownership of results that nobody asked for, so that
// their tensors are freed with the scope.
func (s *Session) discardResults(words []uint64) {
	for len(words) > 0 {
		_, words = s.unpack(words)
	}
}

// pack writes the arguments to s.args in the form that pf_call reads, and
// returns their number.
func (s *Session) pack(op *operator, args []any) int {
	s.args = s.args[:0]
	n := len(args)
	generatorGiven := false
	for i, a := range args {
		index := i
		if named, ok := a.(NamedArg); ok {
			if index, ok = op.index(named.Name); !ok {
				s.fail(op.name, args, fmt.Sprintf("has no argument %q: %s", named.Name, op.schema))
			}
			a = named.Value
		}
		generatorGiven = generatorGiven || index == op.generator
		s.packOne(op, args, index, a)
	}
	if op.generator >= 0 && !generatorGiven {
		s.put(op.generator, tagGenerator, 1, s.generator.handle)
		n++
	}
	return n
}

func (s *Session) head(index int, t tag, count int) {
	s.args = append(s.args, uint64(t)|uint64(index)<<8|uint64(count)<<32)
}

func (s *Session) put(index int, t tag, count int, payload uint64) {
	s.args = append(s.args, uint64(t)|uint64(index)<<8|uint64(count)<<32, payload)
}

func (s *Session) packOne(op *operator, args []any, index int, a any) {
	switch a := a.(type) {
	case nil:
		s.head(index, tagNone, 0)
	case *Tensor:
		if a == nil {
			s.head(index, tagNone, 0)
			return
		}
		s.put(index, tagTensor, 1, s.usable(op, args, a))
	case int:
		s.put(index, tagInt, 1, uint64(a))
	case int64:
		s.put(index, tagInt, 1, uint64(a))
	case float64:
		s.put(index, tagDouble, 1, math.Float64bits(a))
	case float32:
		s.put(index, tagDouble, 1, math.Float64bits(float64(a)))
	case bool:
		s.put(index, tagBool, 1, uint64(word(a)))
	case DType:
		s.put(index, tagDType, 1, uint64(a))
	case Device:
		s.put(index, tagDevice, 1, a.word())
	case Layout:
		s.put(index, tagLayout, 1, uint64(a))
	case MemoryFormat:
		s.put(index, tagMemoryFormat, 1, uint64(a))
	case *Generator:
		s.packGenerator(op, args, index, a)
	default:
		s.packList(op, args, index, a)
	}
}

func (s *Session) packGenerator(op *operator, args []any, index int, g *Generator) {
	if g == nil {
		s.head(index, tagNone, 0)
		return
	}
	if g.handle == 0 {
		s.fail(op.name, args, "random generator used after Close")
	}
	s.put(index, tagGenerator, 1, g.handle)
}

func (s *Session) packList(op *operator, args []any, index int, a any) {
	switch a := a.(type) {
	case string:
		s.packString(index, a)
	case []int64:
		s.head(index, tagIntList, len(a))
		for _, v := range a {
			s.args = append(s.args, uint64(v))
		}
	case []int:
		s.head(index, tagIntList, len(a))
		for _, v := range a {
			s.args = append(s.args, uint64(v))
		}
	case []float64:
		s.head(index, tagDoubleList, len(a))
		for _, v := range a {
			s.args = append(s.args, math.Float64bits(v))
		}
	case []bool:
		s.head(index, tagBoolList, len(a))
		for _, v := range a {
			s.args = append(s.args, uint64(word(v)))
		}
	case []*Tensor:
		s.head(index, tagTensorList, len(a))
		for _, t := range a {
			var handle uint64
			if t != nil {
				handle = s.usable(op, args, t)
			}
			s.args = append(s.args, handle)
		}
	default:
		s.fail(op.name, args, fmt.Sprintf("a %T cannot be passed", a))
	}
}

func stringWords(n int) int { return (n + 7) / 8 }

func (s *Session) packString(index int, text string) {
	s.head(index, tagString, len(text))
	start := len(s.args)
	for range stringWords(len(text)) {
		s.args = append(s.args, 0)
	}
	if len(text) > 0 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&s.args[start])), len(text)), text)
	}
}

// usable is the handle of a tensor argument; a stale one is an error that names
// the operator.
func (s *Session) usable(op *operator, args []any, t *Tensor) uint64 {
	if t.handle != 0 && t.session == s {
		return t.handle
	}
	if t.session != s {
		s.fail(op.name, args, "tensor of another session")
	}
	s.fail(op.name, args, "tensor used after its scope ended (Keep or Persist it)")
	return 0
}

// describeAll renders arguments for an error.
func describeAll(args []any) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = describe(a)
	}
	return out
}

func describe(a any) string {
	switch a := a.(type) {
	case nil:
		return "nil"
	case NamedArg:
		return a.Name + "=" + describe(a.Value)
	case *Tensor:
		return a.describe()
	case []*Tensor:
		return describeTensors(a)
	case *Generator:
		return "Generator"
	case float64, float32:
		return fmt.Sprintf("float %v", a)
	case int, int64:
		return fmt.Sprintf("int %d", a)
	case string:
		return fmt.Sprintf("%q", a)
	default:
		return fmt.Sprint(a)
	}
}

// shownTensors bounds how many tensors of a list an error describes.
const shownTensors = 4

func describeTensors(list []*Tensor) string {
	var parts []string
	for _, t := range list[:min(len(list), shownTensors)] {
		parts = append(parts, t.describe())
	}
	if len(list) > shownTensors {
		parts = append(parts, fmt.Sprintf("… %d in all", len(list)))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
