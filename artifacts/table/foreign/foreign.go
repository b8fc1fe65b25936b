// Package foreign reads columns of a table that another program wrote, as an
// Arrow or a Parquet file: text, numbers, times, and lists of text or numbers.
//
//	f, err := foreign.Open("events.parquet")
//	defer f.Close()
//	err = f.Select(0, 2) // of f.Columns()
//	row := make([]foreign.Value, 2)
//	for {
//		ok, err := f.Next(row)
//		…
//		use(row[0].Text, row[1].Seconds)
//	}
//
// Nothing in a file is believed: what it says of sizes is checked against the
// file's own before anything is allocated by it. A row is in memory while it is
// looked at, with its batch or page.
//
// The package converts as little as its callers need: numbers become the digits
// that another format would have, times become seconds. It does not look into
// structs, maps and lists of lists, and does not judge values.
package foreign

import (
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
)

// MaxLength is the most elements that a list may have.
const MaxLength = 1 << 16

// The first bytes of the two formats.
const (
	ArrowMagic   = "ARROW1"
	ParquetMagic = "PAR1"
)

// A Kind says what the values of a column are, in the several types that the
// formats have for it.
type Kind uint8

// The kinds of values. Other values cannot be read.
const (
	Other Kind = iota
	Text       // UTF-8 by its type; its bytes are not checked
	Whole      // a whole number, or a decimal number without decimals
	Real       // a floating-point number, or a decimal one
	Time       // a date, or a time with or without a zone
)

// A Column is what a file says of a column.
type Column struct {
	Name string
	Kind Kind // of the elements where List is set
	List bool
	Type string // as the file's format calls it, for messages
}

// A Value is one value of a column.
type Value struct {
	Text    string    // text, or a number: decimal digits, of a floating-point one the fewest that give it back; empty for a null
	Seconds int64     // of Time: since 1970 in UTC, rounded down; a time without a zone counts as one in UTC
	Null    bool      // nothing is there; not set for lists
	Texts   []string  // of a list of Text or Whole, with empty ones for nulls; valid until the next row
	Reals   []float64 // of a list of Real; valid until the next row
}

// A File is an open file. It must be closed.
type File struct{ source source }

// A source is a file in one format.
type source interface {
	columns() []Column
	rows() int64
	selectColumns([]int) error
	next([]Value) (bool, error)
	Close() error
}

// Open opens the file at path.
func Open(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s, err := open(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	return &File{s}, nil
}

func open(file *os.File) (source, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, len(ArrowMagic))
	if _, err := io.ReadFull(io.NewSectionReader(file, 0, info.Size()), head); err != nil {
		return nil, fmt.Errorf("reading the first bytes: %w", err)
	}
	switch {
	case string(head) == ArrowMagic:
		return openArrow(file)
	case string(head[:len(ParquetMagic)]) == ParquetMagic:
		return openParquet(file, info.Size())
	}
	return nil, errors.New("neither an Arrow nor a Parquet file")
}

// Close closes the file.
func (f *File) Close() error { return f.source.Close() }

// Columns are the columns of the file, in its order. A Parquet file may have
// several of one name.
func (f *File) Columns() []Column { return f.source.columns() }

// Rows is how many rows the file says to have. Next gives as many, or an error.
func (f *File) Rows() int64 { return f.source.rows() }

// Select says which columns Next gives, by their place in Columns. It must be
// called once, before the first row, with columns whose kind is not Other.
func (f *File) Select(columns ...int) error { return f.source.selectColumns(columns) }

// Next puts the next row's values of the selected columns into row, and reports
// false behind the last. An error is about the row behind the last that was
// given; there is no further.
func (f *File) Next(row []Value) (bool, error) { return f.source.next(row) }

// floorSeconds are seconds of so many parts each, rounded down.
func floorSeconds(parts, perSecond int64) int64 {
	seconds := parts / perSecond
	if parts%perSecond < 0 {
		seconds--
	}
	return seconds
}

const secondsPerDay = 24 * 60 * 60

// decimalText is unscaled·10^−scale.
func decimalText(unscaled *big.Int, scale int) string {
	digits := new(big.Int).Abs(unscaled).String()
	sign := ""
	if unscaled.Sign() < 0 {
		sign = "-"
	}
	if scale <= 0 {
		return sign + digits + strings.Repeat("0", -scale)
	}
	if missing := scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	point := len(digits) - scale
	return sign + digits[:point] + "." + digits[point:]
}

// maxScale is that of the widest decimal numbers, on both sides of the point.
const maxScale = 76

// decimalKind is the kind of decimal numbers.
func decimalKind(scale int32) Kind {
	switch {
	case scale < -maxScale || scale > maxScale:
		return Other
	case scale > 0:
		return Real
	}
	return Whole
}

// elementKind is the kind of lists whose elements, outside of lists, would be of
// that kind.
func elementKind(kind Kind, decimal bool) Kind {
	if kind == Time || decimal {
		return Other
	}
	return kind
}

func nullElement(i int) error { return fmt.Errorf("element %d is null", i) }

func tooLong(n int64) error {
	return fmt.Errorf("a list of %d elements, and at most %d are read", n, MaxLength)
}
