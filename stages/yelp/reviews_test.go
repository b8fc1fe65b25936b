package yelp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

const (
	laterReview = `{"review_id":"r1","user_id":"u1","business_id":"b1","stars":5.0,"useful":1,"funny":0,"cool":1,"text":"I've \"been\".\n\nJalape\u00f1o.","date":"2012-01-03 15:28:18"}`
	tiedReview  = `{"review_id":"r2","user_id":"u2","business_id":"b2","stars":1,"text":"","date":"2012-01-03 15:28:18"}`
	firstReview = `{"review_id":"r3","user_id":"u1","business_id":"b2","stars":3.0,"text":"","date":"2005-05-11"}`
)

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

func TestReviews(t *testing.T) {
	text := laterReview + "\n\n" + tiedReview + "\n" + firstReview
	packed := archive(t, entry{name: "Dataset_User_Agreement.pdf", content: "%PDF"},
		entry{name: "yelp_dataset/" + reviewFile, content: text}, entry{name: "yelp_academic_dataset_tip.json", content: "{}"})
	want := []tables.Interaction{
		{User: "u1", Item: "b2", Rating: 3, Timestamp: 1115769600, Row: 4},
		{User: "u1", Item: "b1", Rating: 5, Timestamp: 1325604498, Row: 1},
		{User: "u2", Item: "b2", Rating: 1, Timestamp: 1325604498, Row: 3},
	}
	for name, data := range map[string][]byte{"review.json": []byte(text), "review.json.gz": stagetest.Gzip(text), "yelp_dataset.tar": packed, "yelp_dataset.tgz": stagetest.Gzip(packed)} {
		got, report, err := readReviews(t, Reviews{}, write(t, name, data))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if diff := cmp.Diff(map[string]float64{"rows": 3, "bad_rows": 0, "users": 2, "items": 2}, report); diff != "" {
			t.Errorf("%s: report (-want +got)\n%s", name, diff)
		}
	}
}

func TestBadReviews(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`{"user_id":"u","business_id":"b","stars":5,"date":"2012-01-03 15:28:18"`, `:2:71: no complete JSON object`},
		{`{'user_id':'u'}`, `:2:2: no complete JSON object`},
		{`{"business_id":"b","stars":5,"date":"2012-01-03 15:28:18"}`, `:2: no field "user_id"`},
		{`{"user_id":"u","business_id":"","stars":5,"date":"2012-01-03 15:28:18"}`, `:2:30: field "business_id" is empty`},
		{`{"user_id":"u","business_id":"b","stars":0,"date":"2012-01-03 15:28:18"}`, `:2:42: field "stars" is 0, not 1 to 5 stars`},
		{`{"user_id":"u","business_id":"b","stars":"5","date":"2012-01-03 15:28:18"}`, `:2:42: field "stars" is a string, not a number`},
		{`{"user_id":"u","business_id":"b","stars":5,"date":"2012-02-30 15:28:18"}`, `:2:51: field "date" is "2012-02-30 15:28:18", not of the form "2006-01-02 15:04:05"`},
		{`{"user_id":"u","business_id":"b","stars":5,"date":"2012-01-03 15:28:18.5"}`, `:2:51: field "date" is "2012-01-03 15:28:18.5", not`},
		{`{"user_id":"u","business_id":"b","stars":5,"date":"2012-01-03 5:28:18"}`, `:2:51: field "date" is "2012-01-03 5:28:18", not`},
		{`{"user_id":"u","business_id":"b","stars":5,"date":"2012-01-03T15:28:18Z"}`, `:2:51: field "date" is "2012-01-03T15:28:18Z", not`},
		{`{"user_id":"u","business_id":"b","stars":5,"date":"1969-12-31"}`, `:2:51: field "date" is "1969-12-31", not after 1970`},
		{`{"user_id":"u","business_id":"b","stars":5,"date":1325604498}`, `:2:51: field "date" is a number, not a string`},
	} {
		path := write(t, "review.json", []byte(laterReview+"\n"+c.line+"\n"+firstReview))
		_, _, err := readReviews(t, Reviews{}, path)
		if err == nil || !strings.HasPrefix(err.Error(), path+c.want) {
			t.Errorf("%s: error %v, want %s", c.line, err, c.want)
		}
		got, report, err := readReviews(t, Reviews{MaxBadRows: 1}, path)
		if err != nil || len(got) != 2 || got[0].Row != 3 || report["bad_rows"] != 1 {
			t.Errorf("%s: with max_bad_rows: %v, %v, error %v", c.line, got, report, err)
		}
	}
}

func TestPlacesInAnArchive(t *testing.T) {
	path := write(t, "yelp_dataset.tar", archive(t, entry{name: reviewFile, content: laterReview + "\n{\n"}))
	_, _, err := readReviews(t, Reviews{}, path)
	if want := path + "/" + reviewFile + ":2:1: no complete JSON object"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	_, _, err = readReviews(t, Reviews{}, write(t, "photos.tar", archive(t, entry{name: "photos/a.jpg"})))
	if !errors.Is(err, lines.ErrNoMember) {
		t.Errorf("another archive: error %v", err)
	}
	whole := stagetest.Gzip(archive(t, entry{name: reviewFile, content: strings.Repeat(laterReview+"\n", 1000)}))
	_, _, err = readReviews(t, Reviews{MaxBadRows: 9}, write(t, "cut.tar", whole[:len(whole)-20]))
	if !errors.Is(err, lines.ErrDamaged) {
		t.Errorf("a truncated archive: error %v", err)
	}
}

func TestReviewsStopWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	stage := Reviews{Source: stages.SourceFiles(write(t, "r", []byte(laterReview)))}
	stagetest.Result(t, &stage.Interactions)
	if err := stage.Run(ctx, stagetest.Env(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A chronology gives what sorting in memory would, whatever it spills.
func TestChronology(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := make([]event, rapid.IntRange(0, 60).Draw(rt, "events"))
		order := newChronology(t.TempDir(), rapid.IntRange(1, 20).Draw(rt, "run length"))
		defer order.close()
		for i := range want {
			want[i] = event{
				time: rapid.Int64Range(-3, 3).Draw(rt, "time"), row: int64(i + 1),
				user: rapid.Uint32().Draw(rt, "user"), item: rapid.Uint32().Draw(rt, "item"), stars: rapid.Float32Range(1, 5).Draw(rt, "stars"),
			}
			if err := order.add(want[i]); err != nil {
				rt.Fatal(err)
			}
		}
		slices.SortStableFunc(want, func(a, b event) int { return int(a.time - b.time) })
		got := []event{}
		for e, err := range order.events() {
			if err != nil {
				rt.Fatal(err)
			}
			got = append(got, e)
		}
		if !slices.Equal(want, got) {
			rt.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestRealReviews(t *testing.T) {
	got, report, err := readReviews(t, Reviews{}, stagetest.RealData(t, "yelp/"+reviewFile))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]float64{"rows": 999, "bad_rows": 0, "users": 993, "items": 822}, report); diff != "" {
		t.Errorf("report (-want +got)\n%s", diff)
	}
	inOrder := slices.IsSortedFunc(got, func(a, b tables.Interaction) int { return int(a.Timestamp - b.Timestamp) })
	if !inOrder || got[0].Timestamp != 1115819470 || got[998].Timestamp != 1538669931 {
		t.Errorf("from %+v to %+v, in order: %v", got[0], got[998], inOrder)
	}
}
