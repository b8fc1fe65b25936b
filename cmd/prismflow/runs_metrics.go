package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages/engine"
	"github.com/prismflow/prismflow/stages/tables"
)

// metrics are what the evaluations of a run said, read from the store; gone are
// the stages whose metrics are no longer there, or cannot be read.
func (b runBook) metrics(ctx context.Context, record engine.Record) (metrics []metricRow, gone []string) {
	metrics = []metricRow{}
	for _, stage := range record.Stages {
		output, ok := stage.Outputs[metricsOutput]
		if stage.Kind != evaluateKind || !ok {
			continue
		}
		path, err := b.store.Verified(ctx, output.Digest)
		if err != nil {
			gone = append(gone, stage.Name)
			continue
		}
		rows, err := table.ReadAll[tables.Metric](path)
		if err != nil {
			gone = append(gone, stage.Name)
			continue
		}
		for _, row := range rows {
			metrics = append(metrics, metricRow{stage.Name, row.Model, row.Split, row.Metric, row.K, row.Value, row.Users})
		}
	}
	return metrics, gone
}

// Of the metrics of a stage one stands for all in a list: of the model, on the
// test answers, ndcg at 10, or what is nearest to that.
const (
	headlineSplit  = "test"
	headlineMetric = "ndcg"
	headlineK      = 10
)

// headlines are one metric for each stage.
func headlines(metrics []metricRow) []metricRow {
	best := []metricRow{}
	for _, row := range metrics {
		if slices.Contains(baselines, row.Model) {
			continue
		}
		at := slices.IndexFunc(best, func(b metricRow) bool { return b.Stage == row.Stage })
		switch {
		case at < 0:
			best = append(best, row)
		case headlineWorth(row) > headlineWorth(best[at]):
			best[at] = row
		}
	}
	return best
}

// headlineWorth orders the metrics of a stage by how well they stand for it.
func headlineWorth(row metricRow) int {
	worth := 0
	if row.Split == headlineSplit {
		worth += 4
	}
	if row.Metric == headlineMetric {
		worth += 2
	}
	if row.K == headlineK {
		worth++
	}
	return worth
}

// headlineStages is how many stages have their metric in a list; a sweep has many.
const headlineStages = 2

// headlineText is the headlines on one line.
func headlineText(metrics []metricRow) string {
	var parts []string
	for i, row := range metrics {
		if i == headlineStages {
			parts = append(parts, fmt.Sprintf("and of %d more", len(metrics)-i))
			break
		}
		text := fmt.Sprintf("%s@%d %.4f", row.Metric, row.K, row.Value)
		if len(metrics) > 1 {
			text = row.Stage + " " + text
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// writeRunMetrics prints the metrics of each stage.
func writeRunMetrics(to stream, metrics []metricRow, gone []string, colour bool) {
	type part struct{ stage, split string }
	var order []part
	groups := map[part][]metricRow{}
	for _, row := range metrics {
		at := part{row.Stage, row.Split}
		if groups[at] == nil {
			order = append(order, at)
		}
		groups[at] = append(groups[at], row)
	}
	for _, at := range order {
		to.printf("\n%s, %s split, %s\n", at.stage, at.split, count(int(groups[at][0].N), "user"))
		writeMetricBlocks(to, groups[at], colour)
	}
	for _, stage := range gone {
		to.printf("\nthe metrics of stage %s are no longer in the cache\n", stage)
	}
}
