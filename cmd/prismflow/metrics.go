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
// output in which they say how good those are.
const (
	evaluateKind  = "evaluate"
	metricsOutput = "metrics"
)

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

const metricsDoc = `Metrics prints what the newest results of all evaluate stages say: one table for
each stage and split, models below each other, baselines among them.

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
	writeMetricTables(s.out, metrics, s.colourful(s.out))
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

// writeMetricTables prints a table for each stage and split: a line for each
// model, a column for each metric and cut-off, the best of a column marked.
func writeMetricTables(to stream, metrics []metricRow, colour bool) {
	type group struct{ stage, split string }
	var order []group
	groups := map[group][]metricRow{}
	for _, row := range metrics {
		g := group{row.Stage, row.Split}
		if _, ok := groups[g]; !ok {
			order = append(order, g)
		}
		groups[g] = append(groups[g], row)
	}
	for i, g := range order {
		if i > 0 {
			to.printf("\n")
		}
		rows := groups[g]
		to.printf("%s, %s split, %s\n", g.stage, g.split, count(int(rows[0].N), "user"))
		newMetricTable(rows).write(to, colour)
	}
}

// A metricTable is a matrix of models by metrics.
type metricTable struct {
	models, columns []string
	values          map[[2]string]float64
}

func newMetricTable(rows []metricRow) metricTable {
	t := metricTable{values: map[[2]string]float64{}}
	for _, row := range rows {
		column := fmt.Sprintf("%s@%d", row.Metric, row.K)
		if !slices.Contains(t.columns, column) {
			t.columns = append(t.columns, column)
		}
		if !slices.Contains(t.models, row.Model) {
			t.models = append(t.models, row.Model)
		}
		t.values[[2]string{row.Model, column}] = row.Value
	}
	return t
}

func (t metricTable) best(column string) float64 {
	best := 0.0
	for _, model := range t.models {
		best = max(best, t.values[[2]string{model, column}])
	}
	return best
}

func (t metricTable) write(to stream, colour bool) {
	width := 0
	for _, model := range t.models {
		width = max(width, len(model))
	}
	var line strings.Builder
	fmt.Fprintf(&line, "  %-*s", width, "")
	for _, column := range t.columns {
		fmt.Fprintf(&line, "  %9s", column)
	}
	to.printf("%s\n", line.String())
	for _, model := range t.models {
		line.Reset()
		fmt.Fprintf(&line, "  %-*s", width, model)
		for _, column := range t.columns {
			line.WriteString("  " + t.cell(model, column, colour))
		}
		to.printf("%s\n", line.String())
	}
}

func (t metricTable) cell(model, column string, colour bool) string {
	value, ok := t.values[[2]string{model, column}]
	width := max(9, len(column))
	if !ok {
		return fmt.Sprintf("%*s", width, "–")
	}
	text := fmt.Sprintf("%*.4f", width, value)
	if colour && value == t.best(column) {
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
