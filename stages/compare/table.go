package compare

import (
	"fmt"
	"math"
	"slices"

	"github.com/prismflow/prismflow/model/ranking"
)

// newTable compares what was measured on one part.
func newTable(measured []*Measurement, options Options) (Table, error) {
	groups, problems := grouped(measured)
	t := Table{
		Part: measured[0].Protocol.Part, Protocol: measured[0].Protocol, Problems: []string{}, Comparisons: []Comparison{}, Differing: []string{},
		Level: options.Level, Draws: options.Draws, Seed: options.Seed,
	}
	problems = append(problems, unalike(groups)...)
	measures := options.Measures
	if len(measures) == 0 {
		measures = defaultMeasures(measured)
	}
	for _, m := range measures {
		t.Measures = append(t.Measures, m.String())
	}
	for _, g := range groups {
		if err := g.measure(measures); err != nil {
			return t, err
		}
	}
	var differing []string
	t.Rows, differing = rows(groups, measures)
	t.Differing = append(t.Differing, differing...)
	if t.Problems = append(t.Problems, problems...); len(problems) > 0 {
		return t, nil
	}
	err := t.rank(groups, measures)
	return t, err
}

// unalike says why groups must not be ranked: what cannot be true, and what was
// measured otherwise than the first.
func unalike(groups []*group) []string {
	var problems []string
	first := groups[0].runs[0]
	for _, g := range groups {
		for _, run := range g.runs {
			problems = append(problems, run.check()...)
			for _, difference := range first.Protocol.differences(run.Protocol) {
				problems = append(problems, fmt.Sprintf("%s and %s were not measured alike: %s", first.place(), run.place(), difference))
			}
		}
	}
	return problems
}

// defaultMeasures are recall and ndcg at the cut-off that is most often quoted,
// or the largest that all have, and the place.
func defaultMeasures(measured []*Measurement) []Measure {
	k := 0
	for _, candidate := range measured[0].Protocol.Ks {
		common := !slices.ContainsFunc(measured, func(m *Measurement) bool { return !slices.Contains(m.Protocol.Ks, candidate) })
		if common && (candidate <= defaultK || k == 0) {
			k = candidate
		}
	}
	if k == 0 {
		return []Measure{{Metric: Place}}
	}
	return []Measure{{string(ranking.Recall), k}, {string(ranking.NDCG), k}, {Metric: Place}}
}

// rank compares each pair of rows in each measure, corrects for having done so,
// and marks the best where the tests allow it.
func (t *Table) rank(groups []*group, measures []Measure) error {
	if len(groups) < 2 {
		return nil
	}
	for _, measure := range measures {
		if err := t.compare(groups, measure); err != nil {
			return err
		}
	}
	var wilcoxon, student []float64
	for _, c := range t.Comparisons {
		wilcoxon, student = append(wilcoxon, c.Wilcoxon.P), append(student, c.T.P)
	}
	wilcoxon, student = ranking.Holm(wilcoxon), ranking.Holm(student)
	for i := range t.Comparisons {
		t.Comparisons[i].settle(wilcoxon[i], student[i], 1-t.Level)
	}
	for _, measure := range measures {
		t.mark(measure)
	}
	return nil
}

// compare compares each pair of rows in one measure.
func (t *Table) compare(groups []*group, measure Measure) error {
	values := make([][]float64, len(groups))
	for i, g := range groups {
		values[i] = g.values[measure]
	}
	bootstrap, err := ranking.NewBootstrap(values, t.Draws, t.Seed)
	if err != nil {
		return err
	}
	for i := range groups {
		for j := i + 1; j < len(groups); j++ {
			better, worse := i, j
			if measure.better()*(groups[i].spreads[measure].Mean-groups[j].spreads[measure].Mean) < 0 {
				better, worse = j, i
			}
			t.Comparisons = append(t.Comparisons, t.pair(values, better, worse, measure, bootstrap))
		}
	}
	return nil
}

// pair compares two rows of which the first is better in the mean.
func (t *Table) pair(values [][]float64, row, against int, measure Measure, bootstrap ranking.Bootstrap) Comparison {
	c := Comparison{Measure: measure.String(), Row: t.Rows[row].Label, Against: t.Rows[against].Label}
	gains := make([]float64, len(values[row]))
	for user := range gains {
		gains[user] = measure.better() * (values[row][user] - values[against][user])
		switch {
		case math.Abs(gains[user]) < rounding: // a mean over other runs of the same values
			gains[user] = 0
		case gains[user] > 0:
			c.Better++
		case gains[user] < 0:
			c.Worse++
		}
	}
	student, signed := ranking.PairedT(gains), ranking.Wilcoxon(gains)
	c.Difference = measure.better() * student.Mean
	interval := bootstrap.Difference(row, against, t.Level)
	c.Low, c.High = interval.Low, interval.High
	c.T, c.Wilcoxon = Test{Statistic: finite(student.T), P: student.P}, Test{Statistic: finite(signed.Z), P: signed.P}
	return c
}

// settle takes the adjusted p-values. The signed ranks must speak for the row
// that the mean speaks for: they need not.
func (c *Comparison) settle(wilcoxon, student, alpha float64) {
	c.Wilcoxon.Adjusted, c.T.Adjusted = wilcoxon, student
	favour := c.Wilcoxon.Statistic != nil && *c.Wilcoxon.Statistic > 0
	c.Significant = favour && wilcoxon < alpha && student < alpha
}

// mark marks the row that is better than each other one, and not by chance.
func (t *Table) mark(measure Measure) {
	name := measure.String()
	wins := map[string]int{}
	for _, c := range t.Comparisons {
		if c.Measure == name && c.Significant {
			wins[c.Row]++
		}
	}
	for i := range t.Rows {
		if wins[t.Rows[i].Label] < len(t.Rows)-1 {
			continue
		}
		for j := range t.Rows[i].Values {
			if t.Rows[i].Values[j].Measure == name {
				t.Rows[i].Values[j].Best = true
			}
		}
	}
}
