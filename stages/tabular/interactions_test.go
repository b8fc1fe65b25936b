package tabular

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// write writes a file into a directory of its own and returns its path.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// plain is the stage with the defaults of its parameters.
func plain() Interactions {
	return Interactions{form: form{Format: autoFormat, Quotes: true, Encoding: "utf-8"}, User: "user", Item: "item", Timestamp: "timestamp", TimeFormat: "seconds"}
}

// interactions runs the stage. File names in an error lose their directories.
func interactions(t testing.TB, stage Interactions, paths ...string) ([]tables.Interaction, map[string]float64, error) {
	t.Helper()
	env := stagetest.Env(t)
	stage.Source = stages.SourceFiles(paths...)
	result := stagetest.Result(t, &stage.Interactions)
	if err := stage.Run(context.Background(), env); err != nil {
		return nil, nil, err
	}
	return result(), stagetest.Counts(env), nil
}

// message is an error without the directories of the files that it names.
func message(err error) string {
	if err == nil {
		return ""
	}
	var words []string
	for word := range strings.SplitSeq(err.Error(), " ") {
		if strings.HasPrefix(word, "/") {
			word = filepath.Base(word)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestInteractions(t *testing.T) {
	const text = "userId,note,movieId,rating,timestamp\n" +
		"1,\"two\nlines, one \"\"note\"\"\",31,2.5,1260759144\n" +
		"\n" +
		"\"ü\",,\"31\",-1,0\n"
	stage := plain()
	stage.User, stage.Item, stage.Rating = "userId", "movieId", "rating"
	for name, file := range map[string]string{
		"plain": text, "crlf": strings.ReplaceAll(text, "\n", "\r\n"), "mark": "\xef\xbb\xbf" + text, "gzip": string(stagetest.Gzip("\xef\xbb\xbf" + text)),
	} {
		second := write(t, "second.csv", "timestamp,rating,movieId,userId\n5.0,3,7,1\n") // other columns
		got, counts, err := interactions(t, stage, write(t, "first.csv", file), second)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := []tables.Interaction{
			{User: "1", Item: "31", Rating: 2.5, Timestamp: 1260759144, Row: 1},
			{User: "ü", Item: "31", Rating: -1, Timestamp: 0, Row: 2},
			{User: "1", Item: "7", Rating: 3, Timestamp: 5, Row: 3},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		wantCounts := map[string]float64{"rows": 3, "bad_rows": 0, "users": 2, "items": 2}
		if diff := cmp.Diff(wantCounts, counts); diff != "" {
			t.Errorf("%s: report (-want +got)\n%s", name, diff)
		}
	}
}

func TestWithoutRatings(t *testing.T) {
	stage := plain()
	stage.Delimiter = "\t"
	got, _, err := interactions(t, stage, write(t, "f.tsv", "user\titem\ttimestamp\na,b\tc\t9\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (tables.Interaction{User: "a,b", Item: "c", Rating: 1, Timestamp: 9, Row: 1}); got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
}

func TestBadInteractions(t *testing.T) {
	const header = "user,item,rating,timestamp\n"
	for _, c := range []struct{ text, want string }{
		{"", "f.csv: the file is empty: a table begins with a header (set format = \"jsonl\" where it is JSON lines)"},
		{header, "the source holds no interactions: is it the right file?"},
		{header + "a,b,1,2\n,b,1,2\n", `f.csv:3:1: column "user": empty, where an id should be; correct the file, or allow some such rows with max_bad_rows`},
		{header + "a,,1,2\n", `f.csv:2:3: column "item": empty, where an id should be;`},
		{header + "\"a\n\",b,\"1\n\",2\n", `f.csv:3:5: column "rating": "1\n" is not a rating, a number;`},
		{header + "a,b,NaN,2\n", `f.csv:2:5: column "rating": "NaN" is not a rating, a number;`},
		{header + "a,b,1e40,2\n", `f.csv:2:5: column "rating": "1e40" is not a rating, a number;`},
		{header + "a,b,,2\n", `f.csv:2:5: column "rating": "" is not a rating, a number;`},
		{header + "a,b,1,1.5e9\n", `f.csv:2:7: column "timestamp": "1.5e9" is not a number of time units since 1970;`},
		{header + "a,b,1,1260759144000\n", `f.csv:2:7: column "timestamp": 1260759144000 is not in seconds: is time_format "milliseconds"?;`},
		{header + "a,b,1\n", "f.csv:2: 3 fields, and the header has 4;"},
		{header + "a,b,1,2024-03-01 09:30:00\n", `"2024-03-01 09:30:00" is not a number of time units since 1970: is time_format "YYYY-MM-DD hh:mm:ss"?`},
		{header + "a,b,1,01.03.2024\n", `is time_format "DD.MM.YYYY"?`},
		{header + "a;b;1;2\n", "f.csv:2: 1 field, and the header has 4 (is it delimited by \";\"? set delimiter)"},
		{"[{\"user\":\"a\"}]\n", "f.csv: this is an array of JSON, and not JSON lines"},
		{"[\n  {\n", "f.csv: this is an array of JSON, and not JSON lines"},
		{" user ,item,rating,timestamp\n", `the header has " user ", item, rating, timestamp`},
		{header + "a,b,1,2,3\n", "f.csv:2: 5 fields, and the header has 4;"},
		{header + "caf\xe9,b,1,2\n", `f.csv:2:1: column "user": "caf\xe9" is not UTF-8;`},
		{header + "a," + strings.Repeat("x", maxFieldBytes+1) + ",1,2\n", `f.csv:2:3: column "item": more than 1048576 bytes;`},
		{header + "a,b \"c\",1,2\n", `f.csv:2:5: bare " in non-quoted-field; in CSV a field with quotation marks is itself in them`},
		{header + "a,b,1,2\nc,\"d,1,2\ne,f,1,2\n", `f.csv:4:9: extraneous or missing " in quoted-field in the record that begins at line 3;`},
		{"userid,item,rating,timestamp,x\n", `f.csv:1: no column "user" (did you mean userid?), which user names; the header has userid, item, rating, timestamp, x`},
		{"user;item;rating;timestamp\n", "the header has user;item;rating;timestamp (is it delimited by \";\"? set delimiter)"},
		{"user,item,item,rating,timestamp\n", `f.csv:1: the header has column "item" twice`},
		{"\xff\xfeu\x00s\x00", "f.csv:1: the header is not UTF-8 but UTF-16: save the file as UTF-8"},
		{"us\xe9r,item", "f.csv:1: the header is not UTF-8: save the file as UTF-8"},
	} {
		stage := plain()
		stage.Rating = "rating"
		_, _, err := interactions(t, stage, write(t, "f.csv", c.text))
		if !strings.Contains(message(err), c.want) {
			t.Errorf("%.80q:\ngot  %s\nwant %s", c.text, message(err), c.want)
		}
	}
}

func TestAllMissingColumnsAreNamed(t *testing.T) {
	_, _, err := interactions(t, plain(), write(t, "f.csv", "a,b,c\n1,2,3\n"))
	for _, name := range []string{"user", "item", "timestamp"} {
		if !strings.Contains(message(err), fmt.Sprintf("no column %q", name)) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}

func TestBadRowsMayBeLeftOut(t *testing.T) {
	stage := plain()
	file := write(t, "f.csv", "user,item,timestamp\na,b,1\na,b\nc\xff,d,1\ne,f,3\n")
	stage.MaxBadRows = 2
	got, counts, err := interactions(t, stage, file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[1].Row != 4 || counts["rows"] != 2 || counts["bad_rows"] != 2 {
		t.Errorf("got %+v, report %v", got, counts)
	}
	stage.MaxBadRows = 1
	if _, _, err = interactions(t, stage, file); !strings.Contains(message(err), "f.csv:4:1: column \"user\": \"c\\xff\" is not UTF-8; this is bad row 2 and max_bad_rows allows 1") {
		t.Errorf("error %v", err)
	}
	stage.MaxBadRows = 100
	for name, text := range map[string]string{
		"only bad rows": "user,item,timestamp\na,b\n", "quotes": "user,item,timestamp\na,b,1\na\"b,c,1\n", "no column": "user,item\na,b\n",
	} {
		if got, _, err := interactions(t, stage, write(t, "f.csv", text)); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestDamagedGzipIsAlwaysAnError(t *testing.T) {
	var text strings.Builder
	text.WriteString("user,item,timestamp\n")
	for i := range 5000 {
		fmt.Fprintf(&text, "%d,%d,%d\n", i*7919%5000, i, i)
	}
	whole := string(stagetest.Gzip(text.String()))
	stage := plain()
	stage.MaxBadRows = 1 << 40
	_, _, err := interactions(t, stage, write(t, "f.csv.gz", whole[:len(whole)-9]))
	if err == nil || !strings.Contains(err.Error(), "it is incomplete, so copy or download it again") {
		t.Errorf("error %v", err)
	}
}

// A file whose quotation mark is never closed is one record for encoding/csv.
func TestRecordsAreBounded(t *testing.T) {
	for name, text := range map[string]string{
		"open quote": "user,item,timestamp\na,b,1\n\"" + strings.Repeat("c,d,2\n", 5<<20),
		"one line":   "user,item,timestamp\na,b,1\n" + strings.Repeat("c,", 9<<20),
		"header":     strings.Repeat("user,", 4<<20),
	} {
		_, _, err := interactions(t, plain(), write(t, "f.csv.gz", string(stagetest.Gzip(text))))
		if err == nil || !strings.Contains(err.Error(), "a record of more than 16777216 bytes: is a quotation mark left open?") {
			t.Errorf("%s: error %.200v", name, err)
		}
	}
}

// Whatever encoding/csv writes comes back.
func TestTablesComeBack(t *testing.T) {
	dir := t.TempDir()
	id := rapid.StringMatching(`[ab,;"\n é\t|]{1,4}`)
	rapid.Check(t, func(rt *rapid.T) {
		delimiter := rapid.SampledFrom([]string{",", ";", "\t", "|", "é"}).Draw(rt, "delimiter")
		files := rapid.IntRange(1, 3).Draw(rt, "files")
		compressed := rapid.Bool().Draw(rt, "compressed")
		var want []tables.Interaction
		var paths []string
		for f := range files {
			var b bytes.Buffer
			w := csv.NewWriter(&b)
			w.Comma, _, _ = strings.NewReader(delimiter).ReadRune()
			w.UseCRLF = rapid.Bool().Draw(rt, "crlf")
			names := rapid.Permutation([]string{"user", "item", "timestamp", "rating", "x"}).Draw(rt, "columns")
			if err := w.Write(names); err != nil {
				rt.Fatal(err)
			}
			for range rapid.IntRange(0, 4).Draw(rt, "rows") {
				row := tables.Interaction{
					User: id.Draw(rt, "user"), Item: id.Draw(rt, "item"), Rating: rapid.Float32().Draw(rt, "rating"),
					Timestamp: rapid.Int64Range(0, latestSeconds-1).Draw(rt, "time"), Row: int64(len(want) + 1),
				}
				want = append(want, row)
				cells := map[string]string{
					"user": row.User, "item": row.Item, "rating": strconv.FormatFloat(float64(row.Rating), 'g', -1, 32),
					"timestamp": strconv.FormatInt(row.Timestamp, 10), "x": id.Draw(rt, "x"),
				}
				var record []string
				for _, name := range names {
					record = append(record, cells[name])
				}
				if err := w.Write(record); err != nil {
					rt.Fatal(err)
				}
			}
			w.Flush()
			text := b.String()
			if compressed {
				text = string(stagetest.Gzip(text))
			}
			path := filepath.Join(dir, strconv.Itoa(f))
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				rt.Fatal(err)
			}
			paths = append(paths, path)
		}
		if len(want) == 0 {
			rt.Skip("a source without rows is an error")
		}
		stage := plain()
		stage.Delimiter, stage.Rating = delimiter, "rating"
		got, _, err := interactions(t, stage, paths...)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("(-want +got)\n%s", diff)
		}
	})
}

func TestInteractionsValidate(t *testing.T) {
	if problems := new(Interactions).Validate(); len(problems) != 4 {
		t.Errorf("without any parameter: %v", problems)
	}
	stage := plain()
	if problems := stage.Validate(); len(problems) > 0 {
		t.Errorf("with defaults: %v", problems)
	}
	for _, delimiter := range []string{"\"", ",\"", "\n", "\r", "\xff", "\uFFFD"} {
		stage.Delimiter = delimiter
		if problems := stage.Validate(); len(problems) != 1 || problems[0].Param != "delimiter" {
			t.Errorf("delimiter %q: %v", delimiter, problems)
		}
	}
}
