package amazon

import (
	"context"

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
	in := newReviewReader(ctx, s, env)
	defer in.Close()
	for in.Next(in.parse) {
		if err := out.Append(in.row); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	env.Count("rows", float64(in.Rows()))
	env.Count("bad_rows", float64(in.Bad()))
	env.Count("users", float64(len(in.users)))
	env.Count("items", float64(len(in.items)))
	return out.Close()
}

// reviewFields are where the formats have what is read of a review.
var reviewFields = map[format]struct{ user, item, rating, time string }{
	before2023: {"reviewerID", "asin", "overall", "unixReviewTime"},
	of2023:     {"user_id", "parent_asin", "rating", "timestamp"},
}

// A reviewReader turns lines into interactions.
type reviewReader struct {
	*records.Reader
	formats detector
	users   names
	items   names
	row     tables.Interaction
}

func newReviewReader(ctx context.Context, s *Reviews, env *stages.Env) *reviewReader {
	r := &reviewReader{formats: newDetector(s.Format, reviewSignature), users: names{}, items: names{}}
	r.Reader = records.Open(ctx, env, s.Source.Files(), records.Options{What: "reviews", MaxBad: s.MaxBadRows, Python: read})
	return r
}

func (r *reviewReader) parse(rec records.Record) error {
	format, err := r.formats.of(rec, r.Place)
	if err != nil {
		return err
	}
	err = r.take(rec, format)
	r.row.Row = r.Row()
	return err
}

// take makes the interaction of a record.
func (r *reviewReader) take(rec records.Record, format format) error {
	fields := reviewFields[format]
	user, err := rec.ID(fields.user)
	if err != nil {
		return err
	}
	item, err := rec.ID(fields.item)
	if err != nil {
		return err
	}
	rating, err := stars(rec, fields.rating)
	if err != nil {
		return err
	}
	timestamp, err := seconds(rec, format, fields.time)
	if err != nil {
		return err
	}
	r.row = tables.Interaction{
		User: r.users.of(user), Item: r.items.of(item),
		Rating: float32(rating), Timestamp: timestamp,
	}
	return nil
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

// names keeps one string for each distinct name.
type names map[string]string

func (n names) of(name []byte) string {
	if s, ok := n[string(name)]; ok {
		return s
	}
	s := string(name)
	n[s] = s
	return s
}
