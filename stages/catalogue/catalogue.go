// Package catalogue gathers what the rows of raw data say of items, and writes
// one row for each item, sorted by item.
//
//	items, err := catalogue.New(env.Scratch, "items.spill")
//	defer items.Close()
//	err = items.Add(&tables.Item{Item: "B01", Title: "Lip Balm"})
//	err = items.Add(&tables.Item{Item: "B01", Brand: "Acme"}) // the same item
//	err = items.Write(ctx, env, out, catalogue.AsMerged)
//
// Memory holds the ids, about 150 bytes for each distinct item. Everything else
// waits in a scratch file.
//
// The package reads no format of raw data, and checks no values.
package catalogue

import (
	"context"
	"iter"
	"reflect"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

// A Catalogue holds rows of items. It is for one goroutine, and must be closed.
type Catalogue struct{ spill *spill }

// New makes an empty catalogue that keeps its rows in a file of this name in dir.
func New(dir, name string) (*Catalogue, error) {
	s, err := newSpill(dir, name)
	if err != nil {
		return nil, err
	}
	return &Catalogue{s}, nil
}

// Close lets go of the scratch file, which is left to whoever owns dir.
func (c *Catalogue) Close() { c.spill.close() }

// Add takes in a row, behind the earlier ones of its item.
func (c *Catalogue) Add(row *tables.Item) error { return c.spill.add(row) }

// Items are the ids of the items that have rows, sorted.
func (c *Catalogue) Items() []string { return c.spill.sorted() }

// Count is how many rows an item has.
func (c *Catalogue) Count(item string) int { return len(c.spill.places[item]) }

// Rows are an item's rows in the order in which they were added.
func (c *Catalogue) Rows(item string) iter.Seq2[tables.Item, error] { return c.spill.rows(item) }

// AsMerged, as the last argument of Write, adds nothing to what the rows say.
func AsMerged(*tables.Item) error { return nil }

// Write writes a row for each item, sorted by item. Of several rows of an item
// each field has the first value that is not empty: the first row alone would
// lose what only another has. complete may add to what came of that. The report
// gets what there was of duplicates, and which fields are missing.
func (c *Catalogue) Write(ctx context.Context, env *stages.Env, to stages.Out[tables.Item], complete func(*tables.Item) error) error {
	out, err := to.Create()
	if err != nil {
		return err
	}
	defer out.Abort()
	var n counts
	for _, item := range c.Items() {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows, err := c.all(item)
		if err != nil {
			return err
		}
		merged := merge(rows)
		if err := complete(&merged); err != nil {
			return err
		}
		n.count(&merged, rows)
		if err := out.Append(merged); err != nil {
			return err
		}
	}
	n.report(env)
	return out.Close()
}

func (c *Catalogue) all(item string) ([]tables.Item, error) {
	rows := make([]tables.Item, 0, c.Count(item))
	for row, err := range c.Rows(item) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// merge takes each field from the first row that has it.
func merge(rows []tables.Item) tables.Item {
	m := rows[0]
	for _, r := range rows[1:] {
		for _, text := range []struct{ have, other *string }{
			{&m.Title, &r.Title}, {&m.Description, &r.Description}, {&m.Brand, &r.Brand}, {&m.ImageURL, &r.ImageURL},
		} {
			if *text.have == "" {
				*text.have = *text.other
			}
		}
		if len(m.Categories) == 0 {
			m.Categories = r.Categories
		}
		if m.Price == nil {
			m.Price = r.Price
		}
	}
	return m
}

// counts are what is reported of the items.
type counts struct {
	items, duplicates, conflicts                                    int64
	noTitle, noDescription, noBrand, noCategories, noImage, noPrice int64
}

func (c *counts) count(item *tables.Item, rows []tables.Item) {
	c.items++
	c.duplicates += int64(len(rows) - 1)
	for _, r := range rows[1:] {
		if !reflect.DeepEqual(r, rows[0]) {
			c.conflicts++
		}
	}
	for _, field := range []struct {
		absent bool
		count  *int64
	}{
		{item.Title == "", &c.noTitle}, {item.Description == "", &c.noDescription}, {item.Brand == "", &c.noBrand},
		{len(item.Categories) == 0, &c.noCategories}, {item.ImageURL == "", &c.noImage}, {item.Price == nil, &c.noPrice},
	} {
		if field.absent {
			*field.count++
		}
	}
}

func (c *counts) report(env *stages.Env) {
	env.Count("items", float64(c.items))
	env.Count("duplicate_rows", float64(c.duplicates))
	env.Count("differing_duplicate_rows", float64(c.conflicts))
	env.Count("items_without_title", float64(c.noTitle))
	env.Count("items_without_description", float64(c.noDescription))
	env.Count("items_without_brand", float64(c.noBrand))
	env.Count("items_without_categories", float64(c.noCategories))
	env.Count("items_without_image_url", float64(c.noImage))
	env.Count("items_without_price", float64(c.noPrice))
}
