package lines

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages"
)

// readTexts returns "file: text" of each file, of which it reads only the first
// limit bytes when limit is not 0.
func readTexts(limit int64, files ...stages.File) ([]string, error) {
	r := OpenTexts(context.Background(), files, Options{})
	defer r.Close()
	var got []string
	for r.NextFile() {
		var from io.Reader = r
		if limit > 0 {
			from = io.LimitReader(r, limit)
		}
		text, err := io.ReadAll(from)
		if err != nil {
			return got, err
		}
		got = append(got, r.File()+": "+string(text))
	}
	return got, r.Err()
}

func TestTexts(t *testing.T) {
	long := strings.Repeat("x", 2*blockBytes+1)
	files := []stages.File{
		file(t, "a", []byte("\xef\xbb\xbfone\r\ntwo")),
		file(t, "empty", nil),
		file(t, "b.gz", zipped("fi", "ve\n")),
		file(t, "long", []byte(long)),
		file(t, "c", []byte("six")),
	}
	for _, c := range []struct {
		limit int64
		want  []string
	}{
		{0, []string{"a: one\r\ntwo", "empty: ", "b.gz: five\n", "long: " + long, "c: six"}},
		{2, []string{"a: on", "empty: ", "b.gz: fi", "long: xx", "c: si"}}, // what is not read is passed over
	} {
		got, err := readTexts(c.limit, files...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("reading at most %d bytes: (-want +got)\n%s", c.limit, diff)
		}
	}
}

func TestTextsThatAreDamaged(t *testing.T) {
	whole := zipped(strings.Repeat("some text", 1000))
	cut := file(t, "cut.gz", whole[:len(whole)-9])
	for _, limit := range []int64{0, 1} { // also where what is damaged is passed over
		if got, err := readTexts(limit, cut, file(t, "b", []byte("b"))); !errors.Is(err, ErrDamaged) {
			t.Errorf("reading at most %d bytes: got %q and %v", limit, got, err)
		}
	}
}

func TestTextsAreCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r := OpenTexts(ctx, []stages.File{file(t, "f", []byte(strings.Repeat("x", 20*blockBytes)))}, Options{})
	defer r.Close()
	r.NextFile()
	cancel()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
