package ranking

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// BoundsError lists what makes a table of metrics impossible.
type BoundsError struct {
	Violations []Violation
}

// Error gives every violation a line.
func (e *BoundsError) Error() string {
	lines := make([]string, len(e.Violations))
	for i, v := range e.Violations {
		lines[i] = v.String()
	}
	return "impossible metrics: " + strings.Join(lines, "\n")
}

// Violation is one relation that no ranking with one answer a user can break, and that a table breaks.
type Violation struct {
	Metric    Metric  // the metric whose value is out of bounds
	FromK, K  int     // the value is what the places FromK+1…K add; FromK is 0 when it is the metric itself
	Value     float64 // what the table says
	Low, High float64 // what the other metric allows, rounding included
	By        Metric  // that other metric; empty when the bound is that of the metric itself
}

// String says the violation in one line.
func (v Violation) String() string {
	what := fmt.Sprintf("%s@%d", v.Metric, v.K)
	if v.FromK > 0 {
		what += fmt.Sprintf(" - %s@%d", v.Metric, v.FromK)
	}
	by := "for any ranking"
	if v.By != "" {
		by = "given " + string(v.By)
	}
	return fmt.Sprintf("%s is %.6g, but must be within %.6g…%.6g %s", what, v.Value, v.Low, v.High, by)
}

// Check reports, as a *BoundsError, every relation that holds for the mean metrics of any ranking with one answer a
// user (so also for means over runs) and does not hold for the table. A user whose place is in k1+1…k2 adds 1 to
// recall@k2, 1/log2(place+1) to NDCG@k2 and 1/place to MRR@k2 that were not there at k1. So between any two k, the
// first of them possibly 0,
//
//	ΔRecall / log2(k2+1)    ≤  ΔNDCG  ≤  ΔRecall / log2(k1+2)
//	ΔRecall / k2            ≤  ΔMRR   ≤  ΔRecall / (k1+1)
//	ΔNDCG · log2(k2+1) / k2 ≤  ΔMRR   ≤  ΔNDCG · log2(k1+2) / (k1+1)
//
// no metric falls as k grows, and none leaves 0…1. Metrics that are NaN were not stated and are passed over.
//
// Tolerance is how far each value may be from the exact one: 0 for values of Summarize, half a unit of the last digit
// (0.00005 for four digits) for a printed table. What float64 summation loses is always allowed.
func Check(table []At, tolerance float64) error {
	return check(table, tolerance, func(c *checker, table []At) {
		for _, m := range []Metric{Recall, NDCG, MRR} {
			c.monotone(table, m)
		}
		c.related(table, Recall, NDCG)
		c.related(table, Recall, MRR)
		c.related(table, NDCG, MRR)
	})
}

// CheckSeveral is Check for users with several answers, of whom less is known: no metric leaves 0…1, and Recall and
// MRR do not fall as k grows. NDCG may, since its ideal grows too, and how far the metrics agree depends on how many
// answers each user has.
func CheckSeveral(table []At, tolerance float64) error {
	return check(table, tolerance, func(c *checker, table []At) {
		c.monotone(table, Recall)
		c.monotone(table, MRR)
		for _, at := range table {
			c.monotone([]At{at}, NDCG)
		}
	})
}

// check applies relations to a table in the order of k.
func check(table []At, tolerance float64, relations func(*checker, []At)) error {
	if tolerance < 0 || tolerance != tolerance {
		return fmt.Errorf("checking metrics: a tolerance of %v: want 0 or more", tolerance)
	}
	table = slices.Clone(table)
	slices.SortStableFunc(table, func(a, b At) int { return cmp.Compare(a.K, b.K) })
	if len(table) > 0 && table[0].K < 1 {
		return fmt.Errorf("checking metrics: k = %d: k must be at least 1", table[0].K)
	}
	c := checker{tolerance: tolerance + 1e-12}
	relations(&c, table)
	if len(c.violations) > 0 {
		return &BoundsError{Violations: c.violations}
	}
	return nil
}

type checker struct {
	tolerance  float64
	violations []Violation
}

// monotone checks that a metric starts at 0 or more, does not fall, and ends at 1 or less.
func (c *checker) monotone(table []At, m Metric) {
	c.eachStep(table, []Metric{m}, func(s step) {
		low, high := -s.slack(), 1+s.slack()
		if rise := s.rise(m); !(low <= rise && rise <= high) {
			c.violations = append(c.violations, Violation{Metric: m, FromK: s.from.K, K: s.to.K, Value: rise, Low: low, High: high})
		}
	})
}

// related checks the rise of metric m against that of by. The ratio of their weights must fall with the place.
func (c *checker) related(table []At, by, m Metric) {
	ratio := func(place int) float64 { return m.weight(place) / by.weight(place) }
	c.eachStep(table, []Metric{by, m}, func(s step) {
		least, most := ratio(s.to.K), ratio(s.from.K+1)
		low := least*s.rise(by) - s.slack()*(1+least)
		high := most*s.rise(by) + s.slack()*(1+most)
		if rise := s.rise(m); !(low <= rise && rise <= high) {
			c.violations = append(c.violations, Violation{Metric: m, FromK: s.from.K, K: s.to.K, Value: rise, Low: low, High: high, By: by})
		}
	})
}

// step is the way from one k to the next at which the metrics are stated, beginning at k = 0 where all are exactly 0.
type step struct {
	from, to  At
	tolerance float64
}

func (s step) rise(m Metric) float64 { return s.to.Value(m) - s.from.Value(m) }

// slack is how far the rise of one metric may be from the exact one.
func (s step) slack() float64 {
	if s.from.K == 0 {
		return s.tolerance
	}
	return 2 * s.tolerance
}

func (c *checker) eachStep(table []At, metrics []Metric, f func(step)) {
	from := At{}
	for _, to := range table {
		if !slices.ContainsFunc(metrics, func(m Metric) bool { return math.IsNaN(to.Value(m)) }) {
			f(step{from: from, to: to, tolerance: c.tolerance})
			from = to
		}
	}
}
