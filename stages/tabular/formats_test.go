package tabular

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/artifacts/table/foreign/foreigntest"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// writeParts writes rows as a few files of one format, of which some may be empty.
func writeParts(t testing.TB, dir, format string, header []string, example []any, rows [][]any, cuts ...int) []string {
	t.Helper()
	var paths []string
	cuts = append(slices.Sorted(slices.Values(cuts)), len(rows))
	for i, from := 0, 0; i < len(cuts); i++ {
		path := filepath.Join(dir, fmt.Sprintf("part-%d", i))
		if err := os.WriteFile(path, stagetest.TableFile(t, format, header, example, rows[from:cuts[i]]), 0o600); err != nil {
			t.Fatal(err)
		}
		paths, from = append(paths, path), cuts[i]
	}
	return paths
}

// written are the bytes of a stage's only output.
func written[Row any](t testing.TB, out *stages.Out[Row], run func(context.Context, *stages.Env) error) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.arrow")
	*out = stages.ToFile[Row](path)
	if err := run(context.Background(), stagetest.Env(t)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// declared is what has to be said of files of a format, of which some are empty.
func declared(format string, header []string) (name, delimiter string, columns []string) {
	switch format {
	case "::":
		return "auto", "::", header
	case "jsonl":
		return "jsonl", "", nil
	}
	return "auto", "", nil
}

// The same records give the same bytes whatever they are written as, in however
// many files.
func TestFormatsAreEqual(t *testing.T) {
	name := rapid.StringMatching(`[a-zé']([a-zé '",;]{0,5}[a-z])?`)
	header := []string{"who", "what", "stars", "at", "x"}
	example := []any{"", "", 0.5, int64(1), ""}
	rapid.Check(t, func(rt *rapid.T) {
		var rows [][]any
		for range rapid.IntRange(1, 20).Draw(rt, "rows") {
			rows = append(rows, []any{
				name.Draw(rt, "user"), name.Draw(rt, "item"), rapid.Float64Range(-1e6, 1e6).Draw(rt, "rating"),
				rapid.Int64Range(0, latestSeconds-1).Draw(rt, "time"), rapid.SampledFrom([]any{nil, "y"}).Draw(rt, "x"),
			})
		}
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(rows)), 0, 3).Draw(rt, "cuts")
		want := ""
		for _, format := range stagetest.Formats {
			stage := plain()
			stage.User, stage.Item, stage.Rating, stage.Timestamp = "who", "what", "stars", "at"
			stage.Format, stage.Delimiter, stage.Columns = declared(format, header)
			stage.Source = stages.SourceFiles(writeParts(t, t.TempDir(), format, header, example, rows, cuts...)...)
			got := written(t, &stage.Interactions, stage.Run)
			if want == "" {
				want = got
			}
			if got != want {
				rt.Fatalf("%s differs from %s", format, stagetest.Formats[0])
			}
		}
	})
}

func TestItemsOfFormatsAreEqual(t *testing.T) {
	name := rapid.StringMatching(`[a-zé']([a-zé '",;]{0,5}[a-z])?`)
	word := rapid.StringMatching(`[a-zé]{1,3}`)
	header := []string{"id", "name", "kinds", "cost"}
	example := []any{"", "", []string{}, 0.5}
	rapid.Check(t, func(rt *rapid.T) {
		var rows [][]any
		for range rapid.IntRange(1, 20).Draw(rt, "rows") {
			row := []any{name.Draw(rt, "item"), nil, nil, nil}
			if rapid.Bool().Draw(rt, "there") {
				row[1], row[2], row[3] = name.Draw(rt, "title"), rapid.SliceOfN(word, 0, 3).Draw(rt, "categories"), rapid.Float64Range(0, 1e6).Draw(rt, "price")
			}
			rows = append(rows, row)
		}
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(rows)), 0, 3).Draw(rt, "cuts")
		want := ""
		for _, format := range stagetest.Formats {
			stage := plainItems()
			stage.Item, stage.Title, stage.Categories, stage.Price = "id", "name", "kinds", "cost"
			stage.Format, stage.Delimiter, stage.Columns = declared(format, header)
			stage.Source = stages.SourceFiles(writeParts(t, t.TempDir(), format, header, example, rows, cuts...)...)
			got := written(t, &stage.Items, stage.Run)
			if want == "" {
				want = got
			}
			if got != want {
				rt.Fatalf("%s differs from %s", format, stagetest.Formats[0])
			}
		}
	})
}

