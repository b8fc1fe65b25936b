package amazon

import (
	"context"
	"fmt"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
	"github.com/prismflow/prismflow/stages/tables"
)

const reviewsDoc = `
Reads review files of the Amazon data sets of 2014 and 2018: one JSON object a
line, gzip-compressed or not, of which it takes reviewerID, asin, overall and
unixReviewTime. Every review becomes a row, in the order of the files; the row
number is the line's number through all files.

A line that is no complete object, lacks one of the fields or has a value that
cannot be (no number, a rating outside 0 to 5, a time that is not in seconds
since 1970) is an error with its file and line. max_bad_rows allows some to be
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
	in := newReviewReader(ctx, s.Source.Files(), env, s.MaxBadRows)
	defer in.lines.Close()
	for in.next() {
		if err := out.Append(in.row); err != nil {
			return err
		}
	}
	if in.err != nil {
		return in.err
	}
	env.Count("rows", float64(in.rows))
	env.Count("bad_rows", float64(in.bad.count))
	env.Count("users", float64(len(in.users)))
	env.Count("items", float64(len(in.items)))
	return out.Close()
}

// A reviewReader turns lines into interactions.
type reviewReader struct {
	rowReader
	parser recordParser
	users  names
	items  names
	row    tables.Interaction
}

func newReviewReader(ctx context.Context, files []stages.File, env *stages.Env, maxBad int64) *reviewReader {
	return &reviewReader{
		rowReader: newRowReader(ctx, files, env, maxBad, "reviews"),
		users:     names{}, items: names{},
	}
}

// next reads the next review into row.
func (r *reviewReader) next() bool {
	return r.rowReader.next(r.parse)
}

func (r *reviewReader) parse(line []byte) error {
	rec, err := r.parser.parse(line)
	if err != nil {
		return err
	}
	user, err := rec.id("reviewerID")
	if err != nil {
		return err
	}
	item, err := rec.id("asin")
	if err != nil {
		return err
	}
	rating, err := rec.rating()
	if err != nil {
		return err
	}
	timestamp, err := rec.time()
	if err != nil {
		return err
	}
	r.row = tables.Interaction{
		User: r.users.of(user), Item: r.items.of(item),
		Rating: float32(rating), Timestamp: timestamp, Row: r.lines.Row(),
	}
	return nil
}

func (r record) rating() (float64, error) {
	x, err := r.float("overall")
	if err == nil && (x < 0 || x > 5) {
		return 0, fmt.Errorf(`field "overall" is %v, not a rating of at most 5 stars`, x)
	}
	return x, err
}

// latestTime is in the year 5138. The same number in milliseconds would be a
// day of 1973, so that it tells the two units apart.
const latestTime = 100_000_000_000

func (r record) time() (int64, error) {
	n, err := r.integer("unixReviewTime")
	switch {
	case err != nil:
		return 0, err
	case n <= 0:
		return 0, fmt.Errorf(`field "unixReviewTime" is %d, not a time after 1970`, n)
	case n >= latestTime:
		return 0, fmt.Errorf(`field "unixReviewTime" is %d, not in seconds`, n)
	}
	return n, nil
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

func progress(env *stages.Env) lines.Options {
	return lines.Options{OnProgress: func(done, total int64) { env.Progress(done, total, "bytes") }}
}

func blank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' {
			return false
		}
	}
	return true
}
