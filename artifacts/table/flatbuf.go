package table

import (
	"encoding/binary"
	"errors"
)

// Arrow describes tables in flatbuffers: tables of optional fields that refer
// to one another by relative position. The generated accessors believe every
// position and length. These do not: each access is checked against the
// buffer, and the first that leaves it marks the whole buffer as corrupt.

var errFlatbuffer = errors.New("metadata refers to a place outside itself")

// A flatbuffer is one buffer and what is wrong with it. Accessors of a corrupt
// one return zeros, so that its reader need look at err only now and then.
type flatbuffer struct {
	data []byte
	err  error
}

// slice is the n bytes at pos, or nil.
func (f *flatbuffer) slice(pos, n int64) []byte {
	if f.err != nil || pos < 0 || n < 0 || pos > int64(len(f.data))-n {
		f.err = errFlatbuffer
		return nil
	}
	return f.data[pos : pos+n]
}

// uint reads a little-endian number of n bytes.
func (f *flatbuffer) uint(pos, n int64) uint64 {
	var b [8]byte
	copy(b[:], f.slice(pos, n))
	return binary.LittleEndian.Uint64(b[:])
}

// follow reads the reference at pos and returns what it refers to.
func (f *flatbuffer) follow(pos int64) int64 { return pos + int64(f.uint(pos, 4)) }

func (f *flatbuffer) root() fbTable { return f.table(f.follow(0)) }

func (f *flatbuffer) table(pos int64) fbTable {
	vtable := pos - int64(int32(f.uint(pos, 4)))
	return fbTable{f: f, pos: pos, vtable: vtable, size: int64(f.uint(vtable, 2))}
}

// An fbTable is a table in a flatbuffer.
type fbTable struct {
	f           *flatbuffer
	pos, vtable int64
	size        int64 // of the vtable
}

// at is the position of the i-th field, or 0 when the table leaves it out.
func (t fbTable) at(i int64) int64 {
	slot := 4 + 2*i
	if slot+2 > t.size {
		return 0
	}
	offset := int64(t.f.uint(t.vtable+slot, 2))
	if offset == 0 {
		return 0
	}
	return t.pos + offset
}

func (t fbTable) has(i int64) bool { return t.at(i) != 0 }

// int reads a signed number of n bytes, or the default of a field left out.
func (t fbTable) int(i, n, absent int64) int64 {
	pos := t.at(i)
	if pos == 0 {
		return absent
	}
	shift := 64 - 8*n
	return int64(t.f.uint(pos, n)<<shift) >> shift
}

func (t fbTable) bool(i int64) bool { return t.int(i, 1, 0) != 0 }

// table follows a reference to another table. An absent one is an error.
func (t fbTable) table(i int64) fbTable {
	pos := t.at(i)
	if pos == 0 {
		t.f.err = errFlatbuffer
		return fbTable{f: t.f}
	}
	return t.f.table(t.f.follow(pos))
}

func (t fbTable) string(i int64) string {
	pos := t.at(i)
	if pos == 0 {
		return ""
	}
	at := t.f.follow(pos)
	return string(t.f.slice(at+4, int64(t.f.uint(at, 4))))
}

// vector is a vector of n elements of the given size; absent ones are empty.
func (t fbTable) vector(i, size int64) fbVector {
	pos := t.at(i)
	if pos == 0 {
		return fbVector{f: t.f}
	}
	at := t.f.follow(pos)
	n := int64(t.f.uint(at, 4))
	t.f.slice(at+4, n*size)
	if t.f.err != nil {
		return fbVector{f: t.f}
	}
	return fbVector{f: t.f, pos: at + 4, n: n, size: size}
}

// An fbVector is a vector in a flatbuffer, of which all elements are in it.
type fbVector struct {
	f    *flatbuffer
	pos  int64
	n    int64
	size int64
}

func (v fbVector) at(i int64) int64 { return v.pos + i*v.size }

// table follows the i-th element of a vector of tables.
func (v fbVector) table(i int64) fbTable { return v.f.table(v.f.follow(v.at(i))) }

// int64 reads a number at an offset within the i-th element, a struct.
func (v fbVector) int64(i, offset int64) int64 { return int64(v.f.uint(v.at(i)+offset, 8)) }

func (v fbVector) int32(i, offset int64) int64 { return int64(int32(v.f.uint(v.at(i)+offset, 4))) }
