package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages/sweep"
)

type sweepOptions struct {
	compareOptions
	set      []string
	points   string
	random   int
	drawSeed uint64
	name     string

	workers   int
	dryRun    bool
	keepGoing bool
	quiet     bool

	stopAfterFailures int
	maxTime           time.Duration
}

const sweepDoc = `Sweep runs a pipeline at many points, a point being a choice of its parameters,
and ends in the table of "prismflow compare".

  -p backbone=sasrec,stosa   these values
  -p seed=1..5               the integers from 1 to 5; with 1..9:2 every second
  -p 'ks=[5,10],[20]'        a comma in brackets or double quotes cuts nothing
  --set epochs=20            one value at all points
  --points FILE              CSV: the first line names parameters, each other line
                             is a point; with -p, one at each point of the grid
  --random N                 N of all these points, drawn by --seed

All values are checked as the types of their parameters before anything runs. A
stage that is the same at several points runs once; what does not depend on each
other runs side by side, within the same budgets as in "prismflow run", earlier
points first. Nothing is written to out/: "prismflow run" with the parameters of
a point puts its files there without computing anything.

A sweep that was stopped or killed goes on when it is run again: only what has no
result is computed, and trainings go on from their checkpoints. It is recorded
under its --name, for "prismflow compare sweep:NAME"; without one the name is made
of the pipeline and the points, so that the same command is the same sweep.

Ctrl-C stops cleanly. A point that fails stops no other, unless
--stop-after-failures says so. That rule and --max-time end a sweep as Ctrl-C
does, but show the table of what is there; the exit code is then 1.`

func newSweepCommand(s *streams) *cobra.Command {
	var o sweepOptions
	cmd := &cobra.Command{
		Use:   "sweep FILE -p key=value,value...",
		Short: "Run a pipeline at many points and compare them",
		Long:  sweepDoc + "\n\n" + exitCodes,
		Example: `  prismflow sweep sports.toml -p backbone=sasrec,stosa,indirec -p seed=1..5
  prismflow sweep sports.toml -p hidden=32..128:32 -p seed=1..3 --random 6 --seed 7
  prismflow sweep sports.toml --points best.csv -p seed=1..5 --set epochs=50
  prismflow sweep sports.toml -p seed=1..5 --max-time 2h --name seeds`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeThen(completePipelines),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSweep(cmd.Context(), args[0], &o, s)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.params, "param", "p", nil, "take values of a parameter: `key=value,value` or key=from..to (repeatable)")
	completeFlag(cmd, "param", completeParams)
	flags.StringArrayVar(&o.set, "set", nil, "set a parameter at all points: `key=value` (repeatable)")
	completeFlag(cmd, "set", completeParams)
	flags.StringVar(&o.points, "points", "", "read points from a CSV `FILE`")
	flags.IntVar(&o.random, "random", 0, "run `N` points, drawn from all")
	flags.Uint64Var(&o.drawSeed, "seed", 0, "`SEED` by which --random draws")
	flags.StringVar(&o.name, "name", "", "record the sweep as `NAME`")
	flags.IntVarP(&o.workers, "jobs", "j", 0, "let running stages take `N` cpus together (default all)")
	flags.BoolVarP(&o.dryRun, "dry-run", "n", false, "only say what would run, and why")
	flags.BoolVar(&o.keepGoing, "keep-going", false, "also run stages that were only to come after a failed one")
	flags.IntVar(&o.stopAfterFailures, "stop-after-failures", 0, "stop when `N` points have failed (default never)")
	flags.DurationVar(&o.maxTime, "max-time", 0, "stop after this `DURATION`, such as 90m")
	registerOffline(cmd, &o.offline)
	flags.BoolVar(&o.refresh, "refresh", false, "ask URLs again for what was downloaded before")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress, only how it ended")
	registerCache(cmd, &o.cache)
	registerRemote(cmd, &o.remotes)
	o.sharing = &sharingOptions{}
	o.registerStatistics(cmd)
	registerJSON(cmd, &o.json, "print events as JSON, one a line, and the report last")
	return cmd
}

// validate reports what is wrong with the options alone.
func (o *sweepOptions) validate() error {
	var errs []error
	for _, tt := range []struct {
		flag  string
		wrong bool
		value any
	}{
		{"-j", o.workers < 0, o.workers}, {"--random", o.random < 0, o.random},
		{"--stop-after-failures", o.stopAfterFailures < 0, o.stopAfterFailures}, {"--max-time", o.maxTime < 0, o.maxTime},
	} {
		if tt.wrong {
			errs = append(errs, fmt.Errorf("%s %v: must not be negative", tt.flag, tt.value))
		}
	}
	if o.name != "" {
		errs = append(errs, sweep.CheckName(o.name))
	}
	if err := errors.Join(errs...); err != nil {
		return usageError{err}
	}
	return nil
}

// space are the points that the flags span, and what is set at all of them.
func (o *sweepOptions) space(s *streams) ([]pipelines.Point, map[string]string, error) {
	var errs []error
	var axes []pipelines.Axis
	for _, text := range o.params {
		axis, err := pipelines.ParseAxis(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("-p %w", err))
		}
		axes = append(axes, axis)
	}
	set, err := (&pipelineOptions{params: o.set}).overrides()
	if err != nil {
		errs = append(errs, fmt.Errorf("--set: %w", err))
	}
	var listed []pipelines.Point
	if o.points != "" {
		if listed, err = readPoints(o.points, s); err != nil {
			errs = append(errs, err)
		}
	}
	if len(axes) == 0 && o.points == "" {
		errs = append(errs, errors.New("a sweep needs points: give -p key=value,value or --points FILE"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, usageError{err}
	}
	points, err := pipelines.Cross(listed, axes)
	if err != nil {
		return nil, nil, usageError{err}
	}
	for _, choice := range points[0] {
		if _, fixed := set[choice.Param]; fixed {
			return nil, nil, usageError{fmt.Errorf("parameter %s is both swept and --set", choice.Param)}
		}
	}
	if o.random > 0 {
		points = pipelines.Draw(points, o.random, o.drawSeed)
	}
	return points, set, nil
}

func readPoints(path string, s *streams) ([]pipelines.Point, error) {
	f, err := os.Open(s.path(path))
	if err != nil {
		return nil, fmt.Errorf("--points: %w", err)
	}
	defer f.Close()
	points, err := pipelines.ReadPoints(f, path)
	if err != nil {
		return nil, fmt.Errorf("--points: %w", err)
	}
	return points, nil
}

func runSweep(ctx context.Context, file string, o *sweepOptions, s *streams) (err error) {
	if err := o.validate(); err != nil {
		return err
	}
	if _, err := o.options(); err != nil {
		return err
	}
	w, err := openSweep(file, o, s)
	if err != nil {
		return err
	}
	defer w.closing(&err)
	if o.dryRun {
		status, err := w.engine.Status(ctx, nil, nil)
		if err != nil {
			return err
		}
		return printStatus(status, o.json, s)
	}
	return w.run(ctx)
}
