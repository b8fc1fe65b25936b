package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages/engine"
)

// runsDiffReport is what `runs diff --json` prints.
type runsDiffReport struct {
	Format int    `json:"format"`
	Before string `json:"before"`
	After  string `json:"after"`
	engine.RunDiff
	Metrics []metricChange `json:"metrics"`
}

// A metricChange is one metric of two runs; null where a run has none.
type metricChange struct {
	Stage  string   `json:"stage"`
	Model  string   `json:"model"`
	Split  string   `json:"split"`
	Metric string   `json:"metric"`
	K      int32    `json:"k"`
	Before *float64 `json:"before"`
	After  *float64 `json:"after"`
}

const runsDiffDoc = `Diff says how run B differs from run A: in parameters of the pipeline, in the
content of files that were read, in the stages whose keys differ, and why, in
what they ran on, and in the metrics that they came to. Whether a difference of
metrics means anything is for "prismflow compare" to say.

` + runNames

func newRunsDiffCommand(s *streams) *cobra.Command {
	var o runsOptions
	cmd := &cobra.Command{
		Use:     "diff A B",
		Short:   "Say how two runs differ",
		Long:    runsDiffDoc,
		Example: "  prismflow runs diff last~1 last\n  prismflow runs diff 20261125 20261126-09 --json",
		Args:    cobra.ExactArgs(2),
		RunE:    func(cmd *cobra.Command, args []string) error { return runRunsDiff(cmd.Context(), args, o, s) },
	}
	o.register(cmd, s)
	return cmd
}

func runRunsDiff(ctx context.Context, names []string, o runsOptions, s *streams) error {
	book, err := openRuns(o, s)
	if err != nil {
		return err
	}
	defer book.store.Close()
	found, err := book.findAll(names)
	if err != nil {
		return err
	}
	var records []engine.FullRecord
	var metrics [][]metricRow
	for _, record := range found {
		if record.Damaged != "" || record.Unended {
			return fmt.Errorf("run %s is %s: there is nothing to compare with", record.Run, book.stateOf(record))
		}
		full, err := engine.ReadRecord(ctx, book.store, record.Run)
		if err != nil {
			return err
		}
		rows, gone := book.metrics(ctx, record)
		for _, stage := range gone {
			s.err.printf("the metrics of stage %s of run %s are no longer in the cache\n", stage, record.Run)
		}
		records, metrics = append(records, full), append(metrics, rows)
	}
	report := runsDiffReport{
		Format: 1, Before: found[0].Run, After: found[1].Run,
		RunDiff: engine.DiffRuns(records[0], records[1]), Metrics: metricChanges(metrics[0], metrics[1]),
	}
	if o.json {
		return writeJSON(s.out, report)
	}
	for i, record := range found {
		s.out.printf("%s  %s  %s  %s  %s\n", []string{"before", "after "}[i], record.Run, book.stateOf(record), record.Pipeline, instant(record.Began()))
	}
	s.out.printf("\n")
	writeRunDiff(s.out, report.RunDiff)
	return writeMetricChanges(s.out, report.RunDiff, report.Metrics)
}

// metricChanges puts the metrics of two runs side by side, in the order of the
// later one.
func metricChanges(before, after []metricRow) []metricChange {
	changes := []metricChange{}
	at := map[metricChange]int{} // by what it is of
	add := func(row metricRow) *metricChange {
		of := metricChange{Stage: row.Stage, Model: row.Model, Split: row.Split, Metric: row.Metric, K: row.K}
		i, ok := at[of]
		if !ok {
			i = len(changes)
			at[of], changes = i, append(changes, of)
		}
		return &changes[i]
	}
	for _, row := range after {
		add(row).After = &row.Value
	}
	for _, row := range before {
		add(row).Before = &row.Value
	}
	return changes
}

// writeRunDiff prints what differs, a line each.
func writeRunDiff(to stream, d engine.RunDiff) {
	if d.Same() {
		to.printf("  nothing\n")
		return
	}
	for _, p := range d.Params {
		to.printf("  parameter %s\n", p.Text)
	}
	for _, f := range d.Files {
		name := f.Name
		if name != "" {
			name = " " + printable(name)
		}
		to.printf("  file of %s, %s%s: %s → %s\n", f.Stage, f.Param, name, digestText(f.Before), digestText(f.After))
	}
	var same []string
	for _, stage := range d.Stages {
		if stage.Change == engine.StageSame {
			same = append(same, stage.Name)
			continue
		}
		to.printf("  stage %s: %s\n", stage.Name, stageChange(stage))
	}
	for _, v := range d.Versions {
		to.printf("  version of %s\n", v.Text)
	}
	if len(same) > 0 {
		to.printf("  the same: %s\n", strings.Join(same, ", "))
	}
}

func digestText(d artifacts.Digest) string {
	if d == "" {
		return "(absent)"
	}
	return d.Short()
}

// stageChange says what became of a stage.
func stageChange(stage engine.StageDiff) string {
	switch stage.Change {
	case engine.StageAdded:
		return "only in the later run"
	case engine.StageRemoved:
		return "only in the earlier run"
	case engine.StageUnknown:
		return "one of the runs did not get to it"
	}
	var texts []string
	for _, difference := range stage.Differences {
		texts = append(texts, printable(difference.Text))
	}
	return strings.Join(texts, "; ")
}

// writeMetricChanges prints the metrics that differ, but not all those of a stage
// that only one of the runs had: that was said of the stage.
func writeMetricChanges(to stream, d engine.RunDiff, changes []metricChange) error {
	changes = slices.DeleteFunc(slices.Clone(changes), func(c metricChange) bool {
		return slices.ContainsFunc(d.Stages, func(s engine.StageDiff) bool {
			return s.Name == c.Stage && (s.Change == engine.StageAdded || s.Change == engine.StageRemoved)
		})
	})
	differ := slices.DeleteFunc(slices.Clone(changes), func(c metricChange) bool {
		return c.Before != nil && c.After != nil && *c.Before == *c.After
	})
	if len(differ) > 0 {
		to.printf("\n")
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "stage\tmodel\tsplit\tmetric\tbefore\tafter\tchange")
		for _, c := range differ {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s@%d\t%s\t%s\t%s\n", c.Stage, c.Model, c.Split, c.Metric, c.K, valueOrNone(c.Before), valueOrNone(c.After), c.change())
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if same := len(changes) - len(differ); same > 0 {
		to.printf("\nthe same: %s\n", count(same, "metric"))
	}
	return nil
}

// change is what a metric gained.
func (c metricChange) change() string {
	if c.Before == nil || c.After == nil {
		return "–"
	}
	return fmt.Sprintf("%+.4f", *c.After-*c.Before)
}

func valueOrNone(value *float64) string {
	if value == nil {
		return "–"
	}
	return fmt.Sprintf("%.4f", *value)
}
