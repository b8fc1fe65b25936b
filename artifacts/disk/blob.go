package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prismflow/prismflow/artifacts"
)

// Stat implements artifacts.Store.
func (s *Store) Stat(ctx context.Context, d artifacts.Digest) (int64, error) {
	hex, err := checkDigest(ctx, d)
	if err != nil {
		return 0, err
	}
	info, err := os.Lstat(s.blobPath(hex))
	if err != nil {
		return 0, notFound("blob", d.Short(), err)
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("blob %s: %w", d.Short(), notRegular(s.blobPath(hex)))
	}
	return info.Size(), nil
}

// Get implements artifacts.Store.
func (s *Store) Get(ctx context.Context, d artifacts.Digest) (io.ReadCloser, error) {
	hex, err := checkDigest(ctx, d)
	if err != nil {
		return nil, err
	}
	f, err := openOwn(s.blobPath(hex))
	if err != nil {
		return nil, notFound("blob", d.Short(), err)
	}
	return artifacts.VerifyReader(f, d), nil
}

// Put implements artifacts.Store. A blob that is there already is replaced by
// its equal: that heals a corrupt one, and marks it as in use (see GC).
func (s *Store) Put(ctx context.Context, d artifacts.Digest, size int64, r io.Reader) error {
	hex, err := checkDigest(ctx, d)
	if err != nil {
		return err
	}
	dir, err := s.ownTemp()
	if err != nil {
		return fmt.Errorf("storing blob %s: %w", d.Short(), err)
	}
	tmp, err := createTemp(dir, "blob-", s.fault)
	if err != nil {
		return fmt.Errorf("storing blob %s: %w", d.Short(), err)
	}
	defer tmp.discard()
	hashed := s.opts.Now()
	if err := artifacts.CopyVerified(ctx, tmp, r, d, size); err != nil {
		return err
	}
	if err := tmp.finishBlob(s.opts.Now()); err != nil {
		return fmt.Errorf("storing blob %s: %w", d.Short(), err)
	}
	return s.moveIn(ctx, tmp, d, hex, hashed)
}

// Adopt moves a finished file, which must be on the store's file system as
// those in a TempDir are, into the store. d has to come from a writer that
// hashed every byte on its way into the file, or from a hash of the file since
// it was closed: Adopt does not read it. The caller must have closed the file
// and must not use the path again.
func (s *Store) Adopt(ctx context.Context, path string, d artifacts.Digest) error {
	hex, err := checkDigest(ctx, d)
	if err != nil {
		return err
	}
	f, err := openOwn(path)
	if err != nil {
		return fmt.Errorf("adopting %s: %w", path, err)
	}
	defer f.Close()
	if links(f) > 1 {
		return s.adoptCopy(ctx, f, d)
	}
	tmp := &tempFile{f: f, fault: s.fault}
	if err := tmp.finishBlob(s.opts.Now()); err != nil {
		return fmt.Errorf("adopting %s: %w", path, err)
	}
	return s.moveIn(ctx, tmp, d, hex, s.opts.Now())
}

// openOwn opens a regular file of the store. A link that another user of the
// directory put in its place is not followed, and a pipe is not waited for.
func openOwn(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENXIO): // a link; a socket
		return nil, notRegular(path)
	case err != nil:
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func links(f *os.File) uint64 {
	info, err := f.Stat()
	if err != nil {
		return 1
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}

// adoptCopy stores a copy of a file that has a second name, by which somebody
// could change the blob.
func (s *Store) adoptCopy(ctx context.Context, f *os.File, d artifacts.Digest) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("adopting %s: %w", f.Name(), err)
	}
	if err := s.Put(ctx, d, info.Size(), f); err != nil {
		return fmt.Errorf("adopting %s: %w", f.Name(), err)
	}
	return os.Remove(f.Name())
}

// moveIn gives a finished file its place among the blobs, and remembers it as
// hashed from the given time on.
func (s *Store) moveIn(ctx context.Context, tmp *tempFile, d artifacts.Digest, hex string, hashed time.Time) error {
	dest := s.blobPath(hex)
	err := s.install(ctx, "rename", dest, func() error { return s.rename(tmp, dest) })
	if errors.Is(err, syscall.EXDEV) {
		err = fmt.Errorf("%w (make it in a TempDir of the store)", err)
	}
	if err != nil {
		return fmt.Errorf("storing blob %s: %w", d.Short(), err)
	}
	// What cannot be remembered is hashed at the next use.
	if id, err := openID(tmp.f); err == nil {
		s.stamps.record(hex, s.stamp(d, id, hashed.UnixNano()))
	}
	if err := syncDir(s.fault, dest[:len(dest)-len(hex)-1]); err != nil {
		return fmt.Errorf("storing blob %s: %w", d.Short(), err)
	}
	return nil
}

// install moves a finished file to its final name by move, which marks it as in use.
// The name is not durable yet, but that of its directory is.
func (s *Store) install(ctx context.Context, op, dest string, move func() error) error {
	try := func() error {
		if err := s.fan.settle(s.fault, filepath.Dir(dest)); err != nil {
			return err
		}
		return s.sweep.marked(ctx, func() error { return inOrder(step{op, move}).run(s.fault, dest) })
	}
	err := try()
	if errors.Is(err, os.ErrNotExist) { // somebody removed the directory
		s.fan.forget(filepath.Dir(dest))
		err = try()
	}
	return err
}

// rename gives a file its place, marked as in use. The caller holds the lock for
// marks: the file may replace an equal one that was marked later than this one
// was written.
func (s *Store) rename(tmp *tempFile, to string) error {
	from, used := tmp.f.Name(), s.opts.Now()
	if there, err := os.Lstat(to); err == nil && there.ModTime().After(used) {
		used = there.ModTime() // by a host whose clock is ahead of ours, and which may still need it
	}
	if err := os.Chtimes(from, used, used); err != nil {
		return err
	}
	err := os.Rename(from, to)
	tmp.renamed = err == nil
	return err
}

// mark sets a file's time of last use.
func (s *Store) mark(path string) error {
	now := s.opts.Now()
	return os.Chtimes(path, now, now)
}
