package amazon

import (
	"context"
	"sync/atomic"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/records"
	"github.com/prismflow/prismflow/stages/tables"
)

const reviewsDoc = `
Reads review files of the Amazon data sets of 2014, 2018 and 2023: one JSON object a
line, gzip-compressed or not. Every review becomes a row, in the order of the files;
the row number is the line's number through all files. Taken are

  2014, 2018   reviewerID, asin, overall, unixReviewTime
  2023         user_id, parent_asin, rating, timestamp (milliseconds, rounded down)

In 2023 the item is parent_asin, which the variants of a product share and which the
metadata are about. The first record tells which of the two a source is, unless format
does; a record of the other kind is an error with its file and line, whatever
max_bad_rows says.

A line that is no complete object, lacks one of the fields or has a value that
cannot be (no number, a rating outside 0 to 5, a time that is not in the unit of its
format) is an error with file, line and column. max_bad_rows allows some to be
left out; they are counted and logged. A truncated gzip file is always an error,
since nobody knows how much is missing. Blank lines are passed over.

Memory is bounded by the distinct users and items, not by the file.
`

const reviewsExample = `
[stages.reviews]
kind   = "amazon.reviews"
source = "../data/reviews_Sports_and_Outdoors_5.json.gz"
`

// Reviews is the stage kind amazon.reviews.
type Reviews struct {
	Source       stages.Source                  `stage:"source" doc:"review files: one JSON object a line, gzip-compressed or not"`
	Format       string                         `stage:"format" default:"auto" enum:"auto,2014,2018,2023" doc:"the data set that the files are of; auto: as the first record tells. 2014 and 2018 are read alike"`
	MaxBadRows   int64                          `stage:"max_bad_rows" default:"0" min:"0" unit:"rows" doc:"how many malformed lines may be left out, of all files together"`
	Interactions stages.Out[tables.Interaction] `stage:"interactions" doc:"one row for each review, in the order of the source"`
}

// Run reads the source and writes the interactions.
func (s *Reviews) Run(ctx context.Context, env *stages.Env) error {
	out, err := s.Interactions.Create()
	if err != nil {
		return err
	}
	defer out.Abort()
	in := newReviewReader(s.Format)
	options := records.Options{What: "reviews", MaxBad: s.MaxBadRows, Python: read}
	tally, err := records.Each(ctx, env, s.Source.Files(), options, in.decode, func(at *records.Line, r review) error {
		row, err := in.take(at, r)
		if err != nil {
			return err
		}
		return records.Stop(out.Append(row))
	})
	if err != nil {
		return err
	}
	env.Count("rows", float64(tally.Rows))
	env.Count("bad_rows", float64(tally.Bad))
	env.Count("users", float64(in.users.count()))
	env.Count("items", float64(in.items.count()))
	return out.Close()
}

// reviewFields are where the formats have what is read of a review.
var reviewFields = map[format]struct{ user, item, rating, time string }{
	before2023: {"reviewerID", "asin", "overall", "unixReviewTime"},
	of2023:     {"user_id", "parent_asin", "rating", "timestamp"},
}

// A reviewReader makes interactions of records.
type reviewReader struct {
	likely  atomic.Int32 // the source's format once it is known
	formats detector
	users   distinct
	items   distinct
}

func newReviewReader(format string) *reviewReader {
	r := &reviewReader{formats: newDetector(format, reviewSignature), users: newDistinct(), items: newDistinct()}
	r.likely.Store(int32(r.formats.found))
	return r
}

// A review is what a record is if its source has that format.
type review struct {
	format format // unknown where the record does not tell
	row    tables.Interaction
	err    error
}

// decode reads a record for itself: as one of the format that the source is
// likely to have, where it can be one of that.
func (r *reviewReader) decode(rec records.Record) (review, error) {
	f := format(r.likely.Load())
	if f == unknown || !rec.Has(reviewSignature[f]) {
		return review{}, nil
	}
	row, err := interaction(rec, f)
	return review{f, row, err}, nil
}

// take is the row of a review. Where decode did not know the source's format,
// the record is read again.
func (r *reviewReader) take(at *records.Line, v review) (tables.Interaction, error) {
	if v.format == unknown || v.format != r.formats.found {
		rec, err := at.Record()
		if err != nil {
			return tables.Interaction{}, err
		}
		f, err := r.formats.of(rec, at.Place)
		if err != nil {
			return tables.Interaction{}, err
		}
		r.likely.Store(int32(r.formats.found))
		v.row, v.err = interaction(rec, f)
	}
	if v.err == nil {
		v.row.Row = at.Row
		r.users.add(v.row.User)
		r.items.add(v.row.Item)
	}
	return v.row, v.err
}

// interaction makes an interaction of a record, without its row's number.
func interaction(rec records.Record, format format) (row tables.Interaction, err error) {
	fields := reviewFields[format]
	if row.User, err = rec.Name(fields.user); err != nil {
		return row, err
	}
	if row.Item, err = rec.Name(fields.item); err != nil {
		return row, err
	}
	rating, err := stars(rec, fields.rating)
	if err != nil {
		return row, err
	}
	row.Rating = float32(rating)
	row.Timestamp, err = seconds(rec, format, fields.time)
	return row, err
}

func stars(rec records.Record, name string) (float64, error) {
	x, err := rec.Float(name)
	if err == nil && (x < 0 || x > 5) {
		return 0, records.FieldErrorf(name, "is %v, not a rating of at most 5 stars", x)
	}
	return x, err
}

// latestTime is in the year 5138. The same number in milliseconds would be a
// day of 1973, so that it tells the two units apart.
const latestTime = 100_000_000_000

// seconds is a time in the unit that the format has for it, as seconds.
func seconds(rec records.Record, format format, name string) (int64, error) {
	n, err := rec.Integer(name)
	switch {
	case err != nil:
		return 0, err
	case n <= 0:
		return 0, records.FieldErrorf(name, "is %d, not a time after 1970", n)
	case format == of2023 && (n < latestTime || n >= 1000*latestTime):
		return 0, records.FieldErrorf(name, "is %d, not in milliseconds", n)
	case format == of2023:
		return n / 1000, nil
	case n >= latestTime:
		return 0, records.FieldErrorf(name, "is %d, not in seconds", n)
	}
	return n, nil
}

// read are the fields that are read of Python dicts, of reviews and of metadata.
// The data set of 2023 has none.
func read(name string) bool {
	switch name {
	case "asin", "reviewerID", "overall", "unixReviewTime",
		"title", "description", "brand", "categories", "category", "price",
		"imUrl", "image", "imageURL", "imageURLHighRes":
		return true
	}
	return false
}
