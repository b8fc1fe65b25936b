package tabular

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/amazon/pyliteral"
	"github.com/prismflow/prismflow/stages/lines"
	"github.com/prismflow/prismflow/stages/records"
)

// A jsonTable reads a file of which each line is a JSON object.
type jsonTable struct {
	lines  *lines.Reader
	parser records.Parser
	fields *jsonFields
}

func openJSON(ctx context.Context, file stages.File, fields *jsonFields, progress func(done, total int64)) *jsonTable {
	return &jsonTable{lines: lines.Open(ctx, []stages.File{file}, lines.Options{OnProgress: progress}), fields: fields}
}

func (t *jsonTable) close() { t.lines.Close() }

func (t *jsonTable) next(fields []field) error {
	for t.lines.Next() {
		if len(t.lines.Text()) == 0 {
			continue
		}
		record, err := t.parser.Parse(t.lines.Text())
		if err != nil {
			return &rowError{place: t.at(err), cause: err}
		}
		t.fields.meet(t.lines.Text(), t.lines.File())
		for i, c := range t.fields.columns {
			if fields[i], err = jsonField(c, record); err != nil {
				return fieldError(t.place(i), c.name, "%w", err)
			}
			t.fields.seen[i] = t.fields.seen[i] || record.Has(c.name)
		}
		return nil
	}
	if err := t.lines.Err(); err != nil {
		return err
	}
	return io.EOF
}

// at is where an error about the line stands.
func (t *jsonTable) at(err error) string {
	place := fmt.Sprintf("%s:%d", t.lines.File(), t.lines.Line())
	if column := records.Column(t.lines.Text(), err); column > 0 {
		place += ":" + strconv.Itoa(column)
	}
	return place
}

func (t *jsonTable) place(i int) string {
	return t.at(records.FieldErrorf(t.fields.columns[i].name, ""))
}

// jsonField is a field of an object. One that is null or not there is an empty
// text.
func jsonField(c column, record records.Record) (field, error) {
	if c.name == "" {
		return field{}, nil
	}
	v := record.Value(c.name)
	if elements, ok := v.([]any); ok && c.holds == list {
		texts := make([]string, len(elements))
		for i, e := range elements {
			text, err := jsonText(words, e)
			if err != nil {
				return field{}, fmt.Errorf("element %d %w", i, err)
			}
			texts[i] = text
		}
		return field{kind: listField, list: texts}, nil
	}
	text, err := jsonText(c.holds, v)
	return field{text: text}, err
}

// jsonText is a value as text. A number that is no whole one is text only where
// numbers are wanted, since 1, 1.0 and 1e0 would be three ids.
func jsonText(r role, v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case pyliteral.Number:
		if _, err := strconv.ParseInt(string(v), 10, 64); err == nil || r == number || r == moment {
			return string(v), nil
		}
		return "", fmt.Errorf("is the number %.40s, not %s", v, r)
	}
	return "", fmt.Errorf("is %s, not %s", records.TypeName(v), r)
}

// jsonFields remembers which fields there are in the records of all files: one
// that is absent from all of them is a mistake, and from some of them is not.
type jsonFields struct {
	columns []column
	seen    []bool   // with a value
	file    string   // of the first record, empty before it
	first   []string // the fields of that record
}

func newJSONFields(columns []column) *jsonFields {
	return &jsonFields{columns: columns, seen: make([]bool, len(columns))}
}

// meet takes in a record, of which the first gives names for a message.
func (f *jsonFields) meet(line []byte, file string) {
	if f.file != "" {
		return
	}
	f.file = file
	var object map[string]json.RawMessage
	if json.Unmarshal(line, &object) == nil {
		f.first = slices.Sorted(maps.Keys(object))
	}
}

// check is asked once all files are read.
func (f *jsonFields) check() error {
	if f.file == "" {
		return nil
	}
	var problems []error
	for i, c := range f.columns {
		if c.name != "" && !f.seen[i] && !slices.Contains(f.first, c.name) {
			problems = append(problems, fmt.Errorf("%s: no record has a field %q%s, which %s names; the first has %s",
				f.file, c.name, stages.Suggest(c.name, f.first), c.param, listed(f.first)))
		}
	}
	return errors.Join(problems...)
}
