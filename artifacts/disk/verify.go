package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/prismflow/prismflow/artifacts"
)

// A VerifyReport says what Verify looked at and what is wrong.
type VerifyReport struct {
	Blobs    int       `json:"blobs"`
	Bytes    int64     `json:"bytes"`
	Actions  int       `json:"actions"`
	Problems []Problem `json:"problems"`
}

// A Problem is one broken part of a store.
type Problem struct {
	Name     string `json:"name"`  // digest of a blob, or key of an action
	Error    string `json:"error"` // what is wrong
	Repaired bool   `json:"repaired"`
}

// VerifyOptions are the choices of Verify. The zero value only looks.
type VerifyOptions struct {
	// Repair moves corrupt blobs to quarantine and removes broken actions: both are
	// misses then, and computed again. What this user may not read stays.
	Repair bool

	// Mend may put a whole action in the place of a broken one, which is then
	// not removed, and says whether it did. nil: nothing can be mended.
	Mend func(ctx context.Context, k artifacts.Key) (mended bool, err error)

	// Progress is called after each blob with the bytes done and those in all,
	// once at a time. It may be nil.
	Progress func(done, total int64)
}

// Verify hashes every blob again, whatever is remembered of it, on all
// processors, and checks that every action can be read, is that of its manifest
// and has all of its blobs. When ctx ends, the report has what was found until then.
func (s *Store) Verify(ctx context.Context, opts VerifyOptions) (VerifyReport, error) {
	blobs, err := s.listBlobs(ctx)
	if err != nil {
		return VerifyReport{}, fmt.Errorf("verifying: %w", err)
	}
	if opts.Progress == nil {
		opts.Progress = func(int64, int64) {}
	}
	if opts.Mend == nil {
		opts.Mend = func(context.Context, artifacts.Key) (bool, error) { return false, nil }
	}
	var total int64
	for _, b := range blobs {
		total += b.size
	}
	report, err := s.verifyBlobs(ctx, blobs, opts, total)
	if err != nil {
		return report, fmt.Errorf("verifying: %w", err)
	}
	err = s.verifyActions(ctx, opts, &report)
	return report, err
}

// verifyBlobs hashes the blobs on all processors. What was found before an
// error is in the report nevertheless.
func (s *Store) verifyBlobs(ctx context.Context, blobs map[string]storedBlob, opts VerifyOptions, total int64) (report VerifyReport, err error) {
	var mu sync.Mutex // guards report, and is held while Progress is called
	workers := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(runtime.GOMAXPROCS(0))
	for _, hex := range slices.Sorted(maps.Keys(blobs)) {
		if ctx.Err() != nil {
			break
		}
		workers.Go(func(ctx context.Context) error {
			problems, err := s.verifyBlob(ctx, hex, opts.Repair)
			if err != nil {
				return fmt.Errorf("blob %s: %w", hex, err)
			}
			mu.Lock()
			defer mu.Unlock()
			report.Problems = append(report.Problems, problems...)
			report.Blobs++
			report.Bytes += blobs[hex].size
			opts.Progress(report.Bytes, total)
			return nil
		})
	}
	err = errors.Join(workers.Wait(), ctx.Err())
	slices.SortFunc(report.Problems, func(a, b Problem) int { return strings.Compare(a.Name, b.Name) })
	return report, err
}

// verifyBlob hashes one blob; none or one problem comes of it.
func (s *Store) verifyBlob(ctx context.Context, hex string, repair bool) ([]Problem, error) {
	d, err := artifacts.ParseDigest("sha256:" + hex)
	if err != nil {
		return nil, err
	}
	st, err := s.hashFile(ctx, s.blobPath(hex))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case os.IsNotExist(err):
		return nil, nil // collected meanwhile
	case err != nil:
		s.stamps.forget(hex)
		return []Problem{{Name: string(d), Error: err.Error()}}, nil
	}
	s.stamps.record(hex, st) // also of a corrupt one: it will not be trusted
	if st.Digest == d {
		return nil, nil
	}
	p := Problem{Name: string(d), Error: "its bytes have digest " + string(st.Digest)}
	if repair {
		p.Error = s.quarantine(ctx, d, st).Error()
		_, err := os.Lstat(s.blobPath(hex))
		p.Repaired = os.IsNotExist(err)
	}
	return []Problem{p}, ctx.Err()
}

func (s *Store) verifyActions(ctx context.Context, opts VerifyOptions, report *VerifyReport) error {
	return eachFile(ctx, s.path("ac"), func(name string, info fs.FileInfo) error {
		report.Actions++
		k := artifacts.Key(name)
		info, why := s.settled(k, info, func() error { return s.verifyAction(ctx, k) })
		if why == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		p := Problem{Name: name, Error: why.Error()}
		if opts.Repair && !unread(why) {
			p.Repaired = s.repairAction(ctx, k, info, opts.Mend) == nil
		}
		report.Problems = append(report.Problems, p)
		return nil
	})
}

// settled is what look finds wrong with an action, and the file that has it. There
// is none when the action is gone by then: GC, which takes it before its blobs, was
// at work. Where another one took its place, or it was used, it is looked at again:
// what was missing was that of an earlier one.
func (s *Store) settled(k artifacts.Key, seen fs.FileInfo, look func() error) (fs.FileInfo, error) {
	for {
		wrong := look()
		if wrong == nil {
			return seen, nil
		}
		now, err := os.Lstat(s.actionPath(k))
		switch {
		case os.IsNotExist(err):
			return nil, nil
		case err != nil || unchanged(seen, now):
			return seen, wrong
		}
		seen = now
	}
}

func unchanged(before, now fs.FileInfo) bool {
	a, errA := fileID(before)
	b, errB := fileID(now)
	return errA == nil && errB == nil && a == b
}

// verifyAction says what is wrong with an action, by the same measure as
// EachResult, and of another program's whether its blobs are there.
func (s *Store) verifyAction(ctx context.Context, k artifacts.Key) error {
	for _, result := range s.readResults(ctx, k, time.Time{}) {
		if result.Damaged != nil {
			return result.Damaged
		}
		if !result.Foreign {
			continue
		}
		for _, f := range result.Files {
			if err := s.has(ctx, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// repairAction mends a broken action or removes it.
func (s *Store) repairAction(ctx context.Context, k artifacts.Key, seen fs.FileInfo, mend func(context.Context, artifacts.Key) (bool, error)) error {
	if mended, err := mend(ctx, k); mended || err != nil {
		return err
	}
	return s.removeUnused(ctx, k, seen)
}

// removeUnused removes a broken action, unless a whole one took its place.
func (s *Store) removeUnused(ctx context.Context, k artifacts.Key, seen fs.FileInfo) error {
	return s.sweep.swept(ctx, func() error {
		info, err := os.Lstat(s.actionPath(k))
		if err != nil || !os.SameFile(info, seen) {
			return err
		}
		return os.Remove(s.actionPath(k))
	})
}
