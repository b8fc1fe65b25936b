package compare

import (
	"fmt"
	"slices"
)

// Options say what is compared and how surely. The zero value is useful.
type Options struct {
	Measures []Measure // recall and ndcg at 10 (or the largest cut-off that all have) and the place when empty
	Level    float64   // of intervals, and 1 minus that of tests; 0 is 0.95
	Draws    int       // of the bootstrap; 0 is 2000
	Seed     uint64    // of the bootstrap
}

const (
	defaultLevel = 0.95
	defaultDraws = 2000
	defaultK     = 10
)

// Validate lists every setting that is out of bounds.
func (o Options) Validate() error {
	if !(o.Level == 0 || o.Level >= 0.5 && o.Level < 1) {
		return fmt.Errorf("a level of %v: want at least 0.5 and less than 1, such as 0.95", o.Level)
	}
	if o.Draws < 0 || o.Draws > 1_000_000 {
		return fmt.Errorf("%d draws: want 1 to 1000000, or 0 for %d", o.Draws, defaultDraws)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Level == 0 {
		o.Level = defaultLevel
	}
	if o.Draws == 0 {
		o.Draws = defaultDraws
	}
	return o
}

// ReportFormat is the version of the JSON form of Report.
const ReportFormat = 1

// A Report is a comparison: what `compare --json` prints.
type Report struct {
	Format int     `json:"format"`
	Tables []Table `json:"tables"` // one for each part of the split
}

// Problems are why tables are not ranked, those of all tables, each once.
func (r Report) Problems() []string {
	var all []string
	for _, t := range r.Tables {
		for _, problem := range t.Problems {
			if !slices.Contains(all, problem) {
				all = append(all, problem)
			}
		}
	}
	return all
}

// A Table compares models on one part of a split.
type Table struct {
	Part        string       `json:"part"`
	Protocol    Protocol     `json:"protocol"`    // of the first row; of all, unless there are problems
	Problems    []string     `json:"problems"`    // why the rows must not be ranked; empty when they may
	Differing   []string     `json:"differing"`   // settings in which models differ, by what they are called in rows
	Measures    []string     `json:"measures"`    // what is compared
	Rows        []Row        `json:"rows"`        // models, baselines last
	Comparisons []Comparison `json:"comparisons"` // of all pairs of rows, in every measure
	Level       float64      `json:"level"`       // of the intervals, and 1 minus that of the tests
	Draws       int          `json:"draws"`       // of the bootstrap
	Seed        uint64       `json:"seed"`        // of the bootstrap
}

// A Row is one model with one configuration, over all seeds.
type Row struct {
	Label    string            `json:"label"`
	Model    string            `json:"model"`
	Baseline bool              `json:"baseline"`
	Settings map[string]string `json:"settings"` // that differ between rows
	Runs     int               `json:"runs"`     // distinct results
	Seeds    []string          `json:"seeds"`    // of its runs
	Subjects []string          `json:"subjects"` // where the runs are from
	Values   []Value           `json:"values"`   // every metric that all runs state, and what is compared
}

// A Value is what a row came to in one measure, over its runs.
type Value struct {
	Measure string   `json:"measure"`
	Mean    float64  `json:"mean"`
	SD      *float64 `json:"sd"`   // over runs, with runs - 1 in the denominator; null for a single run
	Best    bool     `json:"best"` // better than each other row, and not by chance (see Comparison.Significant)
}

// A Comparison is the difference of two rows on the same users, each user's
// value averaged over a row's runs.
type Comparison struct {
	Measure    string  `json:"measure"`
	Row        string  `json:"row"`        // the one that is better in the mean
	Against    string  `json:"against"`    // the other
	Difference float64 `json:"difference"` // mean of Row minus that of Against
	Low        float64 `json:"low"`        // of the bootstrap interval over users
	High       float64 `json:"high"`
	Better     int     `json:"better"` // users for whom Row is better
	Worse      int     `json:"worse"`
	Wilcoxon   Test    `json:"wilcoxon"`
	T          Test    `json:"t"`
	// Significant says that both tests, corrected for all comparisons of the
	// table, find a difference in favour of Row.
	Significant bool `json:"significant"`
}

// A Test is the outcome of a paired test over users.
type Test struct {
	Statistic *float64 `json:"statistic"` // z of the signed ranks, or t; null without a difference
	P         float64  `json:"p"`         // two-sided
	Adjusted  float64  `json:"adjusted"`  // by Holm's method, over the comparisons of the table
}

// New compares measurements. Each part of a split has a table of its own.
func New(measured []*Measurement, options Options) (Report, error) {
	if err := options.Validate(); err != nil {
		return Report{}, err
	}
	options = options.withDefaults()
	var order []string
	parts := map[string][]*Measurement{}
	for _, m := range measured {
		part := m.Protocol.Part
		if parts[part] == nil {
			order = append(order, part)
		}
		parts[part] = append(parts[part], m)
	}
	report := Report{Format: ReportFormat, Tables: []Table{}}
	for _, part := range order {
		table, err := newTable(parts[part], options)
		if err != nil {
			return Report{}, err
		}
		report.Tables = append(report.Tables, table)
	}
	return report, nil
}
