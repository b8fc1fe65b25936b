package memo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"hash"
	"os"
	"path/filepath"

	"github.com/prismflow/prismflow/artifacts"
)

// maxSmall is how many segments below a quarter of a full one a list may have
// before they are merged, so that a row is rewritten a few times at most.
const maxSmall = 8

// merge rewrites the small segments of a list, if they are too many, and those
// of which more than half was overridden. It copies the records that stand: they
// may then be in any order to others, so they go to the list's end.
func (m *Memo) merge(ctx context.Context, list []segment) (merged []segment, err error) {
	if !m.worthMerging(list) {
		return list, nil
	}
	r := &rewriting{store: m.store, limit: m.opts.SegmentBytes, index: newIndex()}
	defer r.close()
	if err := r.open(ctx, list); err != nil {
		return nil, err
	}
	crowded := m.small(list) > maxSmall
	for i, s := range list {
		number := uint32(i)
		if crowded && m.isSmall(s) || r.index.mostlyDead(number) {
			err = r.copy(ctx, s, number)
		} else {
			merged = append(merged, s)
		}
		if err != nil {
			return nil, err
		}
	}
	err = r.finish(ctx)
	return append(merged, r.written...), err
}

func (m *Memo) isSmall(s segment) bool { return s.bytes < m.opts.SegmentBytes/4 }

func (m *Memo) small(list []segment) (n int) {
	for _, s := range list {
		if m.isSmall(s) {
			n++
		}
	}
	return n
}

// worthMerging is a guess by what this memo knows.
func (m *Memo) worthMerging(list []segment) bool {
	if m.small(list) > maxSmall {
		return true
	}
	m.mu.RLock() // a Get that began before the memo was closed may still find damage
	defer m.mu.RUnlock()
	for number := range m.index.files {
		if m.index.mostlyDead(uint32(number)) {
			return true
		}
	}
	return false
}

// A rewriting copies records into new segments.
type rewriting struct {
	store Store
	limit int64 // bytes from which a new segment is begun
	index *index
	files []*os.File

	dir     string
	out     *os.File
	hash    hash.Hash
	current segment
	written []segment
	record  []byte // buffer for one
}

func (r *rewriting) open(ctx context.Context, list []segment) (err error) {
	if r.dir, err = r.store.TempDir("memo"); err != nil {
		return err
	}
	for _, s := range list {
		f, err := openSegment(ctx, r.store, s)
		if err != nil {
			return err
		}
		r.files = append(r.files, f)
		number := r.index.file(f)
		if _, err := eachHeader(f, s.bytes, func(key Key, at span) { r.index.add(key, number, at) }); err != nil {
			return err
		}
	}
	return nil
}

// copy writes the records of a segment that stand. Damaged ones are left.
func (r *rewriting) copy(ctx context.Context, s segment, number uint32) error {
	var failed error
	_, err := eachHeader(r.files[number], s.bytes, func(key Key, at span) {
		if failed == nil && r.index.stands(key, number, at) {
			failed = r.copyRecord(ctx, key, r.index.places[key])
		}
	})
	return errors.Join(failed, err)
}

func (r *rewriting) copyRecord(ctx context.Context, key Key, at place) error {
	value, err := r.index.read(key, at)
	if err == errDamaged {
		return nil
	}
	if err != nil {
		return err
	}
	if r.out != nil && r.current.bytes+at.span().size() > r.limit {
		if err := r.finish(ctx); err != nil {
			return err
		}
	}
	if r.out == nil {
		if err := r.begin(); err != nil {
			return err
		}
	}
	r.current.rows++
	r.record = appendRecord(r.record[:0], key, value)
	return r.write(r.record)
}

func (r *rewriting) begin() (err error) {
	if r.out, err = os.Create(filepath.Join(r.dir, rand.Text())); err != nil {
		return err
	}
	r.hash, r.current = sha256.New(), segment{}
	return r.write([]byte(magic))
}

func (r *rewriting) write(p []byte) error {
	r.hash.Write(p)
	r.current.bytes += int64(len(p))
	_, err := r.out.Write(p)
	return err
}

// finish keeps the segment that is being written, if any.
func (r *rewriting) finish(ctx context.Context) error {
	if r.out == nil {
		return nil
	}
	out := r.out
	r.out = nil
	if err := out.Close(); err != nil {
		return err
	}
	r.current.digest = artifacts.DigestOfHash(r.hash)
	r.written = append(r.written, r.current)
	return r.store.Adopt(ctx, out.Name(), r.current.digest)
}

func (r *rewriting) close() {
	if r.out != nil {
		r.out.Close()
	}
	for _, f := range r.files {
		f.Close()
	}
	if r.dir != "" {
		_ = r.store.RemoveTemp(r.dir) // what stays is removed as a dead process's
	}
}
