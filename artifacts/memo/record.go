package memo

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// A Key is the SHA-256 of what a row depends on beside its scope.
type Key = [sha256.Size]byte

// MaxValue is the most bytes that a value may have. A longer one in a file is
// damage.
const MaxValue = 64 << 20

// A journal and a segment begin with magic; records follow without a gap:
//
//	length of the value   4 bytes, little endian
//	key                  32 bytes
//	value
//	checksum              4 bytes, little endian: CRC-32C of all of that
//
// What follows a record that is not right is not read: a value is somebody
// else's bytes, which may look like a record to a reader that lost its place.
const (
	magic    = "prismflow rows 1"
	keyAt    = 4
	valueAt  = keyAt + sha256.Size
	overhead = valueAt + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A span is where a record begins in its file and how long its value is.
type span struct {
	offset int64
	length uint32
}

// size is that of the whole record.
func (s span) size() int64 { return int64(s.length) + overhead }

func appendRecord(to []byte, key Key, value []byte) []byte {
	begin := len(to)
	to = binary.LittleEndian.AppendUint32(to, uint32(len(value)))
	to = append(to, key[:]...)
	to = append(to, value...)
	return binary.LittleEndian.AppendUint32(to, crc32.Checksum(to[begin:], castagnoli))
}

// valueOf is the value in a record, which must be key's and undamaged.
func valueOf(record []byte, key Key) (value []byte, ok bool) {
	if !undamaged(record) || Key(record[keyAt:valueAt]) != key {
		return nil, false
	}
	end := len(record) - 4
	return record[valueAt:end:end], true
}

func undamaged(record []byte) bool {
	end := len(record) - 4
	return end >= valueAt && int(binary.LittleEndian.Uint32(record)) == end-valueAt &&
		binary.LittleEndian.Uint32(record[end:]) == crc32.Checksum(record[:end], castagnoli)
}

// spanAt is that of the record which begins at offset with this header, if it
// can be one and is all in a file of size bytes.
func spanAt(header []byte, offset, size int64) (s span, ok bool) {
	s = span{offset, binary.LittleEndian.Uint32(header)}
	return s, s.length <= MaxValue && s.offset+s.size() <= size
}

// eachHeader visits the records of a file without reading their values. It
// returns the end of the last one; what follows, if anything, is damaged, or
// could not be read if there is an error.
func eachHeader(r io.ReaderAt, size int64, visit func(Key, span)) (end int64, err error) {
	w := window{r: r}
	if first := w.read(0, len(magic)); string(first) != magic {
		return 0, w.err
	}
	for end = int64(len(magic)); end+overhead <= size; {
		header := w.read(end, valueAt)
		if header == nil {
			break
		}
		s, ok := spanAt(header, end, size)
		if !ok {
			break
		}
		visit(Key(header[keyAt:valueAt]), s)
		end += s.size()
	}
	return end, w.err
}

// A window reads few bytes at growing offsets: those that are near each other
// with one call, those that are far apart without what is between them.
type window struct {
	r    io.ReaderAt
	buf  [4096]byte
	at   int64
	have int
	err  error // but for the end of the file
}

// read is nil where n bytes cannot be read.
func (w *window) read(offset int64, n int) []byte {
	if offset < w.at || offset+int64(n) > w.at+int64(w.have) {
		w.at = offset
		w.have, w.err = w.r.ReadAt(w.buf[:], offset)
		w.err = unlessEnd(w.err)
	}
	from := int(offset - w.at)
	if from+n > w.have {
		return nil
	}
	return w.buf[from : from+n]
}

// unlessEnd is the error of a read if it is more than the end of the file.
func unlessEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// eachRecord reads and checks the records of a file. It returns the end of the
// last one that is right; what follows is damaged, or could not be read if there
// is an error. A record is the visitor's during the call alone.
func eachRecord(file io.ReaderAt, size int64, visit func(record []byte, s span)) (end int64, err error) {
	r := bufio.NewReaderSize(io.NewSectionReader(file, 0, size), 1<<20)
	first := make([]byte, len(magic))
	if _, err := io.ReadFull(r, first); err != nil || string(first) != magic {
		return 0, unlessEnd(err)
	}
	var record bytes.Buffer
	for end = int64(len(magic)); ; {
		header, err := r.Peek(valueAt)
		if err != nil {
			return end, unlessEnd(err)
		}
		s, ok := spanAt(header, end, size)
		if !ok {
			return end, nil
		}
		record.Reset()
		if _, err := io.CopyN(&record, r, s.size()); err != nil {
			return end, unlessEnd(err)
		}
		if !undamaged(record.Bytes()) {
			return end, nil
		}
		visit(record.Bytes(), s)
		end += s.size()
	}
}
