package amazon

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/lines"
)

// badRows counts rows that are left out, and says when they are too many.
type badRows struct {
	allowed int64
	count   int64
	log     zerolog.Logger
}

// logged is how many bad rows are described in the log.
const logged = 20

// reject leaves out the current line of r because of err. It returns an error
// when no more lines may be left out.
func (b *badRows) reject(r *lines.Reader, err error) error {
	b.count++
	switch {
	case b.count <= b.allowed:
		if b.count <= logged {
			b.log.Warn().Str("file", r.File()).Int64("line", r.Line()).Err(err).Msg("row left out")
		}
		return nil
	case b.allowed == 0:
		return r.Errorf("%w%s; correct the file, or allow some such rows with max_bad_rows", err, hint(r.Text()))
	default:
		return r.Errorf("%w%s; this is bad row %d and max_bad_rows allows %d", err, hint(r.Text()), b.count, b.allowed)
	}
}

// hint says what the file might be instead.
func hint(line []byte) string {
	if len(line) > 0 && line[0] == '<' {
		return " (this looks like a web page: was the download refused?)"
	}
	return ""
}

// A rowReader reads the rows of a source line by line and leaves out those bad
// ones that it may.
type rowReader struct {
	lines *lines.Reader
	bad   badRows
	what  string // the rows are, for messages
	rows  int64  // read well
	err   error  // that ended the reading
}

func newRowReader(ctx context.Context, files []stages.File, env *stages.Env, maxBad int64, what string) rowReader {
	return rowReader{lines: lines.Open(ctx, files, progress(env)), bad: badRows{allowed: maxBad, log: env.Log}, what: what}
}

// next gives the next line that is not blank to parse, until that succeeds. It
// reports false at the end, and when err says why there is no further.
func (r *rowReader) next(parse func(line []byte) error) bool {
	for r.lines.Next() {
		if blank(r.lines.Text()) {
			continue
		}
		err := parse(r.lines.Text())
		if err == nil {
			r.rows++
			return true
		}
		if r.err = r.bad.reject(r.lines, err); r.err != nil {
			return false
		}
	}
	if r.err = r.lines.Err(); r.err == nil && r.rows == 0 {
		r.err = noRows(r.what, r.bad.count)
	}
	return false
}

// noRows is the error about a source of nothing but bad or blank lines.
func noRows(what string, bad int64) error {
	if bad > 0 {
		return fmt.Errorf("the source holds no %s but %d bad rows", what, bad)
	}
	return fmt.Errorf("the source holds no %s: is it the right file?", what)
}
