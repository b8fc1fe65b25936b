package tabular

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/catalogue"
	"github.com/prismflow/prismflow/stages/tables"
)

const itemsDoc = `
Reads files as tabular.interactions does. item names the column of ids; title,
description, brand, categories, image_url and price name the columns that there are,
and what is not named stays empty. Texts lose white space at both ends. categories may
be a list, in JSON, Parquet and Arrow; a text is divided by categories_separator: by "|"
when that is left out, or by spaces where RecBole's header says token_seq. A price is a
plain number, and an empty one is null.

image_url_template is for pictures that have an address without a column for it:
{item} stands for the item's id, percent-encoded.

texts is a second table, of short texts about items such as tags or search words, one
a row. What says how source is written is true of it too (auto tells each file's format
by itself), but that texts_columns names its columns. An item's distinct texts, in the order in which they come, are joined by ", "
and stand in the description behind the item's own. Texts of items that source does
not have are left out and counted.

A value that empty_values lists counts as empty, also as one of several categories.

An item that occurs several times becomes one row, in which each field has the first
value, in the order of the source, that is not empty. Rows are sorted by item.

What is an error is as in tabular.interactions; max_bad_rows is for both tables
together. So are texts of an item that make more than 1 MiB.

Memory is bounded by the ids, about 150 bytes for each distinct item, and 16 bytes for
each row of texts; everything else waits in scratch files, which need about as much
disk as the texts.
`

const itemsExample = `
[stages.movies]
kind               = "tabular.items"
source             = "../data/movies.csv"
item               = "movieId"
title              = "title"
categories         = "genres"
empty_values       = ["(no genres listed)"]
image_url_template = "http://localhost:8000/posters/{item}.jpg"
texts              = "../data/tags.csv"
texts_item         = "movieId"
texts_text         = "tag"
`

// Items is the stage kind tabular.items.
type Items struct {
	Source stages.Source `stage:"source" directory:"parts" doc:"files, or a directory of the parts of one table; text may be gzip-compressed"`
	form

	Item                string  `stage:"item" default:"item" doc:"column of external item ids"`
	Title               string  `stage:"title" optional:"true" doc:"column of titles"`
	Description         string  `stage:"description" optional:"true" doc:"column of descriptions"`
	Brand               string  `stage:"brand" optional:"true" doc:"column of brands"`
	Categories          string  `stage:"categories" optional:"true" doc:"column of categories, broadest first where they are a path"`
	CategoriesSeparator *string `stage:"categories_separator" optional:"true" doc:"what stands between the categories of an item where they are text; | when left out, and a space in RecBole's token_seq; empty: each item has one"`
	ImageURL            string  `stage:"image_url" optional:"true" doc:"column of the pictures' addresses"`
	ImageURLTemplate    string  `stage:"image_url_template" optional:"true" doc:"address of every item's picture, with {item} for its id; instead of image_url"`
	Price               string  `stage:"price" optional:"true" doc:"column of prices"`

	Texts        stages.Source `stage:"texts" optional:"true" directory:"parts" doc:"files with one short text about an item a row, such as tags, for the descriptions"`
	TextsColumns []string      `stage:"texts_columns" optional:"true" doc:"names of all columns of texts, for delimited text without a header"`
	TextsItem    string        `stage:"texts_item" default:"item" doc:"column of texts with external item ids"`
	TextsText    string        `stage:"texts_text" default:"text" doc:"column of texts with the texts"`

	EmptyValues []string `stage:"empty_values" optional:"true" doc:"values that mean nothing, such as \"N/A\""`
	MaxBadRows  int64    `stage:"max_bad_rows" default:"0" min:"0" unit:"rows" doc:"how many malformed rows may be left out, of all files together"`

	Items stages.Out[tables.Item] `stage:"items" doc:"one row for each item, sorted by item"`
}

// Validate checks the form, that columns have names, and the template.
func (s *Items) Validate() []stages.Problem {
	problems := append(s.form.problems(), unnamed(append(s.columns()[:titleColumn], s.textColumns()...))...)
	switch {
	case s.ImageURLTemplate == "":
	case s.ImageURL != "":
		problems = append(problems, stages.Problem{Param: "image_url_template", Message: "is instead of image_url: set one of the two"})
	case !strings.Contains(s.ImageURLTemplate, itemPlace):
		problems = append(problems, stages.Problem{Param: "image_url_template", Message: "needs " + itemPlace + ", which stands for the item's id"})
	}
	return problems
}

