package gunzip

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// ErrDamaged is wrapped by errors about data that is no gzip data, or is not
// what was compressed.
var ErrDamaged = errors.New("gzip")

// An inflater inflates deflated data.
type inflater interface {
	// reset begins at what from gives next.
	reset(from *bufio.Reader)
	// Read returns io.EOF at the end of the deflated data.
	io.Reader
	// rest are the bytes behind that end which were taken from the source all
	// the same. They are at most as many as a trailer has.
	rest() []byte
}

// A Reader inflates the members of a gzip file one after the other. Nothing but
// members may be in it. It is for one goroutine.
type Reader struct {
	from     *bufio.Reader
	inflater inflater
	within   bool // a member
	crc      uint32
	size     uint32 // of the member so far, modulo 2^32 as its trailer has it
	err      error
}

// NewReader reads what from holds, with ISA-L where that is there.
func NewReader(from *bufio.Reader) *Reader {
	if lib, err := loadISAL(); err == nil {
		return newReader(from, lib.inflater())
	}
	return newReader(from, &goInflater{})
}

func newReader(from *bufio.Reader, by inflater) *Reader { return &Reader{from: from, inflater: by} }

// Library is the library that inflates, or an error that says why it is Go
// instead, and how to change that.
func Library() (name string, missing error) {
	_, err := loadISAL()
	return isalName, err
}

// Read reads inflated data. Where the file is cut off the error is
// io.ErrUnexpectedEOF, and an empty file is one that is cut off.
func (r *Reader) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for n == 0 && r.err == nil {
		if !r.within {
			if r.err = r.begin(); r.err != nil {
				break
			}
		}
		n, r.err = r.inflater.Read(p)
		r.crc = crc32.Update(r.crc, crc32.IEEETable, p[:n])
		r.size += uint32(n)
		if r.err == io.EOF {
			r.err = r.end()
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, r.err
}

// begin reads a member's header.
func (r *Reader) begin() error {
	if err := readHeader(r.from); err != nil {
		return err
	}
	r.inflater.reset(r.from)
	r.crc, r.size, r.within = 0, 0, true
	return nil
}

// end reads a member's trailer. It returns io.EOF when that ends the file.
func (r *Reader) end() error {
	var trailer [8]byte
	n := copy(trailer[:], r.inflater.rest())
	if _, err := io.ReadFull(r.from, trailer[n:]); err != nil {
		return cutOff(err)
	}
	switch crc, size := binary.LittleEndian.Uint32(trailer[:4]), binary.LittleEndian.Uint32(trailer[4:]); {
	case crc != r.crc:
		return fmt.Errorf("%w: the check sum is %08x, and the file says %08x", ErrDamaged, r.crc, crc)
	case size != r.size:
		return fmt.Errorf("%w: the data has %d bytes, and the file says %d", ErrDamaged, r.size, size)
	}
	r.within = false
	_, err := r.from.Peek(1)
	return err
}

// Flags of a header, and how long the texts may be that it says are there.
const (
	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4

	longestText = 512
)

// readHeader reads a header over, which has nothing that is needed.
func readHeader(from *bufio.Reader) error {
	h := headerReader{from: from}
	fixed := h.bytes(10)
	if h.err != nil {
		return h.err
	}
	if fixed[0] != 0x1f || fixed[1] != 0x8b || fixed[2] != 8 {
		return fmt.Errorf("%w: %x is no header of a member", ErrDamaged, fixed[:3])
	}
	flags := fixed[3]
	if flags&flagExtra != 0 {
		if length := h.bytes(2); h.err == nil {
			h.bytes(int(binary.LittleEndian.Uint16(length)))
		}
	}
	if flags&flagName != 0 {
		h.text("name")
	}
	if flags&flagComment != 0 {
		h.text("comment")
	}
	if flags&flagHeaderCRC != 0 {
		crc := uint16(h.crc)
		if said := h.bytes(2); h.err == nil && binary.LittleEndian.Uint16(said) != crc {
			h.err = fmt.Errorf("%w: the header's check sum is wrong", ErrDamaged)
		}
	}
	return h.err
}

// A headerReader reads the parts of a header until one cannot be read.
type headerReader struct {
	from *bufio.Reader
	crc  uint32
	err  error
}

// bytes are the next n bytes, which has a header's own bound of 64 KiB.
func (h *headerReader) bytes(n int) []byte {
	b := make([]byte, n)
	if h.err != nil {
		return b
	}
	if _, err := io.ReadFull(h.from, b); err != nil {
		h.err = cutOff(err)
	}
	h.crc = crc32.Update(h.crc, crc32.IEEETable, b)
	return b
}

// text reads over a text that ends in a zero.
func (h *headerReader) text(what string) {
	for n := 0; h.err == nil && h.bytes(1)[0] != 0; n++ {
		if n >= longestText {
			h.err = fmt.Errorf("%w: the %s in the header has more than %d bytes", ErrDamaged, what, longestText)
		}
	}
}

// cutOff is the error about a source that ends where there must be more.
func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
