package memo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/prismflow/prismflow/artifacts"
)

// listKind is before the scope's kind in the request of its list: a scope may
// look like the request of a stage, whose result must not be taken for a list.
const listKind = "memo:"

// List is the request of the result that lists a scope's segments.
func List(scope artifacts.Request) artifacts.Request {
	scope.Kind = listKind + scope.Kind
	return scope
}

// A segment is a blob of rows.
type segment struct {
	digest artifacts.Digest
	bytes  int64
	rows   int64
}

// list is the segments of a list, oldest first; none where there is no list.
// The error is a *artifacts.Miss where there is one that cannot be used.
func list(ctx context.Context, store Store, key artifacts.Key) ([]segment, error) {
	if _, err := store.GetAction(ctx, key); errors.Is(err, artifacts.ErrNotFound) {
		return nil, nil
	}
	manifest, err := artifacts.LookupManifest(ctx, store, key)
	if err != nil {
		return nil, err
	}
	return segmentsOf(manifest), nil
}

// openSegment opens a segment whose bytes were verified.
func openSegment(ctx context.Context, store Store, s segment) (*os.File, error) {
	path, err := store.Verified(ctx, s.digest)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != s.bytes {
		err = fmt.Errorf("segment %s has %d bytes and not %d", s.digest.Short(), info.Size(), s.bytes)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// publish makes segments the list.
func (m *Memo) publish(ctx context.Context, segments []segment) error {
	manifest := artifacts.Manifest{
		Format: artifacts.ManifestFormat, Key: m.key, Request: m.scope,
		Provenance: m.opts.Provenance,
	}
	var outputs []artifacts.Output
	for _, s := range segments {
		outputs = append(outputs, artifacts.Output{Digest: s.digest, Bytes: s.bytes, Rows: s.rows})
	}
	return artifacts.Publisher{Store: m.store, Signer: m.opts.Signer}.Replace(ctx, Relist(manifest, outputs))
}

// segmentName is the output of a list that is the i-th segment; it sorts as i does.
func segmentName(i int) string { return fmt.Sprintf("segment_%06d", i) }

// patience is how long Close waits for others who seal rows of the same scope.
const patience = time.Minute

// seal moves the journals into the store and adds them to the list as it is by
// then, so that of several memos that close none loses anything. It goes on
// after a journal that cannot be sealed.
func (m *Memo) seal(ctx context.Context) error {
	written, failed := m.check()
	if len(written) == 0 {
		return failed
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	unlock, err := m.store.Lock(waiting, m.key)
	if err != nil {
		return errors.Join(failed, err)
	}
	defer unlock()
	var kept []sealed
	for _, s := range written {
		if err := s.journal.keep(ctx, m.store, s.segment); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		kept = append(kept, s)
	}
	if err := m.addToList(ctx, kept); err != nil {
		failed = errors.Join(failed, err)
		for _, s := range kept {
			failed = errors.Join(failed, giveBack(ctx, m.store, s.journal, s.segment))
		}
	}
	return failed
}

// A sealed journal is a segment, or about to be.
type sealed struct {
	segment
	journal *journal
}

// check says what segments the journals make. One without a row, whose first
// could not be written, is removed.
func (m *Memo) check() (written []sealed, failed error) {
	for _, j := range m.journals {
		s, err := j.check()
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
		case s.rows == 0:
			os.Remove(j.path)
		default:
			written = append(written, sealed{s, j})
		}
	}
	return written, failed
}

// addToList publishes the list with these segments behind what it has. The
// caller has the turn at the key.
func (m *Memo) addToList(ctx context.Context, added []sealed) error {
	segments, err := list(ctx, m.store, m.key)
	var miss *artifacts.Miss
	if err != nil && !errors.As(err, &miss) { // a list that cannot be used is replaced
		return err
	}
	isNew := map[artifacts.Digest]bool{}
	for _, s := range added {
		isNew[s.digest] = true
	}
	segments = present(ctx, m.store, slices.DeleteFunc(segments, func(s segment) bool { return isNew[s.digest] }))
	for _, s := range added {
		segments = append(segments, s.segment)
	}
	merged, err := m.merge(ctx, segments)
	if err != nil {
		m.warn("the segments of the row memo %s stay unmerged: %v", m.key.Short(), err)
		merged = segments
	}
	return m.publish(ctx, merged)
}

// Mend takes the segments that are not in the store off the list that is
// recorded under a key, and says whether anything stands there now. What is not
// such a list, or has nothing left, it leaves alone.
func Mend(ctx context.Context, store Store, key artifacts.Key) (mended bool, err error) {
	unlock, err := store.Lock(ctx, key)
	if err != nil {
		return false, err
	}
	defer unlock()
	manifest, err := artifacts.LookupManifest(ctx, store, key)
	var miss *artifacts.Miss
	if errors.As(err, &miss) {
		return false, nil
	}
	if err != nil || !IsList(manifest.Request) {
		return false, err
	}
	maps.DeleteFunc(manifest.Outputs, func(_ string, s artifacts.Output) bool {
		size, err := store.Stat(ctx, s.Digest)
		return errors.Is(err, artifacts.ErrNotFound) || err == nil && size != s.Bytes
	})
	if len(manifest.Outputs) == 0 {
		return false, nil
	}
	return true, artifacts.Replace(ctx, store, manifest)
}
