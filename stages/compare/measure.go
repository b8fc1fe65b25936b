package compare

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/prismflow/prismflow/model/ranking"
)

// A Measure is a number that a user's ranks give: a metric at a cut-off, or the
// place itself.
type Measure struct {
	Metric string // recall, ndcg, mrr, or place
	K      int    // 0 for place
}

// Place is the mean place of a user's answers, where less is better. It also sees
// what happens behind every cut-off.
const Place = "place"

// String is the measure as ParseMeasure reads it, such as "recall@10".
func (m Measure) String() string {
	if m.Metric == Place {
		return Place
	}
	return fmt.Sprintf("%s@%d", m.Metric, m.K)
}

// ParseMeasure reads "recall@10" or "place".
func ParseMeasure(text string) (Measure, error) {
	if text == Place {
		return Measure{Metric: Place}, nil
	}
	name, after, found := strings.Cut(text, "@")
	k, err := strconv.Atoi(after)
	if !found || err != nil || k < 1 {
		return Measure{}, fmt.Errorf("%q is no measure: write %s, or a metric and a cut-off such as recall@10", text, Place)
	}
	if err := ranking.Metric(name).Validate(); err != nil {
		return Measure{}, err
	}
	return Measure{name, k}, nil
}

// better is 1 where more is better, and -1 where less is.
func (m Measure) better() float64 {
	if m.Metric == Place {
		return -1
	}
	return 1
}

// perUser is the measure of each user, in the order of the ranks, in which those
// of one user follow one another.
func (m Measure) perUser(ranks []ranking.Rank) ([]float64, error) {
	var values []float64
	for low := 0; low < len(ranks); {
		high := low + 1
		for high < len(ranks) && ranks[high].User == ranks[low].User {
			high++
		}
		value, err := m.of(ranks[low:high])
		if err != nil {
			return nil, err
		}
		values = append(values, value)
		low = high
	}
	return values, nil
}

// of is the measure of one user: the summary of that user's ranks alone.
func (m Measure) of(ranks []ranking.Rank) (float64, error) {
	if m.Metric == Place {
		sum := 0.0
		for _, r := range ranks {
			sum += r.Position()
		}
		return sum / float64(len(ranks)), nil
	}
	summary, err := ranking.Summarize(ranks, []int{m.K})
	if err != nil {
		return 0, err
	}
	return summary.At[0].Value(ranking.Metric(m.Metric)), nil
}
