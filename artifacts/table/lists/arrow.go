package lists

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/prismflow/prismflow/artifacts/table"
)

// An arrowSource reads an Arrow file. Package table checks it.
type arrowSource struct {
	table     *table.File
	key, list int // columns
}

func openArrow(file *os.File, keys, lists string) (*File, error) {
	t, err := table.Open(file.Name())
	if err != nil {
		return nil, err
	}
	f, err := newArrow(t, keys, lists)
	if err != nil {
		t.Close()
		return nil, err
	}
	return f, file.Close()
}

func newArrow(t *table.File, keys, lists string) (*File, error) {
	schema := t.ArrowSchema()
	var names []string
	for _, field := range schema.Fields() {
		names = append(names, field.Name)
	}
	a := &arrowSource{table: t, key: slices.Index(names, keys), list: slices.Index(names, lists)}
	if err := missingColumns(names, keys, a.key, lists, a.list); err != nil {
		return nil, err
	}
	if dt := schema.Field(a.key).Type; dt.ID() != arrow.STRING && dt.ID() != arrow.LARGE_STRING && !arrow.IsInteger(dt.ID()) {
		return nil, notKeys(keys, dt)
	}
	dt := schema.Field(a.list).Type
	listType, ok := dt.(arrow.ListLikeType)
	if !ok || dt.ID() == arrow.MAP || listType.Elem().ID() != arrow.FLOAT32 && listType.Elem().ID() != arrow.FLOAT64 {
		return nil, notLists(lists, dt)
	}
	rows, err := t.NumRows()
	return &File{source: a, rows: rows}, err
}

// missingColumns is the error about columns that are not there: at −1.
func missingColumns(names []string, keys string, key int, lists string, list int) error {
	missing := func(name string, at int) error {
		if at >= 0 {
			return nil
		}
		return fmt.Errorf("no column %q; the columns are %s", name, listed(names))
	}
	return errors.Join(missing(keys, key), missing(lists, list))
}

// listed names some of the names for a message.
func listed(names []string) string {
	const most = 20
	text := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return text
}

func notKeys(name string, have fmt.Stringer) error {
	return fmt.Errorf("column %q is of type %s: keys are text or whole numbers", name, have)
}

func notLists(name string, have fmt.Stringer) error {
	return fmt.Errorf("column %q is of type %s: want lists of float32 or float64", name, have)
}

func (a *arrowSource) Close() error { return a.table.Close() }

func (a *arrowSource) all() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		var list []float64
		for record, err := range a.table.Records() {
			if err != nil {
				yield(Row{}, err)
				return
			}
			keys, lists := record.Column(a.key), record.Column(a.list).(array.ListLike)
			for i := range keys.Len() {
				row := Row{}
				if keys.IsValid(i) {
					row.Key = keys.ValueStr(i)
				}
				if list, err = appendList(list[:0], lists, i); len(list) > 0 {
					row.List = list
				}
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}

// appendList appends the elements of the i-th list, none of a null.
func appendList(to []float64, lists array.ListLike, i int) ([]float64, error) {
	if lists.IsNull(i) {
		return to, nil
	}
	from, until := lists.ValueOffsets(i)
	if until-from > MaxLength {
		return to, tooLong(until - from)
	}
	elements := lists.ListValues()
	for j := int(from); j < int(until); j++ {
		if elements.IsNull(j) {
			return to, nullElement(j - int(from))
		}
		switch e := elements.(type) {
		case *array.Float32:
			to = append(to, float64(e.Value(j)))
		case *array.Float64:
			to = append(to, e.Value(j))
		}
	}
	return to, nil
}

func nullElement(i int) error { return fmt.Errorf("element %d is null", i) }

func tooLong(n int64) error {
	return fmt.Errorf("a list of %d elements, and at most %d are read", n, MaxLength)
}
