package amazon

import (
	"context"
	"strings"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/amazon/pyliteral"
	"github.com/prismflow/prismflow/stages/catalogue"
	"github.com/prismflow/prismflow/stages/records"
	"github.com/prismflow/prismflow/stages/tables"
)

const metadataDoc = `
Reads product metadata of the Amazon data sets of 2014, 2018 and 2023,
gzip-compressed or not. Each line is one product: a JSON object, or the Python
dict that the 2014 files have. Lines of 2014 and 2018 may be mixed. Dicts are
parsed, not evaluated. The first record tells whether a source is of 2023, unless
format does; a record of the other kind is an error with its file and line,
whatever max_bad_rows says.

Titles, descriptions, brands and categories become plain text: tags go,
character references are replaced also where the text was escaped twice, white
space is folded. A title that is a piece of the page's script instead is taken
as absent. Of several category paths the first is kept. The picture is the
largest that is known. A price is null where it is not one amount.

Of 2023 the item is parent_asin, the description is features and then description,
the brand is store, or what details call Brand where there is no store, and the
category is main_category where the list of categories is empty. The picture is the
one whose variant is MAIN, or else the first: hi_res, large, or thumb, the first of
them that there is.

An item that occurs several times becomes one row, in which each field has the
first value, in the order of the source, that is not empty. Rows are sorted by
item.

A line that is no complete object, has no asin, or a field of an impossible type
is an error with file, line and column. max_bad_rows allows some to be left out. A
truncated gzip file is always an error. Blank lines are passed over.

Memory is bounded by the ids, about 150 bytes for each distinct item; everything
else waits in a scratch file, which needs about as much disk as the texts.
`

const metadataExample = `
[stages.metadata]
kind   = "amazon.metadata"
source = "../data/meta_Sports_and_Outdoors.json.gz"
`

// Metadata is the stage kind amazon.metadata.
type Metadata struct {
	Source     stages.Source           `stage:"source" doc:"metadata files: one JSON object or Python dict a line, gzip-compressed or not"`
	Format     string                  `stage:"format" default:"auto" enum:"auto,2014,2018,2023" doc:"the data set that the files are of; auto: as the first record tells. 2014 and 2018 are read alike"`
	MaxBadRows int64                   `stage:"max_bad_rows" default:"0" min:"0" unit:"rows" doc:"how many malformed lines may be left out, of all files together"`
	Thumbnails string                  `stage:"thumbnails" default:"original" enum:"original,listed" doc:"where only a thumbnail is listed: take the address of the picture that it was made from, or the thumbnail's as listed"`
	Items      stages.Out[tables.Item] `stage:"items" doc:"one row for each item, sorted by item"`
}

// Run reads the source and writes the items.
func (s *Metadata) Run(ctx context.Context, env *stages.Env) error {
	items, err := catalogue.New(env.Scratch, "items.spill")
	if err != nil {
		return err
	}
	defer items.Close()
	in := newItemReader(ctx, s, env)
	defer in.Close()
	for in.Next(in.parse) {
		if err := items.Add(&in.item); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	env.Count("rows", float64(in.Rows()))
	env.Count("bad_rows", float64(in.Bad()))
	env.Count("junk_titles", float64(in.junkTitles))
	env.Count("unread_prices", float64(in.unreadPrices))
	return items.Write(ctx, env, s.Items, catalogue.AsMerged)
}

// An itemReader turns lines into items.
type itemReader struct {
	*records.Reader
	formats      detector
	original     bool
	item         tables.Item
	junkTitles   int64
	unreadPrices int64
}

func newItemReader(ctx context.Context, s *Metadata, env *stages.Env) *itemReader {
	r := &itemReader{formats: newDetector(s.Format, itemSignature), original: s.Thumbnails == "original"}
	r.Reader = records.Open(ctx, env, s.Source.Files(), records.Options{What: "items", MaxBad: s.MaxBadRows, Python: read})
	return r
}

func (r *itemReader) parse(rec records.Record) error {
	format, err := r.formats.of(rec, r.Place)
	if err != nil {
		return err
	}
	return r.take(product{rec}, format)
}

// take makes the item of a record.
func (r *itemReader) take(p product, format format) (err error) {
	if format == of2023 {
		r.item, err = p.of2023(r.original)
	} else {
		r.item, err = p.before2023(r.original)
	}
	if err != nil {
		return err
	}
	price, unread := readPrice(p.Value("price"))
	if r.item.Price = price; unread {
		r.unreadPrices++
	}
	if junkTitle(r.item.Title) {
		r.item.Title = ""
		r.junkTitles++
	}
	return nil
}

// A product is a record of the metadata.
type product struct{ records.Record }

// before2023 is the item of a record as the data sets of 2014 and 2018 have it.
func (p product) before2023(original bool) (tables.Item, error) {
	id, err := p.ID("asin")
	if err != nil {
		return tables.Item{}, err
	}
	item := tables.Item{Item: string(id)}
	if item.Title, err = p.plainText("title"); err != nil {
		return item, err
	}
	if item.Description, err = p.plainText("description"); err != nil {
		return item, err
	}
	if item.Brand, err = p.plainText("brand"); err != nil {
		return item, err
	}
	if item.Categories, err = p.categories("categories", "category"); err != nil {
		return item, err
	}
	item.ImageURL, err = p.picture(original)
	return item, err
}

// junkTitle tells a title that is a piece of the page's script, as many of the
// 2018 files have; those who published them say to look for this call.
func junkTitle(title string) bool { return strings.Contains(title, "getTime") }

// plainText is the text of fields: of each a string, a list of them, or nothing.
func (p product) plainText(names ...string) (string, error) {
	var parts []string
	for _, name := range names {
		list, err := texts(p.Value(name), name)
		if err != nil {
			return "", err
		}
		for _, text := range list {
			parts = append(parts, plainText(text))
		}
	}
	return fold(strings.Join(parts, " ")), nil
}

// categories is the first category path that one of the fields has, broadest
// first: a list since 2018, the first of several in 2014.
func (p product) categories(names ...string) ([]string, error) {
	for _, name := range names {
		v := p.Value(name)
		if list, ok := v.([]any); ok && len(list) > 0 {
			if first, ok := list[0].([]any); ok {
				v = first
			}
		}
		path, err := texts(v, name)
		if err != nil {
			return nil, err
		}
		if path = nonEmpty(path); len(path) > 0 {
			return path, nil
		}
	}
	return nil, nil
}

func nonEmpty(path []string) []string {
	var kept []string
	for _, text := range path {
		if text = plainText(text); text != "" {
			kept = append(kept, text)
		}
	}
	return kept
}

// texts are the strings of a field: of a string or number itself, of a list
// those in it, of nothing none.
func texts(v any, name string) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case pyliteral.Number:
		return []string{string(v)}, nil
	case []any:
		return textsOf(v, name)
	}
	return nil, records.FieldErrorf(name, "is %s, not a text or a list of texts", records.TypeName(v))
}

func textsOf(list []any, name string) ([]string, error) {
	var all []string
	for _, e := range list {
		if _, nested := e.([]any); nested {
			return nil, records.FieldErrorf(name, "has a list within a list")
		}
		more, err := texts(e, name)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}
