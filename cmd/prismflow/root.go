package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages"
)

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, s *streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	entered := false
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		entered = true
		return checkLogLevel(s.logLevel)
	}
	err := root.ExecuteContext(ctx)
	if err != nil && !entered { // flags and arguments: the command itself did not begin
		err = usageError{err}
	}
	if err != nil && !errors.As(err, new(reportedError)) {
		s.err.printf("%s\n", describeError(ctx, err))
	}
	return exitCode(ctx, err)
}

// describeError is an error as the user sees it.
func describeError(ctx context.Context, err error) string {
	var invalid *pipelines.Invalid
	switch {
	case errors.Is(err, context.Canceled) && context.Cause(ctx) != nil:
		return "prismflow: " + context.Cause(ctx).Error()
	case errors.As(err, &invalid):
		return err.Error() // lines that begin with a place, as editors like them
	}
	return "prismflow: " + err.Error()
}

const rootDoc = `prismflow runs pipelines of cached stages: from raw files to trained and
evaluated recommenders, or anything else that commands can compute.

A pipeline is one TOML file. Its stages hand each other Arrow files. A stage
runs only if something that it reads has changed since its result was computed,
here or by anybody else who uses the same cache.`

func newRoot(s *streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "prismflow",
		Short: "Run pipelines of cached stages",
		Long:  rootDoc + "\n\n" + exitCodes,
		Example: `  prismflow init                          write a first pipeline
  prismflow run pipeline.toml             run what is not in the cache
  prismflow status pipeline.toml          what would run, and why
  prismflow run demo                      generate data, train and evaluate a model`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.PersistentFlags().StringVar(&s.logLevel, "log-level", "warn", "least level of log lines on stderr: "+strings.Join(logLevels, ", "))
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupLook, Title: "Look at results:"},
		&cobra.Group{ID: groupWrite, Title: "Write pipelines:"},
		&cobra.Group{ID: groupKeep, Title: "Housekeeping:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, command := range commands {
			command.GroupID = group
			root.AddCommand(command)
		}
	}
	add(groupRun, newRunCommand(s), newSweepCommand(s), newStatusCommand(s), newExplainCommand(s))
	add(groupLook, newShowCommand(s), newMetricsCommand(s), newCompareCommand(s), newLogsCommand(s), newRunsCommand(s), newRecommendCommand(s), newExportCommand(s))
	add(groupWrite, newInitCommand(s), newValidateCommand(s), newDagCommand(s), newStagesCommand(s), newSchemaCommand(s))
	add(groupKeep, newCacheCommand(s), newCleanCommand(s), newTorchCommand(s), newDoctorCommand(s), newVersionCommand(s))
	root.SetHelpCommandGroupID(groupKeep)
	root.SetCompletionCommandGroupID(groupKeep)
	complete(root, "log-level", logLevels...)
	return root
}

const (
	groupRun   = "run"
	groupLook  = "look"
	groupWrite = "write"
	groupKeep  = "keep"
)

var logLevels = []string{"debug", "info", "warn", "error", "off"}

func checkLogLevel(level string) error {
	if !slices.Contains(logLevels, level) {
		return usageError{fmt.Errorf("--log-level: %q is none of %s%s", level, strings.Join(logLevels, ", "), stages.Suggest(level, logLevels))}
	}
	return nil
}

// parseLogLevel is the level that checkLogLevel let through.
func parseLogLevel(level string) zerolog.Level {
	if level == "off" {
		return zerolog.Disabled
	}
	parsed, err := zerolog.ParseLevel(level)
	if err != nil {
		return zerolog.WarnLevel
	}
	return parsed
}

// complete lets the shell complete a flag's values.
func complete(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag does not exist: a mistake in this program
	}
}
