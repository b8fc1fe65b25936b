package tables_test

import (
	"testing"

	"github.com/prismflow/prismflow/stages/tables"
)

func TestItemText(t *testing.T) {
	for _, c := range []struct {
		title, description, brand string
		categories                []string
		want                      string
	}{
		{"Lip Balm", "Soft.", "Acme", []string{"Beauty", "Lips"}, "Lip Balm Soft. Acme Beauty > Lips"},
		{"Lip Balm", "", "", []string{"Beauty"}, "Lip Balm Beauty"},
		{"", "", "Acme", nil, "Acme"},
		{"", "", "", nil, ""},
	} {
		if got := tables.ItemText(c.title, c.description, c.brand, c.categories); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
