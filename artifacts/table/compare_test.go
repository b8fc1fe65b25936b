package table

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestDifferingRows(t *testing.T) {
	type row struct {
		ID    int64     `arrow:"id"`
		Name  *string   `arrow:"name"`
		Score []float32 `arrow:"score"`
	}
	first := write(t, []row{{1, ptr("a"), []float32{1, 2}}, {2, nil, nil}, {3, ptr(""), []float32{0.1}}})
	second := write(t, []row{{1, ptr("b"), []float32{1, 2}}, {2, ptr(""), []float32{}}, {3, ptr(""), []float32{0.10000001}}})
	short := write(t, []row{{1, ptr("a"), []float32{1, 2}}})
	for column, want := range map[string]int64{"id": 0, "name": 2, "score": 1} {
		if got, err := DifferingRows(first, second, column); got != want || err != nil {
			t.Errorf("%s: %d rows differ, %v, want %d", column, got, err, want)
		}
	}
	for _, c := range []struct{ first, second, column, want string }{
		{first, short, "id", "fewer rows"}, {short, first, "id", "more rows"}, {first, second, "age", "no column age"},
		{first, filepath.Join(t.TempDir(), "none"), "id", "no such file"},
	} {
		if _, err := DifferingRows(c.first, c.second, c.column); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("column %s: %v, want %q", c.column, err, c.want)
		}
	}
}
