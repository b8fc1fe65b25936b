package yelp

import (
	"context"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/catalogue"
	"github.com/prismflow/prismflow/stages/records"
	"github.com/prismflow/prismflow/stages/tables"
)

const businessesDoc = `
Reads ` + businessFile + `, one JSON object a line. The source may be
the file, gzip-compressed or not, or the archive that Yelp hands out (tar, tar.gz), of
which that file is read in place.

The title is the name. The categories are as Yelp lists them, which is in no order of
breadth. The description is where the business is and what its attributes say for it, in
an order of its own:

  Philadelphia, PA. inexpensive, free Wi-Fi, take-out, catering, bike parking, street parking

attributes = false leaves the place alone. What a business does not have is not said,
nor that it accepts credit cards, which nearly all do. Values such as
"{'garage': False, 'street': True}" and "u'free'" are read as the Python literals that they
are, and plain words and JSON values as themselves. Attributes that are not known, and
values that cannot be read, are left out and counted.

Brand, picture and price stay empty; the pictures are in a data set of their own, which
yelp.photos reads. Closed businesses are items like the others.

A business that occurs several times becomes one row, in which each field has the first
value, in the order of the source, that is not empty. Rows are sorted by item.

A line that is no complete object, has no business_id, or a field of an impossible type
is an error with file, line and column. max_bad_rows allows some to be left out; they are
counted and logged. A truncated or damaged archive is always an error. Blank lines are
passed over.

Memory is bounded by the ids, about 150 bytes for each distinct business; everything
else waits in a scratch file.
`

const businessesExample = `
[stages.businesses]
kind   = "yelp.businesses"
source = "../data/yelp_dataset.tar"
`

// Businesses is the stage kind yelp.businesses.
type Businesses struct {
	Source     stages.Source           `stage:"source" doc:"yelp_academic_dataset_business.json, or the tar archive that holds it, gzip-compressed or not"`
	Attributes bool                    `stage:"attributes" default:"true" doc:"whether descriptions say what the attributes do"`
	MaxBadRows int64                   `stage:"max_bad_rows" default:"0" min:"0" unit:"rows" doc:"how many malformed lines may be left out, of all files together"`
	Items      stages.Out[tables.Item] `stage:"items" doc:"one row for each business, sorted by item"`
}

// Run reads the source and writes the items.
func (s *Businesses) Run(ctx context.Context, env *stages.Env) error {
	items, err := catalogue.New(env.Scratch, "items.spill")
	if err != nil {
		return err
	}
	defer items.Close()
	in := &businessReader{attributes: s.Attributes}
	in.Reader = records.Open(ctx, env, s.Source.Files(), records.Options{What: "businesses", MaxBad: s.MaxBadRows, Member: businessFile})
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
	in.unread.report(env)
	return items.Write(ctx, env, s.Items, catalogue.AsMerged)
}

// A businessReader turns lines into items.
type businessReader struct {
	*records.Reader
	attributes bool
	unread     unread
	item       tables.Item
}

func (r *businessReader) parse(rec records.Record) error {
	id, err := rec.ID("business_id")
	if err != nil {
		return err
	}
	title, err := rec.Words("name")
	if err != nil {
		return err
	}
	categories, err := rec.Words("categories")
	if err != nil {
		return err
	}
	description, err := r.describe(rec)
	if err != nil {
		return err
	}
	r.item = tables.Item{Item: string(id), Title: title, Description: description, Categories: splitCategories(categories)}
	return nil
}

// describe says where a business is and what its attributes say for it.
func (r *businessReader) describe(rec records.Record) (string, error) {
	city, err := rec.Words("city")
	if err != nil {
		return "", err
	}
	state, err := rec.Words("state")
	if err != nil {
		return "", err
	}
	place := joined(", ", city, state)
	if !r.attributes {
		return place, nil
	}
	said, err := r.unread.phrases(rec)
	return joined(". ", place, strings.Join(said, ", ")), err
}

// joined are the texts that are not empty, with separator between them.
func joined(separator string, texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(text string) bool { return text == "" }), separator)
}

// withCommas hides the commas that belong to the names of categories.
var withCommas = strings.NewReplacer(
	"Beer, Wine & Spirits", "Beer\x00 Wine & Spirits",
	"Books, Mags, Music & Video", "Books\x00 Mags\x00 Music & Video",
	"Used, Vintage & Consignment", "Used\x00 Vintage & Consignment",
	"Wills, Trusts, & Probates", "Wills\x00 Trusts\x00 & Probates",
)

// splitCategories divides "Food, Beer, Wine & Spirits" where one category ends.
func splitCategories(text string) []string {
	var list []string
	for part := range strings.SplitSeq(withCommas.Replace(text), ",") {
		if part = strings.TrimSpace(strings.ReplaceAll(part, "\x00", ",")); part != "" {
			list = append(list, part)
		}
	}
	return list
}
