package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/memo"
	"github.com/prismflow/prismflow/stages/engine"
)

const cacheDoc = `The cache holds every result by what it was computed from. It may be removed at
any time: everything in it can be computed again.`

func newCacheCommand(s *streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cache",
		Short:   "Look after the cache",
		Long:    cacheDoc,
		Example: "  prismflow cache stat\n  prismflow cache gc --max-size 20GiB --max-age 30d",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCacheStatCommand(s), newCacheVerifyCommand(s), newCacheGCCommand(s), newCacheServeCommand(s), newCacheTokenCommand(s))
	return cmd
}

// cacheOptions are the flags of all commands on the cache.
type cacheOptions struct {
	cache string
	json  bool
}

func (o *cacheOptions) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.cache, "cache", "", "cache `DIR` (default $PRISMFLOW_CACHE, or prismflow in the user's cache directory)")
	registerJSON(cmd, &o.json, "print one JSON object")
}

// cacheStatReport is what `cache stat --json` prints.
type cacheStatReport struct {
	Format int    `json:"format"`
	Dir    string `json:"dir"`
	disk.Usage
	Runs []leaseReport `json:"runs_in_progress"`
}

type leaseReport struct {
	Name    string    `json:"name"`
	Started time.Time `json:"started"`
}

func newCacheStatCommand(s *streams) *cobra.Command {
	var o cacheOptions
	cmd := &cobra.Command{
		Use:     "stat",
		Short:   "Say what the cache holds and how large it is",
		Long:    "Stat counts the results and blobs in the cache and says which runs are using it.",
		Example: "  prismflow cache stat\n  prismflow cache stat --json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runCacheStat(cmd.Context(), o, s) },
	}
	o.register(cmd)
	return cmd
}

func runCacheStat(ctx context.Context, o cacheOptions, s *streams) error {
	store, err := openStore(o.cache, "", s)
	if err != nil {
		return err
	}
	defer store.Close()
	report := cacheStatReport{Format: 1, Dir: store.Dir()}
	if report.Usage, err = store.Usage(ctx); err != nil {
		return cacheError{fmt.Errorf("counting the cache %s: %w", store.Dir(), err)}
	}
	if report.Runs, err = leases(store); err != nil {
		return err
	}
	if o.json {
		return writeJSON(s.out, report)
	}
	s.out.printf("%s\n", report.Dir)
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, part := range []struct {
		name string
		disk.Part
	}{
		{"results", report.Actions}, {"blobs", report.Blobs}, {"unfinished", report.Temp},
		{"quarantine", report.Quarantine}, {"state", report.State},
	} {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", part.name, thousands(int64(part.Files)), byteSize(part.Bytes))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, run := range report.Runs {
		s.out.printf("  in use by run %s since %s\n", run.Name, instant(run.Started))
	}
	return nil
}

func leases(store *disk.Store) ([]leaseReport, error) {
	held, err := store.Leases()
	if err != nil {
		return nil, cacheError{fmt.Errorf("asking which runs use the cache: %w", err)}
	}
	reports := []leaseReport{}
	for _, lease := range held {
		reports = append(reports, leaseReport{lease.Name, lease.Started})
	}
	return reports, nil
}

// cacheVerifyReport is what `cache verify --json` prints.
type cacheVerifyReport struct {
	Format int  `json:"format"`
	OK     bool `json:"ok"` // nothing is broken, or all was repaired
	disk.VerifyReport
}

func newCacheVerifyCommand(s *streams) *cobra.Command {
	var o cacheOptions
	repair := false
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Hash everything in the cache again",
		Long: `Verify hashes every blob again and checks that every result has all of its
blobs. With --repair what is broken is taken out, to be computed again when it
is next needed; of the rows that stages remember only those that are broken.
The exit code is 3 when something is broken and stays so.`,
		Example: "  prismflow cache verify\n  prismflow cache verify --repair",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runCacheVerify(cmd.Context(), o, repair, s) },
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&repair, "repair", false, "take out what is broken")
	return cmd
}

