package table

import (
	"errors"
	"fmt"
	"strings"
)

// Conforms says whether the Arrow file at path has exactly the columns of a
// declared schema, in any order: their types, and no null where none is
// declared. What counts is whether a value is null, not whether one might be.
// All problems are reported at once; each wraps ErrColumn.
//
// Nulls are counted as the file announces them. Whether that is true is found
// by Inspect.
func Conforms(path string, declared Schema) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := compareDeclared(f.Schema(), declared); err != nil {
		return err
	}
	nulls, err := f.countNulls()
	if err != nil {
		return err
	}
	var problems []error
	for _, d := range declared {
		if n := nulls[d.Name]; n > 0 && !d.Nullable {
			problems = append(problems, columnError{fmt.Sprintf("column %q has %d nulls and is declared %s; declare \"%s, nullable\" if they are meant", d.Name, n, d.Type, d.Type)})
		}
	}
	return errors.Join(problems...)
}

// compareDeclared compares columns and types.
func compareDeclared(have, declared Schema) error {
	var problems []error
	for _, d := range declared {
		h, ok := have.Field(d.Name)
		switch {
		case !ok:
			problems = append(problems, columnError{fmt.Sprintf("column %q of type %s is declared and missing; there are %s", d.Name, d.Type, strings.Join(have.Names(), ", "))})
		case !sameType(h.Type, d.Type):
			problems = append(problems, columnError{fmt.Sprintf("column %q has type %s and is declared %s", d.Name, h.Type, d.Type)})
		}
	}
	for _, h := range have {
		if _, ok := declared.Field(h.Name); !ok {
			problems = append(problems, columnError{fmt.Sprintf("column %q of type %s is not declared", h.Name, h.Type)})
		}
	}
	return errors.Join(problems...)
}

// countNulls is how many nulls each column has. It reads no values, but those
// of dictionary columns, where a null may be in the dictionary.
func (f *File) countNulls() (nulls map[string]int64, err error) {
	defer f.guard(&err)
	nulls = map[string]int64{}
	for i := range f.batches {
		l, err := f.batch(i)
		if err != nil {
			return nil, err
		}
		for j := range f.columns {
			c := &f.columns[j]
			n, err := l.nulls(c)
			if err != nil {
				return nil, inColumn(c.name, 0, err)
			}
			nulls[c.name] += n
		}
	}
	return nulls, nil
}

// nulls passes over column c and counts its nulls.
func (l *loader) nulls(c *fileColumn) (int64, error) {
	if c.dictionary != nil {
		v, err := l.column(c)
		if err != nil {
			return 0, err
		}
		return v.nulls, nil
	}
	if len(l.nodes) == 0 {
		return 0, l.missing()
	}
	n := l.nodes[0].nulls
	return n, l.skip(c)
}
