package table_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts/table"
)

func TestDifferingRows(t *testing.T) {
	type row struct {
		ID    int64     `arrow:"id"`
		Name  *string   `arrow:"name"`
		Score []float32 `arrow:"score"`
	}
	name := func(text string) *string { return &text }
	write := func(rows ...row) string {
		path := filepath.Join(t.TempDir(), "rows.arrow")
		w, err := table.Create[row](path)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.AppendAll(rows); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first := write(row{1, name("a"), []float32{1, 2}}, row{2, nil, nil}, row{3, name(""), []float32{0.1}})
	second := write(row{1, name("b"), []float32{1, 2}}, row{2, name(""), []float32{}}, row{3, name(""), []float32{0.10000001}})
	short := write(row{1, name("a"), []float32{1, 2}})
	for column, want := range map[string]int64{"id": 0, "name": 2, "score": 1} {
		if got, err := table.DifferingRows(first, second, column); got != want || err != nil {
			t.Errorf("%s: %d rows differ, %v, want %d", column, got, err, want)
		}
	}
	for _, c := range []struct{ first, second, column, want string }{
		{first, short, "id", "fewer rows"}, {short, first, "id", "more rows"}, {first, second, "age", "no column age"},
		{first, filepath.Join(t.TempDir(), "none"), "id", "no such file"},
	} {
		if _, err := table.DifferingRows(c.first, c.second, c.column); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("column %s: %v, want %q", c.column, err, c.want)
		}
	}
}
