package pipelines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// writeShop writes a shop's orders, in two files, and its products: 12 customers
// who bought 6 of 8 products each.
func writeShop(t *testing.T, dir, format string) {
	t.Helper()
	var orders, products [][]any
	for p := range 8 {
		products = append(products, []any{fmt.Sprintf("p%d", p), fmt.Sprintf("Product %d", p), []string{"Things", fmt.Sprintf("Kind%d", p%2)}, float64(p) / 4})
	}
	for c := range 12 {
		for i := range 6 {
			orders = append(orders, []any{fmt.Sprintf("c%02d", c), fmt.Sprintf("p%d", (c+i)%8), float64(1 + i%5), int64(1_700_000_000 + 60*i)})
		}
	}
	orderHeader, orderTypes := []string{"customer", "sku", "stars", "at"}, []any{"", "", 0.5, int64(0)}
	for name, data := range map[string][]byte{
		"orders/part-0": stagetest.TableFile(t, format, orderHeader, orderTypes, orders[:40]),
		"orders/part-1": stagetest.TableFile(t, format, orderHeader, orderTypes, orders[40:]),
		"products":      stagetest.TableFile(t, format, []string{"id", "name", "kinds", "cost"}, []any{"", "", []string{}, 0.5}, products),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTabular runs the pipeline on a shop in each format. Behind the two tables
// nothing runs twice, since they are the same.
func TestTabular(t *testing.T) {
	torchtest.Open(t)
	cache := t.TempDir()
	for i, format := range stagetest.Formats {
		dir := t.TempDir()
		writeShop(t, dir, format)
		params := map[string]string{
			"interactions": filepath.Join(dir, "orders"), "items": filepath.Join(dir, "products"), "epochs": "1",
			"user": "customer", "item": "sku", "rating": "stars", "timestamp": "at",
			"product": "id", "title": "name", "categories": "kinds", "price": "cost",
		}
		if format == "::" {
			params["delimiter"], params["interactions_columns"], params["items_columns"] = "::", "customer,sku,stars,at", "id,name,kinds,cost"
		}
		e, report := reportShipped(t, "tabular.toml", params, cache)
		if i == 0 {
			items := result[tables.Item](t, e, "catalogue.items")
			if len(items) != 8 || items[3].Title != "Product 3" || !slices.Equal(items[3].Categories, []string{"Things", "Kind1"}) || *items[3].Price != 0.75 {
				t.Errorf("%d items, the fourth %+v", len(items), items[3])
			}
			if metrics := result[tables.Metric](t, e, "evaluate.metrics"); len(metrics) == 0 {
				t.Error("no metrics")
			}
			continue
		}
		for _, s := range report.Stages {
			want := "cached"
			if s.Name == "events" || s.Name == "catalogue" {
				want = "ran"
			}
			if s.State != want {
				t.Errorf("%s: %s is %s, want %s (%s)", format, s.Name, s.State, want, s.Reason)
			}
		}
	}
}
