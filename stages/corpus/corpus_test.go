package corpus

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/amazon"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// outcome is everything that a run gave.
type outcome struct {
	Sequences []tables.Sequence
	Items     []tables.CorpusItem
	Users     []tables.User
	Report    map[string]float64
}

// run gives c the rows and runs it.
func run(t testing.TB, c Corpus, rows []tables.Interaction) (outcome, error) {
	t.Helper()
	c.Interactions = stagetest.Table[interaction](t, rows)
	return runOn(t, c)
}

func runOn(t testing.TB, c Corpus) (outcome, error) {
	t.Helper()
	if c.MinCore == 0 {
		c.MinCore = 1
	}
	if c.Duplicates == "" {
		c.Duplicates = "keep_first"
	}
	sequences, items, users := stagetest.Result(t, &c.Sequences), stagetest.Result(t, &c.Items), stagetest.Result(t, &c.Users)
	env := stagetest.Env(t)
	if err := c.Run(context.Background(), env); err != nil {
		return outcome{}, err
	}
	return outcome{sequences(), items(), users(), stagetest.Counts(env)}, nil
}

func mustRun(t testing.TB, c Corpus, rows []tables.Interaction) outcome {
	t.Helper()
	out, err := run(t, c, rows)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rowsOf reads "user item rating timestamp" lines.
func rowsOf(lines ...string) []tables.Interaction {
	var rows []tables.Interaction
	for i, line := range lines {
		r := tables.Interaction{Row: int64(i + 1)}
		if _, err := fmt.Sscan(line, &r.User, &r.Item, &r.Rating, &r.Timestamp); err != nil {
			panic(err)
		}
		rows = append(rows, r)
	}
	return rows
}

// short writes sequences as "1: 2 3".
func short(sequences []tables.Sequence) string {
	var lines []string
	for _, s := range sequences {
		lines = append(lines, fmt.Sprintf("%d: %s", s.User, strings.Trim(fmt.Sprint(s.Items), "[]")))
	}
	return strings.Join(lines, ", ")
}

func TestIDsAndOrder(t *testing.T) {
	out := mustRun(t, Corpus{}, rowsOf(
		"u2 b 5 30",
		"u10 a 5 20",
		"u2 c 5 20", // the same time as the next: the source row decides
		"u2 a 5 20",
		"U1 B 5 1",
	))
	// By bytes: "B" < "a" < "b" < "c" and "U1" < "u10" < "u2".
	if got, want := short(out.Sequences), "1: 1, 2: 2, 3: 4 2 3"; got != want {
		t.Errorf("sequences are %s, want %s", got, want)
	}
	if diff := cmp.Diff([]int64{20, 20, 30}, out.Sequences[2].Timestamps); diff != "" {
		t.Errorf("timestamps (-want +got)\n%s", diff)
	}
	wantUsers := []tables.User{{ID: 1, User: "U1", Interactions: 1}, {ID: 2, User: "u10", Interactions: 1}, {ID: 3, User: "u2", Interactions: 3}}
	if diff := cmp.Diff(wantUsers, out.Users); diff != "" {
		t.Errorf("users (-want +got)\n%s", diff)
	}
	wantItems := []tables.CorpusItem{{ID: 1, Item: "B", Interactions: 1}, {ID: 2, Item: "a", Interactions: 2}, {ID: 3, Item: "b", Interactions: 1}, {ID: 4, Item: "c", Interactions: 1}}
	if diff := cmp.Diff(wantItems, out.Items, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("items (-want +got)\n%s", diff)
	}
}

func TestDuplicates(t *testing.T) {
	rows := rowsOf("u a 5 10", "u b 5 20", "u a 5 30", "u c 5 40", "u a 5 40", "v a 5 5")
	for policy, want := range map[string]string{
		"keep_all":   "1: 1 2 1 3 1, 2: 1",
		"keep_first": "1: 1 2 3, 2: 1",
		"keep_last":  "1: 2 3 1, 2: 1",
	} {
		out := mustRun(t, Corpus{Duplicates: policy}, rows)
		if got := short(out.Sequences); got != want {
			t.Errorf("%s: sequences are %s, want %s", policy, got, want)
		}
		if out.Report["duplicates"] != 2 {
			t.Errorf("%s: %v duplicates, want 2", policy, out.Report["duplicates"])
		}
	}
}

func TestFilters(t *testing.T) {
	rows := rowsOf("u a 3 1388534399", "u b 4 1388534400", "u c 2 1388620800", "v a 5 1388620799", "v b 5 1420070400")
	four := 4.0
	for _, c := range []struct {
		name                    string
		corpus                  Corpus
		want                    string
		belowRating, outOfRange float64
	}{
		{"nothing", Corpus{}, "1: 1 2 3, 2: 1 2", 0, 0},
		{"rating", Corpus{MinRating: &four}, "1: 2, 2: 1 2", 2, 0},
		{"from", Corpus{From: "2014-01-01"}, "1: 2 3, 2: 1 2", 0, 1},
		{"until", Corpus{Until: "2014-01-02"}, "1: 1 2, 2: 1", 0, 2},
		{"day", Corpus{From: "2014-01-01", Until: "2014-01-02"}, "1: 2, 2: 1", 0, 3},
		{"time", Corpus{From: "2014-01-02T01:00:00+01:00"}, "1: 2, 2: 1", 0, 3},
		{"both", Corpus{MinRating: &four, Until: "2014-01-02"}, "1: 2, 2: 1", 2, 1},
	} {
		out := mustRun(t, c.corpus, rows)
		if got := short(out.Sequences); got != c.want {
			t.Errorf("%s: sequences are %s, want %s", c.name, got, c.want)
		}
		if out.Report["below_rating"] != c.belowRating || out.Report["out_of_range"] != c.outOfRange {
			t.Errorf("%s: report %v", c.name, out.Report)
		}
	}
}

func TestKCoreIsIterated(t *testing.T) {
	rows := rowsOf(
		"u1 a 5 1", "u1 b 5 2", "u2 a 5 1", "u2 b 5 2",
		"u3 b 5 1", "u3 c 5 2", // c is left out, then u3 has one item, then goes too
	)
	out := mustRun(t, Corpus{MinCore: 2}, rows)
	if got, want := short(out.Sequences), "1: 1 2, 2: 1 2"; got != want {
		t.Errorf("sequences are %s, want %s", got, want)
	}
	for name, want := range map[string]float64{
		"interactions_before": 6, "users_before": 3, "items_before": 3, "kcore_rounds": 2, "kcore_removed": 2,
		"interactions": 4, "users": 2, "items": 2,
	} {
		if out.Report[name] != want {
			t.Errorf("%s is %v, want %v", name, out.Report[name], want)
		}
	}
	one, three := int64(1), int64(3)
	out = mustRun(t, Corpus{MinCore: 2, MinUserCore: &one, MinItemCore: &three}, rows)
	if got, want := short(out.Sequences), "1: 1, 2: 1, 3: 1"; got != want || out.Items[0].Item != "b" {
		t.Errorf("sequences are %s of %s, want %s of b", got, out.Items[0].Item, want)
	}
}

func TestNothingLeft(t *testing.T) {
	rows := rowsOf("u a 3 10", "v b 4 20")
	six, two := 6.0, int64(2)
	for _, c := range []struct {
		corpus Corpus
		rows   []tables.Interaction
		want   string
	}{
		{Corpus{}, nil, "there are no interactions"},
		{Corpus{MinRating: &six}, rows, "no interaction is left of 2: all are below min_rating = 6; lower it"},
		{Corpus{From: "2014-01-01"}, rows, `no interaction is left of 2: 0 are below min_rating, and the others outside the time range; widen from = "2014-01-01" and until = ""`},
		{Corpus{MinCore: 5}, rows, "no interaction is left of 2: no users with at least 5 and items with at least 5 interactions remain; lower min_core"},
		{Corpus{MinItemCore: &two}, rows, "no interaction is left of 2: no users with at least 1 and items with at least 2 interactions remain; lower min_core or min_item_core"},
	} {
		_, err := run(t, c.corpus, c.rows)
		if err == nil || err.Error() != c.want {
			t.Errorf("error %v\nwant  %s", err, c.want)
		}
	}
}

func TestMetadata(t *testing.T) {
	price := 9.5
	known := []tables.Item{
		{Item: "a", Title: "A", Description: "d", Brand: "b", Categories: []string{"x", "y"}, ImageURL: "http://i", Price: &price},
		{Item: "not left", Title: "N"},
	}
	out := mustRun(t, Corpus{Metadata: stagetest.Table[tables.Item](t, known)}, rowsOf("u a 5 1", "u b 5 2"))
	want := []tables.CorpusItem{
		{ID: 1, Item: "a", Interactions: 1, Title: "A", Description: "d", Brand: "b", Categories: []string{"x", "y"}, ImageURL: "http://i", Price: &price},
		{ID: 2, Item: "b", Interactions: 1},
	}
	if diff := cmp.Diff(want, out.Items, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if out.Report["items_without_metadata"] != 1 {
		t.Errorf("report %v", out.Report)
	}
	_, err := run(t, Corpus{Metadata: stagetest.Table[tables.Item](t, append(known, known[0]))}, rowsOf("u a 5 1"))
	if want := `row 3 of items is the second about item "a": there must be one`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		corpus Corpus
		want   string
	}{
		{Corpus{From: "2014-01-01", Until: "2014-01-02T00:00:00Z"}, ""},
		{Corpus{From: "yesterday"}, `stage : from: must be a day such as 2014-07-23 or a time such as 2014-07-23T00:00:00Z, not "yesterday"`},
		{Corpus{Until: "2014-02-30"}, `stage : until: must be a day such as 2014-07-23 or a time such as 2014-07-23T00:00:00Z, not "2014-02-30"`},
		{Corpus{From: "2014-01-02", Until: "2014-01-02"}, "stage : until: must be after from (2014-01-02), not 2014-01-02"},
	} {
		got := ""
		for _, p := range c.corpus.Validate() {
			got += p.String()
		}
		if got != c.want {
			t.Errorf("%s to %s: %q, want %q", c.corpus.From, c.corpus.Until, got, c.want)
		}
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := Corpus{MinCore: 1, Duplicates: "keep_first", Interactions: stagetest.Table[interaction](t, rowsOf("u a 5 1"))}
	stagetest.Result(t, &c.Sequences)
	stagetest.Result(t, &c.Users)
	if err := c.Run(ctx, stagetest.Env(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// manyRows are few users and items, so that there are duplicates and ties.
func manyRows() *rapid.Generator[[]tables.Interaction] {
	return rapid.Custom(func(t *rapid.T) []tables.Interaction {
		rows := make([]tables.Interaction, rapid.IntRange(1, 120).Draw(t, "rows"))
		for i := range rows {
			rows[i] = tables.Interaction{
				User:      fmt.Sprint("u", rapid.IntRange(0, 11).Draw(t, "user")),
				Item:      fmt.Sprint("i", rapid.IntRange(0, 11).Draw(t, "item")),
				Rating:    float32(rapid.IntRange(1, 5).Draw(t, "rating")),
				Timestamp: rapid.Int64Range(1, 6).Draw(t, "timestamp"),
				Row:       int64(i/2 + 1), // equal ones too
			}
		}
		return rows
	})
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rows := manyRows().Draw(rt, "rows")
		c := Corpus{
			MinCore:    rapid.Int64Range(1, 4).Draw(rt, "core"),
			Duplicates: rapid.SampledFrom([]string{"keep_all", "keep_first", "keep_last"}).Draw(rt, "duplicates"),
		}
		out, err := run(t, c, rows)
		shuffled := rapid.Permutation(rows).Draw(rt, "shuffled")
		again, errAgain := run(t, c, shuffled)
		if (err == nil) != (errAgain == nil) {
			rt.Fatalf("in one order %v, in another %v", err, errAgain)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(out, again); diff != "" {
			rt.Fatalf("the order of the input matters:\n%s", diff)
		}
		checkCore(rt, c, out)
		checkLargest(rt, c, rows, out)
	})
}

// checkCore checks that ids are dense and in order, and that everyone has
// enough interactions.
func checkCore(t *rapid.T, c Corpus, out outcome) {
	if !slices.IsSortedFunc(out.Users, func(a, b tables.User) int { return strings.Compare(a.User, b.User) }) ||
		!slices.IsSortedFunc(out.Items, func(a, b tables.CorpusItem) int { return strings.Compare(a.Item, b.Item) }) {
		t.Fatal("ids are not in the order of external ids")
	}
	counts := make([]int64, len(out.Items))
	for i, s := range out.Sequences {
		if s.User != int32(i+1) || out.Users[i].ID != s.User || out.Users[i].Interactions != int64(len(s.Items)) || len(s.Items) != len(s.Timestamps) {
			t.Fatalf("sequence %d is %v of user %v", i, s, out.Users[i])
		}
		if int64(len(s.Items)) < c.MinCore || !slices.IsSorted(s.Timestamps) {
			t.Fatalf("sequence %v", s)
		}
		for _, id := range s.Items {
			counts[id-1]++
		}
	}
	for i, item := range out.Items {
		if item.ID != int32(i+1) || item.Interactions != counts[i] || counts[i] < c.MinCore {
			t.Fatalf("item %v occurs %d times", item, counts[i])
		}
	}
}

// checkLargest takes the k-core by the book: one user or item after the other.
func checkLargest(t *rapid.T, c Corpus, rows []tables.Interaction, out outcome) {
	type pair struct{ user, item string }
	left := map[pair]int64{}
	for _, r := range rows {
		if c.Duplicates == "keep_all" || left[pair{r.User, r.Item}] == 0 {
			left[pair{r.User, r.Item}]++
		}
	}
	for changed := true; changed; {
		changed = false
		degree := map[string]int64{}
		for p, n := range left {
			degree[p.user] += n
			degree[p.item] += n
		}
		for p := range left {
			if degree[p.user] < c.MinCore || degree[p.item] < c.MinCore {
				delete(left, p)
				changed = true
				break
			}
		}
	}
	var total int64
	for _, n := range left {
		total += n
	}
	if out.Report["interactions"] != float64(total) {
		t.Fatalf("%v interactions are left, by the book %d", out.Report["interactions"], total)
	}
}

// fromRaw makes a corpus of raw files.
func fromRaw(t testing.TB, c Corpus, reviews, metadata string) outcome {
	t.Helper()
	dir := t.TempDir()
	r := amazon.Reviews{Source: stages.SourceFiles(reviews), Interactions: stages.ToFile[tables.Interaction](filepath.Join(dir, "interactions"))}
	if err := r.Run(context.Background(), stagetest.Env(t)); err != nil {
		t.Fatal(err)
	}
	m := amazon.Metadata{Source: stages.SourceFiles(metadata), Thumbnails: "original", Items: stages.ToFile[tables.Item](filepath.Join(dir, "items"))}
	if err := m.Run(context.Background(), stagetest.Env(t)); err != nil {
		t.Fatal(err)
	}
	c.Interactions = stages.FromFile[interaction](filepath.Join(dir, "interactions"))
	c.Metadata = stages.FromFile[tables.Item](filepath.Join(dir, "items"))
	out, err := runOn(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRealMagazines(t *testing.T) {
	const dir = "amazon2018/Magazine_Subscriptions/"
	reviews := stagetest.RealData(t, dir+"Magazine_Subscriptions_5.json.gz")
	for _, metadata := range []string{"meta_Magazine_Subscriptions.ncloud.json.gz", "meta_Magazine_Subscriptions.kevincakey.json.gz"} {
		metadata = stagetest.RealData(t, dir+metadata)
		checkReport(t, fromRaw(t, Corpus{MinCore: 1}, reviews, metadata), map[string]float64{
			"interactions_before": 2375, "users_before": 348, "items_before": 157, "below_rating": 0, "out_of_range": 0,
			"duplicates": 73, "kcore_rounds": 0, "kcore_removed": 0, "interactions": 2302, "users": 348, "items": 157,
			"items_without_metadata": 6,
		})
		checkReport(t, fromRaw(t, Corpus{MinCore: 5}, reviews, metadata), map[string]float64{
			"interactions_before": 2375, "users_before": 348, "items_before": 157, "below_rating": 0, "out_of_range": 0,
			"duplicates": 73, "kcore_rounds": 7, "kcore_removed": 275, "interactions": 2027, "users": 294, "items": 132,
			"items_without_metadata": 4,
		})
	}
}

func TestRealDigitalMusic(t *testing.T) {
	reviews, metadata := stagetest.RealData(t, "amazon2014/reviews_Digital_Music_5.json.gz"), stagetest.RealData(t, "amazon2014/meta_Digital_Music.json.gz")
	all := fromRaw(t, Corpus{MinCore: 1}, reviews, metadata)
	checkReport(t, all, map[string]float64{
		"interactions_before": 6908, "users_before": 2490, "items_before": 382, "below_rating": 0, "out_of_range": 0,
		"duplicates": 0, "kcore_rounds": 0, "kcore_removed": 0, "interactions": 6908, "users": 2490, "items": 382,
		"items_without_metadata": 0,
	})
	for _, item := range all.Items {
		if item.Title == "" || item.ImageURL == "" || len(item.Categories) == 0 {
			t.Errorf("item %s lacks a title, picture or category: %+v", item.Item, item)
		}
	}
	checkReport(t, fromRaw(t, Corpus{MinCore: 5}, reviews, metadata), map[string]float64{
		"interactions_before": 6908, "users_before": 2490, "items_before": 382, "below_rating": 0, "out_of_range": 0,
		"duplicates": 0, "kcore_rounds": 7, "kcore_removed": 4428, "interactions": 2480, "users": 268, "items": 206,
		"items_without_metadata": 0,
	})
}

func checkReport(t *testing.T, out outcome, want map[string]float64) {
	t.Helper()
	if diff := cmp.Diff(want, out.Report); diff != "" {
		t.Errorf("report (-want +got)\n%s", diff)
	}
}

func BenchmarkCorpus(b *testing.B) {
	rows := make([]tables.Interaction, 1_000_000)
	for i := range rows {
		rows[i] = tables.Interaction{
			User: fmt.Sprintf("A%013d", i*7919%120_000), Item: fmt.Sprintf("B%09d", (i/120_000*7+i%30_000*31)%30_000),
			Rating: 5, Timestamp: int64(1 + i*31%1_000_000), Row: int64(i + 1),
		}
	}
	c := Corpus{MinCore: 5, Duplicates: "keep_first", Interactions: stagetest.Table[interaction](b, rows)}
	for b.Loop() {
		if _, err := runOn(b, c); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(rows))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
