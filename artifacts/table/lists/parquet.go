package lists

import (
	"fmt"
	"iter"
	"os"
	"slices"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

// A parquetSource reads two columns of a Parquet file side by side, a page of
// each in memory. The library reads the metadata and inflates pages; what is in
// pages is decoded here, since the library's column readers do not end when a
// page has fewer levels than it says, and pqarrow decodes in goroutines, where
// nobody can recover from a panic.
type parquetSource struct {
	from      *os.File
	file      *file.Reader
	key, list int // leaf columns
}

func openParquet(from *os.File, size int64, keys, lists string) (f *File, err error) {
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
	p := &parquetSource{from: from, file: reader}
	if err := p.locate(keys, lists); err != nil {
		return nil, err
	}
	for i := range reader.NumRowGroups() {
		group := reader.RowGroup(i).MetaData()
		if group.NumRows() == 0 { // such groups are written, with offsets that mean nothing
			continue
		}
		for _, column := range []int{p.key, p.list} {
			if err := checkPages(from, size, group, column); err != nil {
				return nil, fmt.Errorf("row group %d: column %q: %w", i, reader.MetaData().Schema.Column(column).Path(), err)
			}
		}
	}
	return &File{source: p, rows: reader.NumRows()}, nil
}

// recovering makes an error of a panic of the Parquet library.
func recovering(err *error) {
	if cause := recover(); cause != nil {
		*err = broken("%v", cause)
	}
}

// locate finds the two columns and checks their types.
func (p *parquetSource) locate(keys, lists string) error {
	leaves := p.file.MetaData().Schema
	var names []string // of the top-level column of each leaf
	for i := range leaves.NumColumns() {
		names = append(names, leaves.Column(i).ColumnPath()[0])
	}
	p.key, p.list = slices.Index(names, keys), slices.Index(names, lists)
	if err := missingColumns(names, keys, p.key, lists, p.list); err != nil {
		return err
	}
	key, list := leaves.Column(p.key), leaves.Column(p.list)
	if len(key.ColumnPath()) != 1 || key.MaxRepetitionLevel() != 0 || !isKey(key) {
		return notKeys(keys, key.PhysicalType())
	}
	if slices.Contains(names[p.list+1:], lists) || list.MaxRepetitionLevel() != 1 || len(list.ColumnPath()) > 3 ||
		list.PhysicalType() != parquet.Types.Float && list.PhysicalType() != parquet.Types.Double {
		return notLists(lists, list.PhysicalType())
	}
	return nil
}

// isKey says whether the values of a leaf are text or whole numbers, and
// nothing else that is written as those.
func isKey(c *schema.Column) bool {
	types := schema.ConvertedTypes
	switch c.PhysicalType() {
	case parquet.Types.ByteArray:
		return c.ConvertedType() == types.None || c.ConvertedType() == types.UTF8
	case parquet.Types.Int32, parquet.Types.Int64:
		return slices.Contains([]schema.ConvertedType{types.None, types.Int8, types.Int16, types.Int32, types.Int64}, c.ConvertedType())
	}
	return false
}

func (p *parquetSource) Close() error { return p.from.Close() }

func (p *parquetSource) all() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for i := range p.file.NumRowGroups() {
			if p.file.RowGroup(i).NumRows() == 0 {
				continue
			}
			group, err := p.group(i)
			if err != nil {
				yield(Row{}, err)
				return
			}
			for range group.rows {
				row, err := group.next()
				if !yield(row, err) || err != nil {
					return
				}
			}
			if err := group.end(); err != nil {
				yield(Row{}, err)
				return
			}
		}
	}
}

// A rowGroup reads the rows of one row group.
type rowGroup struct {
	rows  int64
	keys  *cells[string]
	lists *cells[float64]
	last  []float64 // list
}

func (p *parquetSource) group(i int) (g *rowGroup, err error) {
	defer recovering(&err)
	reader := p.file.RowGroup(i)
	g = &rowGroup{rows: reader.NumRows()}
	about := p.file.MetaData().Schema
	keys, err := reader.GetColumnPageReader(p.key)
	if err != nil {
		return nil, err
	}
	lists, err := reader.GetColumnPageReader(p.list)
	if err != nil {
		return nil, err
	}
	g.keys = newCells(about.Column(p.key), keys, plainKeys(about.Column(p.key).PhysicalType()))
	g.lists = newCells(about.Column(p.list), lists, plainFloats(about.Column(p.list).PhysicalType()))
	return g, nil
}

func (g *rowGroup) next() (row Row, err error) {
	key, err := g.keys.next()
	if err != nil {
		return row, err
	}
	row.Key = key.value // empty where it is null
	row.List, err = g.list()
	return row, err
}

// list puts a list together: a cell that repeats belongs to the list of the cell
// before it. It is nil when the list is null or empty.
func (g *rowGroup) list() ([]float64, error) {
	g.last = g.last[:0]
	for first := true; ; first = false {
		if again, err := g.lists.repeats(); err != nil || !first && !again {
			return g.last, err
		} else if first && again {
			return nil, broken("a list begins within another")
		}
		cell, err := g.lists.next()
		switch {
		case err != nil:
			return nil, err
		case cell.there:
			if g.last = append(g.last, cell.value); len(g.last) > MaxLength {
				return nil, tooLong(int64(len(g.last)))
			}
		case !first || cell.null:
			return nil, nullElement(len(g.last))
		default:
			return nil, nil
		}
	}
}

// end checks that both columns end with the row group.
func (g *rowGroup) end() error {
	if err := g.keys.mustEnd(); err != nil {
		return err
	}
	return g.lists.mustEnd()
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
