package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

// A checkpoint is a directory in which a stage keeps what it needs to go on
// after it was killed. It goes by the key, and only who has the turn at the key
// touches it. For a checkpoint to be valid, what was computed into it must have
// been computed from what the key names, so it goes when an input file changed
// under the stage. It goes when the stage has ended well, too, before a stage
// runs that is to run whatever the cache holds, and before one is entered again
// if it is older than the result that stands.
func checkpoints(stateDir string) string { return filepath.Join(stateDir, "checkpoints") }

func (t *task) checkpoint() string {
	return filepath.Join(checkpoints(t.run.engine.config.Store.StateDir()), string(t.key))
}

func (t *task) discardCheckpoint() error {
	if err := os.RemoveAll(t.checkpoint()); err != nil {
		return fmt.Errorf("discarding the stage's checkpoint: %w", err)
	}
	return nil
}

// discardUselessCheckpoint discards the checkpoint that the stage must not go on
// from. A stage that is entered again goes on where an earlier such entry was
// killed, but not where somebody stopped who was on the way to the result that
// stands, from elsewhere by now: it would find everything done.
func (t *task) discardUselessCheckpoint() error {
	if t.anyway() != "" {
		return t.discardCheckpoint()
	}
	if t.stands == nil {
		return nil
	}
	p := t.stands.Provenance
	written, err := lastWritten(t.checkpoint())
	if err != nil || written.After(p.Started.Add(time.Duration(p.Seconds*float64(time.Second)))) {
		return err
	}
	return t.discardCheckpoint()
}

// RemoveCheckpoints removes the checkpoints in which nothing was written since
// a time, and says how many: those of stages that were killed and that nobody
// ran again as they were. One that a stage is at work on stays.
func RemoveCheckpoints(ctx context.Context, store *disk.Store, before time.Time) (int, error) {
	dir := checkpoints(store.StateDir())
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the checkpoints: %w", err)
	}
	removed := 0
	for _, entry := range entries {
		key, err := artifacts.ParseKey(entry.Name())
		if err != nil {
			continue // not ours
		}
		gone, err := removeCheckpoint(ctx, store, key, filepath.Join(dir, entry.Name()), before)
		if err != nil {
			return removed, fmt.Errorf("removing the checkpoint of %s: %w", key.Short(), err)
		}
		if gone {
			removed++
		}
	}
	return removed, nil
}

func removeCheckpoint(ctx context.Context, store *disk.Store, key artifacts.Key, dir string, before time.Time) (bool, error) {
	written, err := lastWritten(dir)
	if err != nil || !written.Before(before) {
		return false, err
	}
	unlock, err := store.TryLock(ctx, key)
	if unlock == nil {
		return false, err // without one, a stage is at work on it
	}
	defer unlock()
	return true, os.RemoveAll(dir)
}

// lastWritten is when something in a directory was last written.
func lastWritten(dir string) (time.Time, error) {
	var last time.Time
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.ModTime().After(last) {
			last = info.ModTime()
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return time.Now(), nil // a stage is removing it just now
	}
	return last, err
}
