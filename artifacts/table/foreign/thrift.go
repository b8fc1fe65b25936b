package foreign

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/thrift/lib/go/thrift"
)

// The Parquet library believes what metadata say of sizes: twenty bytes of
// footer can ask for a list of 100 million elements, and a page header for a
// page of 2 GiB. So all metadata that it will look at are gone over
// first, by the same Thrift decoder, which allocates nothing by what they say.
const (
	maxFooter     = 256 << 20
	maxPage       = 1 << 30 // inflated, as package table has it for a buffer
	maxPageHeader = 4 << 20 // the library's own
	maxPageValues = 1 << 24 // where they take less than a byte each, being null
)

// checkFooter goes over a file's metadata. Each element of a list in them takes
// a byte at least, so that lists are no longer than the footer then.
func checkFooter(file io.ReaderAt, size int64) error {
	const tail = 8 // length and magic
	var length uint32
	if size < tail+4 {
		return errors.New("the Parquet file is cut off")
	}
	if err := binary.Read(io.NewSectionReader(file, size-tail, tail), binary.LittleEndian, &length); err != nil {
		return err
	}
	if int64(length) > min(size-tail, maxFooter) {
		return fmt.Errorf("the Parquet file says that its metadata have %d bytes, in a file of %d: it is cut off or broken", length, size)
	}
	footer := make([]byte, length)
	if _, err := file.ReadAt(footer, size-tail-int64(length)); err != nil {
		return err
	}
	p, _ := decoder(footer)
	if err := p.Skip(context.Background(), thrift.STRUCT); err != nil {
		return fmt.Errorf("the metadata of the Parquet file are broken: %w", err)
	}
	return nil
}

func decoder(data []byte) (*thrift.TCompactProtocol, *thrift.TMemoryBuffer) {
	buffer := &thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(data)}
	return thrift.NewTCompactProtocolConf(buffer, nil), buffer
}

// checkPages goes over the page headers of one column in a row group.
func checkPages(file io.ReaderAt, size int64, group *metadata.RowGroupMetaData, column int) error {
	chunk, err := group.ColumnChunk(column)
	if err != nil {
		return err
	}
	begin, length := dataOf(chunk)
	if begin < 0 || length < 0 || begin > size || length > size-begin {
		return fmt.Errorf("its %d bytes at %d are not within the file's %d", length, begin, size)
	}
	for end := begin + length; begin < end; {
		header, n, err := readPageHeader(file, begin, end-begin)
		if err != nil {
			return fmt.Errorf("the page at byte %d: %w", begin, err)
		}
		begin += n
		if err := header.check(end - begin); err != nil {
			return fmt.Errorf("the page at byte %d: %w", begin-n, err)
		}
		begin += int64(header.compressed)
	}
	return nil
}

// A pageHeader is what decides how much a page takes.
type pageHeader struct {
	kind                     int32
	uncompressed, compressed int32
	values                   int32 // the largest number that any part of it says
}

const dictionaryPage = 2

func (h *pageHeader) check(left int64) error {
	most := int64(h.uncompressed) // each value takes a byte at least
	if h.kind != dictionaryPage {
		most = max(most, maxPageValues)
	}
	switch {
	case h.compressed < 0 || int64(h.compressed) > left:
		return fmt.Errorf("it says to have %d bytes, and its column has %d more", h.compressed, left)
	case h.uncompressed < 0 || h.uncompressed > maxPage:
		return fmt.Errorf("it says to have %d bytes when inflated, and at most %d are read", h.uncompressed, maxPage)
	case h.values < 0 || int64(h.values) > most:
		return fmt.Errorf("it says to have %d values, and at most %d are possible", h.values, most)
	}
	return nil
}

// readPageHeader reads the header at offset, and says how long it is.
func readPageHeader(file io.ReaderAt, offset, left int64) (h pageHeader, length int64, err error) {
	for window := int64(1 << 10); ; window *= 8 {
		data := make([]byte, min(window, left, maxPageHeader))
		if _, err := file.ReadAt(data, offset); err != nil {
			return h, 0, err
		}
		p, rest := decoder(data)
		h = pageHeader{}
		if err = h.read(p); err == nil {
			return h, int64(len(data) - rest.Len()), nil
		}
		if int64(len(data)) == min(left, maxPageHeader) {
			return h, 0, fmt.Errorf("its header is broken: %w", err)
		}
	}
}

// read reads the fields of a PageHeader of Parquet's Thrift definition.
func (h *pageHeader) read(p *thrift.TCompactProtocol) error {
	return eachField(p, func(id int16, kind thrift.TType) error {
		switch {
		case id == 1 && kind == thrift.I32:
			return readInt(p, &h.kind)
		case id == 2 && kind == thrift.I32:
			return readInt(p, &h.uncompressed)
		case id == 3 && kind == thrift.I32:
			return readInt(p, &h.compressed)
		case (id == 5 || id == 7 || id == 8) && kind == thrift.STRUCT: // of data, a dictionary, data in version 2
			return eachField(p, func(id int16, kind thrift.TType) error {
				if id != 1 || kind != thrift.I32 {
					return p.Skip(context.Background(), kind)
				}
				var values int32
				err := readInt(p, &values)
				if values < 0 {
					return fmt.Errorf("%d values", values)
				}
				h.values = max(h.values, values)
				return err
			})
		}
		return p.Skip(context.Background(), kind)
	})
}

func readInt(p *thrift.TCompactProtocol, to *int32) (err error) {
	*to, err = p.ReadI32(context.Background())
	return err
}

// eachField calls field for each field of a struct, which it must read.
func eachField(p *thrift.TCompactProtocol, field func(id int16, kind thrift.TType) error) error {
	ctx := context.Background()
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	for {
		_, kind, id, err := p.ReadFieldBegin(ctx)
		if err != nil {
			return err
		}
		if kind == thrift.STOP {
			return p.ReadStructEnd(ctx)
		}
		if err := field(id, kind); err != nil {
			return err
		}
	}
}
