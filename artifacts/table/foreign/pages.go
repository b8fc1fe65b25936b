package foreign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

// cells are the cells of a leaf column within a row group, one after another,
// as its pages have them
// (https://parquet.apache.org/docs/file-format/data-pages/encodings/). A page
// has repetition levels, which say where lists begin, definition levels, which
// say how far down the schema there is something, and the values that there are.
type cells[T any] struct {
	about *schema.Column
	pages file.PageReader
	plain plain[T]

	dictionary []T
	reps, defs []byte // levels of the page; nil where all are as large as possible
	values     []T    // of the page
	n          int    // cells of the page
	at, value  int    // of the next cell, and of the next value
}

// A cell is one value, or the absence of one.
type cell[T any] struct {
	value T
	there bool
	null  bool // there is an element, and it is null
}

func newCells[T any](about *schema.Column, pages file.PageReader, plain plain[T]) *cells[T] {
	return &cells[T]{about: about, pages: pages, plain: plain}
}

func (c *cells[T]) next() (next cell[T], err error) {
	there, err := c.more()
	if err != nil {
		return next, err
	}
	if !there {
		return next, broken("column %q ends before its row group", c.about.Path())
	}
	maxDef := byte(c.about.MaxDefinitionLevel())
	def := maxDef
	if c.defs != nil {
		def = c.defs[c.at]
	}
	c.at++
	if next.there = def == maxDef; next.there {
		next.value = c.values[c.value]
		c.value++
	}
	next.null = def+1 == maxDef && c.about.SchemaNode().RepetitionType() == parquet.Repetitions.Optional
	return next, nil
}

// repeats says whether the next cell belongs to the list of the one before.
func (c *cells[T]) repeats() (bool, error) {
	there, err := c.more()
	return there && c.reps != nil && c.reps[c.at] > 0, err
}

func (c *cells[T]) mustEnd() error {
	if there, err := c.more(); err != nil || !there {
		return err
	}
	return broken("column %q goes on behind its row group", c.about.Path())
}

// more goes to the next page when the current one is used up, and reports false
// behind the last.
func (c *cells[T]) more() (there bool, err error) {
	defer recovering(&err)
	for c.at == c.n {
		if !c.pages.Next() {
			return false, c.pages.Err()
		}
		if err := c.decode(c.pages.Page()); err != nil {
			return false, fmt.Errorf("column %q: %w", c.about.Path(), err)
		}
	}
	return true, nil
}

// decode takes in a page.
func (c *cells[T]) decode(page file.Page) (err error) {
	n, data := int(page.NumValues()), page.Data()
	var reps, defs []byte // encoded
	switch p := page.(type) {
	case *file.DictionaryPage:
		c.dictionary, err = c.plain(data, n)
		return err
	case *file.DataPageV1:
		if reps, data, err = levelsV1(data, c.about.MaxRepetitionLevel(), p.RepetitionLevelEncoding()); err != nil {
			return err
		}
		if defs, data, err = levelsV1(data, c.about.MaxDefinitionLevel(), p.DefinitionLevelEncoding()); err != nil {
			return err
		}
	case *file.DataPageV2:
		r, d := int(p.RepetitionLevelByteLen()), int(p.DefinitionLevelByteLen())
		reps, defs, data = data[:r], data[r:r+d], data[r+d:] // a panic is an error, see more
	default:
		return nil // pages of other kinds may be passed over
	}
	if c.reps, err = levels(reps, c.about.MaxRepetitionLevel(), n); err != nil {
		return err
	}
	if c.defs, err = levels(defs, c.about.MaxDefinitionLevel(), n); err != nil {
		return err
	}
	c.values, err = c.decodeValues(data, c.there(n), parquet.Encoding(page.Encoding()))
	c.n, c.at, c.value = n, 0, 0
	return err
}

// there is how many of the page's n cells have a value.
func (c *cells[T]) there(n int) int {
	if c.defs == nil {
		return n
	}
	there := 0
	for _, def := range c.defs {
		if def == byte(c.about.MaxDefinitionLevel()) {
			there++
		}
	}
	return there
}

func (c *cells[T]) decodeValues(data []byte, n int, encoding parquet.Encoding) ([]T, error) {
	switch encoding {
	case parquet.Encodings.Plain:
		return c.plain(data, n)
	case parquet.Encodings.RLEDict, parquet.Encodings.PlainDict:
		return c.lookUp(data, n)
	case byteStreamSplit:
		width := width(c.about)
		if width == 0 || len(data) != n*width {
			return nil, broken("a page of %d bytes, split by the bytes of %d values", len(data), n)
		}
		return c.plain(joined(data, n, width), n)
	}
	return nil, fmt.Errorf("the encoding %s is not read: write the column plain or with a dictionary", encoding)
}

