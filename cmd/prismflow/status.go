package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/stages/engine"
)

type statusOptions struct {
	pipelineOptions
	json bool
}

const statusDoc = `Status says of each stage whether a run would compute it, and why. It runs and
downloads nothing. The states are

  fresh          the result is in the cache
  stale          the stage would run
  unknown        it reads from a stage that would run, so nobody knows yet
  missing-input  a file that it reads is not there`

func newStatusCommand(s *streams) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:               "status FILE [STAGE...]",
		Short:             "Say what a run would do, and why",
		Long:              statusDoc,
		Example:           "  prismflow status pipeline.toml\n  prismflow status pipeline.toml -p seed=7 --json",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeThen(completePipelines, completeStages),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runStatus(cmd.Context(), args[0], args[1:], o, s)
		},
	}
	o.registerShared(cmd)
	registerJSON(cmd, &o.json, "print one JSON object")
	return cmd
}

func runStatus(ctx context.Context, file string, names []string, o statusOptions, s *streams) (err error) {
	w, err := openWorkspace(file, &o.pipelineOptions, s)
	if err != nil {
		return err
	}
	defer w.closing(&err)
	if err := w.checkStages(names...); err != nil {
		return err
	}
	status, err := w.engine.Status(ctx, names, nil)
	if err != nil {
		return err
	}
	return printStatus(status, o.json, s)
}

func printStatus(status engine.Status, asJSON bool, s *streams) error {
	if asJSON {
		return writeJSON(s.out, status)
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	due, missing, remote := 0, 0, 0
	for _, stage := range status.Stages {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", stage.State, stage.Name, stage.Kind, stage.Reason)
		switch stage.State {
		case engine.StateStale, engine.StateUnknown:
			due++
		case engine.StateMissingInput:
			missing++
		case engine.StateRemote:
			remote++
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	switch {
	case missing > 0:
		s.out.printf("%s cannot run: an input is missing\n", count(missing, "stage"))
	case due == 0 && remote == 0:
		s.out.printf("nothing to do\n")
	case due == 0:
		s.out.printf("%s would be downloaded, nothing run\n", count(remote, "result"))
	default:
		s.out.printf("%s may run\n", count(due, "stage"))
	}
	return nil
}
