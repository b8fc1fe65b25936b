package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/pipelines"
	"github.com/prismflow/prismflow/stages/engine"
)

// runsReport is what `runs --json` prints.
type runsReport struct {
	Format int         `json:"format"`
	Runs   []runReport `json:"runs"`
}

// A runReport is a run as lists tell it.
type runReport struct {
	engine.Record
	State   string      `json:"state"`
	Seconds float64     `json:"seconds"`
	Metrics []metricRow `json:"metrics"` // the headline of each stage that evaluated
}

const runsDoc = `Runs lists the runs that this machine remembers, newest first: those of one
pipeline, or all. Each line says when a run began, how it ended, what became of
its stages, how long it took, and a metric of each stage that evaluated a model,
as far as the cache still has it.

Results live in the cache; a run's record only says which they were.`

func newRunsCommand(s *streams) *cobra.Command {
	var o runsOptions
	last := 20
	cmd := &cobra.Command{
		Use:     "runs [FILE]",
		Short:   "List past runs, and look into them",
		Long:    runsDoc,
		Example: "  prismflow runs\n  prismflow runs pipeline.toml --last 5 --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.of = args[0]
			}
			return runRuns(cmd.Context(), o, last, s)
		},
		ValidArgsFunction: completeThen(completePipelines),
	}
	registerCache(cmd, &o.cache)
	cmd.Flags().IntVar(&last, "last", last, "list the newest `N`; 0 for all")
	registerJSON(cmd, &o.json, "print one JSON object")
	cmd.AddCommand(newRunsShowCommand(s), newRunsDiffCommand(s), newRunsRmCommand(s), newRunsPinCommand(s), newRunsUnpinCommand(s))
	return cmd
}

func runRuns(ctx context.Context, o runsOptions, last int, s *streams) error {
	book, err := openRuns(o, s)
	if err != nil {
		return err
	}
	defer book.store.Close()
	records := book.records
	if last > 0 && len(records) > last {
		records = records[:last]
	}
	report := runsReport{Format: 1, Runs: []runReport{}}
	for _, record := range records {
		metrics, _ := book.metrics(ctx, record)
		report.Runs = append(report.Runs, runReport{record, book.stateOf(record), book.lasted(record, s.now()), headlines(metrics)})
	}
	if o.json {
		return writeJSON(s.out, report)
	}
	for _, run := range report.Runs {
		if run.Damaged != "" {
			s.err.printf("the record of run %s is damaged: %s\n", run.Run, run.Damaged)
		}
	}
	return writeRuns(s.out, report.Runs)
}

// recordedPath is what runs of a pipeline are recorded under, and the cache
// that it names. A file that has become invalid still has runs.
func recordedPath(argument string, s *streams) (path, cache string, err error) {
	path, err = findPipeline(argument, s)
	if err != nil {
		return "", "", err
	}
	if pipeline, err := loadPipeline(argument, &pipelineOptions{}, s); err == nil {
		return pipeline.Path, pipeline.Cache.Dir, nil
	}
	if strings.HasPrefix(path, pipelines.EmbeddedPrefix) {
		return path, "", nil
	}
	return s.path(path), "", nil
}

func writeRuns(to stream, runs []runReport) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, run := range runs {
		when, took, pinned := "", "", ""
		if began := run.Began(); !began.IsZero() {
			when = instant(began)
		}
		if run.Seconds > 0 {
			took = seconds(run.Seconds)
		}
		if run.Pinned {
			pinned = "pinned"
		}
		cells := []string{run.Run, when, run.State, run.Pipeline, stateCounts(run.Report), took, headlineText(run.Metrics), who(run.Record), pinned}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	return w.Flush()
}

// who ran it, and where.
func who(record engine.Record) string { return whoAt(record.User, record.Host) }

// whoAt is a user at a host, as far as they are known.
func whoAt(user, host string) string {
	if user != "" && host != "" {
		return user + "@" + host
	}
	return user + host
}

// stateCounts says how many stages of a run ended how.
func stateCounts(report engine.Report) string {
	counts := map[string]int{}
	for _, stage := range report.Stages {
		counts[stage.State]++
	}
	var parts []string
	for _, state := range []dag.State{dag.Ran, dag.Cached, dag.Downloaded, dag.Failed, dag.Skipped, dag.Cancelled} {
		if n := counts[string(state)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", state, n))
		}
	}
	return strings.Join(parts, ", ")
}
