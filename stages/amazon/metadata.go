package amazon

import (
	"context"
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/amazon/pyliteral"
	"github.com/prismflow/prismflow/stages/catalogue"
	"github.com/prismflow/prismflow/stages/tables"
)

const metadataDoc = `
Reads product metadata of the Amazon data sets of 2014 and 2018, gzip-compressed
or not. Each line is one product: a JSON object, or the Python dict that the
2014 files have. Lines of both may be mixed. Dicts are parsed, not evaluated.

Titles, descriptions, brands and categories become plain text: tags go,
character references are replaced also where the text was escaped twice, white
space is folded. A title that is a piece of the page's script instead is taken
as absent. Of several category paths the first is kept. The picture is the
largest that is known. A price is null where it is not one amount.

An item that occurs several times becomes one row, in which each field has the
first value, in the order of the source, that is not empty. Rows are sorted by
item.

A line that is no complete object, has no asin, or a field of an impossible type
is an error with its file and line. max_bad_rows allows some to be left out. A
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
	MaxBadRows int64                   `stage:"max_bad_rows" default:"0" min:"0" unit:"rows" doc:"how many malformed lines may be left out, of all files together"`
	Thumbnails string                  `stage:"thumbnails" default:"original" enum:"original,listed" doc:"where the 2018 files list only a thumbnail: take the address of the picture that it was made from, or the thumbnail's as listed"`
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
	defer in.lines.Close()
	for in.next() {
		if err := items.Add(&in.item); err != nil {
			return err
		}
	}
	if in.err != nil {
		return in.err
	}
	env.Count("rows", float64(in.rows))
	env.Count("bad_rows", float64(in.bad.count))
	env.Count("junk_titles", float64(in.junkTitles))
	env.Count("unread_prices", float64(in.unreadPrices))
	return items.Write(ctx, env, s.Items, catalogue.AsMerged)
}

// An itemReader turns lines into items.
type itemReader struct {
	rowReader
	parser       recordParser
	original     bool
	item         tables.Item
	junkTitles   int64
	unreadPrices int64
}

func newItemReader(ctx context.Context, s *Metadata, env *stages.Env) *itemReader {
	return &itemReader{
		rowReader: newRowReader(ctx, s.Source.Files(), env, s.MaxBadRows, "items"),
		original:  s.Thumbnails == "original",
	}
}

// next reads the next row into item.
func (r *itemReader) next() bool {
	return r.rowReader.next(r.parse)
}

func (r *itemReader) parse(line []byte) error {
	rec, err := r.parser.parse(line)
	if err != nil {
		return err
	}
	id, err := rec.id("asin")
	if err != nil {
		return err
	}
	item := tables.Item{Item: string(id)}
	if item.Title, err = rec.plainText("title"); err != nil {
		return err
	}
	if item.Description, err = rec.plainText("description"); err != nil {
		return err
	}
	if item.Brand, err = rec.plainText("brand"); err != nil {
		return err
	}
	if item.Categories, err = rec.categories(); err != nil {
		return err
	}
	if item.ImageURL, err = rec.picture(r.original); err != nil {
		return err
	}
	price, unread := readPrice(rec.value("price"))
	if item.Price = price; unread {
		r.unreadPrices++
	}
	if junkTitle(item.Title) {
		item.Title = ""
		r.junkTitles++
	}
	r.item = item
	return nil
}

// junkTitle tells a title that is a piece of the page's script, as many of the
// 2018 files have; those who published them say to look for this call.
func junkTitle(title string) bool { return strings.Contains(title, "getTime") }

// plainText is a field's text: a string, a list of them, or nothing.
func (r record) plainText(name string) (string, error) {
	list, err := texts(r.value(name), name)
	if err != nil {
		return "", err
	}
	for i, text := range list {
		list[i] = plainText(text)
	}
	return fold(strings.Join(list, " ")), nil
}

// categories is the first category path, broadest first: a list in 2018, the
// first of several in 2014.
func (r record) categories() ([]string, error) {
	for _, name := range []string{"categories", "category"} {
		v := r.value(name)
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
	return nil, fmt.Errorf("field %q is %s, not a text or a list of texts", name, typeName(v))
}

func textsOf(list []any, name string) ([]string, error) {
	var all []string
	for _, e := range list {
		if _, nested := e.([]any); nested {
			return nil, fmt.Errorf("field %q has a list within a list", name)
		}
		more, err := texts(e, name)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}
