package catalogue

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/stages/tables"
)

// A spill keeps items in a file until all are known, and only their ids and
// places in memory. The full metadata of 2018 have fifteen million items, whose
// texts would fill any memory.
type spill struct {
	file    *os.File
	out     *bufio.Writer
	end     int64
	places  map[string][]place
	scratch []byte
}

// A place is where one row lies in the file.
type place struct {
	offset int64
	length int32
}

func newSpill(dir, name string) (*spill, error) {
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("creating a scratch file: %w", err)
	}
	return &spill{file: file, out: bufio.NewWriterSize(file, 1<<20), places: map[string][]place{}}, nil
}

func (s *spill) close() { _ = s.file.Close() }

// add keeps a row behind the earlier ones of its item.
func (s *spill) add(item *tables.Item) error {
	s.scratch = appendItem(s.scratch[:0], item)
	n := len(s.scratch)
	if _, err := s.out.Write(s.scratch); err != nil {
		return fmt.Errorf("writing a scratch file: %w", err)
	}
	places, known := s.places[item.Item]
	id := item.Item
	if !known {
		id = strings.Clone(id) // it may share its memory with the whole row
	}
	s.places[id] = append(places, place{s.end, int32(n)}) // a row is shorter than 2 GiB
	s.end += int64(n)
	return nil
}

// sorted are the items' ids in order.
func (s *spill) sorted() []string {
	ids := make([]string, 0, len(s.places))
	for id := range s.places {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, strings.Compare)
	return ids
}

// rows are the rows of one item in the order in which they were added.
func (s *spill) rows(item string) iter.Seq2[tables.Item, error] {
	return func(yield func(tables.Item, error) bool) {
		if err := s.out.Flush(); err != nil {
			yield(tables.Item{}, fmt.Errorf("writing a scratch file: %w", err))
			return
		}
		for _, p := range s.places[item] {
			row, err := s.row(item, p)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (s *spill) row(item string, p place) (tables.Item, error) {
	text := make([]byte, p.length)
	if _, err := s.file.ReadAt(text, p.offset); err != nil {
		return tables.Item{}, fmt.Errorf("reading a scratch file: %w", err)
	}
	row, err := decodeItem(text)
	if err != nil {
		return tables.Item{}, fmt.Errorf("reading a scratch file: %w", err)
	}
	row.Item = item
	return row, nil
}

// appendItem appends all of an item but its id: texts with their lengths before
// them, the number of categories, and the price's bits after a mark.
func appendItem(b []byte, item *tables.Item) []byte {
	for _, text := range []string{item.Title, item.Description, item.Brand, item.ImageURL} {
		b = appendText(b, text)
	}
	b = binary.AppendUvarint(b, uint64(len(item.Categories)))
	for _, c := range item.Categories {
		b = appendText(b, c)
	}
	if item.Price == nil {
		return append(b, 0)
	}
	return binary.LittleEndian.AppendUint64(append(b, 1), math.Float64bits(*item.Price))
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// decodeItem reads what appendItem wrote.
func decodeItem(b []byte) (tables.Item, error) {
	var item tables.Item
	d := decoder{rest: b}
	for _, text := range []*string{&item.Title, &item.Description, &item.Brand, &item.ImageURL} {
		*text = string(d.text())
	}
	for range d.length() {
		item.Categories = append(item.Categories, string(d.text()))
	}
	if mark := d.take(1); len(mark) == 1 && mark[0] == 1 {
		if bits := d.take(8); len(bits) == 8 {
			price := math.Float64frombits(binary.LittleEndian.Uint64(bits))
			item.Price = &price
		}
	}
	if d.broken || len(d.rest) > 0 {
		return tables.Item{}, errors.New("it is not what was written")
	}
	return item, nil
}

// A decoder takes values off rest. It is broken once there was less than what
// was asked for.
type decoder struct {
	rest   []byte
	broken bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.rest, d.broken = nil, true
		return nil
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken
}

// length is a number that cannot be more than the bytes that are left.
func (d *decoder) length() int {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || v > uint64(len(d.rest)) {
		d.rest, d.broken = nil, true
		return 0
	}
	d.take(n)
	return int(v)
}

func (d *decoder) text() []byte { return d.take(d.length()) }
