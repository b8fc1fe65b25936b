package ranking

import (
	"cmp"
	"iter"
	"slices"
)

// AppendCases appends a case for each of a user's answers, each item once, or a single one without answer.
func AppendCases(dst []Case, query Query, answers []int32) []Case {
	if len(answers) == 0 {
		return append(dst, Case{Query: query})
	}
	for i, answer := range answers {
		if !slices.Contains(answers[:i], answer) {
			dst = append(dst, Case{Query: query, Answer: answer})
		}
	}
	return dst
}

// Answers are the ranks of all answers of one user, or a single rank that is Unanswered.
type Answers []Rank

// Users gives the answers of each user: ranks of one user that follow one another.
func Users(ranks []Rank) iter.Seq[Answers] {
	return func(yield func(Answers) bool) {
		for low, high := range bounds(ranks) {
			if !yield(ranks[low:high]) {
				return
			}
		}
	}
}

// bounds gives where each user's ranks begin and end.
func bounds(ranks []Rank) iter.Seq2[int, int] {
	return func(yield func(low, high int) bool) {
		for low := 0; low < len(ranks); {
			high := low + 1
			for high < len(ranks) && ranks[high].User == ranks[low].User {
				high++
			}
			if !yield(low, high) {
				return
			}
			low = high
		}
	}
}

// Value returns the metric at k for this user, 0…1. With a the number of answers, impossible ones too:
//
//	Recall  answers among the first k, divided by a (not by min(a, k), so with a > k it cannot reach 1)
//	NDCG    Σ 1/log2(place+1) over the answers among the first k, divided by the same sum over the places 1…min(a, k)
//	MRR     1/place of the first answer, when it is among the first k
//
// These are the definitions of trec_eval and of most programs for recommenders (Järvelin & Kekäläinen, TOIS 2002, for
// NDCG with relevance 0 or 1). Under Expected they are the expected values over all orders of tied candidates. With
// one answer each is Rank.Value.
func (a Answers) Value(m Metric, k int) float64 {
	if len(a) == 1 {
		return a[0].Value(m, k)
	}
	if m == MRR {
		return a.first(k)
	}
	sum, ideal := 0.0, float64(len(a))
	for _, r := range a {
		sum += r.Value(m, k)
	}
	if m == NDCG {
		ideal = 0
		for place := 1; place <= min(len(a), k); place++ {
			ideal += m.weight(place)
		}
	}
	return sum / ideal
}

// first is the expected value of 1/place of the first answer.
func (a Answers) first(k int) float64 {
	best, tied := a.best()
	if tied < 2 {
		return best.Value(MRR, k)
	}
	// The first of tied answers dealt out to n places is at place j of them with a probability that falls with j.
	n := best.Last - best.First + 1
	sum, probability := 0.0, float64(tied)/float64(n)
	for j := 1; j <= n-tied+1 && best.First+j-1 <= k; j++ {
		sum += probability * MRR.weight(best.First+j-1)
		probability *= float64(n-j-tied+1) / float64(n-j)
	}
	return sum
}

// best is the first of the answers that are ranked, and how many share its
// places; the first of all, and 0, when none is.
func (a Answers) best() (Rank, int) {
	best, tied := a[0], 0
	for _, r := range a {
		switch {
		case r.Outcome != Ranked:
		case tied == 0 || r.First < best.First:
			best, tied = r, 1
		case r.First == best.First:
			tied++
		}
	}
	return best, tied
}

// settle gives answers that tie with each other places of their own. Where ties count against the answers, each has
// the last place of the group that they tie in, but only one of them can have it: the others stand before it. Expected
// places are all the places of the group and stay so.
func (a Answers) settle() {
	if len(a) < 2 {
		return
	}
	var tied []int // answers with one place, in the order of places and ids
	for i, r := range a {
		if r.Outcome == Ranked && r.First == r.Last {
			tied = append(tied, i)
		}
	}
	slices.SortFunc(tied, func(i, j int) int {
		return cmp.Or(cmp.Compare(a[i].Last, a[j].Last), cmp.Compare(a[i].Answer, a[j].Answer))
	})
	for low := 0; low < len(tied); {
		high := low + 1
		for high < len(tied) && a[tied[high]].Last == a[tied[low]].Last {
			high++
		}
		last := a[tied[low]].Last
		for n, i := range tied[low:high] {
			place := last - (high - low) + 1 + n
			a[i].First, a[i].Last = place, place
		}
		low = high
	}
}
