package compare

import (
	"fmt"
	"math"

	"github.com/prismflow/prismflow/model/ranking"
	"github.com/prismflow/prismflow/stages/tables"
)

// rounding is how far a metric may be from what its ranks say: the order of a
// sum, in float64.
const rounding = 1e-9

// check says what cannot be true of a measurement: metrics outside the bounds
// that hold for every ranking, numbers of users that differ, and metrics that
// are not those of the ranks beside them.
func (m *Measurement) check() []string {
	var problems []string
	add := func(format string, args ...any) {
		problems = append(problems, m.place()+": "+fmt.Sprintf(format, args...))
	}
	ranks, err := m.rankingOf()
	if err != nil {
		return []string{m.place() + ": " + err.Error()}
	}
	summary, err := ranking.Summarize(ranks, m.Protocol.Ks)
	if err != nil {
		return []string{m.place() + ": " + err.Error()}
	}
	for _, row := range m.metrics {
		metric := ranking.Metric(row.Metric)
		switch {
		case metric.Validate() != nil: // a measure of something else, which ranks do not tell
			continue
		case !(row.Value >= 0 && row.Value <= 1):
			add("%s@%d is %v, outside 0…1", row.Metric, row.K, row.Value)
			continue
		case int(row.Users) != m.Protocol.Users:
			add("%s@%d is of %d users, but there are ranks of %d", row.Metric, row.K, row.Users, m.Protocol.Users)
			continue
		}
		want := at(summary, int(row.K)).Value(metric)
		if m.Protocol.Ties != tiesExpected && math.Abs(row.Value-want) > rounding {
			add("%s@%d is %.6g, but its ranks say %.6g", row.Metric, row.K, row.Value, want)
		}
	}
	if m.Protocol.Ties == tiesExpected && m.Protocol.Answers == m.Protocol.Users {
		if err := ranking.Check(m.table(), rounding); err != nil {
			add("%v", err)
		}
	}
	return problems
}

// table are the metrics by cut-off; those that are not stated are NaN.
func (m *Measurement) table() []ranking.At {
	var table []ranking.At
	for _, k := range m.Protocol.Ks {
		at := ranking.At{K: k, Recall: math.NaN(), NDCG: math.NaN(), MRR: math.NaN()}
		for _, row := range m.metrics {
			if int(row.K) != k {
				continue
			}
			switch ranking.Metric(row.Metric) {
			case ranking.Recall:
				at.Recall = row.Value
			case ranking.NDCG:
				at.NDCG = row.Value
			case ranking.MRR:
				at.MRR = row.Value
			}
		}
		table = append(table, at)
	}
	return table
}

func at(s ranking.Summary, k int) ranking.At {
	for _, at := range s.At {
		if at.K == k {
			return at
		}
	}
	return ranking.At{}
}

// rankingOf are the ranks as package ranking has them. Under expected ties only
// the middle of the places is known and stands for all of them.
func (m *Measurement) rankingOf() ([]ranking.Rank, error) {
	ranks := make([]ranking.Rank, len(m.ranks))
	for i, r := range m.ranks {
		if !(r.Rank >= 1) {
			return nil, fmt.Errorf("user %d has the rank %v: a rank is at least 1", r.User, r.Rank)
		}
		ranks[i] = rankOf(r)
	}
	return ranks, nil
}

// rankOf is one rank. The place after all candidates is that of an answer which
// was none of them.
func rankOf(r tables.Rank) ranking.Rank {
	out := ranking.Rank{
		User: int(r.User), Answer: r.Answer, First: int(math.Floor(r.Rank)), Last: int(math.Ceil(r.Rank)), Candidates: int(r.Candidates),
	}
	if r.Rank > float64(r.Candidates) {
		out.Outcome = ranking.Impossible
	}
	return out
}
