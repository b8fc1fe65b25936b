package tabular

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
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
		"a,b\n1,2\n", "\xef\xbb\xbfb,x,a\r\n1,\"2\n\",3\r\n", "a,b\n1\n", "a,b\n\"1", "a,b,a\n", "", "a,b\n\xff,2\n", "a,b\n\n\n1,2", "\x1f\x8b\x08", string(stagetest.Gzip("a,b\n1,2\n")),
	} {
		f.Add([]byte(text), ",")
	}
	f.Add([]byte("aéb\n1é2\n"), "é")
	f.Fuzz(func(t *testing.T, data []byte, delimiter string) {
		form := form{Format: csvFormat, Delimiter: delimiter, Quotes: true}
		if utf8.RuneCountInString(delimiter) != 1 || len(form.problems()) > 0 || len(formatByMagic(data)) > 0 {
			t.Skip()
		}
		path := fuzzed(t, data)
		r := openTables(context.Background(), stagetest.Env(t), stages.SourceFiles(path).Files(), form, 1<<40, column{"a", "a", words}, column{"b", "b", words})
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

func fuzzed(t *testing.T, data []byte) string {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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

// FuzzFormats reads any bytes as whatever they look like, as interactions and as
// items. What is refused has a place, and what is taken is UTF-8.
func FuzzFormats(f *testing.F) {
	header, example := []string{"user", "item", "timestamp", "tags"}, []any{"", "", int64(0), []string{}}
	for _, format := range stagetest.Formats {
		f.Add(stagetest.TableFile(f, format, header, example, [][]any{{"u", "é", int64(3), []string{"x", "y"}}, {nil, "i", int64(4), nil}}))
	}
	for _, text := range []string{"{", `{"user":1,"item":-2,"timestamp":"3","tags":["a",null,4]}`, "{}\n{}", "user:token\titem:token_seq\n", "a\tb", "PAR1", "ARROW1"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := fuzzed(t, data)
		columns := []column{{"user", "user", words}, {"item", "item", words}, {"timestamp", "timestamp", moment}, {"tags", "tags", list}}
		form := form{Format: autoFormat, Quotes: len(data)%2 == 0}
		r := openTables(context.Background(), stagetest.Env(t), stages.SourceFiles(path).Files(), form, 1<<40, columns...)
		defer r.close()
		rows := int64(0)
		for r.next(func() error {
			if _, err := r.time(2, seconds); err != nil {
				return err
			}
			for _, text := range append([]string{r.text(0), r.text(1)}, r.fields[3].list...) {
				if !utf8.ValidString(text) {
					t.Fatalf("%q is not UTF-8", text)
				}
			}
			return nil
		}) {
			rows++
		}
		switch {
		case r.err != nil && !strings.HasPrefix(r.err.Error(), path):
			t.Fatalf("no place: %v", r.err)
		case r.rows != rows || r.row != rows+r.bad.count:
			t.Fatalf("%d rows of %d, %d of them bad, and %d were given", r.rows, r.row, r.bad.count, rows)
		}
	})
}

// FuzzLines compares JSON lines to what encoding/json says of each, and split
// text to strings.Split.
func FuzzLines(f *testing.F) {
	for _, text := range []string{`{"a":"x","b":"y"}` + "\n" + `{"b":1,"a":"\u00e9"}`, `{"a":"","b":null}`, "{\"a\":\"\xff\"}\n", "1::2\n\n3::4::5\r\n::", "a:::b"} {
		f.Add([]byte(text))
	}
	read := func(t *testing.T, path string, form form) ([][]string, error) {
		r := openTables(context.Background(), stagetest.Env(t), stages.SourceFiles(path).Files(), form, 1<<40, column{"a", "a", words}, column{"b", "b", words})
		defer r.close()
		var rows [][]string
		for r.next(func() error { return nil }) {
			rows = append(rows, []string{strings.Clone(r.text(0)), strings.Clone(r.text(1))})
		}
		return rows, r.err
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if formatByMagic(data) != "" || bytes.HasPrefix(data, []byte("\x1f\x8b")) {
			t.Skip()
		}
		path := fuzzed(t, data)
		if got, err := read(t, path, form{Format: csvFormat, Delimiter: "::", Columns: []string{"a", "b"}}); err == nil {
			var want [][]string
			for line := range strings.SplitSeq(strings.TrimPrefix(string(data), "\xef\xbb\xbf"), "\n") {
				fields := strings.Split(strings.TrimSuffix(line, "\r"), "::")
				if len(fields) == 2 && utf8.ValidString(line) {
					want = append(want, fields)
				}
			}
			if !slices.EqualFunc(got, want, slices.Equal) {
				t.Fatalf("split: got %q, want %q", got, want)
			}
		}
		got, err := read(t, path, form{Format: jsonlFormat})
		if err != nil {
			return
		}
		for _, line := range bytes.Split(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), []byte("\n")) {
			var want struct{ A, B *string }
			if len(got) == 0 || !utf8.Valid(line) || bytes.ContainsAny(line, "\\AB") || json.Unmarshal(line, &want) != nil || want.A == nil || want.B == nil {
				continue
			}
			if !slices.ContainsFunc(got, func(row []string) bool { return row[0] == *want.A && row[1] == *want.B }) {
				t.Fatalf("%q is not among %q", line, got)
			}
		}
	})
}
