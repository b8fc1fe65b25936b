package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages/engine"
)

type runOptions struct {
	pipelineOptions
	workers   int
	force     []string
	dryRun    bool
	keepGoing bool
	quiet     bool
	json      bool

	verify     string
	verifySeed string
}

const runDoc = `Run brings the named stages, and all that they need, up to date; without names
all stages of the pipeline. A stage runs only if its result is not in the cache.

FILE is a pipeline file, or the name of one that comes with the program (demo).
The newest results are then in out/PIPELINE/STAGE/OUTPUT.arrow beside the file.

Ctrl-C stops cleanly: what has finished stays. A second one ends at once.
A stage that fails stops only what needs it.

With --verify-cache N% that part of the results that were at hand, drawn at
random and at least one, is computed again and compared, to find stages that
are not deterministic. Nothing in the cache is replaced, and nothing known of
earlier executions is used, rows included. Pictures that are downloaded and
incomplete results are not computed again. If one comes out differently, the
run says how and ends with exit code 1; its results are there nevertheless.

With --json stdout has one event a line and, as its last line, the report.`

func newRunCommand(s *streams) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run FILE [STAGE...]",
		Short: "Run what is not in the cache",
		Long:  runDoc + "\n\n" + exitCodes,
		Example: `  prismflow run pipeline.toml
  prismflow run pipeline.toml evaluate -p seed=7
  prismflow run pipeline.toml --force train
  prismflow run pipeline.toml --dry-run
  prismflow run pipeline.toml --verify-cache 10%
  prismflow run demo --json | tail -n 1`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeThen(completePipelines, completeStages),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRun(cmd.Context(), args[0], args[1:], o, s)
		},
	}
	o.registerShared(cmd)
	flags := cmd.Flags()
	flags.IntVarP(&o.workers, "jobs", "j", 0, "let running stages take `N` cpus together (default all)")
	flags.StringArrayVar(&o.force, "force", nil, "run `STAGE` whatever the cache holds (repeatable)")
	flags.BoolVarP(&o.dryRun, "dry-run", "n", false, "only say what would run, and why")
	flags.BoolVar(&o.keepGoing, "keep-going", false, "also run stages that were only to come after a failed one")
	flags.BoolVar(&o.refresh, "refresh", false, "ask URLs again for what was downloaded before")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress, only how it ended")
	flags.StringVar(&o.verify, "verify-cache", "", "compute `N%` of what was in the cache again and compare")
	flags.StringVar(&o.verifySeed, "verify-seed", "", "draw what --verify-cache computes again by this `TEXT` (default the run's name)")
	registerJSON(cmd, &o.json, "print events as JSON, one a line, and the report last")
	completeFlag(cmd, "force", completeStages)
	return cmd
}

func runRun(ctx context.Context, file string, names []string, o runOptions, s *streams) (err error) {
	if o.workers < 0 {
		return usageError{fmt.Errorf("-j %d: give a number of cpus, or leave it out for all", o.workers)}
	}
	verify, err := parseShare(o.verify)
	if err != nil {
		return usageError{fmt.Errorf("--verify-cache: %w", err)}
	}
	w, err := openWorkspace(file, &o.pipelineOptions, s)
	if err != nil {
		return err
	}
	defer w.closing(&err)
	if err := w.checkStages(append(names, o.force...)...); err != nil {
		return err
	}
	if o.dryRun {
		return dryRun(ctx, w, names, o, s)
	}
	started := s.now()
	v := newView(ctx, o, s)
	if _, live := v.(*liveView); !live {
		defer context.AfterFunc(ctx, func() { s.err.printf("stopping; again to kill\n") })()
	}
	report, err := w.engine.Run(ctx, engine.RunOptions{
		Stages: names, Force: o.force, KeepGoing: o.keepGoing,
		Verify: verify, VerifySeed: o.verifySeed,
		Budget:   dag.Resources{CPU: o.workers, GPU: 1, Memory: machineMemory()},
		Listener: v.event,
	})
	v.close()
	if report.Run == "" { // it did not begin
		return err
	}
	w.sharing.ended()
	sum := summary{workspace: w, report: report, seconds: s.now().Sub(started).Seconds(), err: err}
	return sum.write(ctx, o, s)
}

func dryRun(ctx context.Context, w *workspace, names []string, o runOptions, s *streams) error {
	status, err := w.engine.Status(ctx, names, o.force)
	if err != nil {
		return err
	}
	return printStatus(status, o.json, s)
}

// A view shows a run while it goes on. Its event is a dag.Listener; close is
// called once, after the last event.
type view interface {
	event(dag.Event)
	close()
}

func newView(ctx context.Context, o runOptions, s *streams) view {
	logs := newLogView(s)
	switch {
	case o.json:
		return views{&jsonView{out: s.out}, logs}
	case o.quiet:
		return logs
	case s.drawable(s.err):
		return newLiveView(ctx, s)
	}
	return views{newLinesView(s.err), logs}
}

// views show the same run in several ways.
type views []view

func (v views) event(e dag.Event) {
	for _, each := range v {
		each.event(e)
	}
}

func (v views) close() {
	for _, each := range v {
		each.close()
	}
}

// A jsonView prints each event as a JSON object on a line.
type jsonView struct {
	out stream
	err error // the first; nothing is printed after it
}

func (v *jsonView) event(e dag.Event) {
	if v.err == nil {
		v.err = writeJSON(v.out, e)
	}
}

func (v *jsonView) close() {}

// failure is a run's outcome as an error that was told already.
func failure(err error) error {
	if err == nil {
		return nil
	}
	var failed *dag.Failure
	var differs *engine.Discrepancy
	if errors.As(err, &failed) || errors.As(err, &differs) || errors.Is(err, context.Canceled) {
		return reportedError{err}
	}
	return err
}
