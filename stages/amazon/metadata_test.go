package amazon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
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
	meta2014  = `{'asin': '5555991584', 'title': "Don\'t <b>Stop</b>", 'description': u'Caf\xe9 &amp;amp; bar', 'price': 9.49, 'imUrl': 'http://ecx.images-amazon.com/images/I/51b5WDjdhPL._SX300_.jpg', 'brand': 'Acme', 'related': {'also_bought': ['B1', 'B2']}, 'salesRank': {'Music': 939190}, 'categories': [['CDs & Vinyl', 'New Age'], ['Digital Music']]}`
	meta2018  = `{"category": ["Magazine", "</span></span>", "Arts &amp; Crafts"], "tech1": "", "description": ["<p>One.</p>", "Two<br>three."], "title": "<span class=\"a-size-medium a-color-secondary\"", "brand": "\n  F&amp;W\n", "rank": [], "price": "$1,299.50", "asin": "B02", "image": ["https://images-na.ssl-images-amazon.com/images/I/51Iph04Jy3L._SX38_SY50_CR,0,0,38,50_.jpg", "https://images-na.ssl-images-amazon.com/images/I/second._SS40_.jpg"]}`
	meta2018b = `{"asin": "B03", "title": "T", "imageURL": ["https://m/I/41._SX38_SY50_CR,0,0,38,50_.jpg"], "imageURLHighRes": ["https://m/I/41.jpg"], "description": [], "category": []}`
)

func readMetadata(t testing.TB, stage Metadata, paths ...string) ([]tables.Item, map[string]float64, error) {
	t.Helper()
	env := stagetest.Env(t)
	stage.Source = stages.SourceFiles(paths...)
	result := stagetest.Result(t, &stage.Items)
	if err := stage.Run(context.Background(), env); err != nil {
		return nil, nil, err
	}
	return result(), stagetest.Counts(env), nil
}

func metadata(t *testing.T, stage Metadata, text ...string) ([]tables.Item, map[string]float64) {
	t.Helper()
	items, report, err := readMetadata(t, stage, write(t, "meta.json", []byte(strings.Join(text, "\n"))))
	if err != nil {
		t.Fatal(err)
	}
	for i := range items {
		if len(items[i].Categories) == 0 {
			items[i].Categories = nil // whether a table gives nil or an empty list is its business
		}
	}
	return items, report
}

func dollars(x float64) *float64 { return &x }

