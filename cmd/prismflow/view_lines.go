package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages/engine"
)

// A linesView prints a line when a stage begins and ends, and every few seconds
// in between: for files, pipes and continuous integration.
type linesView struct {
	out     stream
	stages  map[string]*progress
	cached  int
	printed map[string]time.Time // when a stage last had a line
}

// progressEvery is the least time between two lines about one stage's progress.
const progressEvery = 5 * time.Second

// mostCached is how many lines about cached stages a person wants to see.
const mostCached = 40

func newLinesView(out stream) *linesView {
	return &linesView{out: out, stages: map[string]*progress{}, printed: map[string]time.Time{}}
}

func (v *linesView) close() {
	if v.cached > mostCached {
		v.out.printf("cached   … and %d more\n", v.cached-mostCached)
	}
}

func (v *linesView) event(e dag.Event) {
	switch e.Type {
	case dag.StageStarted:
		v.stages[e.Stage] = newProgress(e)
		v.printed[e.Stage] = e.Time
		v.out.printf("%s\n", startedLine(e))
	case dag.StageProgress, dag.StageMetrics:
		v.progress(e)
	case dag.Sharing:
		v.progress(asProgress(e))
	case dag.StageRetry:
		v.out.printf("retry    %s: attempt %d failed: %s\n", e.Stage, e.Attempt, e.Error)
	case dag.StageFinished:
		delete(v.stages, e.Stage)
		if e.State == dag.Cached {
			v.cached++
		}
		if worthLine(e, v.cached) {
			v.out.printf("%s\n", finishedLine(e))
		}
	case dag.Note:
		v.out.printf("%s\n", noteLine(e))
	}
}

// progress may be of a stage that has not begun: it is being downloaded, or what
// it reads is.
func (v *linesView) progress(e dag.Event) {
	p, ok := v.stages[e.Stage]
	if !ok {
		p = newProgress(e)
		v.stages[e.Stage], v.printed[e.Stage] = p, e.Time
	}
	p.apply(e)
	if e.Time.Sub(v.printed[e.Stage]) < progressEvery {
		return
	}
	v.printed[e.Stage] = e.Time
	v.out.printf("%-8s %s: %s\n", "…", e.Stage, p.text(e.Time))
}

// asProgress shows what is sent to remotes at the end of a run like a stage.
func asProgress(e dag.Event) dag.Event {
	e.Type, e.Stage = dag.StageProgress, "sharing results"
	return e
}

func startedLine(e dag.Event) string {
	return fmt.Sprintf("%-8s %s%s", "start", e.Stage, because(e.Reason))
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func noteLine(e dag.Event) string { return fmt.Sprintf("%-8s %s", "note", e.Message) }

// worthLine says whether the end of a stage deserves a line of its own: not that
// of one that never began, for which the end of the run has a list, and not that
// of the hundredth cached one.
func worthLine(e dag.Event, cached int) bool {
	switch e.State {
	case dag.Skipped:
		return false
	case dag.Cancelled:
		return e.Attempt > 0
	case dag.Cached:
		return cached <= mostCached
	}
	return true
}

// finishedLine says how a stage ended. Why one failed is told at the end of the
// run.
func finishedLine(e dag.Event) string {
	switch e.State {
	case dag.Ran, dag.Downloaded:
		return fmt.Sprintf("%-8s %s in %s%s%s", e.State, e.Stage, seconds(e.Seconds), madeText(e.Detail), changedText(e))
	case dag.Failed:
		return fmt.Sprintf("%-8s %s after %s", e.State, e.Stage, seconds(e.Seconds))
	case dag.Cancelled:
		return fmt.Sprintf("stopped  %s after %s", e.Stage, seconds(e.Seconds))
	}
	return fmt.Sprintf("%-8s %s%s", e.State, e.Stage, because(e.Reason))
}

// changedText passes on what a stage that ran has to say beyond why it ran,
// which its first line said.
func changedText(e dag.Event) string {
	if strings.Contains(e.Reason, "not kept") {
		return "; " + e.Reason
	}
	return ""
}

// madeText says what a stage made: the rows of each table, the bytes of each
// plain file, by name.
func madeText(detail any) string {
	made, ok := detail.(engine.StageDetail)
	if !ok || len(made.Outputs) == 0 {
		return ""
	}
	var parts []string
	for name, output := range made.Outputs {
		if output.Table {
			parts = append(parts, fmt.Sprintf("%s %s", name, count(int(output.Rows), "row")))
		} else {
			parts = append(parts, fmt.Sprintf("%s %s", name, byteSize(output.Bytes)))
		}
	}
	slices.Sort(parts)
	return ": " + strings.Join(parts, ", ")
}
