package table

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// DifferingRows says in how many rows two tables differ in the column of a name,
// by what WriteJSONRows would make of its values. The tables must have as many rows.
func DifferingRows(first, second, column string) (int64, error) {
	next, stop := iter.Pull2(columnTexts(second, column))
	defer stop()
	var differ int64
	for a, err := range columnTexts(first, column) {
		if err != nil {
			return 0, err
		}
		b, err, more := next()
		switch {
		case err != nil:
			return 0, err
		case !more:
			return 0, fmt.Errorf("comparing column %s: %s has fewer rows than %s", column, second, first)
		case !bytes.Equal(a, b):
			differ++
		}
	}
	_, err, more := next()
	if more && err == nil {
		err = fmt.Errorf("comparing column %s: %s has more rows than %s", column, second, first)
	}
	return differ, err
}

// errStopped ends the reading of a table whose reader wants no more.
var errStopped = errors.New("no more rows are wanted")

// columnTexts are the values of a column as JSON, each good until the next.
func columnTexts(path, column string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		f, err := Open(path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		at := slices.Index(f.Schema().Names(), column)
		if at < 0 {
			yield(nil, fmt.Errorf("%s has no column %s", path, column))
			return
		}
		binary := Binary{}.orDefault()
		err = f.eachRow(-1, func(columns []*vector) cell { return binary.jsonCell(columns[at]) }, func(line []byte) error {
			if !yield(line, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && err != errStopped {
			yield(nil, err)
		}
	}
}
