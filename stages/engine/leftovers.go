package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/tiered"
)

// transferDirs are where a store's state has what waits to be sent to remotes, and
// what URLs have served so far.
var transferDirs = []string{"outbox", filepath.Join("urls", "partial")}

// RemoveTransfers removes the files of transfers, to and from remotes and from
// URLs, to which nothing was added since a time, so that nobody is taken to go on
// with them, and says how many.
func RemoveTransfers(store *disk.Store, before time.Time) (removed int, err error) {
	if removed, err = tiered.RemoveDownloads(store.StateDir(), before); err != nil {
		return removed, err
	}
	for _, dir := range transferDirs {
		n, err := removeOld(filepath.Join(store.StateDir(), dir), before)
		removed += n
		if err != nil {
			return removed, fmt.Errorf("removing transfers that broke off: %w", err)
		}
	}
	return removed, nil
}

// removeOld removes the files below a directory that were last written before a
// time. Directories stay: somebody may be about to write into one.
func removeOld(root string, before time.Time) (removed int, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // there are none, or another process was first
		}
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil || !info.ModTime().Before(before) {
			return nil
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		removed++
		return nil
	})
	return removed, err
}
