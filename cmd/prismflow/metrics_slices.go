package main

import (
	"fmt"
	"slices"
	"strings"
)

// slicedMetric is the one that tables of slices show.
const slicedMetric = "ndcg"

// writeSliceTables compares the models on some of the answers: for each split
// and slice a table with a line for each bucket and a column for each model, which
// are called as in the tables of metrics. Slices cannot tell which models are the
// same: one stage may have some that another has not.
func (w *workspace) writeSliceTables(to stream, rows []sliceRow, name func(stage, model string) string) {
	type slice struct{ split, name, protocol string }
	var order []slice
	tables := map[slice]*sliceTable{}
	stagesOf := map[slice][]metricRow{}
	ofSplit := map[[2]string]int{} // tables
	k := shownCutoff(metricsOf(rows))
	for _, row := range rows {
		if row.Metric != slicedMetric || row.K != k {
			continue
		}
		row.Model = name(row.Stage, row.Model)
		at := slice{row.Split, row.Slice, w.protocols[row.Stage]}
		if tables[at] == nil {
			order = append(order, at)
			ofSplit[[2]string{at.split, at.name}]++
			tables[at] = &sliceTable{values: map[metricCell]float64{}}
		}
		tables[at].add(row)
		stagesOf[at] = append(stagesOf[at], metricRow{Stage: row.Stage})
	}
	for _, at := range order {
		by := ""
		if ofSplit[[2]string{at.split, at.name}] > 1 {
			by = byStages(stagesOf[at])
		}
		to.printf("\n%s split, %s@%d by %s%s\n", at.split, slicedMetric, k, strings.ReplaceAll(at.name, "_", " "), by)
		tables[at].write(to)
	}
}

// metricsOf are slices as the metrics that they are, without their bucket.
func metricsOf(rows []sliceRow) []metricRow {
	metrics := make([]metricRow, len(rows))
	for i, row := range rows {
		metrics[i] = metricRow{row.Stage, row.Model, row.Split, row.Metric, row.K, row.Value, row.N}
	}
	return metrics
}

// A sliceTable is a matrix of buckets by models.
type sliceTable struct {
	models  []string
	buckets []bucket
	values  map[metricCell]float64
}

// A bucket is some of the answers, and how many users have one of them: data
// sets that differ in that are different buckets.
type bucket struct {
	name string
	n    int64
}

func (b bucket) key() string { return fmt.Sprint(b.name, " ", b.n) }

func (t *sliceTable) add(row sliceRow) {
	b := bucket{row.Bucket, row.N}
	if !slices.Contains(t.buckets, b) {
		t.buckets = append(t.buckets, b)
	}
	if !slices.Contains(t.models, row.Model) {
		t.models = append(t.models, row.Model)
		slices.SortStableFunc(t.models, func(a, b string) int { return isBaseline(a) - isBaseline(b) })
	}
	t.values[metricCell{row.Model, b.key()}] = row.Value
}

func (t *sliceTable) write(to stream) {
	width := 0
	for _, b := range t.buckets {
		width = max(width, len(b.name))
	}
	var line strings.Builder
	fmt.Fprintf(&line, "  %-*s  %10s", width, "", "users")
	for _, model := range t.models {
		fmt.Fprintf(&line, "  %*s", columnWidth(model), model)
	}
	to.printf("%s\n", line.String())
	for _, b := range t.buckets {
		line.Reset()
		fmt.Fprintf(&line, "  %-*s  %10s", width, b.name, thousands(b.n))
		for _, model := range t.models {
			if value, ok := t.values[metricCell{model, b.key()}]; ok {
				fmt.Fprintf(&line, "  %*.4f", columnWidth(model), value)
			} else {
				fmt.Fprintf(&line, "  %*s", columnWidth(model), "–")
			}
		}
		to.printf("%s\n", line.String())
	}
}
