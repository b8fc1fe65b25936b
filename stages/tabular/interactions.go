package tabular

import (
	"context"
	"math"
	"strconv"
	"strings"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

const interactionsDoc = `
Reads tables of any of these formats, which auto tells apart by what is in each file:
  csv       RFC 4180; fields may be in quotes, with delimiters and line breaks inside
  tsv       the same with tabs; quotes = false where they are characters like others
  jsonl     one JSON object a line; a field that is null or missing is an empty value
  parquet   and
  arrow     as other programs write them: text, whole and decimal numbers, floating-
            point numbers where numbers are wanted, dates and timestamps of any unit,
            dictionaries; a null is an empty value
  recbole   RecBole's atomic files (.inter, .item): tabs, a header such as
            user_id:token; columns are named with or without what follows the colon
Text is UTF-8 (encoding = "latin1" says otherwise), gzip-compressed or not. Files
without a header have their columns named by columns, all of them; a delimiter may be
several characters, as in MovieLens's ratings.dat: "::". A directory stands for the
files below it, sorted by path, but those whose names begin with _ or a point; a glob
for its files, sorted.

user, item, timestamp and rating name the columns; others are not looked at, and files
may have their columns in any order. Every record becomes a row, in the order of the
files; its row number is the record's, from 1 through all files, headers and blank
lines not counted. The same records are the same rows in every format. A source
without a rating column has ratings of 1.

time_format says how times are written as text or numbers:
  "seconds"        since 1970, decimals are dropped
  "milliseconds", "microseconds", "nanoseconds"
                   since 1970, rounded down to seconds
  "rfc3339"        2014-07-23T12:30:00Z, 2014-07-23T14:30:00.5+02:00
  a pattern        of YYYY, MM, DD and, where there are any, hh, mm, ss, in UTC, such as
                   "YYYY-MM-DD hh:mm:ss" or "DD.MM.YYYY"
A column of timestamps or dates, of Parquet or Arrow, says so itself; without a zone it
counts as UTC. Of times in the same second the row number decides which is first, so
that a log that is sorted by finer times keeps its order.

An empty id, a number or a time that is none, a time before 1970, one that is in
another unit, bytes that are not UTF-8, a field of more than 1 MiB, a line that is no
JSON object, and more or fewer fields than the header has are errors with file, line and
column (in bytes), or file and row. max_bad_rows allows some to be left out; they are
counted and logged. A missing column or one of another type, a record of more than
16 MiB, a misplaced quotation mark, a truncated gzip file and a broken Parquet or Arrow
file are always errors, since nobody knows how many rows they concern.

Ratings of at least 4, say, are what corpus keeps with min_rating = 4.

Memory is bounded by the distinct users and items, not by the files, but for a page or
record batch of each column.
`

const interactionsExample = `
[stages.ratings]
kind   = "tabular.interactions"
source = "../data/ratings.csv"
user   = "userId"
item   = "movieId"
rating = "rating"
`

// Interactions is the stage kind tabular.interactions.
type Interactions struct {
	Source stages.Source `stage:"source" directory:"parts" doc:"files, or a directory of the parts of one table; text may be gzip-compressed"`
	form

	User       string `stage:"user" default:"user" doc:"column of external user ids"`
	Item       string `stage:"item" default:"item" doc:"column of external item ids"`
	Timestamp  string `stage:"timestamp" default:"timestamp" doc:"column of times"`
	Rating     string `stage:"rating" optional:"true" doc:"column of ratings; all are 1 when absent"`
	TimeFormat string `stage:"time_format" default:"seconds" doc:"how times are written: seconds, milliseconds, microseconds or nanoseconds (since 1970), rfc3339, or a pattern such as YYYY-MM-DD hh:mm:ss"`
	MaxBadRows int64  `stage:"max_bad_rows" default:"0" min:"0" unit:"rows" doc:"how many malformed rows may be left out, of all files together"`

	Interactions stages.Out[tables.Interaction] `stage:"interactions" doc:"one row for each record, in the order of the source"`
}

// Validate checks the form, the time format and that columns have names.
func (s *Interactions) Validate() []stages.Problem {
	problems := append(s.form.problems(), unnamed(s.columns()[:ratingColumn])...)
	if _, err := newClock(s.TimeFormat); err != nil {
		problems = append(problems, stages.Problem{Param: "time_format", Message: err.Error()})
	}
	return problems
}

// unnamed are problems of the columns that need a name and have none.
func unnamed(columns []column) []stages.Problem {
	var problems []stages.Problem
	for _, c := range columns {
		if c.name == "" {
			problems = append(problems, stages.Problem{Param: c.param, Message: "must name a column of the source"})
		}
	}
	return problems
}

// The columns of interactions, in the order of columns.
const (
	userColumn = iota
	itemColumn
	timestampColumn
	ratingColumn
)

func (s *Interactions) columns() []column {
	return []column{
		userColumn:      {"user", s.User, words},
		itemColumn:      {"item", s.Item, words},
		timestampColumn: {"timestamp", s.Timestamp, moment},
		ratingColumn:    {"rating", s.Rating, number},
	}
}

// Run reads the source and writes the interactions.
func (s *Interactions) Run(ctx context.Context, env *stages.Env) error {
	out, err := s.Interactions.Create()
	if err != nil {
		return err
	}
	defer out.Abort()
	in, err := newInteractionReader(ctx, env, s)
	if err != nil {
		return err
	}
	defer in.close()
	for in.next(in.parse) {
		if err := out.Append(in.interaction); err != nil {
			return err
		}
	}
	switch {
	case in.err != nil:
		return in.err
	case in.rows == 0:
		return noRows("interactions", in.bad.count)
	}
	env.Count("rows", float64(in.rows))
	env.Count("bad_rows", float64(in.bad.count))
	env.Count("users", float64(len(in.users)))
	env.Count("items", float64(len(in.items)))
	return out.Close()
}

// An interactionReader turns records into interactions.
type interactionReader struct {
	*reader
	clock       clock
	users       names
	items       names
	interaction tables.Interaction
}

func newInteractionReader(ctx context.Context, env *stages.Env, s *Interactions) (*interactionReader, error) {
	clock, err := newClock(s.TimeFormat)
	if err != nil {
		return nil, err
	}
	rows := openTables(ctx, env, s.Source.Files(), s.form, s.MaxBadRows, s.columns()...)
	return &interactionReader{reader: rows, clock: clock, users: names{}, items: names{}}, nil
}

func (r *interactionReader) parse() error {
	user, err := r.id(userColumn)
	if err != nil {
		return err
	}
	item, err := r.id(itemColumn)
	if err != nil {
		return err
	}
	timestamp, err := r.time(timestampColumn, r.clock)
	if err != nil {
		return err
	}
	rating, err := r.rating()
	if err != nil {
		return err
	}
	r.interaction = tables.Interaction{User: r.users.of(user), Item: r.items.of(item), Rating: rating, Timestamp: timestamp, Row: r.row}
	return nil
}

func (r *interactionReader) rating() (float32, error) {
	if !r.named(ratingColumn) {
		return 1, nil
	}
	text := r.text(ratingColumn)
	x, err := strconv.ParseFloat(text, 32)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, r.errorf(ratingColumn, "%.40q is not a rating, a number", text)
	}
	return float32(x), nil
}

// names keeps one string for each distinct name, so that those of a record,
// which share its memory, do not keep it.
type names map[string]string

func (n names) of(name string) string {
	if s, ok := n[name]; ok {
		return s
	}
	s := strings.Clone(name)
	n[s] = s
	return s
}
