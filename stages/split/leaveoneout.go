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

// Run reads the sequences and writes the split.
func (s *LeaveOneOut) Run(ctx context.Context, env *stages.Env) error {
	return divideByOrder(ctx, env, s.Sequences, s.Split, s.MinLength, func(int) (valid, test int) { return 1, 1 })
}

// divideByOrder holds out the last items of every user with at least minLength:
// of so many items, held says how many are for validation and, behind them, for
// the test.
func divideByOrder(ctx context.Context, env *stages.Env, in stages.In[sequence], to stages.Out[tables.Split], minLength int64, held func(items int) (valid, test int)) error {
	out, err := to.Create()
	if err != nil {
		return err
	}
	defer out.Abort()
	var c counts
	var f future
	for row, err := range each(ctx, in) {
		if err != nil {
			return err
		}
		n := len(row.Items)
		if int64(n) < minLength {
			c.tooShort++
			continue
		}
		valid, test := held(n)
		train := n - valid - test
		parts := tables.Split{User: row.User, Train: row.Items[:train], Valid: row.Items[train : n-test], Test: row.Items[n-test:]}
		c.count(parts)
		f.add(row, train, test)
		if err := out.Append(parts); err != nil {
			return err
		}
	}
	if c.users == 0 {
		return fmt.Errorf("none of %d users has the %d items that min_length asks for: lower it, or let the corpus keep longer sequences", c.tooShort, minLength)
	}
	c.report(env)
	f.report(env)
	return out.Close()
}

// counts are what is reported.
type counts struct {
	users, tooShort             int64
	train, valid, test          int64
	repeatedValid, repeatedTest int64
}

func (c *counts) count(s tables.Split) {
	c.users++
	c.train += int64(len(s.Train))
	c.valid += int64(len(s.Valid))
	c.test += int64(len(s.Test))
	c.repeatedValid += repeated(s.Valid, s.Train)
	c.repeatedTest += repeated(s.Test, s.Train, s.Valid)
}

// repeated is how many of the answers stand in a part of their history.
func repeated(answers []int32, history ...[]int32) int64 {
	n := int64(0)
	for _, answer := range answers {
		if slices.ContainsFunc(history, func(part []int32) bool { return slices.Contains(part, answer) }) {
			n++
		}
	}
	return n
}

func (c *counts) report(env *stages.Env) {
	env.Count("users", float64(c.users))
	env.Count("too_short_users", float64(c.tooShort))
	c.reportParts(env)
}

func (c *counts) reportParts(env *stages.Env) {
	env.Count("train_interactions", float64(c.train))
	env.Count("valid_answers", float64(c.valid))
	env.Count("test_answers", float64(c.test))
	env.Count("repeated_valid_answers", float64(c.repeatedValid))
	env.Count("repeated_test_answers", float64(c.repeatedTest))
}
