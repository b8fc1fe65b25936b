package table

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/mattn/go-runewidth"
)

// The rows that decide how wide columns are; later ones are fitted to them.
const layoutRows = 1000

const (
	widestCell    = 60 // in columns of the terminal
	narrowestCell = 6
	columnGap     = 2
)

// WriteText writes the first head rows of a table for people, all when head is
// negative: aligned columns under their names and types, and a last line that
// counts the rows. Lines are kept to width columns of the terminal where cells
// can be shortened so far; 0 is no limit. Of long texts the beginning is shown,
// of long lists two elements and the length, of binary what binary makes of it.
func WriteText(w io.Writer, path string, head int64, width int, binary Binary) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	rows, err := f.NumRows()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	p := newTextPrinter(out, f.columns, width, binary.orDefault())
	if err := p.print(f, head); err != nil {
		return err
	}
	fmt.Fprintln(out, rowCount(head, rows))
	return out.Flush()
}

func rowCount(head, rows int64) string {
	switch {
	case head >= 0 && head < rows:
		return fmt.Sprintf("%d of %d rows", head, rows)
	case rows == 1:
		return "1 row"
	}
	return fmt.Sprintf("%d rows", rows)
}

// A textPrinter holds rows back until it knows how wide the columns are.
type textPrinter struct {
	out    io.Writer
	width  int
	binary Binary
	held   [][]string
	right  []bool // columns of numbers, aligned at the right
	widths []int  // nil until they are settled
	cells  *runewidth.Condition
}

func newTextPrinter(out io.Writer, columns []fileColumn, width int, binary Binary) *textPrinter {
	p := &textPrinter{out: out, width: width, binary: binary, right: make([]bool, len(columns)), cells: &runewidth.Condition{}}
	names, types := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		names[i] = string(appendPrintable(nil, c.name))
		types[i] = string(appendPrintable(nil, shortType(c.dt)))
		p.right[i] = layoutOf(c.dt) == layoutFixed && c.dt.ID() != arrow.FIXED_SIZE_BINARY
	}
	p.held = [][]string{names, types}
	return p
}

// shortType is a type as a column's head shows it: float32[512], utf8[].
func shortType(dt arrow.DataType) string {
	switch t := dt.(type) {
	case *arrow.FixedSizeListType:
		return fmt.Sprintf("%s[%d]", shortType(t.Elem()), t.Len())
	case *arrow.ListType, *arrow.LargeListType:
		return shortType(t.(arrow.ListLikeType).Elem()) + "[]"
	}
	return typeName(dt)
}

func (p *textPrinter) print(f *File, head int64) error {
	const separator = "\x00" // no cell holds it: it does not print
	ofBatch := func(columns []*vector) cell {
		cells := make([]cell, len(columns))
		for i, v := range columns {
			cells[i] = p.binary.shortCell(v)
		}
		return func(dst []byte, row int64) []byte {
			for i, c := range cells {
				if i > 0 {
					dst = append(dst, separator...)
				}
				dst = c(dst, row)
			}
			return dst
		}
	}
	err := f.eachRow(head, ofBatch, func(line []byte) error {
		return p.add(strings.Split(string(line), separator))
	})
	if err != nil {
		return err
	}
	return p.release()
}

func (p *textPrinter) add(row []string) error {
	if p.widths != nil {
		return p.line(row)
	}
	p.held = append(p.held, row)
	if len(p.held) < layoutRows {
		return nil
	}
	return p.release()
}

// release settles the widths and prints what was held back.
func (p *textPrinter) release() error {
	if p.widths != nil {
		return nil
	}
	p.widths = make([]int, len(p.right))
	for _, row := range p.held {
		for i, text := range row {
			p.widths[i] = min(widestCell, max(p.widths[i], p.cells.StringWidth(text)))
		}
	}
	p.narrow()
	for _, row := range p.held {
		if err := p.line(row); err != nil {
			return err
		}
	}
	p.held = nil
	return nil
}

// narrow takes from the widest column until the line fits.
func (p *textPrinter) narrow() {
	if p.width <= 0 {
		return
	}
	total := columnGap * (len(p.widths) - 1)
	for _, w := range p.widths {
		total += w
	}
	for total > p.width {
		widest := slices.Max(p.widths)
		if widest <= narrowestCell {
			return
		}
		p.widths[slices.Index(p.widths, widest)]--
		total--
	}
}

func (p *textPrinter) line(row []string) error {
	var b strings.Builder
	for i, text := range row {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", columnGap))
		}
		text = p.cells.Truncate(text, p.widths[i], "…")
		pad := strings.Repeat(" ", max(0, p.widths[i]-p.cells.StringWidth(text)))
		if p.right[i] {
			text = pad + text
		} else {
			text += pad
		}
		b.WriteString(text)
	}
	_, err := fmt.Fprintln(p.out, strings.TrimRight(b.String(), " "))
	return err
}
