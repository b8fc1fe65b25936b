package ranking

import (
	"errors"
	"fmt"
	"math"
)

// Comparison is the difference of two models on the same users, candidate minus baseline.
//
// It comes with two standard errors because two things are random. That over users says how much the difference
// would move with other users and the same trained models; that over runs, how much it would move with other seeds.
// A claim needs both to be small beside the difference. SignedRank asks the question about users once more, without
// taking the differences to be normal.
type Comparison struct {
	Metric Metric
	K      int
	Users  int
	Runs   int // pairs of runs, usually seeds

	Baseline, Candidate float64 // means over users and runs
	Difference          float64
	UserError           float64   // standard error of Difference over users, each averaged over the runs
	RunDifferences      []float64 // the difference in each pair of runs
	RunError            float64   // standard error of Difference over runs; NaN with a single run
	Better, Worse       int       // users for whom the candidate is better, worse, averaged over the runs
	SignedRank          SignedRank
}

// Compare pairs the users of two models, and run i of the one with run i of the other (same seed, same cases). A single
// run of each is fine. Users without answer are left out; anything else that does not pair is an error.
func Compare(metric Metric, k int, baseline, candidate [][]Rank) (Comparison, error) {
	if err := checkComparison(metric, k, baseline, candidate); err != nil {
		return Comparison{}, fmt.Errorf("comparing %s@%d: %w", metric, k, err)
	}
	c := Comparison{Metric: metric, K: k, Runs: len(baseline), RunDifferences: make([]float64, len(baseline))}
	var perUser []float64
	for low, high := range bounds(baseline[0]) {
		if baseline[0][low].Outcome == Unanswered {
			continue
		}
		difference := 0.0
		for run := range baseline {
			b, d := Answers(baseline[run][low:high]).Value(metric, k), Answers(candidate[run][low:high]).Value(metric, k)
			c.Baseline += b
			c.Candidate += d
			c.RunDifferences[run] += d - b
			difference += d - b
		}
		c.Better += one(difference > 0)
		c.Worse += one(difference < 0)
		perUser = append(perUser, difference/float64(c.Runs))
	}
	if len(perUser) == 0 {
		return Comparison{}, fmt.Errorf("comparing %s@%d: no user with an answer", metric, k)
	}
	c.Users = len(perUser)
	c.Baseline /= float64(c.Users * c.Runs)
	c.Candidate /= float64(c.Users * c.Runs)
	for run := range c.RunDifferences {
		c.RunDifferences[run] /= float64(c.Users)
	}
	c.Difference, c.UserError = meanAndError(perUser)
	_, c.RunError = meanAndError(c.RunDifferences)
	c.SignedRank = Wilcoxon(perUser)
	return c, nil
}

func checkComparison(metric Metric, k int, baseline, candidate [][]Rank) error {
	if err := metric.Validate(); err != nil {
		return err
	}
	if k < 1 {
		return errors.New("k must be at least 1")
	}
	return checkRuns(baseline, candidate)
}

func checkRuns(baseline, candidate [][]Rank) error {
	if len(baseline) == 0 || len(baseline) != len(candidate) {
		return fmt.Errorf("%d runs of the baseline and %d of the candidate: want the same number, at least 1", len(baseline), len(candidate))
	}
	for run := range baseline {
		for _, ranks := range [][]Rank{baseline[run], candidate[run]} {
			if err := sameCases(baseline[0], ranks); err != nil {
				return fmt.Errorf("run %d: %w", run, err)
			}
		}
	}
	return nil
}

func sameCases(a, b []Rank) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d answers against %d: compare runs on the same split", len(a), len(b))
	}
	for i := range a {
		if a[i].User != b[i].User || a[i].Answer != b[i].Answer || a[i].Outcome != b[i].Outcome {
			return fmt.Errorf("place %d is user %d with answer %d (%s) against user %d with answer %d (%s): compare runs on the same split with the same filter",
				i, a[i].User, a[i].Answer, a[i].Outcome, b[i].User, b[i].Answer, b[i].Outcome)
		}
	}
	return nil
}

// meanAndError returns the mean and its standard error, NaN for fewer than two values.
func meanAndError(values []float64) (mean, standardError float64) {
	n := float64(len(values))
	for _, v := range values {
		mean += v
	}
	mean /= n
	squares := 0.0
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(squares / (n - 1) / n)
}
