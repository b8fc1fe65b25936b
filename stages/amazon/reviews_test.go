package amazon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
	"github.com/prismflow/prismflow/stages/records"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

const (
	review2014 = `{"reviewerID": "A1", "asin": "B1", "reviewerName": "N \"q\"", "helpful": [3, 3], "reviewText": "It's \u00e9.", "overall": 5.0, "summary": "s", "unixReviewTime": 1158019200, "reviewTime": "09 12, 2006"}`
	review2018 = `{"overall": 4, "verified": true, "reviewTime": "02 26, 2014", "reviewerID": "A2", "asin": "B1", "style": {"Format:": " Kindle"}, "image": ["x"], "unixReviewTime": 1393372800}`
	reviewDict = `{'reviewerID': u'A1', 'asin': 'B2', 'helpful': [0, 0], 'overall': 1.0, 'unixReviewTime': 1393372801}`
)

func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func readReviews(t testing.TB, stage Reviews, paths ...string) ([]tables.Interaction, map[string]float64, error) {
	t.Helper()
	env := stagetest.Env(t)
	stage.Source = stages.SourceFiles(paths...)
	result := stagetest.Result(t, &stage.Interactions)
	if err := stage.Run(context.Background(), env); err != nil {
		return nil, nil, err
	}
	return result(), stagetest.Counts(env), nil
}

func TestReviewsOfAllFormats(t *testing.T) {
	text := review2014 + "\n\n" + review2018 + "\n"
	plain, packed := write(t, "plain.gz", []byte(text)), write(t, "packed.json", stagetest.Gzip(reviewDict))
	got, report, err := readReviews(t, Reviews{}, plain, packed)
	if err != nil {
		t.Fatal(err)
	}
	want := []tables.Interaction{
		{User: "A1", Item: "B1", Rating: 5, Timestamp: 1158019200, Row: 1},
		{User: "A2", Item: "B1", Rating: 4, Timestamp: 1393372800, Row: 3},
		{User: "A1", Item: "B2", Rating: 1, Timestamp: 1393372801, Row: 4},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string]float64{"rows": 3, "bad_rows": 0, "users": 2, "items": 2}, report); diff != "" {
		t.Errorf("report (-want +got)\n%s", diff)
	}
}

var badReviews = []struct{ name, line, message string }{
	{"cut off", `{"reviewerID": "A1", "asin": "B`, "no complete JSON object: "},
	{"cut off in a field that is skipped", `{"reviewerID":"A","asin":"B","overall":5,"unixReviewTime":1,"reviewText":"ab`, "no complete JSON object: "},
	{"broken in a field that is skipped", `{"reviewerID":"A","asin":"B","overall":5,"unixReviewTime":1,"helpful":[1,}`, "no complete JSON object: "},
	{"two objects", `{"a":1}{"b":2}`, "no complete JSON object: "},
	{"no object", `["A1"]`, "want an object, not a list"},
	{"a word", `hello`, "no complete JSON object: "},
	{"a web page", `<html>`, "(this looks like a web page: was the download refused?)"},
	{"Python cut off", `{'reviewerID': 'A1', 'asin': 'B`, "no complete Python literal: string without end"},
	{"no user", `{"asin":"B","overall":5,"unixReviewTime":1}`, `no field "reviewerID"`},
	{"null item", `{"reviewerID":"A","asin":null,"overall":5,"unixReviewTime":1}`, `no field "asin"`},
	{"empty item", `{"reviewerID":"A","asin":"","overall":5,"unixReviewTime":1}`, `field "asin" is empty`},
	{"item a number", `{"reviewerID":"A","asin":12,"overall":5,"unixReviewTime":1}`, `field "asin" is a number, not a string`},
	{"item not UTF-8", "{\"reviewerID\":\"A\",\"asin\":\"\xff\",\"overall\":5,\"unixReviewTime\":1}", `field "asin" is not valid UTF-8`},
	{"rating a string", `{"reviewerID":"A","asin":"B","overall":"5","unixReviewTime":1}`, `field "overall" is a string, not a number`},
	{"rating too high", `{"reviewerID":"A","asin":"B","overall":50,"unixReviewTime":1}`, `field "overall" is 50, not a rating`},
	{"rating NaN", `{"reviewerID":"A","asin":"B","overall":NaN,"unixReviewTime":1}`, `field "overall" is not a number: NaN`},
	{"rating malformed", `{"reviewerID":"A","asin":"B","overall":5.0.0,"unixReviewTime":1}`, `field "overall" is not a number: 5.0.0`},
	{"time a fraction", `{"reviewerID":"A","asin":"B","overall":5,"unixReviewTime":1.5}`, `field "unixReviewTime" is not a whole number: 1.5`},
	{"time zero", `{"reviewerID":"A","asin":"B","overall":5,"unixReviewTime":0}`, `field "unixReviewTime" is 0, not a time after 1970`},
	{"time in milliseconds", `{"reviewerID":"A","asin":"B","overall":5,"unixReviewTime":1393372800000}`, `field "unixReviewTime" is 1393372800000, not in seconds`},
	{"time missing", `{"reviewerID":"A","asin":"B","overall":5}`, `no field "unixReviewTime"`},
	{"rating missing in Python", `{'reviewerID': 'A', 'asin': 'B', 'unixReviewTime': 5}`, `no field "overall"`},
	{"too deep", strings.Repeat("[", 100_000), "no complete JSON object: "},
	{"NUL", "\x00", "no complete JSON object: "},
}

