package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/stages/engine"
)

type statOptions struct {
	cacheOptions
	days float64
}

// cacheStatReport is what `cache stat --json` prints.
type cacheStatReport struct {
	Format int    `json:"format"`
	Dir    string `json:"dir"`
	disk.Usage
	Damaged   int            `json:"damaged"` // results, which are in no share
	Foreign   int            `json:"foreign"` // those of other programs, which are in no share either
	Pipelines []cacheShare   `json:"pipelines"`
	Stages    []cacheShare   `json:"stages"` // PIPELINE/STAGE
	Users     []cacheShare   `json:"users"`  // USER@HOST
	Days      float64        `json:"days"`   // that saved is about
	Saved     engine.Savings `json:"saved"`
	Runs      []leaseReport  `json:"runs_in_progress"`
}

// A cacheShare is what the cache holds of one pipeline, stage or user.
type cacheShare struct {
	Name    string `json:"name"`
	Results int    `json:"results"`
	Bytes   int64  `json:"bytes"`     // of their blobs, each once
	Own     int64  `json:"own_bytes"` // of blobs that no result of another share needs
}

const cacheStatDoc = `Stat says how much the cache holds, of which pipelines and stages and by whom,
what it spared the runs of the last --days days, and which runs are using it.

A blob that several results share is counted once in each share, so that shares
may add up to more than there is; what is a share's own is what would be gone
without it. Hits are stages whose result was in the cache or was downloaded; what
they saved is the bytes of those results and the seconds that making them took.`

func newCacheStatCommand(s *streams) *cobra.Command {
	var o statOptions
	cmd := &cobra.Command{
		Use:     "stat",
		Short:   "Say what the cache holds, how large it is, and what it saves",
		Long:    cacheStatDoc,
		Example: "  prismflow cache stat\n  prismflow cache stat --days 7 --json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runCacheStat(cmd.Context(), o, s) },
	}
	o.register(cmd)
	cmd.Flags().Float64Var(&o.days, "days", 30, "tell what was saved in the last `N` days")
	return cmd
}

func runCacheStat(ctx context.Context, o statOptions, s *streams) error {
	if !(o.days > 0 && o.days <= 100_000) {
		return usageError{fmt.Errorf("--days %v: must be more than 0 and at most 100,000", o.days)}
	}
	store, err := openCache(o.cache, "", s)
	if err != nil {
		return err
	}
	defer store.Close()
	report := cacheStatReport{Format: 1, Dir: store.Dir(), Days: o.days}
	if err := report.measure(ctx, store, s.now()); err != nil {
		return cacheError{fmt.Errorf("measuring the cache %s: %w", store.Dir(), err)}
	}
	if report.Runs, err = leases(store); err != nil {
		return err
	}
	if o.json {
		return writeJSON(s.out, report)
	}
	return writeStat(s.out, report)
}

func (r *cacheStatReport) measure(ctx context.Context, store *disk.Store, now time.Time) (err error) {
	if r.Usage, err = store.Usage(ctx); err != nil {
		return err
	}
	if r.Saved, err = engine.Saved(store, now.Add(-time.Duration(r.Days*24*float64(time.Hour)))); err != nil {
		return err
	}
	var pipelines, stages, users shares
	err = store.EachResult(ctx, func(result disk.Result) error {
		switch {
		case result.Damaged != nil:
			r.Damaged++
			return nil
		case result.Foreign:
			r.Foreign++
			return nil
		}
		p := result.Manifest.Provenance
		pipelines.add(p.Pipeline, result.Files)
		stages.add(p.Pipeline+"/"+p.Stage, result.Files)
		users.add(whoAt(p.User, p.Host), result.Files)
		return nil
	})
	r.Pipelines, r.Stages, r.Users = pipelines.list(), stages.list(), users.list()
	return err
}

// shares divide the cache by a name. The zero value is ready.
type shares struct {
	byName map[string]*cacheShare
	blobs  map[artifacts.Digest]*sharedBlob
}

// A sharedBlob is a blob and the shares whose results need it.
type sharedBlob struct {
	bytes int64
	of    []*cacheShare // few, and each once
}

