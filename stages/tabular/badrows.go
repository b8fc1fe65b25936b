package tabular

import (
	"fmt"

	"github.com/rs/zerolog"
)

// A rowError is about one row, which may be left out.
type rowError struct {
	place string // file:line, or file:line:column
	cause error
}

func (e *rowError) Error() string { return e.place + ": " + e.cause.Error() }
func (e *rowError) Unwrap() error { return e.cause }

// badRows counts rows that are left out, and says when they are too many.
type badRows struct {
	allowed int64
	count   int64
	log     zerolog.Logger
}

// logged is how many bad rows are described in the log.
const logged = 20

// reject leaves out a row because of err. It returns an error when no more rows
// may be left out.
func (b *badRows) reject(err *rowError) error {
	b.count++
	switch {
	case b.count <= b.allowed:
		if b.count <= logged {
			b.log.Warn().Str("place", err.place).Err(err.cause).Msg("row left out")
		}
		return nil
	case b.allowed == 0:
		return fmt.Errorf("%w; correct the file, or allow some such rows with max_bad_rows", err)
	default:
		return fmt.Errorf("%w; this is bad row %d and max_bad_rows allows %d", err, b.count, b.allowed)
	}
}

// noRows is the error about a source without a good row.
func noRows(what string, bad int64) error {
	if bad > 0 {
		return fmt.Errorf("the source holds no %s but %d bad rows", what, bad)
	}
	return fmt.Errorf("the source holds no %s: is it the right file?", what)
}
