package disk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/prismflow/prismflow/artifacts/groupmode"
)

const lockSuffix = ".lock"

// TempDir makes a directory for a caller's unfinished files, on the store's
// file system so that Adopt can move them in. Its name is made of pattern as
// that of os.MkdirTemp. Nobody else removes it while this process lives and
// the store is open; RemoveTemp or Close removes it.
func (s *Store) TempDir(pattern string) (string, error) {
	if strings.ContainsRune(pattern, filepath.Separator) {
		return "", fmt.Errorf("making a temporary directory: pattern %q has a separator", pattern)
	}
	for {
		dir := s.tempName(pattern)
		// The lock is there before the directory, so that a directory without
		// a lock is always a dead one.
		l, err := tryLock(dir+lockSuffix, exclusive)
		if err != nil {
			return "", fmt.Errorf("making a temporary directory: %w", err)
		}
		if l == nil {
			continue // CleanTemp looks at it
		}
		mkdir := inOrder(step{"mkdir", func() error { return groupmode.Mkdir(dir) }})
		if err := mkdir.run(s.fault, dir); err != nil {
			l.removeAndUnlock()
			return "", fmt.Errorf("making a temporary directory: %w", err)
		}
		s.mu.Lock()
		s.temps[dir] = l
		s.mu.Unlock()
		return dir, nil
	}
}

// tempName is a name in tmp/ that nobody has.
func (s *Store) tempName(pattern string) string {
	if strings.Contains(pattern, "*") {
		return s.path("tmp", strings.Replace(pattern, "*", rand.Text(), 1))
	}
	return s.path("tmp", pattern+rand.Text())
}

// RemoveTemp removes a directory that TempDir made.
func (s *Store) RemoveTemp(dir string) error {
	s.mu.Lock()
	l := s.temps[dir]
	delete(s.temps, dir)
	if s.inTmp == dir {
		s.inTmp = ""
	}
	s.mu.Unlock()
	if l == nil {
		return fmt.Errorf("%s is not a temporary directory of this store", dir)
	}
	err := os.RemoveAll(dir)
	l.removeAndUnlock()
	return err
}

// ownTemp is the directory of the store's own temporary files.
func (s *Store) ownTemp() (string, error) {
	s.mu.Lock()
	dir := s.inTmp
	s.mu.Unlock()
	if dir != "" {
		return dir, nil
	}
	dir, err := s.TempDir("put-")
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inTmp == "" {
		s.inTmp = dir
	}
	return s.inTmp, nil // a second one made at the same moment goes with Close
}

// CleanTemp removes what processes that died left in tmp/, and says how many
// entries that were. What a living process works in stays, and what only another
// user may remove stays for that user. What cannot be removed keeps the rest from
// nothing; the errors come joined.
func (s *Store) CleanTemp(ctx context.Context) (removed int, err error) {
	entries, err := os.ReadDir(s.path("tmp"))
	if err != nil {
		return 0, fmt.Errorf("cleaning %s: %w", s.path("tmp"), err)
	}
	var failed []error
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		name := strings.TrimSuffix(e.Name(), lockSuffix)
		gone, err := removeDead(s.path("tmp", name))
		if err != nil && !othersAlone(s.path("tmp", name), err) {
			failed = append(failed, fmt.Errorf("cleaning %s: %w", s.path("tmp", name), err))
		}
		if gone {
			removed++
		}
	}
	return removed, errors.Join(failed...)
}

// othersAlone says whether an error is that another user left something in a
// directory that we may not write to, as stages make them.
func othersAlone(path string, err error) bool {
	if !errors.Is(err, fs.ErrPermission) {
		return false
	}
	info, err := os.Lstat(path)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) != os.Getuid()
}

// removeDead removes a temporary directory, or file, whose lock nobody holds.
func removeDead(path string) (bool, error) {
	l, err := tryLock(path+lockSuffix, exclusive)
	if l == nil || err != nil {
		return false, err
	}
	defer l.removeAndUnlock()
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return false, nil // only the lock was left, or its directory comes next
	}
	err = os.RemoveAll(path)
	return err == nil, err
}
