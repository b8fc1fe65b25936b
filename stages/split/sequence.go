package split

import (
	"context"
	"fmt"
	"iter"

	"github.com/prismflow/prismflow/stages"
)

// A sequence is what the stages read of tables.Sequence.
type sequence struct {
	User       int32   `arrow:"user" doc:"internal user id"`
	Items      []int32 `arrow:"items" doc:"internal item ids, oldest first"`
	Timestamps []int64 `arrow:"timestamps" doc:"seconds since 1970-01-01 UTC, aligned with items"`
}

// each reads the sequences until one is refused or ctx is done.
func each(ctx context.Context, in stages.In[sequence]) iter.Seq2[sequence, error] {
	return func(yield func(sequence, error) bool) {
		for row, err := range in.Rows() {
			switch {
			case err != nil:
				err = fmt.Errorf("reading sequences: %w", err)
			case len(row.Items) != len(row.Timestamps):
				err = fmt.Errorf("reading sequences: user %d has %d items and %d timestamps", row.User, len(row.Items), len(row.Timestamps))
			default:
				err = ctx.Err()
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// timed reports whether a sequence has times, and not the positions 1, 2, …
// that stand for them where a source has none.
func (s sequence) timed() bool {
	for i, t := range s.Timestamps {
		if t != int64(i+1) {
			return true
		}
	}
	return false
}
