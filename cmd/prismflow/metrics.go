package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/compare"
	"github.com/prismflow/prismflow/stages/tables"
)

// evaluateKind is the kind whose stages compare models, metricsOutput the output
// in which they say how good those are, and slicesOutput that for some of the
// answers; modelInput is what they read the model from, splitInput the answers.
const (
	evaluateKind  = "evaluate"
	metricsOutput = compare.MetricsOutput
	slicesOutput  = "slices"
	modelInput    = "model"
	splitInput    = "split"
)

// baselines are what models are compared with.
var baselines = []string{"popularity", "knn"}

// metricsReport is what `metrics --json` prints.
type metricsReport struct {
	Format  int         `json:"format"`
	Metrics []metricRow `json:"metrics"`
	Slices  []sliceRow  `json:"slices,omitempty"` // when they are asked for
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

type sliceRow struct {
	Stage  string  `json:"stage"`
	Model  string  `json:"model"`
	Split  string  `json:"split"`
	Slice  string  `json:"slice"`
	Bucket string  `json:"bucket"`
	Metric string  `json:"metric"`
	K      int32   `json:"k"`
	Value  float64 `json:"value"`
	N      int64   `json:"n"`
}

const metricsDoc = `Metrics prints what the newest results of all evaluate stages say: a table for
each split, models below each other, baselines last. What is recommended
(coverage, Gini index, average popularity, novelty) is shown at one k, 10 where
there is one; --json has it at all.

With one target a user, recall at k is the hit rate at k. With --slices, tables of
ndcg for cold and warm items, by item frequency, by history length and by modality
follow, with the number of users in each. What was measured differently (another
split, filter of seen items or rule for ties) stands in tables of its own.

` + resultsDoc

func newMetricsCommand(s *streams) *cobra.Command {
	var o pipelineOptions
	asJSON, slices := false, false
	cmd := &cobra.Command{
		Use:               "metrics FILE",
		Short:             "Print the metrics of evaluated models",
		Long:              metricsDoc,
		Example:           "  prismflow metrics demo\n  prismflow metrics demo --slices\n  prismflow metrics sports.toml --json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeThen(completePipelines),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runMetrics(cmd.Context(), args[0], &o, asJSON, slices, s)
		},
	}
	o.register(cmd)
	registerStale(cmd, &o)
	registerJSON(cmd, &asJSON, "print one JSON object")
	cmd.Flags().BoolVar(&slices, "slices", false, "also tell how good models are for some of the answers")
	return cmd
}

func runMetrics(ctx context.Context, file string, o *pipelineOptions, asJSON, withSlices bool, s *streams) (err error) {
	w, err := openResults(file, o, s)
	if err != nil {
		return err
	}
	defer w.closing(&err)
	metrics, err := readMetrics(ctx, w)
	if err != nil {
		return err
	}
	var slices []sliceRow
	if withSlices {
		if slices, err = readSlices(ctx, w); err != nil {
			return err
		}
	}
	if asJSON {
		return writeJSON(s.out, metricsReport{Format: 1, Metrics: metrics, Slices: slices})
	}
	if len(metrics) == 0 {
		s.err.printf("%s has no %s stage with a result\n", file, evaluateKind)
	}
	w.writeMetricTables(s.out, metrics, s.colourful(s.out))
	w.writeSliceTables(s.out, slices, w.alikeNames(metrics))
	return nil
}

// readMetrics reads the newest metrics of all stages that evaluate. A stage
// without a result has none, unless no stage has.
func readMetrics(ctx context.Context, w *workspace) ([]metricRow, error) {
	metrics := []metricRow{}
	err := readEvaluations(ctx, w, metricsOutput, func(stage string, row tables.Metric) {
		metrics = append(metrics, metricRow{stage, row.Model, row.Split, row.Metric, row.K, row.Value, row.Users})
	})
	return metrics, err
}

func readSlices(ctx context.Context, w *workspace) ([]sliceRow, error) {
	var slices []sliceRow
	err := readEvaluations(ctx, w, slicesOutput, func(stage string, row tables.Slice) {
		slices = append(slices, sliceRow{stage, row.Model, row.Split, row.Slice, row.Bucket, row.Metric, row.K, row.Value, row.Users})
	})
	return slices, err
}

