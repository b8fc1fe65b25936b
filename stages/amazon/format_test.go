package amazon

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

const (
	review2023 = `{"rating": 5.0, "title": "t", "text": "x", "images": [], "asin": "B0A1", "parent_asin": "B0P1", "user_id": "AG1", "timestamp": 1588687728923, "helpful_vote": 0, "verified_purchase": true}`
	meta2023   = `{"main_category": "All Beauty", "title": "T", "features": ["f"], "description": ["d"], "price": 14.99, "images": [{"thumb": "http://i/t._SS40_.jpg", "large": "http://i/l.jpg", "variant": "MAIN", "hi_res": null}], "store": "S", "categories": [], "details": {"Brand": "B"}, "parent_asin": "B0P1"}`
)

// packed is a file of testdata as the data set has it, gzip-compressed.
func packed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, name+".gz", stagetest.Gzip(text))
}

func TestReviewsOf2023(t *testing.T) {
	for _, format := range []string{"auto", "2023"} {
		got, report, err := readReviews(t, Reviews{Format: format}, packed(t, "reviews2023.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		want := []tables.Interaction{
			{User: "AGUSERAAAAAAAAAAAAAAAAAAAAAA", Item: "B0P0000001", Rating: 5, Timestamp: 1588687728, Row: 1},
			{User: "AGUSERBBBBBBBBBBBBBBBBBBBBBB", Item: "B0P0000001", Rating: 4, Timestamp: 1588687728, Row: 2},
			{User: "AGUSERAAAAAAAAAAAAAAAAAAAAAA", Item: "B0P0000002", Rating: 1, Timestamp: 1677939345, Row: 3},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("format %s (-want +got)\n%s", format, diff)
		}
		if diff := cmp.Diff(map[string]float64{"rows": 3, "bad_rows": 0, "users": 2, "items": 2}, report); diff != "" {
			t.Errorf("report (-want +got)\n%s", diff)
		}
	}
}

func TestMetadataOf2023(t *testing.T) {
	got, report, err := readMetadata(t, Metadata{Thumbnails: "original"}, packed(t, "meta2023.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if len(got[i].Categories) == 0 {
			got[i].Categories = nil
		}
	}
	want := []tables.Item{
		{
			Item: "B0P0000001", Title: "Wood Polish & Conditioner", Brand: "Howard Products", Price: dollars(14.99),
			Description: "Protects wood Made with beeswax Feeds the wood. Smells of orange.",
			Categories:  []string{"Beauty & Personal Care", "Skin Care"},
			ImageURL:    "https://m.media-amazon.com/images/I/mainH._SL1500_.jpg",
		},
		{
			Item: "B0P0000002", Title: "Yes to Tomatoes", Brand: "Yes To", Categories: []string{"All Beauty"},
			ImageURL: "https://m.media-amazon.com/images/I/two.jpg",
		},
		{
			Item: "B0P0000003", Title: "A Book", Description: "One", Categories: []string{"Books"}, Price: dollars(12.5),
			ImageURL: "https://m.media-amazon.com/images/I/three.jpg",
		},
		{Item: "B0P0000004"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if report["unread_prices"] != 1 {
		t.Errorf("%v prices were not read, want 1: a range begins with \"from\"", report["unread_prices"])
	}
}

// What is wrong with a record of 2023 is said in that format's words.
func TestBadRecordsOf2023(t *testing.T) {
	for _, c := range []struct{ line, message string }{
		{`{"user_id": "A", "asin": "B", "rating": 5, "timestamp": 1588687728923}`, `:2: no field "parent_asin"`},
		{`{"user_id": "A", "parent_asin": "B", "rating": 5, "timestamp": 1588687728}`, `:2:64: field "timestamp" is 1588687728, not in milliseconds`},
		{`{"user_id": "A", "parent_asin": "B", "rating": 5, "timestamp": 1588687728923000}`, `:2:64: field "timestamp" is 1588687728923000, not in milliseconds`},
		{`{"user_id": "A", "parent_asin": "B", "rating": 6, "timestamp": 1588687728923}`, `:2:48: field "rating" is 6, not a rating`},
		{`{"user_id": "", "parent_asin": "B", "rating": 5, "timestamp": 1588687728923}`, `:2:13: field "user_id" is empty`},
	} {
		path := write(t, "r.jsonl", []byte(review2023+"\n"+c.line+"\n"))
		_, _, err := readReviews(t, Reviews{}, path)
		if err == nil || !strings.HasPrefix(err.Error(), path+c.message) {
			t.Errorf("%s: error %v, want %s", c.line, err, c.message)
		}
	}
	for _, c := range []struct{ line, message string }{
		{`{"parent_asin": "B", "images": {"thumb": []}}`, `:2:32: field "images" is an object, not a list`},
		{`{"parent_asin": "B", "images": ["http://x"]}`, `:2:32: field "images" has a string in its list, not an object`},
		{`{"parent_asin": "B", "store": {}}`, `:2:31: field "store" is an object`},
		{`{"title": "B"}`, `:2: no field "parent_asin"`},
	} {
		path := write(t, "m.jsonl", []byte(meta2023+"\n"+c.line+"\n"))
		_, _, err := readMetadata(t, Metadata{}, path)
		if err == nil || !strings.HasPrefix(err.Error(), path+c.message) {
			t.Errorf("%s: error %v, want %s", c.line, err, c.message)
		}
	}
}

// Allowed bad rows are no way around it: half of the data would be missing.
func TestMixedFormatsAreAnError(t *testing.T) {
	old, recent := write(t, "old.json", []byte("junk\n"+review2014+"\n")), write(t, "new.jsonl", []byte(review2023+"\n"))
	for _, c := range []struct {
		stage Reviews
		paths []string
		want  string
	}{
		{Reviews{}, []string{old, recent}, recent + ":1: this record is of 2023, and the source is of 2014 or 2018 as " + old + ":2 has it: read each data set by a stage of its own"},
		{Reviews{}, []string{recent, old}, old + ":2: this record is of 2014 or 2018, and the source is of 2023 as " + recent + ":1 has it: read each data set by a stage of its own"},
		{Reviews{Format: "2018"}, []string{recent}, recent + `:1: this record is of 2023, and the source is of 2014 or 2018 as format = "2018" has it: read each data set by a stage of its own`},
		{Reviews{Format: "2023"}, []string{old}, old + `:2: this record is of 2014 or 2018, and the source is of 2023 as format = "2023" has it: read each data set by a stage of its own`},
	} {
		c.stage.MaxBadRows = 9
		_, _, err := readReviews(t, c.stage, c.paths...)
		if err == nil || err.Error() != c.want {
			t.Errorf("error %v\nwant  %s", err, c.want)
		}
	}
	path := write(t, "mixed.json", []byte(meta2014+"\n"+meta2018+"\n"+meta2023+"\n"))
	_, _, err := readMetadata(t, Metadata{MaxBadRows: 9}, path)
	if err == nil || !strings.HasPrefix(err.Error(), path+":3: this record is of 2023") {
		t.Errorf("metadata: error %v", err)
	}
}
