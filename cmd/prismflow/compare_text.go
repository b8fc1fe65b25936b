package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prismflow/prismflow/stages/compare"
)

// writeTables prints comparisons for people.
func writeTables(to stream, report compare.Report, colour bool) {
	for i, table := range report.Tables {
		if i > 0 {
			to.printf("\n")
		}
		to.printf("%s: %s\n", table.Part, table.Protocol)
		writeRows(to, table, colour)
		writeDifferences(to, table)
	}
}

// writeRows prints a line for each row and a column for each measure. Of the
// metrics that are not compared those at other cut-offs are left out.
func writeRows(to stream, table compare.Table, colour bool) {
	lines := [][]string{append([]string{"", "runs"}, table.Measures...)}
	for _, row := range table.Rows {
		line := []string{row.Label, rowRuns(row)}
		for _, measure := range table.Measures {
			line = append(line, rowValue(row, measure))
		}
		lines = append(lines, line)
	}
	writeColumns(to, lines, func(line, column int, text string) string {
		if colour && line > 0 && column > 1 && strings.HasPrefix(strings.TrimSpace(text), "*") {
			return bold + text + plain
		}
		return text
	})
}

// rowRuns is how many runs a row has; of a baseline, which needs no training,
// nothing.
func rowRuns(row compare.Row) string {
	if row.Baseline {
		return ""
	}
	return strconv.Itoa(row.Runs)
}

func rowValue(row compare.Row, measure string) string {
	at := slices.IndexFunc(row.Values, func(v compare.Value) bool { return v.Measure == measure })
	if at < 0 {
		return "–"
	}
	value := row.Values[at]
	text := figure(measure, value.Mean)
	if value.SD != nil {
		text += " ± " + figure(measure, *value.SD)
	}
	if value.Best {
		text = "*" + text
	}
	return text
}

// figure is a value in as many digits as its measure needs.
func figure(measure string, v float64) string {
	if measure == compare.Place {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 4, 64)
}

// writeColumns prints lines in columns, the first to the left, the others to the
// right.
func writeColumns(to stream, lines [][]string, paint func(line, column int, text string) string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for column, text := range line {
			widths[column] = max(widths[column], utf8.RuneCountInString(text))
		}
	}
	for l, line := range lines {
		var b strings.Builder
		for column, text := range line {
			padding := strings.Repeat(" ", widths[column]-utf8.RuneCountInString(text))
			b.WriteString("  ")
			if column == 0 {
				b.WriteString(paint(l, column, text) + padding)
			} else {
				b.WriteString(padding + paint(l, column, text))
			}
		}
		to.printf("%s\n", strings.TrimRight(b.String(), " "))
	}
}

// writeDifferences prints how much the best row of each measure is ahead of the
// others and, where that is a baseline, how much the best trained one is ahead of
// the other trained ones. All pairs are in --json.
func writeDifferences(to stream, table compare.Table) {
	if len(table.Comparisons) == 0 {
		return
	}
	to.printf("\n  * better than each other row: p < %s by both tests over users, corrected (Holm) for %s\n",
		number(roundTo(1-table.Level, 6)), count(len(table.Comparisons), "comparison"))
	all := map[string]bool{}
	trained := map[string]bool{}
	for _, row := range table.Rows {
		all[row.Label], trained[row.Label] = true, !row.Baseline
	}
	for _, measure := range table.Measures {
		first := firstRow(table, measure, all)
		writeAhead(to, table, measure, first, all)
		if !trained[first] {
			writeAhead(to, table, measure, firstRow(table, measure, trained), trained)
		}
	}
}

// writeAhead prints how much a row is ahead of others.
func writeAhead(to stream, table compare.Table, measure, first string, among map[string]bool) {
	lines := [][]string{{measure + ": " + first + " against", "difference", fmt.Sprintf("%s %% interval", number(roundTo(100*table.Level, 4))), "p (Wilcoxon)", "p (t)", "users better, worse"}}
	for _, c := range table.Comparisons {
		if c.Measure == measure && c.Row == first && among[c.Against] {
			lines = append(lines, []string{
				"  " + c.Against, signed(measure, c.Difference), signed(measure, c.Low) + " … " + signed(measure, c.High),
				probability(c.Wilcoxon.Adjusted), probability(c.T.Adjusted), fmt.Sprintf("%s, %s", thousands(int64(c.Better)), thousands(int64(c.Worse))),
			})
		}
	}
	if len(lines) > 1 {
		to.printf("\n")
		writeColumns(to, lines, func(_, _ int, text string) string { return text })
	}
}

// firstRow is the row that is ahead of all others in the mean, among some.
func firstRow(table compare.Table, measure string, among map[string]bool) string {
	for _, row := range table.Rows {
		behind := slices.ContainsFunc(table.Comparisons, func(c compare.Comparison) bool {
			return c.Measure == measure && c.Against == row.Label && among[c.Row]
		})
		if among[row.Label] && !behind {
			return row.Label
		}
	}
	return ""
}

func signed(measure string, v float64) string {
	text := figure(measure, v)
	if !strings.HasPrefix(text, "-") {
		text = "+" + text
	}
	return text
}

// probability is a p-value in two digits.
func probability(p float64) string {
	if p < 0.0001 {
		return "<0.0001"
	}
	return strconv.FormatFloat(p, 'g', 2, 64)
}

// roundTo takes off what arithmetic added behind some decimals.
func roundTo(v float64, decimals int) float64 {
	scale := math.Pow10(decimals)
	return math.Round(v*scale) / scale
}
