package evaluate

import (
	"slices"

	"github.com/prismflow/prismflow/model/ranking"
)

// A part is the answers of one part of the split.
type part struct {
	name     string
	cases    []ranking.Case
	repeated []bool          // whether the answer of a case stands in its own history
	queries  []ranking.Query // of each user with an answer
}

func newPart(name string, rows []splitRow) part {
	p := part{name: name}
	for _, row := range rows {
		history, answers := row.Train, row.Valid
		if name == "test" {
			history, answers = slices.Concat(row.Train, row.Valid), row.Test
		}
		query := ranking.Query{User: int(row.User), History: history}
		p.cases = ranking.AppendCases(p.cases, query, answers)
		if len(answers) > 0 {
			p.queries = append(p.queries, query)
		}
	}
	for _, c := range p.cases {
		p.repeated = append(p.repeated, slices.Contains(c.History, c.Answer))
	}
	return p
}
