package compare

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages/tables"
)

// The outputs, both tables, that make a result an evaluation.
const (
	MetricsOutput = "metrics"
	RanksOutput   = "ranks"
)

const (
	modelInput = "model" // brings the model

	// What the stage kind of this program reads for its slices alone: neither
	// metrics nor ranks depend on it.
	evaluateKind = "evaluate"
	slicesInput  = "features"
)

// baselines are the models that owe nothing to the trained one beside them.
var baselines = []string{"popularity", "knn"}

// A Subject is what is compared: the results that belong together, of a run, of
// a point of a sweep, or the newest of a pipeline file.
type Subject struct {
	Name    string
	Results []Result // in the pipeline's order
	Open    func(context.Context, artifacts.Digest) (path string, err error)
}

// A Result is what a stage came to.
type Result struct {
	Stage    string
	Manifest artifacts.Manifest
}

// A Measurement is how one model did on one part of a split.
type Measurement struct {
	Subject  string
	Stage    string // that evaluated
	Key      artifacts.Key
	Model    string
	Protocol Protocol

	settings settings // of all that the model's numbers depend on
	metrics  []tables.Metric
	ranks    []tables.Rank
}

func (m *Measurement) baseline() bool { return slices.Contains(baselines, m.Model) }

// place is the measurement in messages.
func (m *Measurement) place() string {
	return fmt.Sprintf("%s (%s of %s)", m.Model, m.Stage, m.Subject)
}

// Evaluates says whether a result is an evaluation.
func Evaluates(m artifacts.Manifest) bool {
	return m.Outputs[MetricsOutput].IsTable() && m.Outputs[RanksOutput].IsTable()
}

// Read reads all evaluations of a subject. Having none is an error.
func Read(ctx context.Context, subject Subject) ([]*Measurement, error) {
	var all []*Measurement
	for _, result := range subject.Results {
		if !Evaluates(result.Manifest) {
			continue
		}
		measured, err := read(ctx, subject, result)
		if err != nil {
			return nil, fmt.Errorf("%s: stage %s: %w", subject.Name, result.Stage, err)
		}
		all = append(all, measured...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no evaluation: no result with the tables %s and %s", subject.Name, MetricsOutput, RanksOutput)
	}
	return all, nil
}

func read(ctx context.Context, subject Subject, result Result) ([]*Measurement, error) {
	metrics, err := readTable[tables.Metric](ctx, subject, result, MetricsOutput)
	if err != nil {
		return nil, err
	}
	ranks, err := readTable[tables.Rank](ctx, subject, result, RanksOutput)
	if err != nil {
		return nil, err
	}
	type part struct{ model, split string }
	parts := map[part]*Measurement{}
	var order []*Measurement
	for _, row := range metrics {
		at := part{row.Model, row.Split}
		if parts[at] == nil {
			parts[at] = &Measurement{Subject: subject.Name, Stage: result.Stage, Key: result.Manifest.Key, Model: row.Model}
			parts[at].Protocol.Part = row.Split
			order = append(order, parts[at])
		}
		parts[at].metrics = append(parts[at].metrics, row)
	}
	for _, row := range ranks {
		m := parts[part{row.Model, row.Split}]
		if m == nil {
			return nil, fmt.Errorf("its ranks are of %s on the %s split, of which its metrics say nothing", row.Model, row.Split)
		}
		m.ranks = append(m.ranks, row)
	}
	behind := lineageOf(subject, result)
	for _, m := range order {
		if len(m.ranks) == 0 {
			return nil, fmt.Errorf("it has metrics of %s on the %s split and no ranks", m.Model, m.Protocol.Part)
		}
		m.settings = behind.settings(m.baseline())
		m.Protocol.fill(behind, m)
	}
	return order, nil
}

func readTable[Row any](ctx context.Context, subject Subject, result Result, output string) ([]Row, error) {
	path, err := subject.Open(ctx, result.Manifest.Outputs[output].Digest)
	if err != nil {
		return nil, fmt.Errorf("its %s are no longer in the cache; run it again: %w", output, err)
	}
	rows, err := table.ReadAll[Row](path)
	if err != nil {
		return nil, fmt.Errorf("reading its %s: %w", output, err)
	}
	return rows, nil
}

// A lineage is a result and all that it was made of, each by its role: the
// inputs that lead to it from the result, such as "model.split". So what two
// evaluations were made of compares although their stages have other names.
type lineage struct {
	results map[string]Result
	missing map[string]artifacts.Digest // inputs that no known result made
}

func lineageOf(subject Subject, result Result) lineage {
	l := lineage{map[string]Result{"": result}, map[string]artifacts.Digest{}}
	l.follow(subject, "", result, map[string]bool{})
	return l
}

// follow adds what a result was made of. A stage that several inputs lead to has
// the first role alone: where it is found again it says nothing new. So does any
// other that has the same columns, as features hand on the ids of items; of stages
// that are all new, the last has handed on what the others made. The model
// comes last, so that what is behind the split has a role in which the model
// does not occur.
func (l lineage) follow(subject Subject, role string, result Result, seen map[string]bool) {
	seen[result.Stage] = true
	inputs := result.Manifest.Request.Inputs
	ports := slices.SortedFunc(maps.Keys(inputs), func(a, b string) int {
		return cmp.Or(last(a)-last(b), cmp.Compare(a, b))
	})
	for _, port := range ports {
		if result.Manifest.Request.Kind == evaluateKind && port == slicesInput {
			continue
		}
		at := joined(role, port)
		feeding := slices.DeleteFunc(slices.Clone(subject.Results), func(r Result) bool {
			return r.Stage == result.Stage || !feeds(r.Manifest, inputs[port])
		})
		switch {
		case len(feeding) == 0:
			l.missing[at] = combined(inputs[port])
		case !slices.ContainsFunc(feeding, func(r Result) bool { return seen[r.Stage] }):
			from := feeding[len(feeding)-1]
			l.results[at] = from
			l.follow(subject, at, from, seen)
		}
	}
}

func last(port string) int {
	if port == modelInput {
		return 1
	}
	return 0
}

func joined(role, port string) string {
	if role == "" {
		return port
	}
	return role + "." + port
}

// feeds says whether one of a result's outputs is what an input read.
func feeds(m artifacts.Manifest, read map[string]artifacts.Digest) bool {
	for _, output := range m.Outputs {
		if len(read) == 1 && read[""] == output.Digest {
			return true
		}
		columns := map[string]artifacts.Digest{}
		for _, column := range output.Columns {
			columns[column.Name] = column.Digest
		}
		matched := 0
		for name, digest := range read {
			if name != "" && columns[name] == digest {
				matched++
			}
		}
		named := len(read)
		if _, whole := read[""]; whole {
			named--
		}
		if named > 0 && matched == named {
			return true
		}
	}
	return false
}

// combined is one digest for all that an input read.
func combined(read map[string]artifacts.Digest) artifacts.Digest {
	var text []byte
	for _, name := range slices.Sorted(maps.Keys(read)) {
		text = fmt.Appendf(text, "%q %s\n", name, read[name])
	}
	return artifacts.DigestOf(text)
}
