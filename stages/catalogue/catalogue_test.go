package catalogue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

func anyItem() *rapid.Generator[tables.Item] {
	return rapid.Custom(func(t *rapid.T) tables.Item {
		item := tables.Item{
			Item:        rapid.SampledFrom([]string{"a", "b", "ö", "\x00"}).Draw(t, "item"),
			Title:       rapid.StringN(0, 5, -1).Draw(t, "title"),
			Description: rapid.StringN(0, 300, -1).Draw(t, "description"),
			Brand:       rapid.StringN(0, 3, -1).Draw(t, "brand"),
			ImageURL:    rapid.StringN(0, 3, -1).Draw(t, "image url"),
			Categories:  rapid.SliceOfN(rapid.StringN(0, 3, -1), 0, 3).Draw(t, "categories"),
		}
		if rapid.Bool().Draw(t, "has a price") {
			price := rapid.Float64().Draw(t, "price")
			item.Price = &price
		}
		return item
	})
}

func TestRowsComeBack(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		c, err := New(dir, "rows")
		if err != nil {
			rt.Fatal(err)
		}
		defer c.Close()
		want := map[string][]tables.Item{}
		for _, row := range rapid.SliceOf(anyItem()).Draw(rt, "rows") {
			want[row.Item] = append(want[row.Item], row)
			if err := c.Add(&row); err != nil {
				rt.Fatal(err)
			}
		}
		got := map[string][]tables.Item{}
		for _, item := range c.Items() {
			if got[item], err = c.all(item); err != nil {
				rt.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			rt.Fatalf("(-want +got)\n%s", diff)
		}
		if c.Count("stranger") != 0 || !slices.IsSorted(c.Items()) {
			rt.Fatalf("items %q", c.Items())
		}
	})
}

func TestWriteCompletes(t *testing.T) {
	c, err := New(t.TempDir(), "rows")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, row := range []tables.Item{{Item: "b", Brand: "B"}, {Item: "a"}, {Item: "b", Title: "T", Brand: "C"}} {
		if err := c.Add(&row); err != nil {
			t.Fatal(err)
		}
	}
	var out stages.Out[tables.Item]
	result := stagetest.Result(t, &out)
	describe := func(item *tables.Item) error {
		item.Description = fmt.Sprintf("%s of %s", item.Title, item.Brand)
		return nil
	}
	if err := c.Write(context.Background(), stagetest.Env(t), out, describe); err != nil {
		t.Fatal(err)
	}
	want := []tables.Item{{Item: "a", Description: " of "}, {Item: "b", Title: "T", Brand: "B", Description: "T of B"}}
	if diff := cmp.Diff(want, result(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	refused := errors.New("refused")
	if err := c.Write(context.Background(), stagetest.Env(t), out, func(*tables.Item) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
}

func FuzzDecodeItem(f *testing.F) {
	price := 1.0
	f.Add(appendItem(nil, &tables.Item{Title: "t", Categories: []string{"a", "b"}, Price: &price}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = decodeItem(b) })
}