// byteStreamSplit has no name in version 17 of the library.
const byteStreamSplit = parquet.Encoding(9)

// joined undoes BYTE_STREAM_SPLIT: the first bytes of all values, the second
// bytes, and so on.
func joined(data []byte, n, width int) []byte {
	out := make([]byte, len(data))
	for i := range n {
		for b := range width {
			out[i*width+b] = data[b*n+i]
		}
	}
	return out
}

// lookUp decodes indices into the dictionary.
func (c *cells[T]) lookUp(data []byte, n int) ([]T, error) {
	if n == 0 {
		return nil, nil
	}
	if len(data) == 0 || data[0] > 32 {
		return nil, broken("a page of dictionary indices without their width")
	}
	values := make([]T, 0, n)
	err := eachRun(data[1:], uint(data[0]), n, func(index uint32, times int) error {
		if int64(index) >= int64(len(c.dictionary)) {
			return broken("value %d of a dictionary of %d", index, len(c.dictionary))
		}
		for range times {
			values = append(values, c.dictionary[index])
		}
		return nil
	})
	return values, err
}

// levelsV1 takes encoded levels off the data of a page of version 1, where
// their length stands before them.
func levelsV1(data []byte, most int16, encoding parquet.Encoding) (encoded, rest []byte, err error) {
	if most == 0 {
		return nil, data, nil
	}
	if encoding != parquet.Encodings.RLE {
		return nil, nil, fmt.Errorf("levels of encoding %s are not read", encoding)
	}
	if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
		return nil, nil, broken("a page ends within its levels")
	}
	n := binary.LittleEndian.Uint32(data)
	return data[4 : 4+n], data[4+n:], nil
}

// levels decodes n levels up to most. They are nil when there is only one.
func levels(encoded []byte, most int16, n int) ([]byte, error) {
	if most == 0 {
		return nil, nil
	}
	out := make([]byte, 0, n)
	err := eachRun(encoded, uint(bits.Len16(uint16(most))), n, func(level uint32, times int) error {
		if level > uint32(most) {
			return broken("level %d of %d", level, most)
		}
		for range times {
			out = append(out, byte(level))
		}
		return nil
	})
	return out, err
}

var errShort = errors.New("the file is broken: a page has fewer values than it says")

// eachRun decodes n numbers of width bits, of Parquet's mixture of run lengths
// and packed bits: runs of a header each, whose lowest bit says which it is.
func eachRun(data []byte, width uint, n int, run func(value uint32, times int) error) error {
	for n > 0 {
		header, size := binary.Uvarint(data)
		if size <= 0 {
			return errShort
		}
		data = data[size:]
		var used, numbers int
		var err error
		if header&1 == 0 {
			used, numbers, err = repeatedRun(data, width, header>>1, n, run)
		} else {
			used, numbers, err = packedRun(data, width, header>>1, n, run)
		}
		if err != nil {
			return err
		}
		data, n = data[used:], n-numbers
	}
	return nil
}

// repeatedRun is one number, in whole bytes, that stands for length.
func repeatedRun(data []byte, width uint, length uint64, n int, run func(uint32, int) error) (used, numbers int, err error) {
	used = int(width+7) / 8
	if len(data) < used {
		return 0, 0, errShort
	}
	var value [4]byte
	copy(value[:], data[:used])
	numbers = int(min(length, uint64(n)))
	return used, numbers, run(binary.LittleEndian.Uint32(value[:]), numbers)
}

// packedRun is eight numbers for each of length, lowest bits first.
func packedRun(data []byte, width uint, length uint64, n int, run func(uint32, int) error) (used, numbers int, err error) {
	numbers = n
	if length < uint64(n) { // which keeps the product small
		numbers = min(int(length)*8, n)
	}
	if uint64(len(data))*8 < uint64(numbers)*uint64(width) {
		return 0, 0, errShort
	}
	var reservoir uint64
	var have uint
	for range numbers {
		for have < width {
			reservoir |= uint64(data[used]) << have
			used, have = used+1, have+8
		}
		if err := run(uint32(reservoir&(1<<width-1)), 1); err != nil {
			return 0, 0, err
		}
		reservoir, have = reservoir>>width, have-width
	}
	if numbers == n {
		return len(data), numbers, nil // the last run may be shorter than it says
	}
	return int(length) * int(width), numbers, nil
}
