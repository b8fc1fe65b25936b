package disk

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prismflow/prismflow/artifacts"
)

// GCOptions bound what GC leaves. The zero value keeps every result and
// removes only what no result refers to.
type GCOptions struct {
	// MaxBytes is how many bytes of blobs may stay; 0 is no bound. To empty a
	// store, ask for 1.
	MaxBytes int64

	// MaxAge is for how long an unused result stays; 0 is no bound.
	MaxAge time.Duration

	// Keep says what stays whatever the bounds; nil keeps nothing. It is asked
	// when it is known which leases are held, so that it sees the record of
	// every run that GC does not spare for its lease.
	Keep func(context.Context) ([]Keep, error)

	// DryRun reports what would be removed and removes nothing.
	DryRun bool
}

// Keep is what somebody wants to stay, and why.
type Keep struct {
	Why   string // for people: "pinned", …; empty: "kept"
	Keys  []artifacts.Key
	Blobs []artifacts.Digest // stay too, without being part of a result
}

// WhyInUse is why stays what a process that holds a Lease needs, or what was
// used since GC began.
const WhyInUse = "in use"

// Validate says what is wrong with the options.
func (o GCOptions) Validate() error {
	if o.MaxBytes < 0 || o.MaxAge < 0 {
		return fmt.Errorf("gc: MaxBytes is %d and MaxAge %v, neither may be negative", o.MaxBytes, o.MaxAge)
	}
	return nil
}

// A GCReport says what GC removed, or in a dry run would remove.
type GCReport struct {
	Actions int   `json:"actions"` // results, alternatives included
	Blobs   int   `json:"blobs"`
	Bytes   int64 `json:"bytes"` // of those blobs
	Temps   int   `json:"temps"` // what dead processes left

	KeptActions int   `json:"kept_actions"`
	KeptBlobs   int   `json:"kept_blobs"`
	KeptBytes   int64 `json:"kept_bytes"`

	// Stays says of what the bounds would have let go why it stayed. A blob of
	// several results is counted where it comes first.
	Stays []Stay `json:"stays"`

	Leases []LeaseInfo `json:"-"` // of the runs that were going on: what they need stayed
}

// A Stay is what stayed for one reason: WhyInUse or that of a Keep.
type Stay struct {
	Why     string `json:"why"`
	Actions int    `json:"actions"`
	Blobs   int    `json:"blobs"`
	Bytes   int64  `json:"bytes"` // of those blobs
}

// GC removes the results that were used longest ago, until what is left is
// within the bounds, and then the blobs that no result refers to. What a
// process that holds a Lease needs stays, also what it stores or looks up
// while GC goes on, even if the bounds are then not met.
//
// It holds because of two rules. Every use is recorded in a modification time,
// that of the action looked up or of the blob or action stored, while the
// sweep lock is held shared, one after the other. And nothing is removed but under that lock held
// exclusively, after a look at that time: it must lie before GC began and
// before the oldest living lease did. Clocks of hosts may differ, for a lease begins
// by the clock that marks what its holder uses, and no mark is ever set back.
func (s *Store) GC(ctx context.Context, opts GCOptions) (GCReport, error) {
	if err := opts.Validate(); err != nil {
		return GCReport{}, err
	}
	g, err := s.survey(ctx, opts)
	if err != nil {
		return GCReport{}, fmt.Errorf("gc: %w", err)
	}
	if err := g.removeActions(ctx); err != nil {
		return g.report, fmt.Errorf("gc: removing results: %w", err)
	}
	if err := g.removeBlobs(ctx); err != nil {
		return g.report, fmt.Errorf("gc: removing blobs: %w", err)
	}
	if opts.DryRun {
		return g.report, nil
	}
	if g.report.Temps, err = s.CleanTemp(ctx); err != nil {
		return g.report, fmt.Errorf("gc: %w", err)
	}
	_ = s.stamps.compact(exists(g.gone)) // not worth failing for: it is a memory
	return g.report, nil
}

// exists says whether a remembered file is worth remembering.
func exists(gone map[string]bool) func(name string) bool {
	return func(name string) bool {
		if !filepath.IsAbs(name) {
			return !gone[name]
		}
		_, err := os.Lstat(name)
		return err == nil
	}
}

// A collection is one GC in progress.
type collection struct {
	s         *Store
	opts      GCOptions
	cutoff    time.Time // what was used since stays
	actions   []storedAction
	blobs     map[string]storedBlob    // by hex
	order     []string                 // reasons to stay, as they count and are told
	keep      map[artifacts.Key]string // why results stay
	keepBlobs map[string]string        // and blobs, by hex
	gone      map[string]bool          // blobs removed, by hex
	report    GCReport
}

type storedAction struct {
	key  artifacts.Key
	path string
	used time.Time
	refs []string // blobs, by hex
	why  string   // it stays although it is over the bounds; empty for one within them
}

type storedBlob struct {
	size   int64
	stored time.Time
}