// Run reads the sources and writes the items.
func (s *Items) Run(ctx context.Context, env *stages.Env) error {
	items, err := catalogue.New(env.Scratch, "items.spill")
	if err != nil {
		return err
	}
	defer items.Close()
	bad, err := s.readItems(ctx, env, items)
	if err != nil {
		return err
	}
	texts := &itemTexts{}
	if len(s.Texts.Files()) > 0 {
		if texts.rows, err = catalogue.New(env.Scratch, "texts.spill"); err != nil {
			return err
		}
		defer texts.rows.Close()
		if bad, err = s.readTexts(ctx, env, texts.rows, bad); err != nil {
			return err
		}
		reportUnknown(env, texts.rows, items)
	}
	env.Count("bad_rows", float64(bad))
	return items.Write(ctx, env, s.Items, func(item *tables.Item) error {
		if s.ImageURLTemplate != "" {
			item.ImageURL = strings.ReplaceAll(s.ImageURLTemplate, itemPlace, percentEncoded(item.Item))
		}
		return texts.addTo(item)
	})
}

// The columns of items, in the order of columns.
const (
	idColumn = iota
	titleColumn
	descriptionColumn
	brandColumn
	categoriesColumn
	imageColumn
	priceColumn
)

func (s *Items) columns() []column {
	return []column{
		idColumn:          {"item", s.Item, words},
		titleColumn:       {"title", s.Title, words},
		descriptionColumn: {"description", s.Description, words},
		brandColumn:       {"brand", s.Brand, words},
		categoriesColumn:  {"categories", s.Categories, list},
		imageColumn:       {"image_url", s.ImageURL, words},
		priceColumn:       {"price", s.Price, number},
	}
}

// readItems takes the source into a catalogue and returns how many bad rows it
// left out.
func (s *Items) readItems(ctx context.Context, env *stages.Env, to *catalogue.Catalogue) (bad int64, err error) {
	in := itemReader{
		reader:    openTables(ctx, env, s.Source.Files(), s.form, s.MaxBadRows, s.columns()...),
		separator: s.CategoriesSeparator, empty: s.EmptyValues,
	}
	defer in.close()
	for in.next(in.parse) {
		if err := to.Add(&in.item); err != nil {
			return 0, err
		}
	}
	if in.err == nil && in.rows == 0 {
		return 0, noRows("items", in.bad.count)
	}
	env.Count("rows", float64(in.rows))
	return in.bad.count, in.err
}

// An itemReader turns records into items.
type itemReader struct {
	*reader
	separator *string
	empty     []string
	item      tables.Item
}

func (r *itemReader) parse() error {
	id, err := r.id(idColumn)
	if err != nil {
		return err
	}
	price, err := r.price()
	if err != nil {
		return err
	}
	r.item = tables.Item{
		Item: id, Title: r.value(titleColumn), Description: r.value(descriptionColumn), Brand: r.value(brandColumn),
		Categories: r.categories(), ImageURL: r.value(imageColumn), Price: price,
	}
	return nil
}

// value is a field of text, empty when it means nothing.
func (r *itemReader) value(i int) string { return meaning(r.text(i), r.empty) }

// meaning is a text without white space around it, empty when it means nothing.
func meaning(text string, empty []string) string {
	text = strings.TrimSpace(text)
	if slices.Contains(empty, text) {
		return ""
	}
	return text
}

func (r *itemReader) categories() []string {
	var categories []string
	for _, part := range r.parts(r.fields[categoriesColumn]) {
		if part = meaning(part, r.empty); part != "" {
			categories = append(categories, part)
		}
	}
	return categories
}

// parts are the texts of a field that may be a list. Where all of a text means
// nothing it is not divided.
func (r *itemReader) parts(f field) []string {
	separator := "|"
	switch {
	case f.kind == listField:
		return f.list
	case r.separator != nil:
		separator = *r.separator
	case f.sequence:
		separator = " "
	}
	if separator == "" || meaning(f.text, r.empty) == "" {
		return []string{f.text}
	}
	return strings.Split(f.text, separator)
}

func (r *itemReader) price() (*float64, error) {
	text := r.value(priceColumn)
	if text == "" {
		return nil, nil
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || !(x >= 0) || math.IsInf(x, 0) {
		return nil, r.errorf(priceColumn, "%.40q is not a price, a number from 0", text)
	}
	return &x, nil
}

// itemPlace stands for an item's id in a template.
const itemPlace = "{item}"

// percentEncoded is an id as a part of a URL, wherever it stands there: all but
// what RFC 3986 calls unreserved is encoded, and so are the path elements "."
// and "..", which would be another place.
func percentEncoded(id string) string {
	const hex = "0123456789ABCDEF"
	dots := id == "." || id == ".."
	var b strings.Builder
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '~', c == '.' && !dots:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
