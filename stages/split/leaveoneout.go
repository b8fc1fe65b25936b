package split

import (
	"context"
	"fmt"
	"slices"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

// LeaveOneOut is the stage kind split.leave_one_out.
type LeaveOneOut struct {
	Sequences stages.In[sequence]      `stage:"sequences" doc:"each user's items, oldest first"`
	MinLength int64                    `stage:"min_length" default:"3" min:"3" unit:"items" doc:"fewest items of a user to be kept"`
	Split     stages.Out[tables.Split] `stage:"split" doc:"one row for each user that is kept, in the order of the sequences"`
}

// A sequence is what the stage reads of tables.Sequence.
type sequence struct {
	User  int32   `arrow:"user" doc:"internal user id"`
	Items []int32 `arrow:"items" doc:"internal item ids, oldest first"`
}

// Run reads the sequences and writes the split.
func (s *LeaveOneOut) Run(ctx context.Context, env *stages.Env) error {
	out, err := s.Split.Create()
	if err != nil {
		return err
	}
	defer out.Abort()
	var c counts
	for row, err := range s.Sequences.Rows() {
		if err != nil {
			return fmt.Errorf("reading sequences: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if int64(len(row.Items)) < s.MinLength {
			c.tooShort++
			continue
		}
		parts := divide(row)
		c.count(parts)
		if err := out.Append(parts); err != nil {
			return err
		}
	}
	if c.users == 0 {
		return fmt.Errorf("none of %d users has the %d items that min_length asks for: lower it, or let the corpus keep longer sequences", c.tooShort, s.MinLength)
	}
	c.report(env)
	return out.Close()
}

// divide holds out the last two of at least three items.
func divide(s sequence) tables.Split {
	n := len(s.Items)
	return tables.Split{User: s.User, Train: s.Items[:n-2], Valid: s.Items[n-2 : n-1], Test: s.Items[n-1:]}
}

// counts are what is reported.
type counts struct {
	users, tooShort, train      int64
	repeatedValid, repeatedTest int64
}

func (c *counts) count(s tables.Split) {
	c.users++
	c.train += int64(len(s.Train))
	if slices.Contains(s.Train, s.Valid[0]) {
		c.repeatedValid++
	}
	if slices.Contains(s.Train, s.Test[0]) || s.Valid[0] == s.Test[0] {
		c.repeatedTest++
	}
}

func (c *counts) report(env *stages.Env) {
	env.Count("users", float64(c.users))
	env.Count("too_short_users", float64(c.tooShort))
	env.Count("train_interactions", float64(c.train))
	env.Count("repeated_valid_answers", float64(c.repeatedValid))
	env.Count("repeated_test_answers", float64(c.repeatedTest))
}
