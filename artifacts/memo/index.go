package memo

import (
	"errors"
	"io"
)

// An index says where the value of each key is: about 75 bytes of memory a row.
type index struct {
	places map[Key]place
	files  []indexed
}

// A place is a record in one of the files.
type place struct {
	offset int64
	length uint32
	file   uint32
}

func (p place) span() span { return span{p.offset, p.length} }

// An indexed file is a segment or a journal.
type indexed struct {
	io.ReaderAt
	bytes int64 // of its records
	live  int64 // of those that no later one overrides
}

func newIndex() *index { return &index{places: map[Key]place{}} }

// file makes a file known, whose records override those of earlier ones.
func (x *index) file(r io.ReaderAt) (number uint32) {
	x.files = append(x.files, indexed{ReaderAt: r})
	return uint32(len(x.files) - 1)
}

// add makes a record known, in place of an earlier one of its key.
func (x *index) add(key Key, file uint32, s span) {
	x.forget(key)
	x.places[key] = place{s.offset, s.length, file}
	x.files[file].bytes += s.size()
	x.files[file].live += s.size()
}

func (x *index) forget(key Key) {
	if old, ok := x.places[key]; ok {
		x.files[old.file].live -= old.span().size()
		delete(x.places, key)
	}
}

// stands says whether a record is the one that its key has.
func (x *index) stands(key Key, file uint32, s span) bool {
	p, ok := x.places[key]
	return ok && p == place{s.offset, s.length, file}
}

// mostlyDead says whether more than half of a file was overridden.
func (x *index) mostlyDead(file uint32) bool {
	f := x.files[file]
	return 2*f.live < f.bytes
}

// errDamaged says that a record is not as it was written.
var errDamaged = errors.New("the record is damaged")

// read is the value at a place.
func (x *index) read(key Key, at place) ([]byte, error) {
	record := make([]byte, at.span().size())
	n, err := x.files[at.file].ReadAt(record, at.offset)
	if err = unlessEnd(err); err != nil && n < len(record) {
		return nil, err
	}
	value, ok := valueOf(record[:n], key)
	if !ok {
		return nil, errDamaged
	}
	return value, nil
}
