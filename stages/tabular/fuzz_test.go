package tabular

import (
	"bytes"
	"context"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
)

// FuzzReader reads any bytes as a table with the columns a and b. What it takes
// is what encoding/csv says, and what it refuses has a place.
func FuzzReader(f *testing.F) {
	for _, text := range []string{
		"a,b\n1,2\n", "\xef\xbb\xbfb,x,a\r\n1,\"2\n\",3\r\n", "a,b\n1\n", "a,b\n\"1", "a,b,a\n", "", "a,b\n\xff,2\n", "a,b\n\n\n1,2", "\x1f\x8b\x08", zipped(f, "a,b\n1,2\n"),
	} {
		f.Add([]byte(text), ",")
	}
	f.Add([]byte("aéb\n1é2\n"), "é")
	f.Fuzz(func(t *testing.T, data []byte, delimiter string) {
		if len(badDelimiter(delimiter)) > 0 {
			t.Skip()
		}
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := openTable(context.Background(), stagetest.Env(t), stages.SourceFiles(path).Files(), delimiter, 1<<40, column{"a", "a"}, column{"b", "b"})
		defer r.close()
		var got [][]string
		for r.next(func() error { return nil }) {
			got = append(got, []string{strings.Clone(r.text(0)), strings.Clone(r.text(1))})
		}
		if r.err != nil {
			if !strings.HasPrefix(r.err.Error(), path) {
				t.Fatalf("no place: %v", r.err)
			}
			return
		}
		if bytes.HasPrefix(data, []byte("\x1f\x8b")) {
			return
		}
		if want := wanted(t, data, delimiter); !slices.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

// wanted are the good rows of a table that was read without an error.
func wanted(t *testing.T, data []byte, delimiter string) [][]string {
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	in.Comma, _ = utf8.DecodeRuneInString(delimiter)
	in.FieldsPerRecord = -1
	header, err := in.Read()
	if err != nil {
		t.Fatal(err)
	}
	a, b := slices.Index(header, "a"), slices.Index(header, "b")
	var rows [][]string
	for {
		record, err := in.Read()
		if err == io.EOF {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(record) == len(header) && utf8.ValidString(record[a]) && utf8.ValidString(record[b]) {
			rows = append(rows, []string{record[a], record[b]})
		}
	}
}