// add adds a result of some files to a share.
func (s *shares) add(name string, files []artifacts.OutputFile) {
	if s.byName == nil {
		s.byName, s.blobs = map[string]*cacheShare{}, map[artifacts.Digest]*sharedBlob{}
	}
	share := s.byName[name]
	if share == nil {
		share = &cacheShare{Name: name}
		s.byName[name] = share
	}
	share.Results++
	for _, f := range files {
		blob := s.blobs[f.Digest]
		if blob == nil {
			blob = &sharedBlob{bytes: f.Bytes}
			s.blobs[f.Digest] = blob
		}
		if !slices.Contains(blob.of, share) {
			blob.of = append(blob.of, share)
			share.Bytes += f.Bytes
		}
	}
}

// list is all shares, the largest first.
func (s *shares) list() []cacheShare {
	for _, blob := range s.blobs {
		if len(blob.of) == 1 {
			blob.of[0].Own += blob.bytes
		}
	}
	list := []cacheShare{}
	for _, share := range slices.Collect(maps.Values(s.byName)) {
		list = append(list, *share)
	}
	slices.SortFunc(list, func(a, b cacheShare) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// mostShares is how many shares of a kind a person wants to see.
const mostShares = 20

func writeStat(to stream, report cacheStatReport) error {
	to.printf("%s\n", report.Dir)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, part := range []struct {
		name string
		disk.Part
	}{
		{"results", report.Actions}, {"blobs", report.Blobs}, {"unfinished", report.Temp},
		{"quarantine", report.Quarantine}, {"state", report.State},
	} {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", part.name, thousands(int64(part.Files)), byteSize(part.Bytes))
	}
	for _, division := range []struct {
		by     string
		shares []cacheShare
	}{{"pipelines", report.Pipelines}, {"stages", report.Stages}, {"who", report.Users}} {
		writeShares(w, division.by, division.shares)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if report.Damaged > 0 {
		to.printf("  %s damaged; \"prismflow cache ls\" says how\n", count(report.Damaged, "result"))
	}
	if report.Foreign > 0 {
		to.printf("  %s of other programs, or what doctor tried a remote with\n", count(report.Foreign, "result"))
	}
	writeSavings(to, report.Days, report.Saved)
	for _, run := range report.Runs {
		to.printf("  in use by run %s since %s\n", run.Name, instant(run.Started))
	}
	return nil
}

func writeShares(w *tabwriter.Writer, by string, shares []cacheShare) {
	if len(shares) == 0 {
		return
	}
	fmt.Fprintf(w, "%s\n", by)
	for i, share := range shares {
		if i == mostShares {
			fmt.Fprintf(w, "  … and %d more\n", len(shares)-mostShares)
			break
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s its own\n", cmp.Or(share.Name, "nobody named"), thousands(int64(share.Results)), byteSize(share.Bytes), byteSize(share.Own))
	}
}

func writeSavings(to stream, days float64, saved engine.Savings) {
	if saved.Runs == 0 {
		return
	}
	to.printf("in the last %s days: %s; %s at hand, %s downloaded, %s run: %.0f %% hits, %s and %s saved\n",
		number(days), count(saved.Runs, "run"), count(saved.Cached, "result"), thousands(int64(saved.Downloaded)),
		thousands(int64(saved.Ran)), 100*saved.HitRate, byteSize(saved.Bytes), seconds(saved.Seconds))
	writeMoved(to, saved.FetchedBytes, saved.Uploaded, saved.UploadedBytes)
}

// writeMoved says what was moved between this machine and remotes, if anything.
func writeMoved(to stream, fetched int64, uploaded int, uploadedBytes int64) {
	var moved []string
	if fetched > 0 {
		moved = append(moved, "from remotes "+byteSize(fetched))
	}
	if uploaded > 0 {
		moved = append(moved, fmt.Sprintf("to remotes %s, %s", count(uploaded, "result"), byteSize(uploadedBytes)))
	}
	if len(moved) > 0 {
		to.printf("%s\n", strings.Join(moved, "; "))
	}
}
