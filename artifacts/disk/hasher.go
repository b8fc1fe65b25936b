package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/prismflow/prismflow/artifacts"
)

// readBuffer is the size of the pieces in which files are hashed: read(2) of
// 1 MiB was measured fastest, a mapping slower by a third.
const readBuffer = 1 << 20

// A FileHasher digests files of any place and remembers what they were, so
// that a file that did not change is not read again. It shares its memory
// with every process that has the store open.
type FileHasher struct{ s *Store }

// Files is the store's hasher.
func (s *Store) Files() *FileHasher { return &FileHasher{s} }

// Digest is the digest of a regular file's content, and the stamp with which
// Unchanged can tell later whether it is still that. Symbolic links are
// followed. The error is ErrChanging for a file that is being written.
func (h *FileHasher) Digest(ctx context.Context, path string) (artifacts.Digest, Stamp, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", Stamp{}, fmt.Errorf("hashing %s: %w", path, err)
	}
	st, err := h.s.stampOf(ctx, abs, abs)
	if err != nil {
		return "", Stamp{}, fmt.Errorf("hashing %s: %w", path, err)
	}
	return st.Digest, st, nil
}

// Unchanged says whether the file at path is, and has been since the stamp
// was made, the one that was hashed. It is read again only where the stamp
// alone cannot tell. A file that was merely touched counts as changed, since
// it may have been something else in between.
func (h *FileHasher) Unchanged(path string, s Stamp) (bool, error) {
	id, err := statFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("checking %s: %w", path, err)
	}
	if !s.ID.same(id) {
		return false, nil
	}
	if !s.racy() {
		return true, nil
	}
	again, err := h.s.hashFile(context.Background(), path)
	if err != nil {
		return false, fmt.Errorf("checking %s: %w", path, err)
	}
	return again.Digest == s.Digest && again.ID == s.ID, nil
}

// ErrChanging says that a file changed each time it was read.
var ErrChanging = errors.New("the file is being written to")

// stampOf is the stamp of the file at path, remembered under name.
func (s *Store) stampOf(ctx context.Context, name, path string) (Stamp, error) {
	if st, ok := s.remembered(name, path); ok {
		return st, nil
	}
	done, err := s.hashing.take(ctx, name)
	if err != nil {
		return Stamp{}, err
	}
	defer done()
	if st, ok := s.remembered(name, path); ok {
		return st, nil // hashed by whom we waited for
	}
	st, err := s.hashFile(ctx, path)
	if err != nil {
		return Stamp{}, err
	}
	s.stamps.record(name, st)
	return st, nil
}

func (s *Store) remembered(name, path string) (Stamp, bool) {
	st, ok := s.stamps.lookup(name)
	if !ok {
		return Stamp{}, false
	}
	id, err := statFile(path)
	return st, err == nil && st.proves(id)
}

func statFile(path string) (FileID, error) {
	info, err := os.Stat(path)
	if err != nil {
		return FileID{}, err
	}
	if !info.Mode().IsRegular() {
		return FileID{}, notRegular(path)
	}
	return fileID(info)
}

func notRegular(path string) error { return fmt.Errorf("%s is not a regular file", path) }

// hashFile reads a file. It reads again when the file changed meanwhile.
func (s *Store) hashFile(ctx context.Context, path string) (Stamp, error) {
	for range 3 {
		st, same, err := s.hashOnce(ctx, path)
		if err != nil || same {
			return st, err
		}
	}
	return Stamp{}, ErrChanging
}

func (s *Store) hashOnce(ctx context.Context, path string) (st Stamp, same bool, err error) {
	if _, err := statFile(path); err != nil { // opening a pipe would block
		return Stamp{}, false, err
	}
	f, err := os.Open(path)
	if err != nil {
		return Stamp{}, false, err
	}
	defer f.Close()
	before, err := openID(f)
	if err != nil {
		return Stamp{}, false, err
	}
	hashed := s.opts.Now().UnixNano()
	d, err := hashReader(ctx, f, before.Size)
	if err != nil {
		return Stamp{}, false, err
	}
	after, err := openID(f)
	if err != nil {
		return Stamp{}, false, err
	}
	return s.stamp(d, after, hashed), before == after, nil
}

// stamp makes a stamp of a file whose content, hashed from the given time on,
// did not change until id was taken.
func (s *Store) stamp(d artifacts.Digest, id FileID, hashed int64) Stamp {
	st := Stamp{Digest: d, ID: id, Hashed: hashed}
	st.exact = st.racy() && s.exact(id.Device) // asked only where it matters
	return st
}

func openID(f *os.File) (FileID, error) {
	info, err := f.Stat()
	if err != nil {
		return FileID{}, err
	}
	return fileID(info)
}

// hashReader hashes what r yields, which is expected to be size bytes.
func hashReader(ctx context.Context, r io.Reader, size int64) (artifacts.Digest, error) {
	h := sha256.New()
	buf := make([]byte, min(max(size, 0)+512, readBuffer)) // room to see the end at once
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return artifacts.DigestOfHash(h), nil
		}
		if err != nil {
			return "", err
		}
	}
}
