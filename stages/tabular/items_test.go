package tabular

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// movies is the stage as MovieLens needs it.
func movies() Items {
	s := plainItems()
	s.Item, s.Title, s.Categories, s.TextsItem, s.TextsText = "movieId", "title", "genres", "movieId", "tag"
	s.EmptyValues = []string{"(no genres listed)", "N/A"}
	return s
}

// plainItems is the stage with the defaults of its parameters.
func plainItems() Items {
	return Items{form: form{Format: autoFormat, Quotes: true, Encoding: "utf-8"}, Item: "item", TextsItem: "item", TextsText: "text"}
}

// items runs the stage on a source, and texts unless it is empty.
func items(t testing.TB, stage Items, source, texts string) ([]tables.Item, map[string]float64, error) {
	t.Helper()
	env := stagetest.Env(t)
	stage.Source = stages.SourceFiles(write(t, "items.csv", source))
	if texts != "" {
		stage.Texts = stages.SourceFiles(write(t, "texts.csv", texts))
	}
	result := stagetest.Result(t, &stage.Items)
	if err := stage.Run(context.Background(), env); err != nil {
		return nil, nil, err
	}
	return result(), stagetest.Counts(env), nil
}

func dollars(x float64) *float64 { return &x }

func TestItems(t *testing.T) {
	stage := movies()
	stage.ImageURLTemplate = "http://h/p/{item}.jpg"
	got, counts, err := items(t, stage,
		"movieId,title,genres\n"+
			"3, Grumpier Old Men ,Comedy|Romance\n"+
			"1,\"Misérables, Les (1995)\",(no genres listed)\n"+
			"a/b,N/A,|Drama|| N/A |\n",
		"userId,movieId,tag\n9,1,pixar\n8,1, fun \n8,3,N/A\n7,1,pixar\n8,3,old\n6,4,unknown\n6,4,unknown\n5,3,\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []tables.Item{
		{Item: "1", Title: "Misérables, Les (1995)", Description: "pixar, fun", ImageURL: "http://h/p/1.jpg"},
		{Item: "3", Title: "Grumpier Old Men", Description: "old", Categories: []string{"Comedy", "Romance"}, ImageURL: "http://h/p/3.jpg"},
		{Item: "a/b", Categories: []string{"Drama"}, ImageURL: "http://h/p/a%2Fb.jpg"},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for name, n := range map[string]float64{
		"rows": 3, "bad_rows": 0, "text_rows": 8, "empty_texts": 2, "texts_of_unknown_items": 2,
		"items": 3, "items_without_title": 1, "items_without_description": 1, "items_without_categories": 1,
	} {
		if counts[name] != n {
			t.Errorf("%s is %v, want %v", name, counts[name], n)
		}
	}
}

func TestEveryColumnOfItems(t *testing.T) {
	stage := Items{
		form: form{Format: autoFormat, Quotes: true, Delimiter: ";"}, CategoriesSeparator: new(string), Item: "sku", Title: "name", Description: "text", Brand: "maker", Categories: "group", Price: "eur", ImageURL: "picture",
		TextsItem: "sku", TextsText: "query",
	}
	got, counts, err := items(t, stage,
		"eur;group;maker;name;picture;sku;text\n"+
			"9.50;A|B;Acme;Ball;http://h/1.jpg;s1;A ball.\n"+
			";;;;;s2;\n"+
			"1;C;Other;;;s1;\n"+ // s1 again
			"0;D;;;;s2;\n",
		"query;sku\nround thing;s1\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []tables.Item{
		{
			Item: "s1", Title: "Ball", Description: "A ball. round thing", Brand: "Acme", Categories: []string{"A|B"}, // no separator
			ImageURL: "http://h/1.jpg", Price: dollars(9.5),
		},
		{Item: "s2", Categories: []string{"D"}, Price: dollars(0)},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if counts["duplicate_rows"] != 2 || counts["differing_duplicate_rows"] != 2 {
		t.Errorf("report %v", counts)
	}
}

func TestBadItems(t *testing.T) {
	for _, c := range []struct {
		source, texts string
		maxBad        int64
		want          string
	}{
		{"movieId,title,genres\n", "", 0, "the source holds no items"},
		{"movieId,title,genres\n,t,g\n", "", 0, `items.csv:2:1: column "movieId": empty, where an id should be`},
		{"movieId,title\n1,t\n", "", 0, `items.csv:1: no column "genres", which categories names`},
		{"movieId,title,genres,price\n1,t,g,-1\n", "", 0, `items.csv:2:7: column "price": "-1" is not a price, a number from 0`},
		{"movieId,title,genres,price\n1,t,g,$3\n", "", 0, `items.csv:2:7: column "price": "$3" is not a price`},
		{"movieId,title,genres,price\n1,t,g,1\n", "movieId,tags\n", 0, `texts.csv:1: no column "tag" (did you mean tags?), which texts_text names`},
		{"movieId,title,genres,price\n1,t,g,1\n", "movieId,tag\n,x\n", 0, `texts.csv:2:1: column "movieId": empty`},
		{"movieId,title,genres,price\n1,t,g,1\n,t,g,1\n", "movieId,tag\n,x\n", 1, "texts.csv:2:1: column \"movieId\": empty, where an id should be; this is bad row 2 and max_bad_rows allows 1"},
	} {
		stage := movies()
		stage.MaxBadRows = c.maxBad
		if strings.Contains(c.source, "price") {
			stage.Price = "price"
		}
		_, _, err := items(t, stage, c.source, c.texts)
		if !strings.Contains(message(err), c.want) {
			t.Errorf("%q and %q:\ngot  %s\nwant %s", c.source, c.texts, message(err), c.want)
		}
	}
}

// Nothing bounds how often an item is tagged.
func TestTextsOfAnItemAreBounded(t *testing.T) {
	var same, distinct strings.Builder
	same.WriteString("movieId,tag\n")
	distinct.WriteString("movieId,tag\n")
	for i := range 2000 {
		fmt.Fprintf(&same, "1,%s\n", strings.Repeat("x", 1000))
		fmt.Fprintf(&distinct, "1,%s%d\n", strings.Repeat("x", 1000), i)
	}
	const source = "movieId,title,genres\n1,t,g\n"
	got, _, err := items(t, movies(), source, same.String())
	if err != nil || len(got[0].Description) != 1000 {
		t.Errorf("the same text many times: error %v", err)
	}
	if _, _, err := items(t, movies(), source, distinct.String()); err == nil || !strings.Contains(err.Error(), `the texts of item "1" have more than 1048576 bytes`) {
		t.Errorf("many texts: error %v", err)
	}
}

func TestItemsValidate(t *testing.T) {
	valid := movies()
	valid.ImageURLTemplate = "{item}.jpg"
	if problems := valid.Validate(); len(problems) > 0 {
		t.Errorf("a valid stage has %v", problems)
	}
	for param, change := range map[string]func(*Items){
		"delimiter":          func(s *Items) { s.Delimiter = "\n" },
		"item":               func(s *Items) { s.Item = "" },
		"texts_item":         func(s *Items) { s.TextsItem = "" },
		"texts_text":         func(s *Items) { s.TextsText = "" },
		"image_url_template": func(s *Items) { s.ImageURLTemplate = "http://h/{id}.jpg" },
	} {
		stage := valid
		change(&stage)
		if problems := stage.Validate(); len(problems) != 1 || problems[0].Param != param {
			t.Errorf("%s: %v", param, problems)
		}
	}
	both := valid
	both.ImageURL = "picture"
	if problems := both.Validate(); len(problems) != 1 || problems[0].Param != "image_url_template" {
		t.Errorf("image_url and image_url_template: %v", problems)
	}
}

// An id stays one element of the path, and is what a server reads.
func TestIDsInURLs(t *testing.T) {
	for id, want := range map[string]string{
		"B00-1_a~.x": "B00-1_a~.x", "a b": "a%20b", "../x": "..%2Fx", "..": "%2E%2E", ".": "%2E", "é": "%C3%A9", "a?b#c%&=+": "a%3Fb%23c%25%26%3D%2B",
	} {
		if got := percentEncoded(id); got != want {
			t.Errorf("%q: got %s, want %s", id, got, want)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		id := rapid.String().Draw(rt, "id")
		u, err := url.Parse("http://host/p/" + percentEncoded(id) + "/x?item=" + percentEncoded(id))
		if err != nil {
			rt.Fatal(err)
		}
		if u.Path != "/p/"+id+"/x" || u.Query().Get("item") != id {
			rt.Fatalf("%q is read as %q and %q", id, u.Path, u.Query().Get("item"))
		}
	})
}

func TestMovieLens(t *testing.T) {
	stage := movies()
	stage.Source = stages.SourceFiles(stagetest.RealData(t, "movielens/movies.csv"))
	stage.Texts = stages.SourceFiles(stagetest.RealData(t, "movielens/tags.csv"))
	result := stagetest.Result(t, &stage.Items)
	env := stagetest.Env(t)
	if err := stage.Run(context.Background(), env); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]float64{"items": 9742, "rows": 9742, "duplicate_rows": 0, "text_rows": 3683, "items_without_categories": 34, "items_without_description": 9742 - 1572} {
		if got := stagetest.Counts(env)[name]; got != n {
			t.Errorf("%s is %v, want %v", name, got, n)
		}
	}
	want := tables.Item{
		Item: "1", Title: "Toy Story (1995)", Description: "pixar, fun", Categories: []string{"Adventure", "Animation", "Children", "Comedy", "Fantasy"},
	}
	if diff := cmp.Diff(want, result()[0]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	ratings := plain()
	ratings.User, ratings.Item, ratings.Rating = "userId", "movieId", "rating"
	got, counts, err := interactions(t, ratings, stagetest.RealData(t, "movielens/ratings.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 100_836 || counts["users"] != 610 || counts["items"] != 9724 {
		t.Errorf("%d ratings, report %v", len(got), counts)
	}
}
