package amazon

import (
	"github.com/prismflow/prismflow/stages/amazon/pyliteral"
	"github.com/prismflow/prismflow/stages/records"
	"github.com/prismflow/prismflow/stages/tables"
)

// of2023 is the item of a record as the data set of 2023 has it.
func (p product) of2023(original bool) (tables.Item, error) {
	id, err := p.ID("parent_asin")
	if err != nil {
		return tables.Item{}, err
	}
	item := tables.Item{Item: string(id)}
	if item.Title, err = p.plainText("title"); err != nil {
		return item, err
	}
	// Features are points of a line each, and descriptions may be pages, of
	// which an encoder reads only the beginning.
	if item.Description, err = p.plainText("features", "description"); err != nil {
		return item, err
	}
	if item.Brand, err = p.store(); err != nil {
		return item, err
	}
	if item.Categories, err = p.categories("categories", "main_category"); err != nil {
		return item, err
	}
	item.ImageURL, err = p.pictureOf2023(original)
	return item, err
}

// store is the name of a product's store, or of its brand where there is none.
func (p product) store() (string, error) {
	store, err := p.plainText("store")
	if details, ok := p.Value("details").(pyliteral.Dict); ok && err == nil && store == "" {
		brand, _ := details.Get("Brand").(string)
		store = plainText(brand)
	}
	return store, err
}

// pictureOf2023 is the address of the largest picture of the main variant, or
// else of the first variant that has one, empty when there is none.
func (p product) pictureOf2023(original bool) (string, error) {
	v := p.Value("images")
	list, ok := v.([]any)
	if v != nil && !ok {
		return "", records.FieldErrorf("images", "is %s, not a list", records.TypeName(v))
	}
	first := ""
	for _, e := range list {
		variant, ok := e.(pyliteral.Dict)
		if !ok {
			return "", records.FieldErrorf("images", "has %s in its list, not an object", records.TypeName(e))
		}
		url := largest(variant, original)
		if name, _ := variant.Get("variant").(string); name == "MAIN" && url != "" {
			return url, nil
		}
		if first == "" {
			first = url
		}
	}
	return first, nil
}

// largest is the address of the largest picture of a variant. Those that are
// null, or no address, are passed over.
func largest(variant pyliteral.Dict, original bool) string {
	for _, size := range []string{"hi_res", "large", "thumb"} {
		text, _ := variant.Get(size).(string)
		url := address(text)
		if original && size == "thumb" {
			url = sizeSuffix.ReplaceAllString(url, "$1")
		}
		if url != "" {
			return url
		}
	}
	return ""
}
