package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/memo"
	"github.com/prismflow/prismflow/stages/engine"
)

type gcOptions struct {
	cacheOptions
	maxSize  string
	maxAge   string
	keepDays float64
	keepRuns int
	dryRun   bool
}

// gcReport is what `cache gc --json` prints.
type gcReport struct {
	Format int  `json:"format"`
	DryRun bool `json:"dry_run"`
	disk.GCReport
	Records     int           `json:"records"`     // of past runs, removed by age
	Checkpoints int           `json:"checkpoints"` // of trainings that nobody took up again, likewise
	Journals    int           `json:"journals"`    // of rows that a killed process computed, likewise
	Transfers   int           `json:"transfers"`   // files of downloads and uploads that broke off, likewise
	Runs        []leaseReport `json:"runs_in_progress"`
	Pinned      []string      `json:"pinned_runs"`
	Last        []string      `json:"last_runs"` // those that --keep-runs names
}

// Why what is over the bounds stays, beside disk.WhyInUse.
const (
	whyPinned     = "needed by a pinned run"
	whyLast       = "needed by one of the last runs of a pipeline"
	whyDownloaded = "downloaded from a URL and used of late"
)

const gcDoc = `Gc removes results that were not used for --keep-days days (or --max-age TIME),
and those used longest ago until the rest is no larger than --max-size; without
any of these only what no result refers to.

What a run in progress needs always stays, and so does what a pinned run made
and read (see "prismflow runs pin"), and with --keep-runs what the last N runs
of each pipeline file made and read. Files downloaded from URLs that were used
within that time (30 days if none is given) stay, too. The report says how much
of what the bounds would have removed stays, and why.

With --keep-days or --max-age older records of runs go as well, but the last of
each pipeline, and checkpoints, rows and transfers that nobody went on with; a
dry run does not count those. Runs may go on meanwhile.`