func runCacheVerify(ctx context.Context, o cacheOptions, repair bool, s *streams) error {
	store, err := openStore(o.cache, "", s)
	if err != nil {
		return err
	}
	defer store.Close()
	report := cacheVerifyReport{Format: 1, OK: true}
	mend := func(ctx context.Context, key artifacts.Key) (bool, error) { return memo.Mend(ctx, store, key) }
	if report.VerifyReport, err = store.Verify(ctx, disk.VerifyOptions{Repair: repair, Mend: mend}); err != nil {
		return cacheError{fmt.Errorf("verifying the cache %s: %w", store.Dir(), err)}
	}
	if report.Problems == nil {
		report.Problems = []disk.Problem{}
	}
	for _, problem := range report.Problems {
		report.OK = report.OK && problem.Repaired
	}
	if o.json {
		err = writeJSON(s.out, report)
	} else {
		writeVerification(s.out, report)
	}
	if err == nil && !report.OK {
		err = reportedError{cacheError{errors.New("the cache is damaged")}}
	}
	return err
}

func writeVerification(to stream, report cacheVerifyReport) {
	for _, problem := range report.Problems {
		end := ""
		if problem.Repaired {
			end = " (taken out)"
		}
		to.printf("%s: %s%s\n", problem.Name, problem.Error, end)
	}
	to.printf("%s, %s, %s: ", count(report.Actions, "result"), count(report.Blobs, "blob"), byteSize(report.Bytes))
	switch {
	case len(report.Problems) == 0:
		to.printf("ok\n")
	case report.OK:
		to.printf("%s repaired\n", count(len(report.Problems), "problem"))
	default:
		to.printf("%s; \"prismflow cache verify --repair\" takes out what is broken\n", count(len(report.Problems), "problem"))
	}
}

type gcOptions struct {
	cacheOptions
	maxSize string
	maxAge  string
	dryRun  bool
}

// gcReport is what `cache gc --json` prints.
type gcReport struct {
	Format int  `json:"format"`
	DryRun bool `json:"dry_run"`
	disk.GCReport
	Records     int           `json:"records"`     // of past runs, removed with --max-age
	Checkpoints int           `json:"checkpoints"` // of trainings that nobody took up again, likewise
	Journals    int           `json:"journals"`    // of rows that a killed process computed, likewise
	Runs        []leaseReport `json:"runs_in_progress"`
	Pinned      []string      `json:"pinned_runs"`
}

func newCacheGCCommand(s *streams) *cobra.Command {
	var o gcOptions
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what was used longest ago",
		Long: `Gc removes results that were not used for longer than --max-age, and those used
longest ago until the rest is no larger than --max-size; without either only
what no result refers to. With --max-age, records and checkpoints of runs that
are older go as well, and rows that a killed run left. What a run in progress
needs always stays, and so does what a pinned run made and read (see "prismflow
runs pin"). Files downloaded from URLs that were used within --max-age (30 days if
it is not set) stay, too.`,
		Example: "  prismflow cache gc --max-size 20GiB\n  prismflow cache gc --max-age 30d --dry-run",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runCacheGC(cmd.Context(), o, s) },
	}
	o.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.maxSize, "max-size", "", "let at most `SIZE` stay, such as 20GiB or 500MB")
	flags.StringVar(&o.maxAge, "max-age", "", "remove what was not used for `TIME`, such as 30d or 12h")
	flags.BoolVarP(&o.dryRun, "dry-run", "n", false, "only say what would be removed")
	return cmd
}

