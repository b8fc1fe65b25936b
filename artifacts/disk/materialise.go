package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prismflow/prismflow/artifacts"
)

// Materialise makes dest a file with a blob's content, for people: one that
// shares the blob's blocks where the file system can do that, else a copy, or
// above Options.LinkAbove a symbolic link to the blob, which is read-only. It
// is never a hard link, through which an editor would change the blob.
//
// changed says whether there was something to do: a file that is what it
// should be, by what is remembered of it, is left alone, and one that is
// missing, outdated or was tampered with is made anew. Its directory is made
// where it is absent.
func (s *Store) Materialise(ctx context.Context, d artifacts.Digest, dest string) (changed bool, err error) {
	hex, err := checkDigest(ctx, d)
	if err != nil {
		return false, err
	}
	abs, err := filepath.Abs(dest)
	if err != nil {
		return false, fmt.Errorf("making %s: %w", dest, err)
	}
	if ok, err := s.isMaterialised(ctx, d, hex, abs); ok || err != nil {
		return false, err
	}
	blob, err := s.Verified(ctx, d)
	if err != nil {
		return false, fmt.Errorf("making %s: %w", dest, err)
	}
	err = s.materialise(ctx, d, blob, abs)
	var full *SpaceError
	if errors.As(err, &full) {
		full.Remedy = "write the results elsewhere with --out DIR"
	}
	if err != nil {
		return false, fmt.Errorf("making %s: %w", dest, err)
	}
	return true, nil
}

// isMaterialised says whether dest is as Materialise makes it. For most files
// that takes one lstat.
func (s *Store) isMaterialised(ctx context.Context, d artifacts.Digest, hex, dest string) (bool, error) {
	info, err := os.Lstat(dest)
	if err != nil {
		return false, nil // whatever is wrong shows when it is made
	}
	if info.Mode()&os.ModeSymlink != 0 {
		target, err := os.Readlink(dest)
		if err != nil || target != s.blobPath(hex) {
			return false, nil
		}
		_, err = s.Verified(ctx, d)
		return err == nil, ctx.Err()
	}
	if !info.Mode().IsRegular() {
		return false, nil
	}
	id, err := fileID(info)
	if err != nil {
		return false, err
	}
	st, ok := s.stamps.lookup(dest)
	if !ok || !st.ID.same(id) {
		return false, nil
	}
	if st.racy() {
		if st, err = s.stampOf(ctx, dest, dest); err != nil {
			return false, ctx.Err()
		}
	}
	return st.Digest == d, nil
}

func (s *Store) materialise(ctx context.Context, d artifacts.Digest, blob, dest string) error {
	if info, err := os.Lstat(dest); err == nil && info.IsDir() {
		return fmt.Errorf("it is a directory")
	}
	dir := filepath.Dir(dest)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return spaceError(err, dir)
	}
	src, err := os.Open(blob)
	if err != nil {
		return err
	}
	defer src.Close()
	err = s.copyTo(ctx, d, src, dest)
	if errors.Is(err, errTooLarge) {
		return s.linkTo(blob, dest)
	}
	return err
}

var errTooLarge = errors.New("too large to copy")

// copyTo makes dest a file with the blob's content, sharing its blocks or, up
// to Options.LinkAbove, copied, and remembers it. It is not synced to the
// disk: it can be made again.
func (s *Store) copyTo(ctx context.Context, d artifacts.Digest, src *os.File, dest string) error {
	tmp, err := createTemp(filepath.Dir(dest), "."+filepath.Base(dest)+".", s.fault)
	if err != nil {
		return err
	}
	defer tmp.discard()
	hashed := s.opts.Now()
	err = inOrder(
		step{"copy", func() error { return s.fill(ctx, tmp, src, d) }},
		step{"rename", func() error { return os.Rename(tmp.f.Name(), dest) }},
	).run(s.fault, dest)
	tmp.renamed = err == nil
	if err != nil {
		return err
	}
	if id, err := openID(tmp.f); err == nil {
		s.stamps.record(dest, s.stamp(d, id, hashed.UnixNano()))
	}
	return nil
}

func (s *Store) fill(ctx context.Context, tmp *tempFile, src *os.File, d artifacts.Digest) error {
	if cloneFile(src, tmp.f) == nil {
		return nil
	}
	info, err := src.Stat()
	if err != nil {
		return err
	}
	if info.Size() > s.opts.LinkAbove {
		return errTooLarge
	}
	return artifacts.CopyVerified(ctx, tmp, src, d, info.Size())
}

// linkTo makes dest a symbolic link to the blob.
func (s *Store) linkTo(blob, dest string) error {
	dir, err := os.MkdirTemp(filepath.Dir(dest), "."+filepath.Base(dest)+".")
	if err != nil {
		return spaceError(err, dest)
	}
	defer os.RemoveAll(dir)
	link := filepath.Join(dir, "link")
	return inOrder(
		step{"link", func() error { return os.Symlink(blob, link) }},
		step{"rename", func() error { return os.Rename(link, dest) }},
	).run(s.fault, dest)
}
