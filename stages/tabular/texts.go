package tabular

import (
	"context"
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/catalogue"
	"github.com/prismflow/prismflow/stages/tables"
)

func (s *Items) textColumns() []column {
	return []column{{"texts_item", s.TextsItem, words}, {"texts_text", s.TextsText, words}}
}

// readTexts takes the table of texts into a catalogue, as descriptions. bad is
// how many bad rows were left out before, and what is returned how many are now.
func (s *Items) readTexts(ctx context.Context, env *stages.Env, to *catalogue.Catalogue, bad int64) (int64, error) {
	const item, text = 0, 1
	form := s.form
	form.Columns = s.TextsColumns
	in := openTables(ctx, env, s.Texts.Files(), form, s.MaxBadRows, s.textColumns()...)
	defer in.close()
	in.bad.count = bad
	var row tables.Item
	empty := 0
	for in.next(func() (err error) {
		row.Item, err = in.id(item)
		row.Description = meaning(in.text(text), s.EmptyValues)
		return err
	}) {
		if row.Description == "" {
			empty++
			continue
		}
		if err := to.Add(&row); err != nil {
			return 0, err
		}
	}
	env.Count("text_rows", float64(in.rows))
	env.Count("empty_texts", float64(empty))
	return in.bad.count, in.err
}

// reportUnknown counts the texts of items that are not in items.
func reportUnknown(env *stages.Env, texts, items *catalogue.Catalogue) {
	unknown, first := 0, ""
	for _, item := range texts.Items() {
		if items.Count(item) == 0 {
			unknown += texts.Count(item)
			if first == "" {
				first = item
			}
		}
	}
	if unknown > 0 {
		env.Log.Warn().Int("rows", unknown).Str("first", first).Msg("texts of items that source does not have are left out")
	}
	env.Count("texts_of_unknown_items", float64(unknown))
}

// itemTexts are texts about items. Without rows there are none.
type itemTexts struct{ rows *catalogue.Catalogue }

// addTo puts the distinct texts about an item behind its description.
func (t *itemTexts) addTo(item *tables.Item) error {
	if t.rows == nil {
		return nil
	}
	var distinct []string
	seen := map[string]bool{}
	size := 0
	for row, err := range t.rows.Rows(item.Item) {
		if err != nil {
			return err
		}
		if seen[row.Description] {
			continue
		}
		seen[row.Description] = true
		distinct = append(distinct, row.Description)
		if size += len(row.Description); size > maxFieldBytes {
			return fmt.Errorf("the texts of item %.40q have more than %d bytes", item.Item, maxFieldBytes)
		}
	}
	item.Description = strings.TrimSpace(item.Description + " " + strings.Join(distinct, ", "))
	return nil
}
