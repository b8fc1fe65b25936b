package split

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

// Temporal is the stage kind split.temporal.
type Temporal struct {
	Sequences stages.In[sequence]      `stage:"sequences" doc:"each user's items, oldest first, with times"`
	ValidFrom string                   `stage:"valid_from" default:"80%" doc:"where validation begins: a share of all interactions by time (\"80%\"), a day (\"2014-01-01\", midnight UTC) or a time (\"2014-01-01T12:00:00Z\")"`
	TestFrom  string                   `stage:"test_from" default:"90%" doc:"where the test begins, in the same forms; not before valid_from"`
	NewUsers  string                   `stage:"new_users" default:"leave_out" enum:"leave_out,keep" doc:"users with nothing before valid_from: left out, or kept with an empty training part"`
	ColdItems string                   `stage:"cold_items" default:"keep" enum:"keep,leave_out" doc:"items from valid_from on that nobody has before it: kept as answers, or left out of validation and test"`
	Split     stages.Out[tables.Split] `stage:"split" doc:"one row for each user that is kept, in the order of the sequences"`
}

const keep = "keep"

// Validate reports what is no point in time, and two that are in the wrong order.
func (s *Temporal) Validate() []stages.Problem {
	var problems []stages.Problem
	var cuts []cut
	for _, p := range []struct{ name, text string }{{"valid_from", s.ValidFrom}, {"test_from", s.TestFrom}} {
		c, err := parseCut(p.text)
		if err != nil {
			problems = append(problems, stages.Problem{Param: p.name, Message: err.Error()})
		}
		cuts = append(cuts, c)
	}
	if len(problems) == 0 && cuts[0].after(cuts[1]) {
		problems = append(problems, stages.Problem{Param: "valid_from", Message: fmt.Sprintf("%s is after test_from, which is %s", s.ValidFrom, s.TestFrom)})
	}
	return problems
}

// A cut is a point in time, or the share of all interactions that come before it.
type cut struct {
	share *big.Rat // nil when time is set
	time  int64    // seconds since 1970
}

var percentage = regexp.MustCompile(`^[0-9]{1,2}(\.[0-9]{1,9})?%$`)

func parseCut(text string) (cut, error) {
	if percentage.MatchString(text) {
		share, _ := new(big.Rat).SetString(strings.TrimSuffix(text, "%"))
		return cut{share: share.Quo(share, big.NewRat(100, 1))}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return cut{time: t.Unix()}, nil
		}
	}
	return cut{}, fmt.Errorf("%q is no share such as \"80%%\" (below 100%%), no day such as \"2014-01-01\" and no time such as \"2014-01-01T12:00:00Z\"", text)
}

// after is known before the data are when both are of a kind.
func (c cut) after(other cut) bool {
	switch {
	case c.share != nil && other.share != nil:
		return c.share.Cmp(other.share) > 0
	case c.share == nil && other.share == nil:
		return c.time > other.time
	}
	return false
}

// at is the point in time, given the times of all interactions in order. Equal
// times stay together behind the cut, so at most its share is before it.
func (c cut) at(times []int64) int64 {
	if c.share == nil {
		return c.time
	}
	n := new(big.Int).Mul(c.share.Num(), big.NewInt(int64(len(times))))
	return times[n.Quo(n, c.share.Denom()).Int64()]
}

// Run reads the sequences three times: for the cuts, for the items that are
// trained on, and for the parts. What it holds is a time for each interaction.
func (s *Temporal) Run(ctx context.Context, env *stages.Env) error {
	d := division{Temporal: s}
	if err := d.findCuts(ctx, env); err != nil {
		return err
	}
	if err := d.findTrained(ctx); err != nil {
		return err
	}
	return d.write(ctx, env)
}

// A division is one run of the stage.
type division struct {
	*Temporal
	valid, test int64  // where they begin
	trained     []bool // by item
	counts      counts

	newUsers, unanswered, coldValid, coldTest int64
}