// readEvaluations reads the newest result of an output of all stages that
// evaluate.
func readEvaluations[Row any](ctx context.Context, w *workspace, output string, add func(stage string, row Row)) error {
	var missing error
	found := false
	if w.protocols == nil {
		w.protocols = map[string]string{}
	}
	for _, spec := range w.pipeline.Stages {
		if spec.Kind != evaluateKind {
			continue
		}
		manifest, err := w.result(ctx, spec.Name)
		if noResult(err) {
			missing = err
			continue
		}
		if err != nil {
			return err
		}
		w.protocols[spec.Name] = protocolOf(manifest.Request)
		path, err := w.bytesOf(ctx, manifest, stages.Ref{Stage: spec.Name, Output: output})
		if err != nil {
			return err
		}
		rows, err := table.ReadAll[Row](path)
		if err != nil {
			return fmt.Errorf("reading the %s of stage %s: %w", output, spec.Name, err)
		}
		for _, row := range rows {
			add(spec.Name, row)
		}
		found = true
	}
	if found {
		return nil
	}
	return missing
}

// accuracy are the metrics that say how well answers are found. The others are
// not the better for being higher.
var accuracy = []string{"recall", "ndcg", "mrr"}

func isAccuracy(row metricRow) bool { return slices.Contains(accuracy, row.Metric) }

// writeMetricTables compares the models on each split: a block for each metric,
// with a line for each model, a column for each cut-off, and the best marked;
// then what they recommend, at one cut-off.
func (w *workspace) writeMetricTables(to stream, metrics []metricRow, colour bool) {
	type evaluated struct{ stage, split string }
	users := map[evaluated]int64{} // some recommend nothing to some users, but belong to the others
	for _, row := range metrics {
		if isAccuracy(row) {
			users[evaluated{row.Stage, row.Split}] = row.N
		}
	}
	type group struct {
		split    string
		n        int64
		protocol string
	}
	var order []group
	groups := map[group][]metricRow{}
	ofSplit := map[string]int{} // groups
	for _, row := range metrics {
		g := group{row.Split, users[evaluated{row.Stage, row.Split}], w.protocols[row.Stage]}
		if _, ok := groups[g]; !ok {
			order = append(order, g)
			ofSplit[g.split]++
		}
		groups[g] = append(groups[g], row)
	}
	for i, g := range order {
		if i > 0 {
			to.printf("\n")
		}
		by := ""
		if ofSplit[g.split] > 1 {
			by = byStages(groups[g])
		}
		to.printf("%s split, %s%s\n", g.split, count(int(g.n), "user"), by)
		writeMetricBlocks(to, w.label(groups[g]), colour)
	}
}

// protocolOf tells apart evaluations whose numbers do not compare although they
// are of as many users.
func protocolOf(request artifacts.Request) string {
	return fmt.Sprint(request.Inputs[splitInput], request.Params["filter_seen"], request.Params["ties"])
}

// byStages names the stages that evaluated, where that is not all of them.
func byStages(rows []metricRow) string {
	var names []string
	for _, row := range rows {
		if !slices.Contains(names, row.Stage) {
			names = append(names, row.Stage)
		}
	}
	return ", by " + strings.Join(names, ", ")
}

// writeMetricBlocks prints the metrics of some models on the same answers.
func writeMetricBlocks(to stream, rows []metricRow, colour bool) {
	found, recommended := newMetricTable(), newMetricTable()
	k := shownCutoff(rows)
	for _, row := range rows {
		if isAccuracy(row) {
			found.add(row.Metric, row)
		} else if row.K == k {
			recommended.add("", row)
		}
	}
	found.write(to, colour)
	recommended.write(to, false)
}

// shownCutoff is that of tables that have room for one: 10 where there is one,
// as in most papers, else the largest.
func shownCutoff(rows []metricRow) int32 {
	k := int32(0)
	for _, row := range rows {
		if row.K == 10 {
			return 10
		}
		k = max(k, row.K)
	}
	return k
}

// label gives the rows of several stages names that tell their models apart.
func (w *workspace) label(rows []metricRow) []metricRow {
	name := w.modelNames(rows)
	labelled := slices.Clone(rows)
	for i, row := range labelled {
		labelled[i].Model = name(row.Stage, row.Model)
	}
	return labelled
}

