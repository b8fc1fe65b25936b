package tabular

import (
	"fmt"
	"io"

	"github.com/prismflow/prismflow/artifacts/table/foreign"
	"github.com/prismflow/prismflow/stages"
)

// A columnarTable reads an Arrow or a Parquet file.
type columnarTable struct {
	name     string // of the file
	file     *foreign.File
	wanted   []int // which of the columns each value is of
	kinds    []foreign.Column
	values   []foreign.Value
	row      int64
	progress func(row, rows int64) error
}

func openColumnar(file stages.File, columns []column, progress func(row, rows int64) error) (table, error) {
	f, err := foreign.Open(file.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name, err)
	}
	t := &columnarTable{name: file.Name, file: f, progress: progress}
	if err := t.choose(columns); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// choose finds the columns and checks their types.
func (t *columnarTable) choose(columns []column) error {
	all := t.file.Columns()
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.Name
	}
	at, err := locate(t.name, "the file", names, columns, "")
	if err != nil {
		return err
	}
	var selected []int
	for i, c := range columns {
		if at[i] < 0 {
			continue
		}
		have := all[at[i]]
		if !c.holds.takes(have) {
			return wrongType(t.name, c, have.Type)
		}
		t.wanted, t.kinds, selected = append(t.wanted, i), append(t.kinds, have), append(selected, at[i])
	}
	t.values = make([]foreign.Value, len(selected))
	if err := t.file.Select(selected...); err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	return nil
}

// takes says whether a role may be played by a column.
func (r role) takes(c foreign.Column) bool {
	text := c.Kind == foreign.Text || c.Kind == foreign.Whole
	switch {
	case c.List:
		return r == list && text
	case c.Kind == foreign.Real:
		return r == number || r == moment
	case c.Kind == foreign.Time:
		return r == moment
	}
	return text
}

func (t *columnarTable) close() { t.file.Close() }

// rowsAtOnce are read between two looks at what else there is to do.
const rowsAtOnce = 4096

func (t *columnarTable) next(fields []field) error {
	if t.row%rowsAtOnce == 0 {
		if err := t.progress(t.row, t.file.Rows()); err != nil {
			return err
		}
	}
	more, err := t.file.Next(t.values)
	switch {
	case err != nil:
		return fmt.Errorf("%s: behind row %d: %w", t.name, t.row, err)
	case !more:
		return io.EOF
	}
	t.row++
	for i, v := range t.values {
		fields[t.wanted[i]] = t.field(v, t.kinds[i])
	}
	return nil
}

// field is a value of a column. A null is an empty text.
func (t *columnarTable) field(v foreign.Value, c foreign.Column) field {
	switch {
	case c.List:
		return field{kind: listField, list: v.Texts}
	case c.Kind == foreign.Time && !v.Null:
		return field{kind: timeField, seconds: v.Seconds}
	}
	return field{text: v.Text}
}

func (t *columnarTable) place(int) string { return fmt.Sprintf("%s: row %d", t.name, t.row) }
