package main

import (
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
	Format int             `json:"format"`
	Runs   []engine.Record `json:"runs"`
}

type runsOptions struct {
	cache string
	last  int
	json  bool
}

const runsDoc = `Runs lists the runs that this machine remembers, newest first: those of one
pipeline, or all.`

func newRunsCommand(s *streams) *cobra.Command {
	var o runsOptions
	cmd := &cobra.Command{
		Use:               "runs [FILE]",
		Short:             "List past runs",
		Long:              runsDoc,
		Example:           "  prismflow runs\n  prismflow runs pipeline.toml --last 5 --json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeThen(completePipelines),
		RunE:              func(_ *cobra.Command, args []string) error { return runRuns(args, o, s) },
	}
	registerCache(cmd, &o.cache)
	cmd.Flags().IntVar(&o.last, "last", 20, "list the newest `N`; 0 for all")
	registerJSON(cmd, &o.json, "print one JSON object")
	return cmd
}

func runRuns(args []string, o runsOptions, s *streams) (err error) {
	path, ofPipeline := "", ""
	if len(args) == 1 {
		if path, ofPipeline, err = recordedPath(args[0], s); err != nil {
			return err
		}
	}
	store, err := openStore(o.cache, ofPipeline, s)
	if err != nil {
		return err
	}
	defer store.Close()
	records, err := engine.Records(store.StateDir(), path)
	if err != nil {
		return err
	}
	if o.last > 0 && len(records) > o.last {
		records = records[:o.last]
	}
	if o.json {
		return writeJSON(s.out, runsReport{Format: 1, Runs: append([]engine.Record{}, records...)})
	}
	return writeRuns(s.out, records)
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

func writeRuns(to stream, records []engine.Record) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, record := range records {
		end := "failed"
		switch {
		case record.Unended:
			end = "running or killed"
		case record.OK:
			end = "ok"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", record.Run, end, record.Pipeline, stateCounts(record.Report), record.User)
	}
	return w.Flush()
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
