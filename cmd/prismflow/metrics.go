package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
	"github.com/prismflow/prismflow/stages/tables"
)

// evaluateKind is the kind whose stages compare models, and metricsOutput the
// output in which they say how good those are; modelInput is what they read the
// model from.
const (
	evaluateKind  = "evaluate"
	metricsOutput = "metrics"
	modelInput    = "model"
)

// baselines are what models are compared with.
var baselines = []string{"popularity", "knn"}

// metricsReport is what `metrics --json` prints.
type metricsReport struct {
	Format  int         `json:"format"`
	Metrics []metricRow `json:"metrics"`
}

type metricRow struct {
	Stage  string  `json:"stage"`
	Model  string  `json:"model"`
	Split  string  `json:"split"`
	Metric string  `json:"metric"`
	K      int32   `json:"k"`
	Value  float64 `json:"value"`
	N      int64   `json:"n"`
}

const metricsDoc = `Metrics prints what the newest results of all evaluate stages say: a table for
each split, models below each other, baselines last.

With one target a user, recall at k is the hit rate at k.`

func newMetricsCommand(s *streams) *cobra.Command {
	var o pipelineOptions
	asJSON := false
	cmd := &cobra.Command{
		Use:               "metrics FILE",
		Short:             "Print the metrics of evaluated models",
		Long:              metricsDoc,
		Example:           "  prismflow metrics demo\n  prismflow metrics sports.toml --json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeThen(completePipelines),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runMetrics(cmd.Context(), args[0], &o, asJSON, s)
		},
	}
	o.register(cmd)
	registerJSON(cmd, &asJSON, "print one JSON object")
	return cmd
}

func runMetrics(ctx context.Context, file string, o *pipelineOptions, asJSON bool, s *streams) (err error) {
	w, err := openWorkspace(file, o, s)
	if err != nil {
		return err
	}
	defer w.closing(&err)
	metrics, err := readMetrics(ctx, w)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(s.out, metricsReport{Format: 1, Metrics: metrics})
	}
	if len(metrics) == 0 {
		s.err.printf("%s has no %s stage with a result\n", file, evaluateKind)
	}
	w.writeMetricTables(s.out, metrics, s.colourful(s.out))
	return nil
}

// readMetrics reads the newest metrics of all stages that evaluate. A stage
// without a result has none, unless no stage has.
func readMetrics(ctx context.Context, w *workspace) ([]metricRow, error) {
	metrics := []metricRow{}
	var missing error
	for _, spec := range w.pipeline.Stages {
		if spec.Kind != evaluateKind {
			continue
		}
		_, path, err := w.engine.Output(ctx, stages.Ref{Stage: spec.Name, Output: metricsOutput})
		if errors.Is(err, engine.ErrNoResult) {
			missing = err
			continue
		}
		if err != nil {
			return nil, err
		}
		rows, err := table.ReadAll[tables.Metric](path)
		if err != nil {
			return nil, fmt.Errorf("reading the metrics of stage %s: %w", spec.Name, err)
		}
		for _, row := range rows {
			metrics = append(metrics, metricRow{spec.Name, row.Model, row.Split, row.Metric, row.K, row.Value, row.Users})
		}
	}
	if len(metrics) == 0 {
		return metrics, missing
	}
	return metrics, nil
}

// writeMetricTables compares the models on each split: a block for each metric,
// with a line for each model, a column for each cut-off, and the best marked.
func (w *workspace) writeMetricTables(to stream, metrics []metricRow, colour bool) {
	type group struct {
		split string
		n     int64
	}
	var order []group
	groups := map[group][]metricRow{}
	for _, row := range metrics {
		g := group{row.Split, row.N}
		if _, ok := groups[g]; !ok {
			order = append(order, g)
		}
		groups[g] = append(groups[g], row)
	}
	for i, g := range order {
		if i > 0 {
			to.printf("\n")
		}
		to.printf("%s split, %s\n", g.split, count(int(g.n), "user"))
		newMetricTable(w.label(groups[g])).write(to, colour)
	}
}