// Files of several formats are one table.
func TestFormatsTogether(t *testing.T) {
	header, example := []string{"user", "item", "timestamp"}, []any{"", "", int64(0)}
	var paths []string
	for i, format := range []string{"csv", "parquet", "jsonl", "arrow", "recbole", "tsv"} {
		data := stagetest.TableFile(t, format, header, example, [][]any{{format, "x", int64(i)}, {format, "y", int64(i)}})
		paths = append(paths, write(t, "f", string(data)))
	}
	got, _, err := interactions(t, plain(), paths...)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range got {
		if row.Row != int64(i+1) || row.Timestamp != int64(i/2) {
			t.Errorf("row %d is %+v", i, row)
		}
	}
	if len(got) != 12 {
		t.Errorf("%d rows, want 12", len(got))
	}
}

func TestMovieLens1M(t *testing.T) {
	ratings := plain()
	ratings.Delimiter, ratings.Columns = "::", []string{"UserID", "MovieID", "Rating", "Timestamp"}
	ratings.User, ratings.Item, ratings.Rating, ratings.Timestamp = "UserID", "MovieID", "Rating", "Timestamp"
	got, _, err := interactions(t, ratings, write(t, "ratings.dat", "1::1193::5::978300760\r\n1::661::3::978302109\r\n"))
	want := []tables.Interaction{
		{User: "1", Item: "1193", Rating: 5, Timestamp: 978300760, Row: 1}, {User: "1", Item: "661", Rating: 3, Timestamp: 978302109, Row: 2},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got)\n%s", err, diff)
	}
	movies := movies()
	movies.Delimiter, movies.Columns, movies.Encoding = "::", []string{"movieId", "title", "genres"}, "latin1"
	list, _, err := items(t, movies, "1::\"Mis\xe9rables\" (1995)::Drama|Musical\n", "")
	wantItems := []tables.Item{{Item: "1", Title: `"Misérables" (1995)`, Categories: []string{"Drama", "Musical"}}}
	if diff := cmp.Diff(wantItems, list); err != nil || diff != "" {
		t.Errorf("%v, (-want +got)\n%s", err, diff)
	}
}

func TestRecBole(t *testing.T) {
	stage := plain()
	stage.User, stage.Item, stage.Rating = "user_id", "item_id:token", "rating"
	got, _, err := interactions(t, stage, write(t, "ml.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n"))
	if diff := cmp.Diff([]tables.Interaction{{User: "196", Item: "242", Rating: 3, Timestamp: 881250949, Row: 1}}, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got)\n%s", err, diff)
	}
	const file = "item_id:token\tmovie_title:token_seq\tgenre:token_seq\n1\t\"Toy\" Story\tAnimation, Comedy\n"
	movies := plainItems()
	movies.Item, movies.Title, movies.Categories = "item_id", "movie_title", "genre"
	comma := ", "
	for separator, want := range map[*string][]string{nil: {"Animation,", "Comedy"}, &comma: {"Animation", "Comedy"}} {
		movies.CategoriesSeparator = separator
		list, _, err := items(t, movies, file, "")
		if diff := cmp.Diff([]tables.Item{{Item: "1", Title: `"Toy" Story`, Categories: want}}, list); err != nil || diff != "" {
			t.Errorf("%v, (-want +got)\n%s", err, diff)
		}
	}
}

func TestTimestampColumns(t *testing.T) {
	at := time.Date(2009, 12, 14, 2, 52, 24, 750e6, time.UTC)
	data := foreigntest.File(t, "arrow", []string{"user", "item", "timestamp"}, []any{int64(0), "", at}, [][]any{
		{int64(1), "a", at}, {int64(2), "b", time.Unix(-1, 900e6)}, {int64(3), "b", nil},
	})
	path := write(t, "file", string(data))
	stage := plain()
	stage.MaxBadRows = 2
	got, _, err := interactions(t, stage, path)
	if diff := cmp.Diff([]tables.Interaction{{User: "1", Item: "a", Rating: 1, Timestamp: 1260759144, Row: 1}}, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got)\n%s", err, diff)
	}
	for allowed, want := range []string{
		`file: row 2: column "timestamp": 1969-12-31T23:59:59Z is before 1970; correct the file`,
		`file: row 3: column "timestamp": "" is not a number of time units since 1970; this is bad row 2`,
	} {
		stage.MaxBadRows = int64(allowed)
		if _, _, err := interactions(t, stage, path); !strings.Contains(message(err), want) {
			t.Errorf("got  %s\nwant %s", message(err), want)
		}
	}
}