func newCacheGCCommand(s *streams) *cobra.Command {
	var o gcOptions
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what was used longest ago",
		Long:  gcDoc,
		Example: `  prismflow cache gc --max-size 50GiB --keep-days 30 --keep-runs 5
  prismflow cache gc --max-size 20GiB --dry-run
  prismflow cache gc --max-age 12h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCacheGC(cmd.Context(), o, s) },
	}
	o.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.maxSize, "max-size", "", "let at most `SIZE` stay, such as 50GiB or 500MB")
	flags.StringVar(&o.maxAge, "max-age", "", "remove what was not used for `TIME`, such as 30d or 12h")
	flags.Float64Var(&o.keepDays, "keep-days", 0, "remove what was not used for `N` days")
	flags.IntVar(&o.keepRuns, "keep-runs", 0, "keep what the last `N` runs of each pipeline made and read")
	flags.BoolVarP(&o.dryRun, "dry-run", "n", false, "only say what would be removed")
	return cmd
}

// bounds reads the flags.
func (o gcOptions) bounds() (bounds disk.GCOptions, err error) {
	bounds.DryRun = o.dryRun
	if bounds.MaxBytes, err = parseSize(o.maxSize); err != nil {
		return bounds, usageError{fmt.Errorf("--max-size: %w", err)}
	}
	if bounds.MaxAge, err = parseAge(o.maxAge); err != nil {
		return bounds, usageError{fmt.Errorf("--max-age: %w", err)}
	}
	switch {
	case o.keepDays != 0 && o.maxAge != "":
		return bounds, usageError{errors.New("--keep-days and --max-age say the same: give one of them")}
	case !(o.keepDays >= 0 && o.keepDays <= 100_000): // NaN is neither
		return bounds, usageError{fmt.Errorf("--keep-days %v: must be between 0, which is no bound, and 100,000", o.keepDays)}
	case o.keepRuns < 0:
		return bounds, usageError{fmt.Errorf("--keep-runs %d: must not be negative", o.keepRuns)}
	case o.keepDays > 0:
		bounds.MaxAge = time.Duration(o.keepDays * 24 * float64(time.Hour))
	}
	return bounds, nil
}

func runCacheGC(ctx context.Context, o gcOptions, s *streams) error {
	bounds, err := o.bounds()
	if err != nil {
		return err
	}
	store, err := openCache(o.cache, "", s)
	if err != nil {
		return err
	}
	defer store.Close()
	report := gcReport{Format: 1, DryRun: o.dryRun, Runs: []leaseReport{}, Pinned: []string{}, Last: []string{}}
	if err := report.collect(ctx, store, bounds, o.keepRuns, s.now()); err != nil {
		return cacheError{fmt.Errorf("collecting garbage in %s: %w", store.Dir(), err)}
	}
	for _, lease := range report.Leases {
		report.Runs = append(report.Runs, leaseReport{lease.Name, lease.Started})
	}
	if o.json {
		return writeJSON(s.out, report)
	}
	writeGC(s.out, report, bounds.MaxBytes)
	return nil
}

// downloadsStay is how long a download that nothing used stays when no age is
// given: no result refers to it, but losing it costs the next run a download.
const downloadsStay = 30 * 24 * time.Hour

// collect removes what the bounds let go.
func (r *gcReport) collect(ctx context.Context, store *disk.Store, bounds disk.GCOptions, keepRuns int, now time.Time) (err error) {
	before := now.Add(-cmp.Or(bounds.MaxAge, downloadsStay))
	bounds.Keep = func(ctx context.Context) ([]disk.Keep, error) { return r.keep(ctx, store, keepRuns, before) }
	if r.GCReport, err = store.GC(ctx, bounds); err != nil {
		return err
	}
	if bounds.MaxAge == 0 || bounds.DryRun {
		return nil
	}
	if r.Records, err = engine.RemoveRecords(store, before, keepRuns); err != nil {
		return err
	}
	if r.Checkpoints, err = engine.RemoveCheckpoints(ctx, store, before); err != nil {
		return err
	}
	if r.Transfers, err = engine.RemoveTransfers(store, before); err != nil {
		return err
	}
	r.Journals, err = memo.RemoveJournals(store.StateDir(), before)
	return err
}

// keep is what stays whatever the bounds.
func (r *gcReport) keep(ctx context.Context, store *disk.Store, keepRuns int, usedSince time.Time) ([]disk.Keep, error) {
	pinned, err := engine.Pinned(ctx, store)
	if err != nil {
		return nil, err
	}
	last, err := engine.LastRuns(ctx, store, keepRuns)
	if err != nil {
		return nil, err
	}
	downloads, err := engine.Downloads(store.StateDir(), usedSince)
	r.Pinned, r.Last = append(r.Pinned, pinned.Runs...), append(r.Last, last.Runs...)
	return []disk.Keep{
		{Why: whyPinned, Keys: pinned.Keys, Blobs: pinned.Blobs},
		{Why: whyLast, Keys: last.Keys, Blobs: last.Blobs},
		{Why: whyDownloaded, Blobs: downloads},
	}, err
}

func writeGC(to stream, report gcReport, maxBytes int64) {
	verb := "removed"
	if report.DryRun {
		verb = "would remove"
	}
	to.printf("%s %s, %s (%s), %s\n", verb, count(report.Actions, "result"), count(report.Blobs, "blob"),
		byteSize(report.Bytes), count(report.Temps, "unfinished file"))
	if report.Records+report.Checkpoints+report.Journals+report.Transfers > 0 {
		to.printf("removed %s of runs, %s, %s of rows, %s of transfers\n", count(report.Records, "record"),
			count(report.Checkpoints, "checkpoint"), count(report.Journals, "journal"), count(report.Transfers, "file"))
	}
	to.printf("%s, %s (%s) stay\n", count(report.KeptActions, "result"), count(report.KeptBlobs, "blob"), byteSize(report.KeptBytes))
	for _, stay := range report.Stays {
		to.printf("  over the bounds, but %s: %s, %s (%s)\n", stay.Why,
			count(stay.Actions, "result"), count(stay.Blobs, "blob"), byteSize(stay.Bytes))
	}
	if over := report.KeptBytes - maxBytes; maxBytes > 0 && over > 0 {
		to.printf("  which is %s more than --max-size\n", byteSize(over))
	}
	for _, run := range report.Runs {
		to.printf("run %s is in progress: what it uses stays\n", run.Name)
	}
	for _, run := range report.Pinned {
		to.printf("run %s is pinned: what it needs stays\n", run)
	}
}
