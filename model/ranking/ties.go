package ranking

import "fmt"

// Ties says where an answer stands among candidates with exactly its score. The empty rule is Pessimistic.
type Ties string

const (
	// Pessimistic counts every tied candidate against the answer: a model that gives all items one score finds nothing.
	Pessimistic Ties = "pessimistic"
	// Expected puts the answer at each place of its tied group with equal probability. Metrics are the expected
	// values over those places (constant scores give a recall@k of k/N), and Rank.Position is the middle of the group.
	Expected Ties = "expected"
	// ByID puts a tied candidate with a smaller id first. Comparable with programs that sort stably; it depends on how
	// the items happen to be numbered.
	ByID Ties = "by_id"
)

// Validate reports a rule that does not exist.
func (t Ties) Validate() error {
	switch t {
	case "", Pessimistic, Expected, ByID:
		return nil
	}
	return fmt.Errorf("unknown tie rule %q: want %s, %s or %s", string(t), Pessimistic, Expected, ByID)
}

// Counts is what a rank follows from: how the other candidates compare with the answer. A Counter brings back nothing
// else from its device.
type Counts struct {
	Better     int // candidates with a strictly higher score
	Tied       int // candidates with the same score
	TiedBefore int // those of the tied whose id is smaller than the answer's
}

// Places returns the first and the last place, counted from 1, that the answer may have under the rule. They differ
// under Expected only.
func (t Ties) Places(c Counts) (first, last int) {
	switch t {
	case Expected:
		return c.Better + 1, c.Better + c.Tied + 1
	case ByID:
		return c.Better + c.TiedBefore + 1, c.Better + c.TiedBefore + 1
	default:
		return c.Better + c.Tied + 1, c.Better + c.Tied + 1
	}
}
