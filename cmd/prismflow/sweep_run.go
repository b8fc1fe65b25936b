package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages/engine"
	"github.com/prismflow/prismflow/stages/kinds"
	"github.com/prismflow/prismflow/stages/sweep"
)

// A sweeper is a sweep that is ready to run.
type sweeper struct {
	*workspace
	o       *sweepOptions
	streams *streams
	plan    sweep.Plan
	record  sweep.Record
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
