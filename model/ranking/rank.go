package ranking

import (
	"fmt"
	"math"
)

// Outcome says what a rank is worth.
type Outcome uint8

const (
	// Ranked: the answer was one of the candidates.
	Ranked Outcome = iota
	// Impossible: the answer is in the user's own history and seen items are filtered, so no model can find it. It
	// is counted, with the place after all candidates and a value of 0 in every metric.
	Impossible
	// Unanswered: the case has no answer. It is left out of every mean, and counted as such.
	Unanswered
)

// String returns the outcome's name in lower case.
func (o Outcome) String() string {
	switch o {
	case Ranked:
		return "ranked"
	case Impossible:
		return "impossible"
	case Unanswered:
		return "unanswered"
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// Rank is where one answer of a user stands. A user with several answers has several, one after another.
type Rank struct {
	User       int
	Answer     int32
	First      int // best place the answer may have, from 1; 0 when Unanswered
	Last       int // worst place; equal to First except under Expected
	Tied       int // candidates with exactly the answer's score
	Candidates int // items ranked, the answer included when it is one of them
	Outcome    Outcome
}

// Position is the rank as one number: the middle of First and Last, so fractional only under Expected.
func (r Rank) Position() float64 { return float64(r.First+r.Last) / 2 }

// Metric names a measure of where a user's answers stand, in the spelling of prismflow's JSON. Answers.Value has the
// definitions for several answers.
type Metric string

const (
	// Recall is 1 when the answer is among the first k. With one answer a user it is the hit rate.
	Recall Metric = "recall"
	// NDCG is 1/log2(place+1) when the place is at most k, else 0 (the ideal gain of one answer is 1).
	NDCG Metric = "ndcg"
	// MRR is 1/place when the place is at most k, else 0.
	MRR Metric = "mrr"
)

// weight is what an answer at the given place, from 1, is worth.
func (m Metric) weight(place int) float64 {
	switch m {
	case NDCG:
		return 1 / math.Log2(float64(place)+1)
	case MRR:
		return 1 / float64(place)
	default:
		return 1
	}
}

// Validate reports a metric that does not exist.
func (m Metric) Validate() error {
	switch m {
	case Recall, NDCG, MRR:
		return nil
	}
	return fmt.Errorf("unknown metric %q: want %s, %s or %s", string(m), Recall, NDCG, MRR)
}

// Value returns the metric at k of this answer alone: the mean over the places First…Last, which is one place unless the
// tie rule was Expected. It is 0 for an answer that is Impossible, however short the list of candidates.
func (r Rank) Value(m Metric, k int) float64 {
	if r.Outcome != Ranked || k < r.First {
		return 0
	}
	if r.First == r.Last {
		return m.weight(r.First)
	}
	sum := 0.0
	for place := r.First; place <= min(k, r.Last); place++ {
		sum += m.weight(place)
	}
	return sum / float64(r.Last-r.First+1)
}
