package ranking

import (
	"errors"
	"fmt"
	"slices"
)

// At holds the three metrics at one k. In a table from elsewhere a metric that is not stated is NaN.
type At struct {
	K                 int
	Recall, NDCG, MRR float64
}

// Value returns one of the three by name.
func (a At) Value(m Metric) float64 {
	switch m {
	case NDCG:
		return a.NDCG
	case MRR:
		return a.MRR
	default:
		return a.Recall
	}
}

// Summary is the mean over all users who have an answer.
type Summary struct {
	Users      int  // users in the means
	Answers    int  // their answers
	Impossible int  // answers that were filtered as seen; with one answer a user, a recall of 1 - Impossible/Users is the ceiling
	Tied       int  // answers that share their score with another candidate
	Unanswered int  // users without answer, not in the means
	At         []At // one for each k, ascending
}

// Summarize computes Recall, NDCG and MRR at every k, in float64 and in the order of ranks. Ranks of one user that
// follow one another are that user's answers. Repeated k are given once.
func Summarize(ranks []Rank, ks []int) (Summary, error) {
	ks = slices.Compact(slices.Sorted(slices.Values(ks)))
	if len(ks) == 0 {
		return Summary{}, errors.New("no k to compute metrics at: name at least one, such as 10")
	}
	if ks[0] < 1 {
		return Summary{}, fmt.Errorf("metrics at k = %d: k must be at least 1", ks[0])
	}
	s := count(ranks)
	if s.Users == 0 {
		return Summary{}, fmt.Errorf("no user to average over: %d cases, none with an answer", len(ranks))
	}
	for _, k := range ks {
		s.At = append(s.At, At{K: k, Recall: s.mean(ranks, Recall, k), NDCG: s.mean(ranks, NDCG, k), MRR: s.mean(ranks, MRR, k)})
	}
	return s, nil
}

func count(ranks []Rank) Summary {
	var s Summary
	for answers := range Users(ranks) {
		if answers[0].Outcome == Unanswered {
			s.Unanswered++
			continue
		}
		s.Users++
		s.Answers += len(answers)
		for _, r := range answers {
			s.Impossible += one(r.Outcome == Impossible)
			s.Tied += one(r.Tied > 0)
		}
	}
	return s
}

func (s Summary) mean(ranks []Rank, m Metric, k int) float64 {
	sum := 0.0
	for answers := range Users(ranks) {
		sum += answers.Value(m, k)
	}
	return sum / float64(s.Users)
}