func (d *division) findCuts(ctx context.Context, env *stages.Env) error {
	var times []int64
	timed := false
	for row, err := range each(ctx, d.Sequences) {
		if err != nil {
			return err
		}
		if !slices.IsSorted(row.Timestamps) {
			return fmt.Errorf("reading sequences: the times of user %d are not in order", row.User)
		}
		times = append(times, row.Timestamps...)
		timed = timed || row.timed()
	}
	if !timed {
		return errors.New("the sequences have positions and no times, so there is no time to divide them at: use split.leave_one_out or split.ratio")
	}
	slices.Sort(times)
	cuts := [2]int64{}
	for i, text := range []string{d.ValidFrom, d.TestFrom} {
		c, err := parseCut(text)
		if err != nil {
			return err
		}
		cuts[i] = c.at(times)
	}
	if d.valid, d.test = cuts[0], cuts[1]; d.valid > d.test {
		return fmt.Errorf("valid_from (%s) is %s, which is after test_from (%s), %s", d.ValidFrom, day(d.valid), d.TestFrom, day(d.test))
	}
	env.Count("valid_from_time", float64(d.valid))
	env.Count("test_from_time", float64(d.test))
	env.Log.Info().Str("valid_from", day(d.valid)).Str("test_from", day(d.test)).Msg("divided at")
	return nil
}

func day(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

// findTrained marks the items of the training parts.
func (d *division) findTrained(ctx context.Context) error {
	for row, err := range each(ctx, d.Sequences) {
		if err != nil {
			return err
		}
		for _, item := range row.Items[:before(row, d.valid)] {
			if int(item) >= len(d.trained) {
				d.trained = slices.Grow(d.trained, int(item)+1-len(d.trained))[:item+1]
			}
			d.trained[item] = true
		}
	}
	return nil
}

// before is how many of a sequence's items are from before a time.
func before(s sequence, time int64) int {
	n, _ := slices.BinarySearch(s.Timestamps, time)
	return n
}

func (d *division) write(ctx context.Context, env *stages.Env) error {
	out, err := d.Split.Create()
	if err != nil {
		return err
	}
	defer out.Abort()
	for row, err := range each(ctx, d.Sequences) {
		if err != nil {
			return err
		}
		if parts, kept := d.divide(row); kept {
			d.counts.count(parts)
			if err := out.Append(parts); err != nil {
				return err
			}
		}
	}
	if d.counts.train == 0 {
		return fmt.Errorf("no interaction is from before %s, where validation begins: there is nothing to train on", day(d.valid))
	}
	if d.counts.test == 0 {
		return fmt.Errorf("no user who is kept has an answer from %s on, where the test begins (%d users are new, %d answers cold): set earlier times, or keep these", day(d.test), d.newUsers, d.coldTest)
	}
	d.report(env)
	return out.Close()
}

// divide says whether a user is kept, and how.
func (d *division) divide(s sequence) (tables.Split, bool) {
	train, valid := before(s, d.valid), before(s, d.test)
	parts := tables.Split{User: s.User, Train: s.Items[:train], Valid: s.Items[train:valid], Test: s.Items[valid:]}
	if train == 0 {
		d.newUsers++
		if d.NewUsers != keep {
			return parts, false
		}
	}
	parts.Valid = d.warm(parts.Valid, &d.coldValid)
	parts.Test = d.warm(parts.Test, &d.coldTest)
	if len(parts.Valid)+len(parts.Test) == 0 {
		d.unanswered++
	}
	return parts, train+len(parts.Valid)+len(parts.Test) > 0
}

// warm counts the cold among the answers and, if they are to be, leaves them out.
func (d *division) warm(answers []int32, cold *int64) []int32 {
	isCold := func(item int32) bool { return int(item) >= len(d.trained) || !d.trained[item] }
	for _, item := range answers {
		if isCold(item) {
			*cold++
		}
	}
	if d.ColdItems == keep {
		return answers
	}
	return slices.DeleteFunc(slices.Clone(answers), isCold)
}

func (d *division) report(env *stages.Env) {
	env.Count("users", float64(d.counts.users))
	env.Count("new_users", float64(d.newUsers))
	env.Count("users_without_answer", float64(d.unanswered))
	d.counts.reportParts(env)
	env.Count("cold_valid_answers", float64(d.coldValid))
	env.Count("cold_test_answers", float64(d.coldTest))
	if d.valid == d.test {
		env.Log.Warn().Str("time", day(d.valid)).Msg("valid_from and test_from are one point in time, so there is nothing to validate with")
	}
}
