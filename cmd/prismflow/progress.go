package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prismflow/prismflow/dag"
)

// progress is how far one running stage is.
type progress struct {
	stage, reason string
	started       time.Time
	done, total   int64
	unit          string
	metrics       map[string]any

	measured time.Time // when done was last known
	speed    float64   // units per second, smoothed
}

func newProgress(e dag.Event) *progress {
	return &progress{stage: e.Stage, reason: e.Reason, started: e.Time, measured: e.Time}
}

// speedMemory is the time over which the speed is averaged, so that the time
// left neither jumps nor clings to how the stage began.
const speedMemory = 10 * time.Second

func (p *progress) apply(e dag.Event) {
	if e.Type == dag.StageMetrics {
		p.metrics = e.Fields
		return
	}
	if e.Unit != p.unit || e.Done < p.done { // another part of the work
		p.speed, p.done, p.measured = 0, 0, e.Time
	}
	if elapsed := e.Time.Sub(p.measured).Seconds(); elapsed > 0 {
		now := float64(e.Done-p.done) / elapsed
		weight := 1 - math.Exp(-elapsed/speedMemory.Seconds())
		if p.speed == 0 {
			weight = 1
		}
		p.speed += weight * (now - p.speed)
		p.measured = e.Time
		p.done = e.Done
	} else if p.done == 0 {
		p.done = e.Done
	}
	p.total, p.unit = e.Total, e.Unit
}

// fraction is the part that is done, or -1 when that is not known.
func (p *progress) fraction() float64 {
	if p.total <= 0 {
		return -1
	}
	return min(1, float64(p.done)/float64(p.total))
}

// left is the time that the rest will take, or 0 when that is not known.
func (p *progress) left() float64 {
	if p.total <= p.done || p.speed <= 0 {
		return 0
	}
	return float64(p.total-p.done) / p.speed
}

// text is the progress in words.
func (p *progress) text(now time.Time) string {
	var parts []string
	if text := metricsText(p.metrics); text != "" {
		parts = append(parts, text)
	}
	if p.done > 0 || p.total > 0 {
		text := amount(p.done, p.unit)
		if p.total > 0 {
			text = fmt.Sprintf("%s of %s", strings.TrimSuffix(text, " "+p.unit), amount(p.total, p.unit))
		}
		parts = append(parts, text)
	}
	if p.speed > 0 {
		parts = append(parts, rate(p.speed, p.unit))
	}
	if left := p.left(); left > 0 {
		parts = append(parts, seconds(left)+" left")
	}
	return strings.Join(append(parts, seconds(now.Sub(p.started).Seconds())), ", ")
}

// firstMetrics are shown before all others.
var firstMetrics = []string{"epoch", "loss"}

// metricsText is what a stage measures of itself, such as epoch and loss. What
// failed_not_found counts is a part of failed, and stands behind it.
func metricsText(metrics map[string]any) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(metrics)), func(name string) bool {
		_, isPart := wholeOf(name, metrics)
		return name == "epochs" || isPart
	})
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(firstRank(a), firstRank(b)) })
	var texts []string
	for _, name := range names {
		texts = append(texts, metricText(name, metrics)+partsText(name, metrics))
	}
	return strings.Join(texts, ", ")
}

// firstRank sorts by firstMetrics.
func firstRank(name string) int {
	if at := slices.Index(firstMetrics, name); at >= 0 {
		return at
	}
	return len(firstMetrics)
}

// wholeOf is the count of which another is a part: failed of failed_not_found.
func wholeOf(name string, metrics map[string]any) (whole string, ok bool) {
	for at, letter := range name {
		if letter == '_' && isCount(metrics[name[:at]]) && isCount(metrics[name]) {
			return name[:at], true
		}
	}
	return "", false
}

func isCount(value any) bool {
	switch value.(type) {
	case int, int64:
		return true
	}
	return false
}

// partsText lists the parts of a metric in parentheses.
func partsText(whole string, metrics map[string]any) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if of, ok := wholeOf(name, metrics); ok && of == whole {
			parts = append(parts, metricValue(metrics[name])+" "+spaced(name[len(whole)+1:]))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// metricText is one metric with its name, or its unit where that says enough.
func metricText(name string, metrics map[string]any) string {
	value := metrics[name]
	if bytes, ok := value.(int64); ok && name == "bytes" {
		return byteSize(bytes)
	}
	text := spaced(name) + " " + metricValue(value)
	if epochs, ok := metrics["epochs"]; ok && name == "epoch" {
		text += " of " + metricValue(epochs)
	}
	return text
}

func spaced(name string) string { return strings.ReplaceAll(name, "_", " ") }

func metricValue(value any) string {
	switch v := value.(type) {
	case float64:
		return number(v)
	case float32:
		return number(float64(v))
	case int:
		return thousands(int64(v))
	case int64:
		return thousands(v)
	}
	return fmt.Sprint(value)
}