// survey lists what there is. The cutoff comes first: what is stored after it
// is not removed, listed or not.
func (s *Store) survey(ctx context.Context, opts GCOptions) (*collection, error) {
	g := &collection{s: s, opts: opts, gone: map[string]bool{}}
	var leases []LeaseInfo
	err := s.sweep.swept(ctx, func() (err error) {
		g.cutoff = s.opts.Now()
		leases, err = s.Leases()
		return err
	})
	if err != nil {
		return nil, err
	}
	g.report.Leases = leases
	g.heed(leases)
	if err := g.askWhatToKeep(ctx); err != nil {
		return nil, err
	}
	// Actions first: a blob that is stored while they are listed is new.
	if g.actions, err = s.listActions(ctx); err != nil {
		return nil, err
	}
	g.blobs, err = s.listBlobs(ctx)
	return g, err
}

// askWhatToKeep sorts what is to stay by its names. The first reason counts.
func (g *collection) askWhatToKeep(ctx context.Context) error {
	g.order = []string{"", WhyInUse} // nothing has to be said of what is within the bounds
	g.keep, g.keepBlobs = map[artifacts.Key]string{}, map[string]string{}
	if g.opts.Keep == nil {
		return nil
	}
	all, err := g.opts.Keep(ctx)
	if err != nil {
		return err
	}
	for _, keep := range all {
		why := cmp.Or(keep.Why, "kept")
		if !slices.Contains(g.order, why) {
			g.order = append(g.order, why)
		}
		for _, k := range keep.Keys {
			g.keep[k] = cmp.Or(g.keep[k], why)
		}
		for _, d := range keep.Blobs {
			if _, err := artifacts.ParseDigest(string(d)); err != nil {
				return err
			}
			g.keepBlobs[d.Hex()] = cmp.Or(g.keepBlobs[d.Hex()], why)
		}
	}
	return nil
}

// inUse says whether something last used at a time may be needed by a living
// process. A file system that keeps times in whole seconds, or pairs of them,
// cuts off what would tell: then the doubt counts.
func (g *collection) inUse(used time.Time) bool {
	if !used.Before(g.cutoff) {
		return true
	}
	return used.Nanosecond() == 0 && !used.Before(g.cutoff.Truncate(2*time.Second))
}

func (s *Store) listActions(ctx context.Context) ([]storedAction, error) {
	var actions []storedAction
	err := eachFile(ctx, s.path("ac"), func(name string, info fs.FileInfo) error {
		k := artifacts.Key(name)
		a := storedAction{key: k, path: s.actionPath(k), used: info.ModTime()}
		encoded, _, err := readAction(a.path)
		switch {
		case unread(err): // its blobs would go, and it may be whole
			return fmt.Errorf("a result cannot be read, so what it needs is not known: %w: let its owner chmod g=u it, or remove the file if the disk is broken", err)
		case err == nil:
			// One that cannot be decoded refers to nothing and ages.
			decoded, _ := artifacts.DecodeActionResult(encoded)
			for _, f := range decoded.OutputFiles {
				a.refs = append(a.refs, f.Digest.Hex())
			}
		}
		actions = append(actions, a)
		return nil
	})
	return actions, err
}

func (s *Store) listBlobs(ctx context.Context) (map[string]storedBlob, error) {
	blobs := map[string]storedBlob{}
	err := eachFile(ctx, s.path("cas"), func(hex string, info fs.FileInfo) error {
		blobs[hex] = storedBlob{info.Size(), info.ModTime()}
		return nil
	})
	return blobs, err
}

