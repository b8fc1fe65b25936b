package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages/compare"
	"github.com/prismflow/prismflow/stages/engine"
	"github.com/prismflow/prismflow/stages/kinds"
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

// A sweeper is a sweep that is ready to run.
type sweeper struct {
	*workspace
	o       *sweepOptions
	streams *streams
	plan    sweep.Plan
	record  sweep.Record
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

// openSweep loads the pipeline at every point and plans them all.
func openSweep(file string, o *sweepOptions, s *streams) (*sweeper, error) {
	chosen, set, err := o.space(s)
	if err != nil {
		return nil, err
	}
	known, err := kinds.All()
	if err != nil {
		return nil, err
	}
	path, err := findPipeline(file, s)
	if err != nil {
		return nil, err
	}
	chosen, loaded, err := pipelines.LoadPoints(path, pipelines.Options{Registry: known, Params: set, WorkDir: s.dir, LookupEnv: s.lookupEnv}, chosen)
	if err != nil {
		return nil, err
	}
	for _, warning := range loaded[0].Warnings {
		s.err.printf("%s\n", warning)
	}
	points := make([]sweep.Point, len(chosen))
	for i, choices := range chosen {
		points[i].Specs = loaded[i].Stages
		for _, choice := range choices {
			points[i].Params = append(points[i].Params, sweep.Param{Name: choice.Param, Text: choice.Text})
		}
	}
	plan, err := sweep.New(points)
	if err != nil {
		return nil, err
	}
	store, err := openStore(o.cache, loaded[0].Cache.Dir, s)
	if err != nil {
		return nil, err
	}
	w := &sweeper{workspace: &workspace{pipeline: loaded[0], argument: file, store: store}, o: o, streams: s, plan: plan}
	name := cmp.Or(o.name, sweepName(loaded[0], chosen, set))
	w.record = sweep.NewRecord(name, loaded[0].Name, loaded[0].Path, points, plan)
	if err := w.prepare(sweptParams(loaded)); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// sweptParams are the parameters of a sweep's run as its record has them: a list
// where the points differ.
func sweptParams(points []*pipelines.Pipeline) map[string]any {
	params := recordedParams(points[0])
	for name := range params {
		var values []any
		for _, point := range points {
			value := recordedParams(point)[name]
			if !slices.ContainsFunc(values, func(v any) bool { return reflect.DeepEqual(v, value) }) {
				values = append(values, value)
			}
		}
		if len(values) > 1 {
			params[name] = values
		}
	}
	return params
}

// sweepName is the name of a sweep that is given none: the same for the same
// points of the same pipeline.
func sweepName(p *pipelines.Pipeline, points []pipelines.Point, set map[string]string) string {
	text := fmt.Sprintf("%q\n%q\n", p.Path, points)
	for _, name := range slices.Sorted(maps.Keys(set)) {
		text += fmt.Sprintf("%q=%q\n", name, set[name])
	}
	return p.Name + "-" + artifacts.DigestOf([]byte(text)).Hex()[:8]
}

// prepare makes the engine and takes over what is recorded of the sweep.
func (w *sweeper) prepare(params map[string]any) error {
	if err := w.openSharing(&w.o.pipelineOptions, w.streams); err != nil {
		return err
	}
	config, err := engineConfig(w.workspace, &w.o.pipelineOptions, w.streams)
	if err != nil {
		return err
	}
	config.Params = params
	if w.engine, err = engine.New(config, w.plan.Specs); err != nil {
		return err
	}
	earlier, err := sweep.ReadRecord(w.store.StateDir(), w.record.Name)
	switch {
	case errors.Is(err, sweep.ErrUnknown):
		return nil
	case err != nil:
		return err
	case earlier.Path != w.record.Path:
		return usageError{fmt.Errorf("sweep %s is one of %s: give this one another --name", earlier.Name, earlier.Path)}
	}
	w.record.Runs = earlier.Runs
	return nil
}

// errEnough says that a rule of the sweep stopped it.
type errEnough struct{ rule string }

func (e errEnough) Error() string { return e.rule }

func (w *sweeper) run(ctx context.Context) error {
	s, o := w.streams, w.o
	s.err.printf("%s\n", w.intention())
	if err := w.record.Write(w.store.StateDir()); err != nil {
		return err
	}
	started := s.now()
	view := newView(ctx, runOptions{quiet: o.quiet, json: o.json}, s)
	if _, live := view.(*liveView); !live {
		defer context.AfterFunc(ctx, func() { s.err.printf("stopping; again to kill\n") })()
	}
	limited, stop := w.limited(ctx)
	defer stop(nil)
	listener := &sweepListener{sweeper: w, view: view, tally: sweep.NewTally(w.plan), stop: stop}
	report, err := w.engine.Run(limited, engine.RunOptions{
		KeepGoing: o.keepGoing, Turns: w.plan.Turns, Listener: listener.event,
		Budget: dag.Resources{CPU: o.workers, GPU: 1, Memory: machineMemory()},
	})
	view.close()
	if report.Run == "" { // it did not begin
		return err
	}
	w.sharing.ended()
	end := sweepEnd{sweeper: w, report: report, counts: listener.tally.Counts(), seconds: s.now().Sub(started).Seconds(), err: errors.Join(err, listener.err)}
	errors.As(context.Cause(limited), &end.stopped)
	return end.write(ctx)
}

// limited is a context that ends when a rule of the sweep says so.
func (w *sweeper) limited(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	limited, stop := context.WithCancelCause(ctx)
	if w.o.maxTime == 0 {
		return limited, stop
	}
	timer := time.AfterFunc(w.o.maxTime, func() { stop(errEnough{"--max-time " + w.o.maxTime.String() + " is over"}) })
	return limited, func(cause error) {
		timer.Stop()
		stop(cause)
	}
}

// intention says what the sweep is going to do.
func (w *sweeper) intention() string {
	total := 0
	for _, nodes := range w.plan.Nodes {
		total += len(nodes)
	}
	shared := ""
	if total > len(w.plan.Specs) {
		shared = fmt.Sprintf(" instead of %s, as points share the others", thousands(int64(total)))
	}
	return fmt.Sprintf("sweep %s: %s, %s%s", w.record.Name, count(len(w.plan.Nodes), "point"), count(len(w.plan.Specs), "stage"), shared)
}

// A sweepListener keeps the record and shows how far the points are.
type sweepListener struct {
	*sweeper
	view    view
	tally   *sweep.Tally
	stop    context.CancelCauseFunc
	written time.Time // when the record was
	err     error     // the first of writing it
}

// recordEvery is the least time between two writings of the record, which for
// many points is long.
const recordEvery = time.Second

func (l *sweepListener) write(now time.Time) {
	l.written = now
	l.err = cmp.Or(l.err, l.record.Write(l.store.StateDir()))
}

func (l *sweepListener) event(e dag.Event) {
	l.view.event(e)
	noted := l.record.Event(e)
	if e.Type == dag.RunStarted {
		l.record.Begin(e.Run, e.Time)
	}
	ends := e.Type == dag.RunStarted || e.Type == dag.RunFinished
	if ends || noted && e.Time.Sub(l.written) >= recordEvery {
		l.write(e.Time)
	}
	if !l.tally.Event(e) {
		return
	}
	counts := l.tally.Counts()
	l.view.event(dag.Event{
		Time: e.Time, Type: dag.Note, Run: e.Run, Pipeline: e.Pipeline, Level: "info", Message: pointsText(counts, l.tally.Left(e.Time)),
		Fields: map[string]any{"points": counts.Total, "done": counts.Done, "failed": counts.Failed, "running": counts.Running},
	})
	if n := l.o.stopAfterFailures; n > 0 && counts.Failed >= n {
		l.stop(errEnough{count(counts.Failed, "point") + " failed"})
	}
}

func pointsText(c sweep.Counts, left time.Duration) string {
	text := fmt.Sprintf("%d of %s done", c.Done, count(c.Total, "point"))
	if c.Failed > 0 {
		text += fmt.Sprintf(", %d failed", c.Failed)
	}
	if c.Running > 0 {
		text += fmt.Sprintf(", %d running", c.Running)
	}
	if left >= time.Second {
		text += ", about " + seconds(left.Seconds()) + " left"
	}
	return text
}

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