func TestJSONValues(t *testing.T) {
	stage := plainItems()
	stage.Title, stage.Categories, stage.Price, stage.Brand = "title", "tags", "price", "brand"
	price := 12.5
	records := `{"item": 7, "title": "a\u00e9", "tags": ["x", null, 3], "price": "12.5", "more": {"x": [1]}}` + "\r\n\n" +
		`{"item": "8", "tags": "x|y", "price": 1.25e1, "brand": null, "title": 1984}`
	_, _, err := items(t, stage, records, "")
	want := []tables.Item{
		{Item: "7", Title: "aé", Categories: []string{"x", "3"}, Price: &price},
		{Item: "8", Title: "1984", Categories: []string{"x", "y"}, Price: &price},
	}
	if err == nil || !strings.Contains(err.Error(), `no record has a field "brand", which brand names; the first has item, more, price, tags, title`) {
		t.Errorf("error %v", err)
	}
	stage.Brand = ""
	got, _, err := items(t, stage, records, "")
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("%v, (-want +got)\n%s", err, diff)
	}
}

func TestBadFormats(t *testing.T) {
	parquetFile := func(user any, timestamp any) string {
		return string(stagetest.TableFile(t, "parquet", []string{"user", "item", "timestamp"}, []any{user, "", timestamp}, [][]any{{user, "i", timestamp}, {nil, "i", timestamp}}))
	}
	const line = `{"user": "u", "item": "i", "timestamp": 1}` + "\n"
	for name, c := range map[string]struct {
		change func(*Interactions)
		text   string
		want   string
	}{
		"json id":       {nil, line + `{"user": 1.0, "item": "i", "timestamp": 1}`, `f:2:10: column "user": is the number 1.0, not text or whole numbers;`},
		"json object":   {nil, line + `{"user": {}, "item": "i", "timestamp": 1}`, `f:2:10: column "user": is an object, not text or whole numbers;`},
		"json syntax":   {nil, line + `{"user": "u", "item": "i" "timestamp": 1}`, `f:2:27: no complete JSON object`},
		"json cut":      {nil, line + `{"user": "u"`, `f:2:12: no complete JSON object`},
		"json null":     {nil, line + `{"user": null, "item": "i", "timestamp": 1}`, `f:2:10: column "user": empty, where an id should be;`},
		"json time":     {nil, line + `{"user": "u", "item": "i", "timestamp": true}`, `f:2:41: column "timestamp": is a boolean, not times`},
		"json list":     {nil, line + `{"user": ["u"], "item": "i", "timestamp": 1}`, `column "user": is a list, not text or whole numbers;`},
		"json UTF-8":    {nil, line + "{\"user\": \"\xff\", \"item\": \"i\", \"timestamp\": 1}", `f:2:10: column "user": "\xff" is not UTF-8;`},
		"json columns":  {func(s *Interactions) { s.Columns = []string{"user"} }, line, ``},
		"null id":       {nil, parquetFile("u", int64(1)), `f: row 2: column "user": empty, where an id should be;`},
		"float id":      {nil, parquetFile(1.5, int64(1)), `f: column "user" is of type DOUBLE, and user wants text or whole numbers`},
		"list of times": {nil, parquetFile("u", []string{"1"}), `f: column "timestamp" is of type list of BYTE_ARRAY String, and timestamp wants times`},
		"late time":     {nil, parquetFile("u", int64(1e12)), `f: row 1: column "timestamp": 1000000000000 is not in seconds`},
		"no column":     {func(s *Interactions) { s.User = "usr" }, parquetFile("u", int64(1)), `f: no column "usr" (did you mean user?), which user names; the file has user, item, timestamp`},
		"named columns": {func(s *Interactions) { s.Columns = []string{"user", "item", "timestamp"} }, parquetFile("u", int64(1)), `f: this is a Parquet file, and columns is for delimited text`},
		"not parquet":   {func(s *Interactions) { s.Format = "parquet" }, "user,item\n", `f: this is neither a Parquet nor an Arrow file, and format is "parquet"`},
		"no csv":        {func(s *Interactions) { s.Format = "csv" }, parquetFile("u", int64(1)), `f: this is a Parquet file, and format is "csv"`},
		"cut parquet":   {nil, parquetFile("u", int64(1))[:80], `f: `},
		"fields":        {func(s *Interactions) { s.Columns = []string{"user", "item", "timestamp"} }, "u,i,1\nu,i\n", "f:2: 2 fields, and columns names 3;"},
		"column twice":  {nil, "user\tuser\titem\ttimestamp\n", `f:1: the header has column "user" twice`},
		"named wrongly": {func(s *Interactions) { s.Columns = []string{"user", "itm", "timestamp"} }, "u,i,1\n", `f: no column "item" (did you mean itm?), which item names; columns has user, itm, timestamp`},
		"split place":   {func(s *Interactions) { s.Delimiter, s.Columns = "::", []string{"user", "item", "timestamp"} }, "u::i::x\n", `f:1:7: column "timestamp": "x" is not a number of time units`},
		"atomic type":   {nil, "user:float\titem:token\ttimestamp:float\n", `f:1: column "user" is of type float, and user wants text or whole numbers`},
		"not atomic":    {func(s *Interactions) { s.Format = "recbole" }, "user\titem\n", `f:1: the header is not one of RecBole's, such as user_id:token; it has user, item`},
	} {
		stage := plain()
		if c.change != nil {
			c.change(&stage)
		}
		_, _, err := interactions(t, stage, write(t, "f", c.text))
		if err == nil || !strings.Contains(message(err), c.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, message(err), c.want)
		}
	}
}

