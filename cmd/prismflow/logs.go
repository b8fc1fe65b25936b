package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

const logsDoc = `Logs prints the newest log of a stage: what it logged, and what its command
printed, in its last run on this machine. A stage that was taken from the cache
has no newer log than that.`

func newLogsCommand(s *streams) *cobra.Command {
	var o pipelineOptions
	cmd := &cobra.Command{
		Use:               "logs FILE STAGE",
		Short:             "Print what a stage printed in its last run",
		Long:              logsDoc,
		Example:           "  prismflow logs pipeline.toml train",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completeThen(completePipelines, completeStages),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runLogs(cmd.Context(), args[0], args[1], &o, s)
		},
	}
	o.register(cmd)
	return cmd
}

func runLogs(_ context.Context, file, stage string, o *pipelineOptions, s *streams) (err error) {
	w, err := openWorkspace(file, o, s)
	if err != nil {
		return err
	}
	defer w.closing(&err)
	if err := w.checkStages(stage); err != nil {
		return err
	}
	log, err := w.engine.Log(stage)
	if err != nil {
		return err
	}
	defer log.Close()
	_, err = io.Copy(s.out, log)
	return err
}
