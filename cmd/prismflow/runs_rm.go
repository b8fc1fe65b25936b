package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/stages/engine"
)

type runsRmOptions struct {
	runsOptions
	keep   int
	before string
	dryRun bool
}

// runsRmReport is what `runs rm --json` prints.
type runsRmReport struct {
	Format  int       `json:"format"`
	DryRun  bool      `json:"dry_run"`
	Removed []string  `json:"removed"`
	Kept    []keptRun `json:"kept"` // although they were asked for
}

type keptRun struct {
	Run    string `json:"run"`
	Reason string `json:"reason"`
}

const runsRmDoc = `Rm removes records of runs, with their events and logs: the named ones, all but
the newest N of each pipeline file, or those that began before a time. Results
stay in the cache ("prismflow cache gc" removes those). A run that is going on
or pinned is never removed.

` + runNames

func newRunsRmCommand(s *streams) *cobra.Command {
	o := runsRmOptions{keep: -1}
	cmd := &cobra.Command{
		Use:   "rm (RUN... | --keep N | --before TIME)",
		Short: "Remove records of runs",
		Long:  runsRmDoc,
		Example: `  prismflow runs rm last~3
  prismflow runs rm --keep 20
  prismflow runs rm --before 2026-11-01 --dry-run
  prismflow runs rm --before 30d --of pipeline.toml`,
		RunE: func(_ *cobra.Command, args []string) error { return runRunsRm(args, o, s) },
	}
	o.register(cmd, s)
	flags := cmd.Flags()
	flags.IntVar(&o.keep, "keep", o.keep, "remove all but the newest `N` of each pipeline file")
	flags.StringVar(&o.before, "before", "", "remove those that began before `TIME`: a date such as 2026-11-01, or an age such as 30d or 12h")
	flags.BoolVarP(&o.dryRun, "dry-run", "n", false, "only say what would be removed")
	flags.Lookup("keep").DefValue = "0" // shown as none: -1 is not one of the numbers that can be given
	return cmd
}

func runRunsRm(names []string, o runsRmOptions, s *streams) error {
	book, err := openRuns(o.runsOptions, s)
	if err != nil {
		return err
	}
	defer book.store.Close()
	doomed, err := o.choose(book, names, s.now())
	if err != nil {
		return err
	}
	report := runsRmReport{Format: 1, DryRun: o.dryRun, Removed: []string{}, Kept: []keptRun{}}
	for _, record := range doomed {
		err := o.remove(book, record)
		switch {
		case err == nil:
			report.Removed = append(report.Removed, record.Run)
		case errors.Is(err, engine.ErrRunning):
			report.Kept = append(report.Kept, keptRun{record.Run, engine.ErrRunning.Error()})
		case errors.Is(err, engine.ErrPinned):
			report.Kept = append(report.Kept, keptRun{record.Run, engine.ErrPinned.Error()})
		default:
			return err
		}
	}
	if err := report.write(o.json, s); err != nil {
		return err
	}
	if len(names) > 0 && len(report.Kept) > 0 {
		return reportedError{errors.New("not all of the named runs were removed")}
	}
	return nil
}

// choose finds the runs to remove.
func (o *runsRmOptions) choose(book runBook, names []string, now time.Time) ([]engine.Record, error) {
	ways := 0
	for _, given := range []bool{len(names) > 0, o.keep >= 0, o.before != ""} {
		if given {
			ways++
		}
	}
	switch {
	case ways != 1:
		return nil, usageError{errors.New("say which: names of runs, or --keep N, or --before TIME")}
	case o.keep >= 0:
		return olderThan(book.records, o.keep), nil
	case o.before != "":
		before, err := parseBefore(o.before, now)
		if err != nil {
			return nil, usageError{fmt.Errorf("--before: %w", err)}
		}
		var doomed []engine.Record
		for _, record := range book.records {
			if began := record.Began(); !began.IsZero() && began.Before(before) {
				doomed = append(doomed, record)
			}
		}
		return doomed, nil
	}
	return book.findAll(names)
}

// olderThan are the records but the newest few of each pipeline file. One that
// is damaged belongs to none, so it goes with those that are damaged.
func olderThan(records []engine.Record, keep int) []engine.Record {
	seen := map[string]int{}
	var older []engine.Record
	for _, record := range records {
		if seen[record.Path]++; seen[record.Path] > keep {
			older = append(older, record)
		}
	}
	return older
}

// parseBefore reads a date, which begins at midnight in the reader's zone, a
// point in time, or an age.
func parseBefore(text string, now time.Time) (time.Time, error) {
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return day, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	age, err := parseAge(text)
	if err != nil || age == 0 {
		return time.Time{}, fmt.Errorf("must be a date such as 2026-11-01 or an age such as 30d or 12h, not %q", text)
	}
	return now.Add(-age), nil
}

// remove removes a record, or says why that cannot be.
func (o *runsRmOptions) remove(book runBook, record engine.Record) error {
	switch {
	case !o.dryRun:
		return engine.RemoveRecord(book.store, record.Run)
	case book.running[record.Run]:
		return engine.ErrRunning
	case record.Pinned:
		return engine.ErrPinned
	}
	return nil
}

func (r runsRmReport) write(asJSON bool, s *streams) error {
	if asJSON {
		return writeJSON(s.out, r)
	}
	verb := "removed"
	if r.DryRun {
		verb = "would remove"
	}
	for _, run := range r.Removed {
		s.out.printf("%s the record of run %s\n", verb, run)
	}
	for _, kept := range r.Kept {
		s.err.printf("run %s %s: left\n", kept.Run, kept.Reason)
	}
	s.out.printf("%s %s; results stay in the cache\n", verb, count(len(r.Removed), "record"))
	return nil
}
