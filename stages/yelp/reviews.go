package yelp

import (
	"context"
	"strings"
	"time"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/records"
	"github.com/prismflow/prismflow/stages/tables"
)

// The names of the files in the archives that Yelp hands out.
const (
	reviewFile   = "yelp_academic_dataset_review.json"
	businessFile = "yelp_academic_dataset_business.json"
	photoFile    = "photos.json"
)

const reviewsDoc = `
Reads ` + reviewFile + `, one JSON object a line, of which it takes
user_id, business_id, stars and date. The source may be the file, gzip-compressed or
not, or the archive that Yelp hands out (tar, tar.gz), of which that file is read in
place.

Every review becomes a row. Rows are in the order of their dates, and where those are
equal in that of the source; the row number is the line's number through all files.

Dates are "2018-07-07 22:09:11", or a day alone, which counts as its beginning. Yelp does
not say of which zone they are, and here they are taken for UTC: the order of a user's
reviews does not depend on that unless the user travels.

A line that is no complete object, lacks one of the fields or has a value that cannot be
(stars other than 1 to 5, no date, one before 1970) is an error with file, line and
column. max_bad_rows allows some to be left out; they are counted and logged. A truncated
or damaged archive is always an error. Blank lines are passed over.

Memory is bounded by the distinct users and businesses, about 150 bytes each, and 64 MiB;
reviews are put in order in a scratch file of 28 bytes each.
`

const reviewsExample = `
[stages.reviews]
kind   = "yelp.reviews"
source = "../data/yelp_dataset.tar"
`

// Reviews is the stage kind yelp.reviews.
type Reviews struct {
	Source       stages.Source                  `stage:"source" doc:"yelp_academic_dataset_review.json, or the tar archive that holds it, gzip-compressed or not"`
	MaxBadRows   int64                          `stage:"max_bad_rows" default:"0" min:"0" unit:"rows" doc:"how many malformed lines may be left out, of all files together"`
	Interactions stages.Out[tables.Interaction] `stage:"interactions" doc:"one row for each review, by date and then in the order of the source"`
}

// Run reads the source and writes the interactions.
func (s *Reviews) Run(ctx context.Context, env *stages.Env) error {
	order := newChronology(env.Scratch, runLength)
	defer order.close()
	in := &reviewReader{users: newNumbers(), businesses: newNumbers()}
	options := records.Options{What: "reviews", MaxBad: s.MaxBadRows, Member: reviewFile}
	tally, err := records.Each(ctx, env, s.Source.Files(), options, decodeReview, func(at *records.Line, r review) error {
		return records.Stop(order.add(in.event(at.Row, r)))
	})
	if err != nil {
		return err
	}
	env.Count("rows", float64(tally.Rows))
	env.Count("bad_rows", float64(tally.Bad))
	env.Count("users", float64(len(in.users.names)))
	env.Count("items", float64(len(in.businesses.names)))
	return s.write(ctx, env, in, order, tally.Rows)
}

func (s *Reviews) write(ctx context.Context, env *stages.Env, in *reviewReader, order *chronology, rows int64) error {
	out, err := s.Interactions.Create()
	if err != nil {
		return err
	}
	defer out.Abort()
	written := int64(0)
	for e, err := range order.events() {
		if err != nil {
			return err
		}
		if written%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			env.Progress(written, rows, "reviews")
		}
		written++
		row := tables.Interaction{
			User: in.users.names[e.user], Item: in.businesses.names[e.item],
			Rating: e.stars, Timestamp: e.time, Row: e.row,
		}
		if err := out.Append(row); err != nil {
			return err
		}
	}
	return out.Close()
}

// A review is what is taken of a record.
type review struct {
	user, business string
	stars          float32
	at             int64 // seconds since 1970
}

func decodeReview(rec records.Record) (r review, err error) {
	if r.user, err = rec.Name("user_id"); err != nil {
		return r, err
	}
	if r.business, err = rec.Name("business_id"); err != nil {
		return r, err
	}
	stars, err := rec.Float("stars")
	if err == nil && (stars < 1 || stars > 5) {
		err = records.FieldErrorf("stars", "is %v, not 1 to 5 stars", stars)
	}
	if err != nil {
		return r, err
	}
	r.stars = float32(stars)
	r.at, err = date(rec, "date")
	return r, err
}

// A reviewReader turns reviews into events.
type reviewReader struct {
	users      numbers
	businesses numbers
}

func (r *reviewReader) event(row int64, v review) event {
	return event{time: v.at, row: row, user: r.users.of(v.user), item: r.businesses.of(v.business), stars: v.stars}
}

// date reads a time, or a day, as seconds since 1970.
func date(rec records.Record, name string) (int64, error) {
	text, err := rec.ID(name)
	if err != nil {
		return 0, err
	}
	layout := time.DateTime
	if len(text) == len(time.DateOnly) {
		layout = time.DateOnly
	}
	at, err := time.Parse(layout, string(text))
	if err != nil || len(text) != len(layout) { // time.Parse takes more than it is asked for, such as fractions
		return 0, records.FieldErrorf(name, "is %.40q, not of the form %q", text, time.DateTime)
	}
	if at.Unix() <= 0 {
		return 0, records.FieldErrorf(name, "is %q, not after 1970", text)
	}
	return at.Unix(), nil
}

// numbers gives each distinct name a number, from 0 in the order in which they
// come.
type numbers struct {
	known map[string]uint32
	names []string
}

func newNumbers() numbers { return numbers{known: map[string]uint32{}} }

func (n *numbers) of(name string) uint32 {
	if i, ok := n.known[name]; ok {
		return i
	}
	i := uint32(len(n.names))
	n.names = append(n.names, strings.Clone(name)) // without what else is in its memory
	n.known[n.names[i]] = i
	return i
}