func TestMetadataOfAllFormats(t *testing.T) {
	got, _ := metadata(t, Metadata{Thumbnails: "original"}, meta2018b, meta2018, "", meta2014)
	want := []tables.Item{
		{
			Item: "5555991584", Title: "Don't Stop", Description: "Café & bar", Brand: "Acme", Price: dollars(9.49),
			Categories: []string{"CDs & Vinyl", "New Age"},
			ImageURL:   "http://ecx.images-amazon.com/images/I/51b5WDjdhPL._SX300_.jpg",
		},
		{
			Item: "B02", Description: "One. Two three.", Brand: "F&W", Price: dollars(1299.5),
			Categories: []string{"Magazine", "Arts & Crafts"},
			ImageURL:   "https://images-na.ssl-images-amazon.com/images/I/51Iph04Jy3L.jpg",
		},
		{Item: "B03", Title: "T", ImageURL: "https://m/I/41.jpg"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestThumbnailsAsListed(t *testing.T) {
	got, _ := metadata(t, Metadata{Thumbnails: "listed"}, meta2018)
	if want := "https://images-na.ssl-images-amazon.com/images/I/51Iph04Jy3L._SX38_SY50_CR,0,0,38,50_.jpg"; got[0].ImageURL != want {
		t.Errorf("image_url is %s, want %s", got[0].ImageURL, want)
	}
}

func TestDuplicateRowsAreMerged(t *testing.T) {
	got, report := metadata(t, Metadata{},
		`{"asin": "B", "title": "first", "brand": "", "category": []}`,
		`{"asin": "A", "title": "other"}`,
		`{"asin": "B", "title": "second", "brand": "Acme", "price": 3}`,
		`{"asin": "B", "title": "third", "brand": "No", "price": 4, "category": ["c"], "imageURL": ["http://x/y.jpg"], "description": "d"}`,
		`{"asin": "A", "title": "other"}`,
	)
	want := []tables.Item{
		{Item: "A", Title: "other"},
		{Item: "B", Title: "first", Brand: "Acme", Price: dollars(3), Categories: []string{"c"}, ImageURL: "http://x/y.jpg", Description: "d"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for name, n := range map[string]float64{"rows": 5, "items": 2, "duplicate_rows": 3, "differing_duplicate_rows": 2, "items_without_title": 0, "items_without_price": 1} {
		if report[name] != n {
			t.Errorf("%s is %v, want %v", name, report[name], n)
		}
	}
}

func TestDescriptionForms(t *testing.T) {
	for value, want := range map[string]string{
		`"one"`: "one", `["one", "two"]`: "one two", `[]`: "", `null`: "", `[null, "x"]`: "x", `1984`: "1984", `["", " "]`: "",
	} {
		got, _ := metadata(t, Metadata{}, `{"asin": "A", "description": `+value+`}`)
		if got[0].Description != want {
			t.Errorf("%s: got %q, want %q", value, got[0].Description, want)
		}
	}
}

func TestJunk(t *testing.T) {
	got, report := metadata(t, Metadata{Thumbnails: "original"},
		`{"asin": "A", "title": "var aPageStart = (new Date()).getTime();\nvar ue_t0=ue_t0||+new Date();", "price": ".a-box-inner{background-color:#fff}#alohaBuyBoxWidget .selected"}`,
		`{'asin': 'B', 'imUrl': 'http://g-ecx.images-amazon.com/images/G/01/x-site/icons/no-img-lg._V192198674_.gif'}`,
		`{"asin": "C", "image": ["not an address"], "price": "\n\n\n<script>var x = 12.99;</script>"}`,
	)
	want := []tables.Item{{Item: "A"}, {Item: "B"}, {Item: "C"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if report["junk_titles"] != 1 || report["unread_prices"] != 2 || report["items_without_image_url"] != 3 {
		t.Errorf("report %v", report)
	}
}

func TestPrices(t *testing.T) {
	for value, want := range map[string]any{
		`9.49`: 9.49, `0`: 0.0, `"$12.99"`: 12.99, `"12.99"`: 12.99, `"$1,299.00"`: 1299.0, `"$1,234,567.00"`: 1234567.0, `" $5 "`: 5.0, `"US $5.10"`: 5.1,
		`"$5.99 - $12.00"`: nil, `"$1,29.00"`: nil, `""`: nil, `null`: nil, `"free"`: nil, `-1`: nil, `1e999`: nil, `NaN`: nil, `[1]`: nil, `true`: nil,
		`".a-box-inner{background-color:#fff}"`: nil, `"from $3.50"`: nil, `"$"`: nil, `"1.2.3"`: nil,
	} {
		got, _ := metadata(t, Metadata{}, `{"asin": "A", "price": `+value+`}`)
		switch {
		case want == nil && got[0].Price != nil:
			t.Errorf("%s is %v, want none", value, *got[0].Price)
		case want != nil && (got[0].Price == nil || *got[0].Price != want):
			t.Errorf("%s is %v, want %v", value, got[0].Price, want)
		}
	}
}

func TestBadMetadata(t *testing.T) {
	for _, c := range []struct{ line, message string }{
		{`{'asin': 'B', 'title': __import__('os')}`, `no complete Python literal: unknown name "__import__"`},
		{`{'asin': 'B'`, "no complete Python literal: want ',' or '}', not end"},
		{`{"asin": "B", "title": "t}`, "no complete JSON object: "},
		{`{"title": "t"}`, `no field "asin"`},
		{`{'asin': 12}`, `field "asin" is a number, not a string`},
		{`{"asin": "B", "title": {"a": 1}}`, `field "title" is an object, not a text or a list of texts`},
		{`{"asin": "B", "description": [["a"]]}`, `field "description" has a list within a list`},
		{`{'asin': 'B', 'categories': True}`, `field "categories" is a boolean, not a text`},
		{`{"asin": "B", "image": false}`, `field "image" is a boolean, not a text`},
	} {
		path := write(t, "meta.json", []byte(meta2014+"\n"+c.line+"\n"+meta2018+"\n"))
		_, _, err := readMetadata(t, Metadata{}, path)
		if err == nil || !strings.HasPrefix(err.Error(), path+":2:") || !strings.Contains(err.Error(), " "+c.message) {
			t.Errorf("%s: error %v, want line 2 and %q", c.line, err, c.message)
		}
		_, report, err := readMetadata(t, Metadata{MaxBadRows: 1}, path)
		if err != nil || report["bad_rows"] != 1 || report["items"] != 2 {
			t.Errorf("%s: with max_bad_rows: %v and %v", c.line, report, err)
		}
	}
	whole := stagetest.Gzip(strings.Repeat(meta2014+"\n", 1000))
	if _, _, err := readMetadata(t, Metadata{MaxBadRows: 9}, write(t, "m.gz", whole[:len(whole)/2])); !errors.Is(err, lines.ErrDamaged) {
		t.Errorf("truncated: error %v", err)
	}
	if _, _, err := readMetadata(t, Metadata{}, write(t, "m.gz", nil)); err == nil || err.Error() != "the source holds no items: is it the right file?" {
		t.Errorf("empty: error %v", err)
	}
}

// leftover finds markup that should be gone.
var leftover = regexp.MustCompile(`</?(?i:br|p|b|i|span|div|a|td|li|font|script)[ />]|&(amp|lt|gt|quot|nbsp|#[0-9]+|#x[0-9A-Fa-f]+);|  |\n|\t`)

func TestRealMetadata(t *testing.T) {
	var magazines [][]tables.Item
	for _, c := range []struct {
		file  string
		count map[string]float64
	}{
		{"amazon2014/meta_Digital_Music.json.gz", map[string]float64{
			"rows": 7419, "bad_rows": 0, "items": 7419, "duplicate_rows": 0, "differing_duplicate_rows": 0,
			"items_without_title": 98, "items_without_price": 24, "items_without_image_url": 30, "junk_titles": 0,
			"items_without_categories": 0, "items_without_brand": 6865, "items_without_description": 2863, "unread_prices": 0,
		}},
		{"amazon2018/Magazine_Subscriptions/meta_Magazine_Subscriptions.ncloud.json.gz", magazineCounts()},
		{"amazon2018/Magazine_Subscriptions/meta_Magazine_Subscriptions.kevincakey.json.gz", magazineCounts()},
	} {
		items, report, err := readMetadata(t, Metadata{Thumbnails: "original"}, stagetest.RealData(t, c.file))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.count, report); diff != "" {
			t.Errorf("%s: report (-want +got)\n%s", c.file, diff)
		}
		if !slices.IsSortedFunc(items, func(a, b tables.Item) int { return strings.Compare(a.Item, b.Item) }) {
			t.Errorf("%s: items are not in order", c.file)
		}
		for _, item := range items {
			text := tables.ItemText(item.Title, item.Description, item.Brand, item.Categories)
			if found := leftover.FindString(text); found != "" {
				t.Errorf("%s: item %s has %q in its text", c.file, item.Item, found)
			}
		}
		magazines = append(magazines, items)
	}
	compareVariants(t, magazines[1], magazines[2])
}

func magazineCounts() map[string]float64 {
	return map[string]float64{
		"rows": 3385, "bad_rows": 0, "items": 2320, "duplicate_rows": 1065, "differing_duplicate_rows": 0,
		"items_without_title": 2163, "items_without_price": 2320, "items_without_image_url": 1457, "junk_titles": 0,
		"items_without_categories": 442, "items_without_brand": 147, "items_without_description": 355, "unread_prices": 18,
	}
}

// compareVariants checks that thumbnails lead to the pictures that the other
// variant of the same file lists.
func compareVariants(t *testing.T, thumbnails, listed []tables.Item) {
	t.Helper()
	different := 0
	for i := range listed {
		if thumbnails[i].ImageURL != listed[i].ImageURL {
			different++
		}
		thumbnails[i].ImageURL = listed[i].ImageURL
	}
	if different > 0 {
		t.Errorf("%d of %d pictures have other addresses", different, len(listed))
	}
	if diff := cmp.Diff(thumbnails, listed); diff != "" {
		t.Errorf("the two variants differ in more than pictures:\n%s", diff)
	}
}

func FuzzMetadata(f *testing.F) {
	for _, line := range []string{meta2014, meta2018, meta2018b, meta2023} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		p := records.Parser{Python: read}
		rec, err := p.Parse(line)
		if err != nil {
			return
		}
		r := itemReader{original: true}
		if r.take(product{rec}, itemSignature.of(rec)) != nil {
			return
		}
		if r.item.Item == "" || junkTitle(r.item.Title) || r.item.Price != nil && !(*r.item.Price >= 0) {
			t.Fatalf("took %+v", r.item)
		}
	})
}

// BenchmarkMetadata reads Python dicts like those of the 2014 files, three in
// four of whose bytes are lists that nobody needs.
func BenchmarkMetadata(b *testing.B) {
	var text strings.Builder
	for i := range 20_000 {
		line := strings.Replace(meta2014, "5555991584", fmt.Sprintf("B%09d", i*7919%20_000), 1)
		text.WriteString(strings.Replace(line, "'B1', ", strings.Repeat("'B000002LRT', ", 60), 1) + "\n")
	}
	path := write(b, "meta.json.gz", stagetest.Gzip(text.String()))
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		stage := Metadata{Source: stages.SourceFiles(path), Thumbnails: "original"}
		stage.Items = stages.ToFile[tables.Item](filepath.Join(b.TempDir(), "out.arrow"))
		if err := stage.Run(context.Background(), stagetest.Env(b)); err != nil {
			b.Fatal(err)
		}
	}
}
