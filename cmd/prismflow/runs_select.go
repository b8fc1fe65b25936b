package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/engine"
)

// runsOptions are the flags of all commands on past runs.
type runsOptions struct {
	cache string
	of    string
	json  bool
}

func (o *runsOptions) register(cmd *cobra.Command, s *streams) {
	registerCache(cmd, &o.cache)
	cmd.Flags().StringVar(&o.of, "of", "", "look only at runs of the pipeline `FILE`, in its cache")
	registerJSON(cmd, &o.json, "print one JSON object")
	completeFlag(cmd, "of", completePipelines)
	cmd.ValidArgsFunction = o.completeRuns(s)
}

const runNames = `A RUN is a run's name or the beginning of it, as long as no other begins so;
last is the newest, last~1 the one before, and so on.`

// A runBook is the records of runs, newest first, and the store that they are of.
type runBook struct {
	store   *disk.Store
	records []engine.Record
	running map[string]bool
}

// openRuns reads the records that the flags name. The caller closes the store.
func openRuns(o runsOptions, s *streams) (book runBook, err error) {
	path, ofPipeline := "", ""
	if o.of != "" {
		if path, ofPipeline, err = recordedPath(o.of, s); err != nil {
			return book, err
		}
	}
	if book.store, err = openStore(o.cache, ofPipeline, s); err != nil {
		return book, err
	}
	if book.running, err = engine.Running(book.store); err == nil {
		book.records, err = engine.Records(book.store.StateDir(), path)
	}
	if err != nil {
		book.store.Close()
	}
	return book, err
}

// find is the run that a person calls so.
func (b runBook) find(text string) (engine.Record, error) {
	if text == "" {
		return engine.Record{}, usageError{errors.New("which run? Name one, or say last")}
	}
	if back, ok := stepsBack(text); ok {
		if back >= len(b.records) {
			return engine.Record{}, usageError{fmt.Errorf("there is no run %s: %s recorded here", text, count(len(b.records), "run"))}
		}
		return b.records[back], nil
	}
	var matching []engine.Record
	var names []string
	for _, record := range b.records {
		if record.Run == text {
			return record, nil
		}
		if strings.HasPrefix(record.Run, text) {
			matching = append(matching, record)
		}
		names = append(names, record.Run)
	}
	switch len(matching) {
	case 1:
		return matching[0], nil
	case 0:
		return engine.Record{}, usageError{fmt.Errorf("there is no run %s%s; \"prismflow runs\" lists them", text, stages.Suggest(text, names))}
	}
	return engine.Record{}, usageError{fmt.Errorf("%s begin with %s: %s and %s among them", count(len(matching), "run"), text, matching[0].Run, matching[1].Run)}
}

// stepsBack reads "last" and "last~N".
func stepsBack(text string) (int, bool) {
	rest, ok := strings.CutPrefix(text, "last")
	if !ok || rest == "" {
		return 0, ok
	}
	digits, ok := strings.CutPrefix(rest, "~")
	back, err := strconv.ParseUint(digits, 10, 31)
	return int(back), ok && err == nil
}

// findAll is find for several names.
func (b runBook) findAll(texts []string) ([]engine.Record, error) {
	var found []engine.Record
	for _, text := range texts {
		record, err := b.find(text)
		if err != nil {
			return nil, err
		}
		found = append(found, record)
	}
	return found, nil
}

// stateOf is how a run ended, if it did.
func (b runBook) stateOf(record engine.Record) string {
	switch {
	case record.Damaged != "":
		return "damaged"
	case record.Unended && b.running[record.Run]:
		return "running"
	case record.Unended:
		return "killed"
	case record.OK:
		return "ok"
	case interrupted(record):
		return "interrupted"
	}
	return "failed"
}

func interrupted(record engine.Record) bool {
	cancelled := false
	for _, stage := range record.Stages {
		if dag.State(stage.State) == dag.Failed {
			return false
		}
		cancelled = cancelled || dag.State(stage.State) == dag.Cancelled
	}
	return cancelled
}

// lasted is for how long a run went on, or has gone on; 0 when nobody knows.
func (b runBook) lasted(record engine.Record, now time.Time) float64 {
	switch {
	case record.Began().IsZero() || record.Damaged != "":
		return 0
	case !record.Unended:
		return record.Finished.Sub(record.Began()).Seconds()
	case b.running[record.Run]:
		return now.Sub(record.Began()).Seconds()
	}
	return 0
}

// completeRuns offers the runs in the cache of the command line that is being
// typed.
func (o *runsOptions) completeRuns(s *streams) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		book, err := openRuns(*o, s)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer book.store.Close()
		found := []cobra.Completion{"last"}
		for _, record := range book.records {
			found = append(found, cobra.CompletionWithDesc(record.Run, record.Pipeline+" "+book.stateOf(record)))
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
