// Package lists reads two columns of a table that another program wrote, as an
// Arrow or a Parquet file: keys, which are text or whole numbers, and lists of
// float32 or float64.
//
//	f, err := lists.Open("clip.parquet", "item", "image")
//	defer f.Close()
//	for row, err := range f.All() {
//		use(row.Key, row.List)
//	}
//
// Package foreign does the reading, and believes nothing that is in a file. A
// row is in memory while it is looked at, with its batch or page.
//
// The package reads no other types and no other columns, and does not look at
// the values.
package lists

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts/table/foreign"
)

// MaxLength is the most elements that a list may have.
const MaxLength = foreign.MaxLength

// A Row is one row of the two columns.
type Row struct {
	Key  string    // empty for a null
	List []float64 // valid until the next row; nil for a null or an empty list
}

// A File is an open file. It must be closed.
type File struct{ file *foreign.File }

// Open opens the file at path and finds the columns of those names.
func Open(path, keys, lists string) (*File, error) {
	f, err := foreign.Open(path)
	if err != nil {
		return nil, err
	}
	if err := choose(f, keys, lists); err != nil {
		f.Close()
		return nil, err
	}
	return &File{f}, nil
}

// choose selects the two columns.
func choose(f *foreign.File, keys, lists string) error {
	columns := f.Columns()
	key, keyErr := find(columns, keys)
	list, listErr := find(columns, lists)
	if err := errors.Join(keyErr, listErr); err != nil {
		return err
	}
	if c := columns[key]; c.List || c.Kind != foreign.Text && c.Kind != foreign.Whole {
		return fmt.Errorf("column %q is of type %s: keys are text or whole numbers", keys, c.Type)
	}
	if c := columns[list]; !c.List || c.Kind != foreign.Real {
		return fmt.Errorf("column %q is of type %s: want lists of float32 or float64", lists, c.Type)
	}
	return f.Select(key, list)
}

// find is the place of the first column of that name.
func find(columns []foreign.Column, name string) (int, error) {
	at := slices.IndexFunc(columns, func(c foreign.Column) bool { return c.Name == name })
	if at < 0 {
		return 0, fmt.Errorf("no column %q; the columns are %s", name, listed(columns))
	}
	return at, nil
}

// listed names some of the columns for a message.
func listed(columns []foreign.Column) string {
	const most = 20
	var names []string
	for _, c := range columns[:min(len(columns), most)] {
		names = append(names, c.Name)
	}
	text := strings.Join(names, ", ")
	if len(columns) > most {
		text += fmt.Sprintf(" and %d more", len(columns)-most)
	}
	return text
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Rows is how many rows the file says to have. All gives as many, or an error.
func (f *File) Rows() int64 { return f.file.Rows() }

// All gives the rows in order, once. After an error, which is about the row
// behind the last that was given, there is no further.
func (f *File) All() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		values := make([]foreign.Value, 2)
		for {
			more, err := f.file.Next(values)
			if err != nil {
				yield(Row{}, err)
				return
			}
			if !more {
				return
			}
			row := Row{Key: values[0].Text}
			if list := values[1].Reals; len(list) > 0 {
				row.List = list
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}