// modelNames tells the models of several stages apart: a model that all stages
// have found equally good, as baselines are on the same answers, keeps its own
// name; any other goes by the stage that trained it, and a baseline, or what was
// evaluated in several ways, by the one that evaluated it as well.
func (w *workspace) modelNames(rows []metricRow) func(stage, model string) string {
	stagesOf := map[string]map[string]string{} // model → stage → its values
	for _, row := range rows {
		if stagesOf[row.Model] == nil {
			stagesOf[row.Model] = map[string]string{}
		}
		stagesOf[row.Model][row.Stage] += fmt.Sprintln(row.Metric, row.K, row.Value)
	}
	differs := map[string]bool{}
	for model, values := range stagesOf {
		distinct := map[string]bool{}
		for _, v := range values {
			distinct[v] = true
		}
		differs[model] = len(distinct) > 1
	}
	return func(stage, model string) string {
		switch {
		case !differs[model]:
			return model
		case isBaseline(model) == 1:
			return model + " of " + stage
		case w.evaluatedTwice(stage, stagesOf[model]):
			return w.trainer(stage) + " of " + stage
		}
		return w.trainer(stage)
	}
}

// alikeNames is modelNames among what was measured alike, as tables have it.
func (w *workspace) alikeNames(rows []metricRow) func(stage, model string) string {
	alike := map[string][]metricRow{} // by protocol
	for _, row := range rows {
		protocol := w.protocols[row.Stage]
		alike[protocol] = append(alike[protocol], row)
	}
	return func(stage, model string) string { return w.modelNames(alike[w.protocols[stage]])(stage, model) }
}

// evaluatedTwice says whether another stage has other values for the model that
// a stage evaluated.
func (w *workspace) evaluatedTwice(stage string, values map[string]string) bool {
	for other := range values {
		if other != stage && w.trainer(other) == w.trainer(stage) && values[other] != values[stage] {
			return true
		}
	}
	return false
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

// A metricTable has blocks of lines for models and columns for metrics at
// cut-offs.
type metricTable struct {
	models, blocks []string
	columns        map[string][]string // by block
	values         map[metricCell]float64
}

type metricCell struct{ model, column string }

func newMetricTable() *metricTable {
	return &metricTable{columns: map[string][]string{}, values: map[metricCell]float64{}}
}

// add adds a value to a block.
func (t *metricTable) add(block string, row metricRow) {
	column := fmt.Sprintf("%s@%d", strings.ReplaceAll(row.Metric, "_", " "), row.K)
	if !slices.Contains(t.blocks, block) {
		t.blocks = append(t.blocks, block)
	}
	if !slices.Contains(t.models, row.Model) {
		t.models = append(t.models, row.Model)
		slices.SortStableFunc(t.models, func(a, b string) int { return isBaseline(a) - isBaseline(b) })
	}
	if !slices.Contains(t.columns[block], column) {
		t.columns[block] = append(t.columns[block], column)
	}
	t.values[metricCell{row.Model, column}] = row.Value
}

// isBaseline is 1 for the baselines, which stand below all models.
func isBaseline(model string) int {
	if slices.Contains(baselines, model) {
		return 1
	}
	return 0
}

func (t *metricTable) best(column string) float64 {
	best := 0.0
	for _, model := range t.models {
		best = max(best, t.values[metricCell{model, column}])
	}
	return best
}

func (t *metricTable) write(to stream, colour bool) {
	width := 0
	for _, model := range t.models {
		width = max(width, len(model))
	}
	for _, block := range t.blocks {
		var line strings.Builder
		fmt.Fprintf(&line, "  %-*s", width, "")
		for _, column := range t.columns[block] {
			fmt.Fprintf(&line, "  %*s", columnWidth(column), column)
		}
		to.printf("%s\n", line.String())
		for _, model := range t.models {
			line.Reset()
			fmt.Fprintf(&line, "  %-*s", width, model)
			for _, column := range t.columns[block] {
				line.WriteString("  " + t.cell(metricCell{model, column}, colour))
			}
			to.printf("%s\n", line.String())
		}
	}
}

func columnWidth(column string) int { return max(10, len(column)) }

func (t *metricTable) cell(at metricCell, colour bool) string {
	value, ok := t.values[at]
	if !ok {
		return fmt.Sprintf("%*s", columnWidth(at.column), "–")
	}
	text := fmt.Sprintf("%*.4f", columnWidth(at.column), value)
	if colour && value == t.best(at.column) {
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
