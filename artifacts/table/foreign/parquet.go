package foreign

import (
	"fmt"
	"os"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

// A parquetSource reads columns of a Parquet file side by side, a page of each in
// memory. The library reads the metadata and inflates pages; what is in pages is
// decoded here, since the library's column readers do not end when a page has
// fewer levels than it says, and pqarrow decodes in goroutines, where nobody can
// recover from a panic.
type parquetSource struct {
	from     *os.File
	size     int64
	file     *file.Reader
	about    []Column
	leaves   []int // of each column, where its kind is not Other
	selected []int // columns

	group  int      // the row group behind the current one
	left   int64    // rows of the current one
	values []column // of the current one
}

// A column gives the values of one column in a row group.
type column interface {
	next(*Value) error
	mustEnd() error
}

func openParquet(from *os.File, size int64) (s source, err error) {
	defer recovering(&err)
	if err := checkFooter(from, size); err != nil {
		return nil, err
	}
	properties := parquet.NewReaderProperties(memory.DefaultAllocator)
	properties.BufferedStreamEnabled = true // else a column chunk is allocated as large as the metadata say
	reader, err := file.NewParquetReader(from, file.WithReadProps(properties))
	if err != nil {
		return nil, err
	}
	p := &parquetSource{from: from, size: size, file: reader}
	p.describe()
	return p, nil
}

// recovering makes an error of a panic of the Parquet library.
func recovering(err *error) {
	if cause := recover(); cause != nil {
		*err = broken("%v", cause)
	}
}

// describe finds the columns, each a field of the schema's root. One with
// several leaves is a struct or a map.
func (p *parquetSource) describe() {
	leaves := p.file.MetaData().Schema
	var of schema.Node
	for i := range leaves.NumColumns() {
		if root := leaves.ColumnRoot(i); root != of {
			of = root
			p.about = append(p.about, describeLeaf(root.Name(), leaves.Column(i)))
			p.leaves = append(p.leaves, i)
			continue
		}
		last := &p.about[len(p.about)-1]
		last.Kind, last.Type = Other, "group"
	}
}

func describeLeaf(name string, leaf *schema.Column) Column {
	typ := leaf.PhysicalType().String()
	if logical := leaf.LogicalType(); logical != nil && !logical.IsNone() {
		typ += " " + logical.String()
	}
	c := Column{Name: name, Kind: parquetKind(leaf), Type: typ}
	switch depth := len(leaf.ColumnPath()); {
	case leaf.MaxRepetitionLevel() == 1 && depth <= 3:
		_, decimal := leaf.LogicalType().(*schema.DecimalLogicalType)
		c.List, c.Kind, c.Type = true, elementKind(c.Kind, decimal), "list of "+typ
	case depth > 1 || leaf.MaxRepetitionLevel() > 0:
		c.Kind = Other
	}
	return c
}

func (p *parquetSource) columns() []Column { return p.about }

func (p *parquetSource) rows() int64 { return p.file.NumRows() }

func (p *parquetSource) Close() error { return p.from.Close() }

// selectColumns goes over the pages of the columns before any is read.
func (p *parquetSource) selectColumns(columns []int) (err error) {
	defer recovering(&err)
	p.selected = columns
	for i := range p.file.NumRowGroups() {
		group := p.file.RowGroup(i).MetaData()
		if group.NumRows() == 0 { // such groups are written, with offsets that mean nothing
			continue
		}
		for _, c := range columns {
			if err := checkPages(p.from, p.size, group, p.leaves[c]); err != nil {
				return fmt.Errorf("row group %d: column %q: %w", i, p.about[c].Name, err)
			}
		}
	}
	return nil
}

func (p *parquetSource) next(row []Value) (bool, error) {
	for p.left == 0 {
		if more, err := p.nextGroup(); !more || err != nil {
			return false, err
		}
	}
	for i, values := range p.values {
		if err := values.next(&row[i]); err != nil {
			return false, err
		}
	}
	p.left--
	return true, nil
}

// nextGroup goes to the next row group. The columns must end with the current
// one.
func (p *parquetSource) nextGroup() (more bool, err error) {
	defer recovering(&err)
	for _, values := range p.values {
		if err := values.mustEnd(); err != nil {
			return false, err
		}
	}
	p.values = p.values[:0]
	if p.group == p.file.NumRowGroups() {
		return false, nil
	}
	group := p.file.RowGroup(p.group)
	p.group++
	if p.left = group.NumRows(); p.left == 0 {
		return true, nil
	}
	for _, c := range p.selected {
		pages, err := group.GetColumnPageReader(p.leaves[c])
		if err != nil {
			return false, err
		}
		p.values = append(p.values, newColumn(p.about[c], p.file.MetaData().Schema.Column(p.leaves[c]), pages))
	}
	return true, nil
}

func newColumn(c Column, about *schema.Column, pages file.PageReader) column {
	switch {
	case c.List && c.Kind == Real:
		return &realLists{cells: newCells(about, pages, plainFloats(about.PhysicalType()))}
	case c.List:
		return &textLists{cells: newCells(about, pages, plainText(about))}
	case c.Kind == Time:
		return times{newCells(about, pages, plainSeconds(about))}
	}
	return texts{newCells(about, pages, plainText(about))}
}

// texts are values that are read as text.
type texts struct{ *cells[string] }

func (t texts) next(to *Value) error {
	cell, err := t.cells.next()
	*to = Value{Text: cell.value, Null: !cell.there}
	return err
}

// times are values that are read as seconds.
type times struct{ *cells[int64] }

func (t times) next(to *Value) error {
	cell, err := t.cells.next()
	*to = Value{Seconds: cell.value, Null: !cell.there}
	return err
}

// textLists are lists of texts, in which nulls are empty ones.
type textLists struct {
	*cells[string]
	last []string
}

func (l *textLists) next(to *Value) (err error) {
	l.last, err = nextList(l.cells, l.last[:0], func(cell cell[string], i int) (string, error) {
		if !cell.there && !cell.null {
			return "", broken("element %d of a list is another list", i)
		}
		return cell.value, nil
	})
	*to = Value{Texts: l.last}
	return err
}

// realLists are lists of numbers.
type realLists struct {
	*cells[float64]
	last []float64
}

func (l *realLists) next(to *Value) (err error) {
	l.last, err = nextList(l.cells, l.last[:0], func(cell cell[float64], i int) (float64, error) {
		if !cell.there {
			return 0, nullElement(i)
		}
		return cell.value, nil
	})
	*to = Value{Reals: l.last}
	return err
}

// nextList puts a list together: a cell that repeats belongs to the list of the
// cell before it. A list that is null or empty is a single cell without element.
func nextList[T any](cells *cells[T], to []T, element func(cell cell[T], i int) (T, error)) ([]T, error) {
	for first := true; ; first = false {
		if again, err := cells.repeats(); err != nil || !first && !again {
			return to, err
		} else if first && again {
			return to, broken("a list begins within another")
		}
		cell, err := cells.next()
		switch {
		case err != nil:
			return to, err
		case first && !cell.there && !cell.null:
			return to, nil
		case len(to) == MaxLength:
			return to, tooLong(MaxLength + 1)
		}
		value, err := element(cell, len(to))
		if err != nil {
			return to, err
		}
		to = append(to, value)
	}
}

func broken(format string, args ...any) error {
	return fmt.Errorf("the file is broken: "+format, args...)
}

// dataOf is where the pages of a column chunk are.
func dataOf(chunk *metadata.ColumnChunkMetaData) (begin, length int64) {
	begin = chunk.DataPageOffset()
	if chunk.HasDictionaryPage() && chunk.DictionaryPageOffset() > 0 {
		begin = min(begin, chunk.DictionaryPageOffset())
	}
	return begin, chunk.TotalCompressedSize()
}