// label gives the rows of several stages names that tell their models apart: a
// model that all stages have found equally good, as baselines are, keeps its
// own; any other goes by the stage that trained it.
func (w *workspace) label(rows []metricRow) []metricRow {
	stagesOf := map[string]map[string]string{} // model → stage → its values
	for _, row := range rows {
		if stagesOf[row.Model] == nil {
			stagesOf[row.Model] = map[string]string{}
		}
		stagesOf[row.Model][row.Stage] += fmt.Sprintln(row.Metric, row.K, row.Value)
	}
	labelled := slices.Clone(rows)
	for i, row := range labelled {
		values := map[string]bool{}
		for _, v := range stagesOf[row.Model] {
			values[v] = true
		}
		if len(values) > 1 {
			labelled[i].Model = w.trainer(row.Stage)
		}
	}
	return labelled
}

// trainer is the stage whose model a stage evaluates, or that stage itself.
func (w *workspace) trainer(evaluate string) string {
	spec, ok := w.stage(evaluate)
	if !ok {
		return evaluate
	}
	for _, input := range spec.Stage.Inputs() {
		if input.Port == modelInput {
			return input.From.Stage
		}
	}
	return evaluate
}

// A metricTable is a matrix of models by metrics at cut-offs.
type metricTable struct {
	models, metrics []string
	cutoffs         map[string][]int32
	values          map[metricCell]float64
}

type metricCell struct {
	model, metric string
	k             int32
}

func newMetricTable(rows []metricRow) metricTable {
	t := metricTable{cutoffs: map[string][]int32{}, values: map[metricCell]float64{}}
	for _, row := range rows {
		if !slices.Contains(t.metrics, row.Metric) {
			t.metrics = append(t.metrics, row.Metric)
		}
		if !slices.Contains(t.models, row.Model) {
			t.models = append(t.models, row.Model)
		}
		if !slices.Contains(t.cutoffs[row.Metric], row.K) {
			t.cutoffs[row.Metric] = append(t.cutoffs[row.Metric], row.K)
		}
		t.values[metricCell{row.Model, row.Metric, row.K}] = row.Value
	}
	slices.SortStableFunc(t.models, func(a, b string) int { return isBaseline(a) - isBaseline(b) })
	return t
}

// isBaseline is 1 for the baselines, which stand below all models.
func isBaseline(model string) int {
	if slices.Contains(baselines, model) {
		return 1
	}
	return 0
}

func (t metricTable) best(metric string, k int32) float64 {
	best := 0.0
	for _, model := range t.models {
		best = max(best, t.values[metricCell{model, metric, k}])
	}
	return best
}

func (t metricTable) write(to stream, colour bool) {
	width := 0
	for _, model := range t.models {
		width = max(width, len(model))
	}
	for _, metric := range t.metrics {
		var line strings.Builder
		fmt.Fprintf(&line, "  %-*s", width, "")
		for _, k := range t.cutoffs[metric] {
			fmt.Fprintf(&line, "  %10s", fmt.Sprintf("%s@%d", metric, k))
		}
		to.printf("%s\n", line.String())
		for _, model := range t.models {
			line.Reset()
			fmt.Fprintf(&line, "  %-*s", width, model)
			for _, k := range t.cutoffs[metric] {
				line.WriteString("  " + t.cell(metricCell{model, metric, k}, colour))
			}
			to.printf("%s\n", line.String())
		}
	}
}

func (t metricTable) cell(at metricCell, colour bool) string {
	value, ok := t.values[at]
	if !ok {
		return fmt.Sprintf("%10s", "–")
	}
	text := fmt.Sprintf("%10.4f", value)
	if colour && value == t.best(at.metric, at.k) {
		return bold + text + plain
	}
	return text
}

// Escape sequences of terminals.
const (
	bold  = "\x1b[1m"
	faint = "\x1b[2m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	plain = "\x1b[0m"
)
