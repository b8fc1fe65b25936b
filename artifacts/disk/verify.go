package disk

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

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

// Verify hashes every blob again, whatever is remembered of it, and checks
// that every action can be read and has all of its blobs. With repair, corrupt
// blobs go to quarantine and actions that lack a blob are removed: both are
// misses then, and computed again. progress, which may be nil, is called after
// each blob with the bytes done and those in all.
func (s *Store) Verify(ctx context.Context, repair bool, progress func(done, total int64)) (VerifyReport, error) {
	blobs, err := s.listBlobs(ctx)
	if err != nil {
		return VerifyReport{}, fmt.Errorf("verifying: %w", err)
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	var total int64
	for _, b := range blobs {
		total += b.size
	}
	var report VerifyReport
	for _, hex := range slices.Sorted(maps.Keys(blobs)) {
		problem, err := s.verifyBlob(ctx, hex, repair)
		if err != nil {
			return report, fmt.Errorf("verifying blob %s: %w", hex, err)
		}
		report.Problems = append(report.Problems, problem...)
		report.Blobs++
		report.Bytes += blobs[hex].size
		progress(report.Bytes, total)
	}
	err = s.verifyActions(ctx, repair, &report)
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

func (s *Store) verifyActions(ctx context.Context, repair bool, report *VerifyReport) error {
	return eachFile(ctx, s.path("ac"), func(name string, info fs.FileInfo) error {
		report.Actions++
		why := s.verifyAction(ctx, artifacts.Key(name))
		if why == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		p := Problem{Name: name, Error: why.Error()}
		if repair {
			p.Repaired = s.removeUnused(ctx, artifacts.Key(name), info) == nil
		}
		report.Problems = append(report.Problems, p)
		return nil
	})
}

func (s *Store) verifyAction(ctx context.Context, k artifacts.Key) error {
	encoded, _, err := readAction(s.actionPath(k))
	if os.IsNotExist(err) {
		return nil // collected meanwhile
	}
	if err != nil {
		return err
	}
	action, err := artifacts.DecodeActionResult(encoded)
	if err != nil {
		return err
	}
	for _, f := range action.OutputFiles {
		size, err := s.Stat(ctx, f.Digest)
		if err == nil && size != f.Bytes {
			err = fmt.Errorf("blob %s has %d bytes and not %d", f.Digest.Short(), size, f.Bytes)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return nil
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
