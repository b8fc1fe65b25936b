package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"unicode/utf8"
)

// Tensor is a tensor with its bytes, row-major and little-endian.
type Tensor struct {
	Info
	Data []byte
}

// FromFloat32 makes a tensor of F32. Write reports a shape that does not hold the values.
func FromFloat32(name string, shape []int, values []float32) Tensor {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return Tensor{Info: Info{Name: name, DType: F32, Shape: shape}, Data: data}
}

// FromInt64 makes a tensor of I64. Write reports a shape that does not hold the values.
func FromInt64(name string, shape []int, values []int64) Tensor {
	data := make([]byte, 0, 8*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	return Tensor{Info: Info{Name: name, DType: I64, Shape: shape}, Data: data}
}

// Write writes one file. The bytes depend on the metadata and the set of tensors only, not on their order: wide
// element types come first and then names in order, so that each tensor is aligned to its element, and the data to 8
// bytes. Nothing is written when anything is wrong with the arguments.
func Write(w io.Writer, metadata map[string]string, tensors []Tensor) error {
	tensors = slices.Clone(tensors)
	slices.SortStableFunc(tensors, func(a, b Tensor) int {
		return cmp.Or(-cmp.Compare(a.DType.Size(), b.DType.Size()), cmp.Compare(a.Name, b.Name))
	})
	header, err := encodeHeader(metadata, tensors)
	if err != nil {
		return fmt.Errorf("writing %d tensors: %w", len(tensors), err)
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("writing the header: %w", err)
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return fmt.Errorf("writing tensor %q: %w", t.Name, err)
		}
	}
	return nil
}

// encodeHeader returns the length and the header of tensors that are written in the order given.
func encodeHeader(metadata map[string]string, tensors []Tensor) ([]byte, error) {
	var members []string
	if len(metadata) > 0 {
		member, err := encodeMetadata(metadata)
		if err != nil {
			return nil, err
		}
		members = append(members, member)
	}
	offset := int64(0)
	names := map[string]bool{metadataName: true}
	for _, t := range tensors {
		if names[t.Name] {
			return nil, fmt.Errorf("the name %q is taken twice, or by the format", t.Name)
		}
		names[t.Name] = true
		member, err := encodeEntry(t, offset)
		if err != nil {
			return nil, err
		}
		members = append(members, member)
		offset += int64(len(t.Data))
	}
	return frame(members)
}

// frame puts the members into an object, pads it with spaces so that the data is aligned, and puts the length before.
func frame(members []string) ([]byte, error) {
	buffer := bytes.NewBuffer(make([]byte, lengthSize))
	buffer.WriteByte('{')
	for i, member := range members {
		if i > 0 {
			buffer.WriteByte(',')
		}
		buffer.WriteString(member)
	}
	buffer.WriteByte('}')
	for buffer.Len()%8 != 0 {
		buffer.WriteByte(' ')
	}
	framed := buffer.Bytes()
	size := len(framed) - lengthSize
	if size > maxHeaderSize {
		return nil, fmt.Errorf("the header would take %d bytes, and the format allows %d", size, maxHeaderSize)
	}
	binary.LittleEndian.PutUint64(framed, uint64(size))
	return framed, nil
}

func encodeMetadata(metadata map[string]string) (string, error) {
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
			return "", fmt.Errorf("metadata %q is not valid UTF-8", key)
		}
	}
	text, err := json.Marshal(metadata) // sorts the keys
	if err != nil {
		return "", err
	}
	return `"` + metadataName + `":` + string(text), nil
}

func encodeEntry(t Tensor, offset int64) (string, error) {
	if !utf8.ValidString(t.Name) {
		return "", fmt.Errorf("tensor %q: the name is not valid UTF-8", t.Name)
	}
	size, err := t.Bytes()
	if err != nil {
		return "", err
	}
	if size != int64(len(t.Data)) {
		return "", fmt.Errorf("tensor %q: %d bytes of data, but shape %v of %s takes %d", t.Name, len(t.Data), t.Shape, t.DType, size)
	}
	name, err := json.Marshal(t.Name)
	if err != nil {
		return "", err
	}
	value, err := json.Marshal(struct {
		DType   DType    `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}{t.DType, append([]int{}, t.Shape...), [2]int64{offset, offset + size}})
	if err != nil {
		return "", err
	}
	return string(name) + ":" + string(value), nil
}
