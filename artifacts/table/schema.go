package table

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// A Field describes one column.
type Field struct {
	Name     string `json:"name"`
	Type     string `json:"type"` // such as "utf8" or "fixed_size_list<float32>[512]"; "[?]" where the width is known only from the data
	Nullable bool   `json:"nullable,omitempty"`
	Doc      string `json:"doc,omitempty"`
}

// A Schema describes a table: its columns in order.
type Schema []Field

// SchemaOf is the schema that Row declares. It panics when Row is no row
// struct, which is a mistake in the program and not in its data.
func SchemaOf[Row any]() Schema {
	fields, err := rowFieldsOf(reflect.TypeFor[Row]())
	if err != nil {
		panic(err)
	}
	return schemaOfFields(fields)
}

func schemaOfFields(fields []rowField) Schema {
	schema := make(Schema, len(fields))
	for i, f := range fields {
		schema[i] = f.Field
	}
	return schema
}

// Field finds a column by name.
func (s Schema) Field(name string) (Field, bool) {
	for _, f := range s {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// Names are the columns' names in order.
func (s Schema) Names() []string {
	names := make([]string, len(s))
	for i, f := range s {
		names[i] = f.Name
	}
	return names
}

// String prints one column a line, aligned: name, type, documentation.
func (s Schema) String() string {
	var names, types int
	for _, f := range s {
		names = max(names, len(f.Name))
		types = max(types, len(f.TypeText()))
	}
	var b strings.Builder
	for _, f := range s {
		line := fmt.Sprintf("%-*s  %-*s  %s", names, f.Name, types, f.TypeText(), f.Doc)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// TypeText is the type as it is printed, which ParseField reads.
func (f Field) TypeText() string {
	if f.Nullable {
		return f.Type + ", nullable"
	}
	return f.Type
}

// ErrColumn is wrapped by errors about a column that is missing or of another
// type than its reader needs.
var ErrColumn = errors.New("unsuitable column")

// CheckColumns says, before there is any data, whether a table of schema have
// can be read as want: every column of want is there, with its type, and not
// nullable unless want allows it. Other columns are ignored. All problems are
// reported at once; each wraps ErrColumn.
func CheckColumns(have, want Schema) error {
	var problems []error
	for _, w := range want {
		h, ok := have.Field(w.Name)
		switch {
		case !ok:
			problems = append(problems, missingColumn(w.Name, w.Type, have.Names()))
		case !sameType(h.Type, w.Type):
			problems = append(problems, wrongType(w.Name, h.Type, w.Type))
		case h.Nullable && !w.Nullable:
			problems = append(problems, columnError{fmt.Sprintf("column %q may be null; its reader needs a value in every row", w.Name)})
		}
	}
	return errors.Join(problems...)
}

// sameType compares two canonical types, where "[?]" is any width.
func sameType(a, b string) bool {
	if a == b {
		return true
	}
	baseA, okA := strings.CutSuffix(a, "[?]")
	baseB, okB := strings.CutSuffix(b, "[?]")
	return okA && widthless(b) == baseA || okB && widthless(a) == baseB
}

func widthless(typ string) string {
	if i := strings.LastIndexByte(typ, '['); i > 0 && strings.HasPrefix(typ, "fixed_size_list<") {
		return typ[:i]
	}
	return typ
}

type columnError struct{ text string }

func (e columnError) Error() string { return e.text }
func (e columnError) Unwrap() error { return ErrColumn }

func missingColumn(name, typ string, have []string) error {
	text := fmt.Sprintf("no column %q of type %s", name, typ)
	if near := nearest(name, have); near != "" {
		return columnError{fmt.Sprintf("%s; did you mean %q?", text, near)}
	}
	return columnError{fmt.Sprintf("%s; the columns are %s", text, strings.Join(have, ", "))}
}

func wrongType(name, found, wanted string) error {
	return columnError{fmt.Sprintf("column %q has type %s, its reader needs %s", name, found, wanted)}
}

// nearest is the name closest to want by edit distance, or "" when none is
// close enough to be what was meant.
func nearest(want string, names []string) string {
	best, bestDistance := "", len(want)/3+2
	for _, name := range names {
		if d := editDistance(strings.ToLower(want), strings.ToLower(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// editDistance is Levenshtein's, by rows.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