func TestBadReviews(t *testing.T) {
	for _, c := range badReviews {
		path := write(t, "reviews.json", []byte(review2014+"\n"+c.line+"\n"+review2018+"\n"))
		_, _, err := readReviews(t, Reviews{}, path)
		switch {
		case err == nil:
			t.Errorf("%s: no error", c.name)
		case !strings.HasPrefix(err.Error(), path+":2:") || !strings.Contains(err.Error(), " "+c.message):
			t.Errorf("%s: error %q, want line 2 and %q", c.name, err, c.message)
		case !strings.Contains(err.Error(), "max_bad_rows"):
			t.Errorf("%s: error %q does not say what to do", c.name, err)
		case len(err.Error()) > len(path)+500:
			t.Errorf("%s: an error of %d bytes", c.name, len(err.Error()))
		}
	}
}

func TestMaxBadRows(t *testing.T) {
	path := write(t, "reviews.json", []byte("x\n"+review2014+"\ny\n"+review2018+"\n{}\n"))
	got, report, err := readReviews(t, Reviews{MaxBadRows: 3}, path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || report["bad_rows"] != 3 || report["rows"] != 2 {
		t.Errorf("got %d rows and report %v", len(got), report)
	}
	_, _, err = readReviews(t, Reviews{MaxBadRows: 2}, path)
	if want := path + `:5: no field "reviewerID"; this is bad row 3 and max_bad_rows allows 2`; err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
	_, _, err = readReviews(t, Reviews{MaxBadRows: 9}, write(t, "reviews.json", []byte("x\ny\n")))
	if err == nil || err.Error() != "the source holds no reviews but 2 bad rows" {
		t.Errorf("error %v", err)
	}
}

func TestNoReviews(t *testing.T) {
	_, _, err := readReviews(t, Reviews{}, write(t, "empty", nil))
	if err == nil || err.Error() != "the source holds no reviews: is it the right file?" {
		t.Errorf("error %v", err)
	}
}

func TestTruncatedReviewsAreNoBadRow(t *testing.T) {
	whole := stagetest.Gzip(strings.Repeat(review2014+"\n", 5000))
	for _, n := range []int{len(whole) / 4, len(whole) / 2, len(whole) - 1} {
		_, _, err := readReviews(t, Reviews{MaxBadRows: 1000}, write(t, "reviews.json.gz", whole[:n]))
		if !errors.Is(err, lines.ErrDamaged) {
			t.Errorf("cut after %d of %d bytes: error %v", n, len(whole), err)
		}
	}
}

func TestReviewsStopWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	stage := Reviews{Source: stages.SourceFiles(write(t, "r", []byte(strings.Repeat(review2014+"\n", 5000))))}
	stagetest.Result(t, &stage.Interactions)
	if err := stage.Run(ctx, stagetest.Env(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestRealReviews(t *testing.T) {
	for _, c := range []struct {
		file               string
		rows, users, items float64
		first              tables.Interaction
	}{
		{
			"amazon2014/reviews_Digital_Music_5.json.gz", 6908, 2490, 382,
			tables.Interaction{User: "A3EBHHCZO6V2A4", Item: "5555991584", Rating: 5, Timestamp: 1158019200, Row: 1},
		},
		{
			"amazon2018/Magazine_Subscriptions/Magazine_Subscriptions_5.json.gz", 2375, 348, 157,
			tables.Interaction{User: "A5QQOOZJOVPSF", Item: "B00005N7P0", Rating: 4, Timestamp: 1393372800, Row: 1},
		},
	} {
		got, report, err := readReviews(t, Reviews{}, stagetest.RealData(t, c.file))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]float64{"rows": c.rows, "bad_rows": 0, "users": c.users, "items": c.items}
		if diff := cmp.Diff(want, report); diff != "" {
			t.Errorf("%s: report (-want +got)\n%s", c.file, diff)
		}
		if len(got) != int(c.rows) || got[0] != c.first {
			t.Errorf("%s: %d rows, the first %+v", c.file, len(got), got[0])
		}
	}
}

func FuzzReview(f *testing.F) {
	for _, line := range []string{review2014, review2018, reviewDict, review2023} {
		f.Add([]byte(line))
	}
	for _, c := range badReviews {
		f.Add([]byte(c.line[:min(len(c.line), 1000)]))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		p := records.Parser{Python: read}
		rec, err := p.Parse(line)
		if err != nil {
			return
		}
		row, err := interaction(rec, reviewSignature.of(rec))
		if err != nil {
			return
		}
		if row.User == "" || row.Item == "" || !(row.Rating >= 0 && row.Rating <= 5) || row.Timestamp < 0 || row.Timestamp >= latestTime {
			t.Fatalf("took %+v", row)
		}
	})
}