func runCacheGC(ctx context.Context, o gcOptions, s *streams) error {
	options := disk.GCOptions{DryRun: o.dryRun}
	var err error
	if options.MaxBytes, err = parseSize(o.maxSize); err != nil {
		return usageError{fmt.Errorf("--max-size: %w", err)}
	}
	if options.MaxAge, err = parseAge(o.maxAge); err != nil {
		return usageError{fmt.Errorf("--max-age: %w", err)}
	}
	store, err := openStore(o.cache, "", s)
	if err != nil {
		return err
	}
	defer store.Close()
	report := gcReport{Format: 1, DryRun: o.dryRun, Runs: []leaseReport{}, Pinned: []string{}}
	if err := report.collect(ctx, store, options); err != nil {
		return cacheError{fmt.Errorf("collecting garbage in %s: %w", store.Dir(), err)}
	}
	for _, lease := range report.Leases {
		report.Runs = append(report.Runs, leaseReport{lease.Name, lease.Started})
	}
	if o.json {
		return writeJSON(s.out, report)
	}
	writeGC(s.out, report)
	return nil
}

// downloadsStay is how long a download that nothing used stays when no age is
// given: no result refers to it, but losing it costs the next run a download.
const downloadsStay = 30 * 24 * time.Hour

// collect removes what options let go.
func (r *gcReport) collect(ctx context.Context, store *disk.Store, options disk.GCOptions) error {
	age := options.MaxAge
	if age == 0 {
		age = downloadsStay
	}
	before := time.Now().Add(-age)
	var err error
	if options.PinnedBlobs, err = engine.Downloads(store.StateDir(), before); err != nil {
		return err
	}
	pinned, err := engine.Pinned(ctx, store)
	if err != nil {
		return err
	}
	options.Pinned, options.PinnedBlobs = pinned.Keys, append(options.PinnedBlobs, pinned.Blobs...)
	r.Pinned = append(r.Pinned, pinned.Runs...)
	if r.GCReport, err = store.GC(ctx, options); err != nil {
		return err
	}
	if options.MaxAge == 0 || options.DryRun {
		return nil
	}
	if r.Records, err = engine.RemoveRecords(store, before); err != nil {
		return err
	}
	if r.Checkpoints, err = engine.RemoveCheckpoints(ctx, store, before); err != nil {
		return err
	}
	r.Journals, err = memo.RemoveJournals(store.StateDir(), before)
	return err
}

func writeGC(to stream, report gcReport) {
	verb := "removed"
	if report.DryRun {
		verb = "would remove"
	}
	to.printf("%s %s, %s (%s), %s\n", verb, count(report.Actions, "result"), count(report.Blobs, "blob"),
		byteSize(report.Bytes), count(report.Temps, "unfinished file"))
	if report.Records+report.Checkpoints+report.Journals > 0 {
		to.printf("removed %s of runs, %s, %s of rows\n",
			count(report.Records, "record"), count(report.Checkpoints, "checkpoint"), count(report.Journals, "journal"))
	}
	to.printf("%s, %s (%s) stay\n", count(report.KeptActions, "result"), count(report.KeptBlobs, "blob"), byteSize(report.KeptBytes))
	for _, run := range report.Runs {
		to.printf("run %s is in progress: what it uses stays\n", run.Name)
	}
	for _, run := range report.Pinned {
		to.printf("run %s is pinned: what it needs stays\n", run)
	}
}

// sizeUnits are powers of 1024 with an i, of 1000 without.
var sizeUnits = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// parseSize reads an amount of bytes; empty is 0.
func parseSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		amount, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if bytes := amount * unit.bytes; err == nil && bytes >= 1 && bytes < 1<<62 {
			return int64(bytes), nil
		}
		break
	}
	return 0, fmt.Errorf("must be a size such as 20GiB or 500MB, not %q", text)
}

// parseAge reads a duration that may be in days; empty is 0.
func parseAge(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if digits, inDays := strings.CutSuffix(text, "d"); inDays {
		days, err := strconv.ParseFloat(digits, 64)
		if err == nil && days > 0 && days < 100_000 {
			return time.Duration(days * 24 * float64(time.Hour)), nil
		}
	} else if age, err := time.ParseDuration(text); err == nil && age > 0 {
		return age, nil
	}
	return 0, fmt.Errorf("must be a time such as 30d or 12h, not %q", text)
}
