package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages/compare"
	"github.com/prismflow/prismflow/stages/engine"
	"github.com/prismflow/prismflow/stages/sweep"
)

// sweepReport is what `sweep --json` ends with.
type sweepReport struct {
	Format     int             `json:"format"`
	OK         bool            `json:"ok"`      // every point is done
	Stopped    string          `json:"stopped"` // the rule that stopped the sweep; empty when none did
	Sweep      sweep.Record    `json:"sweep"`
	Run        engine.Report   `json:"run"`
	Comparison *compare.Report `json:"comparison"` // of the points that are done; null when none is, or nothing was evaluated
}

// A sweepEnd is what is said at the end of a sweep.
type sweepEnd struct {
	*sweeper
	report  engine.Report
	counts  sweep.Counts
	stopped errEnough
	seconds float64
	err     error
}

func (e *sweepEnd) write(ctx context.Context) error {
	comparison, err := e.compare(ctx)
	if err != nil {
		return errors.Join(failure(e.err), err)
	}
	s := e.streams
	if e.o.json {
		report := sweepReport{Format: 1, OK: e.report.OK, Stopped: e.stopped.rule, Sweep: e.record, Run: e.report, Comparison: comparison}
		if err := writeJSON(s.out, report); err != nil {
			return err
		}
		return failure(e.err)
	}
	e.writeFailures()
	s.out.printf("%s\n", e.headline(ctx))
	if comparison != nil {
		writeProblems(comparison.Problems(), s)
		s.out.printf("\n")
		writeTables(s.out, *comparison, s.colourful(s.out))
		s.out.printf("\nagain: prismflow compare %s%s%s\n", sweepPrefix, e.record.Name, e.cacheFlag())
	}
	return failure(e.err)
}

// cacheFlag is what a later command needs to find the same cache.
func (e *sweepEnd) cacheFlag() string {
	usual, err := cacheDir("", "", e.streams)
	if err == nil && usual == e.store.Dir() {
		return ""
	}
	return " --cache " + shellWord(e.store.Dir())
}

// compare compares the points that are done; nothing where none is, where nothing
// was evaluated, or where somebody is waiting for the program to end.
func (e *sweepEnd) compare(ctx context.Context) (*compare.Report, error) {
	if ctx.Err() != nil || e.counts.Done == 0 || !slices.ContainsFunc(e.plan.Specs, evaluates) {
		return nil, nil
	}
	c := comparer{options: &e.o.compareOptions, streams: e.streams, store: e.store}
	var measured []*compare.Measurement
	for _, point := range e.record.Points {
		if point.State != sweep.PointDone {
			continue
		}
		subject, err := c.point(ctx, e.record.Name, point)
		if err != nil {
			return nil, err
		}
		found, err := compare.Read(ctx, subject)
		if err != nil {
			return nil, err
		}
		measured = append(measured, found...)
	}
	options, err := e.o.options()
	if err != nil {
		return nil, err
	}
	report, err := compare.New(measured, options)
	return &report, err
}

func (e *sweepEnd) headline(ctx context.Context) string {
	end := ""
	switch {
	case ctx.Err() != nil:
		end = "; interrupted, the same command goes on from here"
	case e.stopped.rule != "":
		end = "; stopped as " + e.stopped.rule + ", the same command goes on from here"
	case e.report.OK && !computed(e.report):
		end = "; nothing to do"
	}
	return fmt.Sprintf("sweep %s: %s; %s in %s%s", e.record.Name, pointsText(e.counts, 0), stateCounts(e.report), seconds(e.seconds), end)
}

// writeFailures tells each root cause once.
func (e *sweepEnd) writeFailures() {
	for _, stage := range e.report.Stages {
		if dag.State(stage.State) == dag.Failed {
			e.streams.err.printf("\nfailed: %s (%s)\n%s\n  log: %s\n", stage.Name, stage.Kind, indent(stage.Error),
				shellWord(engine.LogPath(e.store.StateDir(), e.report.Run, stage.Name)))
		}
	}
	if e.counts.Failed > 0 {
		var labels []string
		for _, point := range e.record.Points {
			if point.State == sweep.PointFailed {
				labels = append(labels, point.Label)
			}
		}
		e.streams.err.printf("\nfailed points:\n%s\n", indent(strings.Join(labels, "\n")))
	}
}
