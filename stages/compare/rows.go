package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/model/ranking"
)

// A group is the runs of one model with one configuration.
type group struct {
	runs     []*Measurement // distinct results
	subjects []string
	values   map[Measure][]float64 // per user, averaged over the runs
	spreads  map[Measure]ranking.MeanSD
}

// grouped puts together what differs in nothing but seeds, baselines last. The
// same result met twice, of a run and of the file that it was a run of, counts
// once; so does a baseline, which is the same whatever is trained beside it.
func grouped(measured []*Measurement) (groups []*group, problems []string) {
	byIdentity := map[string]*group{}
	for _, m := range measured {
		identity := m.Model + "\n" + m.settings.identity()
		g := byIdentity[identity]
		if g == nil {
			g = &group{}
			byIdentity[identity] = g
			groups = append(groups, g)
		}
		if !slices.Contains(g.subjects, m.Subject) {
			g.subjects = append(g.subjects, m.Subject)
		}
		same, problem := g.has(m)
		if problem != "" {
			problems = append(problems, problem)
		}
		if !same {
			g.runs = append(g.runs, m)
		}
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return a.order() - b.order() })
	return groups, problems
}

func (g *group) order() int {
	if g.runs[0].baseline() {
		return 1
	}
	return 0
}

// has says whether a group has a measurement already.
func (g *group) has(m *Measurement) (same bool, problem string) {
	if m.baseline() && len(g.runs) > 0 {
		first := g.runs[0]
		if !slices.Equal(first.metrics, m.metrics) && len(first.Protocol.differences(m.Protocol)) == 0 {
			problem = fmt.Sprintf("%s and %s differ, although all that they depend on is the same", first.place(), m.place())
		}
		return true, problem
	}
	return slices.ContainsFunc(g.runs, func(run *Measurement) bool { return run.Key == m.Key }), ""
}

// measure computes the measures of a group's runs.
func (g *group) measure(measures []Measure) error {
	g.values, g.spreads = map[Measure][]float64{}, map[Measure]ranking.MeanSD{}
	perRun := map[Measure][]float64{}
	for _, run := range g.runs {
		ranks, err := run.rankingOf()
		if err != nil {
			return fmt.Errorf("%s: %w", run.place(), err)
		}
		for _, measure := range measures {
			values, err := measure.perUser(ranks)
			if err != nil {
				return fmt.Errorf("%s: %w", run.place(), err)
			}
			sum := 0.0
			for _, v := range values {
				sum += v
			}
			perRun[measure] = append(perRun[measure], sum/float64(len(values)))
			g.add(measure, values)
		}
	}
	for _, measure := range measures {
		g.spreads[measure] = ranking.MeanSDOf(perRun[measure])
	}
	return nil
}

// add averages one more run's values into those of a group. Runs of other users,
// which are shown and not ranked, have no average.
func (g *group) add(measure Measure, values []float64) {
	if g.values[measure] == nil {
		g.values[measure] = make([]float64, len(values))
	}
	mean := g.values[measure]
	for i := range min(len(mean), len(values)) {
		mean[i] += values[i] / float64(len(g.runs))
	}
}

// stated are the metrics that the runs' own tables have at a cut-off that all
// have, in the first one's order, with their spread.
func (g *group) stated() []Value {
	var values []Value
	for _, row := range g.runs[0].metrics {
		var perRun []float64
		for _, run := range g.runs {
			for _, other := range run.metrics {
				if other.Metric == row.Metric && other.K == row.K {
					perRun = append(perRun, other.Value)
				}
			}
		}
		if len(perRun) == len(g.runs) {
			values = append(values, valueOf(Measure{row.Metric, int(row.K)}, ranking.MeanSDOf(perRun)))
		}
	}
	return values
}

func valueOf(measure Measure, spread ranking.MeanSD) Value {
	return Value{Measure: measure.String(), Mean: spread.Mean, SD: finite(spread.SD)}
}

// finite is a number as JSON has it: none where it is not finite.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// rows are the groups as rows of a table, and what their settings are called.
func rows(groups []*group, measures []Measure) ([]Row, []string) {
	var trained, given []*group
	for _, g := range groups {
		if g.runs[0].baseline() {
			given = append(given, g)
		} else {
			trained = append(trained, g)
		}
	}
	differ, called := tellApart(trained)
	list := make([]Row, 0, len(groups))
	for _, g := range trained {
		list = append(list, g.row(differ, called, measures, severalModels(trained)))
	}
	differGiven, calledGiven := tellApart(given)
	for _, g := range given {
		list = append(list, g.row(differGiven, calledGiven, measures, true))
	}
	uniqueLabels(list)
	var names []string
	for _, at := range differ {
		names = append(names, called[at])
	}
	return list, names
}

// tellApart are the settings in which groups differ, and what they are called.
func tellApart(groups []*group) ([]setting, map[setting]string) {
	var all []settings
	for _, g := range groups {
		all = append(all, g.runs[0].settings)
	}
	differ := differing(all)
	return differ, names(differ, all)
}

func severalModels(groups []*group) bool {
	for _, g := range groups {
		if g.runs[0].Model != groups[0].runs[0].Model {
			return true
		}
	}
	return false
}

// unset stands for a setting that a row does not have.
const unset = "–"

func (g *group) row(differ []setting, called map[setting]string, measures []Measure, withModel bool) Row {
	first := g.runs[0]
	row := Row{Model: first.Model, Baseline: first.baseline(), Settings: map[string]string{}, Runs: len(g.runs), Seeds: []string{}, Subjects: g.subjects}
	var label []string
	for _, at := range differ {
		value, ok := first.settings.values[at]
		if !ok {
			value = unset
		}
		row.Settings[called[at]] = value
		label = append(label, called[at]+"="+value)
	}
	if withModel || len(label) == 0 {
		label = append([]string{first.Model}, label...)
	}
	row.Label = strings.Join(label, " ")
	for _, run := range g.runs {
		if seed := run.settings.seeds(); seed != "" {
			row.Seeds = append(row.Seeds, seed)
		}
	}
	row.Values = g.stated()
	for _, measure := range measures {
		stated := slices.ContainsFunc(row.Values, func(v Value) bool { return v.Measure == measure.String() })
		if !stated {
			row.Values = append(row.Values, valueOf(measure, g.spreads[measure]))
		}
	}
	return row
}

// uniqueLabels tells rows apart that nothing else does.
func uniqueLabels(rows []Row) {
	seen := map[string]int{}
	for i := range rows {
		seen[rows[i].Label]++
		if n := seen[rows[i].Label]; n > 1 {
			rows[i].Label = fmt.Sprintf("%s (%d)", rows[i].Label, n)
		}
	}
}