// eachFile visits the files of cas/ or ac/ by their names. Others than ours
// are passed over, and so are those that vanish meanwhile.
func eachFile(ctx context.Context, root string, visit func(name string, info fs.FileInfo) error) error {
	dirs, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !dir.IsDir() {
			continue
		}
		files, err := os.ReadDir(filepath.Join(root, dir.Name()))
		if err != nil {
			return err
		}
		for _, f := range files {
			if _, err := artifacts.ParseKey(f.Name()); err != nil || f.Name()[:2] != dir.Name() {
				continue
			}
			info, err := f.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			if err := visit(f.Name(), info); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeActions removes results, least recently used first, until the bounds
// are met.
func (g *collection) removeActions(ctx context.Context) error {
	count, total := g.references()
	oldest := time.Time{}
	if g.opts.MaxAge > 0 {
		oldest = g.s.opts.Now().Add(-g.opts.MaxAge)
	}
	slices.SortFunc(g.actions, func(a, b storedAction) int { return a.used.Compare(b.used) })
	var kept, doomed []storedAction
	for _, a := range g.actions {
		over := g.opts.MaxBytes > 0 && total > g.opts.MaxBytes || a.used.Before(oldest)
		if over {
			a.why = g.whyKeep(a)
		}
		if !over || a.why != "" {
			kept = append(kept, a)
			continue
		}
		doomed = append(doomed, a)
		for _, hex := range a.refs {
			if count[hex]--; count[hex] == 0 {
				total -= g.blobs[hex].size
			}
		}
	}
	spared, err := g.sweepActions(ctx, doomed)
	g.actions = append(kept, spared...)
	g.report.KeptActions = len(g.actions)
	return err
}

// whyKeep says why a result stays that is over the bounds; empty if it does not.
func (g *collection) whyKeep(a storedAction) string {
	if g.inUse(a.used) {
		return WhyInUse
	}
	return g.keep[a.key]
}

// references counts, for each blob, the results that refer to it, and sums up
// the sizes of those that any does.
func (g *collection) references() (count map[string]int, total int64) {
	count = map[string]int{}
	for _, a := range g.actions {
		for _, hex := range a.refs {
			if count[hex]++; count[hex] == 1 {
				total += g.blobs[hex].size
			}
		}
	}
	return count, total
}

// sweepActions removes those of the actions that are still unused, and
// returns the others.
func (g *collection) sweepActions(ctx context.Context, doomed []storedAction) (spared []storedAction, err error) {
	for batch := range slices.Chunk(doomed, sweepBatch) {
		err := g.s.sweep.swept(ctx, func() error {
			if _, err := g.keptByLeases(); err != nil {
				return err
			}
			for _, a := range batch {
				gone, err := g.remove(a.path)
				if err != nil {
					return err
				}
				if !gone {
					a.why = WhyInUse // since the survey
					spared = append(spared, a)
					continue
				}
				g.report.Actions++
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return spared, nil
}

// sweepBatch is how many files are removed at a time, so that a run waits for
// no more than milliseconds.
const sweepBatch = 128

// remove removes a file unless it was used lately. The caller holds the sweep
// lock exclusively.
func (g *collection) remove(path string) (gone bool, err error) {
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return true, nil
	}
	if err != nil || g.inUse(info.ModTime()) {
		return false, err
	}
	if g.opts.DryRun {
		return true, nil
	}
	return true, os.Remove(path)
}

// removeBlobs removes the blobs that nothing refers to.
func (g *collection) removeBlobs(ctx context.Context) error {
	count, _ := g.references()
	var doomed []string
	for hex := range g.blobs {
		if count[hex] == 0 && g.keepBlobs[hex] == "" {
			doomed = append(doomed, hex)
		}
	}
	slices.Sort(doomed)
	for batch := range slices.Chunk(doomed, sweepBatch) {
		if err := g.s.sweep.swept(ctx, func() error { return g.sweepBlobs(batch) }); err != nil {
			return err
		}
	}
	g.tellWhatStays()
	return nil
}

// tellWhatStays counts what is left, and by why it is.
func (g *collection) tellWhatStays() {
	stays := map[string]*Stay{}
	for _, why := range g.order {
		stays[why] = &Stay{Why: why}
	}
	whyBlob := g.countActions(stays)
	for hex, b := range g.blobs {
		if g.gone[hex] {
			continue
		}
		g.report.KeptBlobs++
		g.report.KeptBytes += b.size
		why, ofAction := whyBlob[hex]
		if !ofAction {
			why = cmp.Or(g.keepBlobs[hex], WhyInUse)
		}
		stays[why].Blobs++
		stays[why].Bytes += b.size
	}
	g.report.Stays = []Stay{}
	for _, why := range g.order[1:] {
		if stay := stays[why]; stay.Actions+stay.Blobs > 0 {
			g.report.Stays = append(g.report.Stays, *stay)
		}
	}
}

// countActions counts the results that are left by why they are. Of each blob
// it says the reason of the result that comes first in the order of reasons.
func (g *collection) countActions(stays map[string]*Stay) (whyBlob map[string]string) {
	whyBlob = map[string]string{}
	slices.SortStableFunc(g.actions, func(a, b storedAction) int {
		return slices.Index(g.order, a.why) - slices.Index(g.order, b.why)
	})
	for _, a := range g.actions {
		stays[a.why].Actions++
		for _, hex := range a.refs {
			if _, known := whyBlob[hex]; !known {
				whyBlob[hex] = a.why
			}
		}
	}
	return whyBlob
}

func (g *collection) sweepBlobs(batch []string) error {
	kept, err := g.keptByLeases()
	if err != nil {
		return err
	}
	for _, hex := range batch {
		if kept[hex] {
			continue
		}
		gone, err := g.remove(g.s.blobPath(hex))
		if err != nil {
			return err
		}
		if gone {
			g.gone[hex] = true
			g.report.Blobs++
			g.report.Bytes += g.blobs[hex].size
		}
	}
	return nil
}

// keptByLeases are the blobs that leases name. It asks anew, and heeds the leases:
// one may have begun since the survey, by a clock that is behind ours. The caller
// holds the sweep lock.
func (g *collection) keptByLeases() (map[string]bool, error) {
	leases, err := g.s.Leases()
	if err != nil {
		return nil, err
	}
	g.heed(leases)
	kept := map[string]bool{}
	for _, l := range leases {
		for _, d := range l.keeps {
			kept[d.Hex()] = true
		}
	}
	return kept, nil
}

// heed lowers the cutoff to when the leases began.
func (g *collection) heed(leases []LeaseInfo) {
	for _, l := range leases {
		if l.Started.Before(g.cutoff) {
			g.cutoff = l.Started
		}
	}
}