// A list may name one text many times, in a dictionary, so that it takes more
// than its file.
func TestListsAreBounded(t *testing.T) {
	long := make([]string, 40000)
	for i := range long {
		long[i] = strings.Repeat("x", 100)
	}
	stage := plainItems()
	stage.Categories = "kinds"
	data := stagetest.TableFile(t, "parquet", []string{"item", "kinds"}, []any{"", []string{}}, [][]any{{"a", long}})
	if _, _, err := items(t, stage, string(data), ""); err == nil || !strings.Contains(message(err), `row 1: column "kinds": more than 1048576 bytes`) {
		t.Errorf("error %v", err)
	}
}

func TestUnquoted(t *testing.T) {
	stage := plain()
	stage.Quotes = false
	got, _, err := interactions(t, stage, write(t, "f", "user\titem\ttimestamp\n\"12\" disc\t\"\t7\n"))
	if diff := cmp.Diff([]tables.Interaction{{User: `"12" disc`, Item: `"`, Rating: 1, Timestamp: 7, Row: 1}}, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got)\n%s", err, diff)
	}
}

func TestFormsValidate(t *testing.T) {
	for param, change := range map[string]func(*Interactions){
		"delimiter": func(s *Interactions) { s.Format, s.Delimiter = "parquet", ";" },
		"quotes":    func(s *Interactions) { s.Format, s.Quotes = "jsonl", false },
		"encoding":  func(s *Interactions) { s.Format, s.Encoding = "arrow", "latin1" },
		"columns":   func(s *Interactions) { s.Format, s.Columns = "recbole", []string{"user"} },
	} {
		stage := plain()
		change(&stage)
		if problems := stage.Validate(); len(problems) != 1 || problems[0].Param != param {
			t.Errorf("%s: %v", param, problems)
		}
	}
	stage := plain()
	stage.Columns = []string{"a", "", "a"}
	if problems := stage.Validate(); len(problems) != 2 || problems[1].Param != "columns" {
		t.Errorf("columns: %v", problems)
	}
}

// BenchmarkInteractions reads a table like MovieLens's in each format. Bytes are
// those of the CSV file.
func BenchmarkInteractions(b *testing.B) {
	header, example := []string{"user", "item", "rating", "timestamp"}, []any{"", "", 0.5, int64(0)}
	var rows [][]any
	for i := range int64(200_000) {
		rows = append(rows, []any{fmt.Sprint(i / 100), fmt.Sprint(i * 7919 % 9000), float64(i%10) / 2, 1_000_000_000 + i})
	}
	size := len(stagetest.TableFile(b, "csv", header, example, rows))
	for _, format := range stagetest.Formats {
		stage := plain()
		stage.Rating = "rating"
		stage.Format, stage.Delimiter, stage.Columns = declared(format, header)
		stage.Source = stages.SourceFiles(write(b, "ratings", string(stagetest.TableFile(b, format, header, example, rows))))
		b.Run(format, func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				stage.Interactions = stages.ToFile[tables.Interaction](filepath.Join(b.TempDir(), "out.arrow"))
				if err := stage.Run(context.Background(), stagetest.Env(b)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
