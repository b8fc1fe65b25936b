package tiered

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/groupmode"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// Fetch brings a result into the local store from the first remote that has it,
// and says which that was. Every byte of it was verified then. Of several calls
// for one key one fetches. progress hears of the bytes that were not here.
//
// The error is a *artifacts.Miss where no remote has the result whole and right.
// Any other is the context's or the local store's, such as a disk that is full:
// what does not fit when it is fetched would not fit when it is computed.
func (c *Cache) Fetch(ctx context.Context, key artifacts.Key, progress Progress) (m artifacts.Manifest, from string, err error) {
	done, err := c.turns.take(ctx, key)
	if err != nil {
		return artifacts.Manifest{}, "", err
	}
	defer done()
	if m, from, ok := c.fetchedBefore(ctx, key); ok {
		return m, from, nil
	}
	if m, from, err = c.fetch(ctx, key, progress); err != nil {
		return artifacts.Manifest{}, "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetched[key] = from
	return m, from, nil
}

// fetch is Fetch for the holder of the turn at the key. What Find saw is tried
// first: nobody has to be asked again.
func (c *Cache) fetch(ctx context.Context, key artifacts.Key, progress Progress) (m artifacts.Manifest, from string, err error) {
	seen := c.takeSighting(key)
	if seen != nil {
		if m, err = c.bring(ctx, key, seen, progress); !isMiss(err) {
			return m, seen.at.name, err
		}
	}
	miss := err
	err = c.each(ctx, key, func(s *sighting) (err error) {
		if seen != nil && s.at == seen.at {
			return miss
		}
		m, err = c.bring(ctx, key, s, progress)
		from = s.at.name
		return err
	})
	return m, from, err
}

// fetchedBefore is a result that another call has fetched and that still stands.
func (c *Cache) fetchedBefore(ctx context.Context, key artifacts.Key) (m artifacts.Manifest, from string, ok bool) {
	c.mu.Lock()
	from, ok = c.fetched[key]
	c.mu.Unlock()
	if !ok {
		return m, "", false
	}
	m, err := artifacts.Lookup(ctx, c.local, key)
	return m, from, err == nil && m.Incomplete == ""
}

// bring makes a sighted result one of the local store.
func (c *Cache) bring(ctx context.Context, key artifacts.Key, s *sighting, progress Progress) (artifacts.Manifest, error) {
	if err := c.keep(ctx, s.Files); err != nil {
		return artifacts.Manifest{}, err
	}
	blobs := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError() // side by side: each waits for the disk
	blobs.Go(func(ctx context.Context) error { return c.bringFiles(ctx, key, s, progress) })
	for _, small := range [][]byte{s.Encoded, s.Signature} {
		if small != nil {
			blobs.Go(func(ctx context.Context) error {
				return c.local.Put(ctx, artifacts.DigestOf(small), int64(len(small)), bytes.NewReader(small))
			})
		}
	}
	err := blobs.Wait()
	if ctx.Err() != nil {
		return artifacts.Manifest{}, ctx.Err()
	}
	if err != nil {
		return artifacts.Manifest{}, err
	}
	return c.record(ctx, key, s)
}

// keep protects the blobs of a result that is being fetched until Finish. Those
// that are here already were neither looked up nor stored under a lease, so that a
// gc could take them; also one that listed the actions before this one came.
func (c *Cache) keep(ctx context.Context, files []artifacts.OutputFile) error {
	lease, err := c.leased(ctx)
	if err != nil {
		return err
	}
	var digests []artifacts.Digest
	for _, f := range files {
		digests = append(digests, f.Digest)
	}
	return lease.Keep(ctx, digests...)
}

// leased is the cache's lease, which is taken with the first transfer.
func (c *Cache) leased(ctx context.Context) (*disk.Lease, error) {
	c.leasing.Lock()
	defer c.leasing.Unlock()
	if c.lease == nil {
		lease, err := c.local.Lease(ctx, "sharing results")
		if err != nil {
			return nil, err
		}
		c.lease = lease
	}
	return c.lease, nil
}

// record publishes what is here by now, unless a complete result stands.
func (c *Cache) record(ctx context.Context, key artifacts.Key, s *sighting) (artifacts.Manifest, error) {
	standing, err := artifacts.Lookup(ctx, c.local, key)
	if err == nil && standing.Incomplete == "" {
		return standing, nil
	}
	if err != nil && !isMiss(err) {
		return artifacts.Manifest{}, err
	}
	if err := c.local.PutAction(ctx, key, s.Action, true); err != nil {
		return artifacts.Manifest{}, err
	}
	s.at.known.add(key, s.Action)
	c.count(func(r *Report) { r.Downloaded++ })
	return s.Manifest, nil
}

// outputsAtOnce is how many blobs of one result are fetched side by side; the
// remote's own limit is on all of its requests.
const outputsAtOnce = 4

// bringFiles fetches the outputs that are not here. An error that is the
// remote's is a *artifacts.Miss.
func (c *Cache) bringFiles(ctx context.Context, key artifacts.Key, s *sighting, progress Progress) error {
	var missing []artifacts.OutputFile
	var total int64
	seen := map[artifacts.Digest]bool{}
	for _, f := range outputs(s.Files) {
		if seen[f.Digest] {
			continue
		}
		seen[f.Digest] = true
		if !c.isHere(ctx, f) {
			missing, total = append(missing, f), total+f.Bytes
		}
	}
	meter := &meter{total: total, progress: progress}
	return s.at.bringAll(ctx, key, missing, meter)
}

// isHere says whether the local store has a blob. One whose bytes are wrong is put
// aside by that look, and fetched: found out later, it would fail who wants the
// result.
func (c *Cache) isHere(ctx context.Context, f artifacts.OutputFile) bool {
	if size, err := c.local.Stat(ctx, f.Digest); err != nil || size != f.Bytes {
		return false
	}
	_, err := c.local.Verified(ctx, f.Digest)
	return err == nil
}

// bringAll fetches blobs side by side. An error that is the remote's is a
// *artifacts.Miss.
func (r *member) bringAll(ctx context.Context, key artifacts.Key, files []artifacts.OutputFile, meter *meter) error {
	if len(files) > 0 {
		r.cache.tidy()
	}
	if err := r.checkRoom(key, files); err != nil {
		return err
	}
	fetches := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(outputsAtOnce)
	for _, f := range files {
		fetches.Go(func(ctx context.Context) error { return r.bringOne(ctx, key, f, meter.part()) })
	}
	err := fetches.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// smallBlob is up to what size a blob is not worth a lock: that two processes fetch
// it at once costs less.
const smallBlob = 256 << 10

// bringOne fetches a blob. Others, of this process or of another one if it is large,
// who want it wait, and then find it here.
func (r *member) bringOne(ctx context.Context, key artifacts.Key, f artifacts.OutputFile, progress remote.Progress) error {
	take, fetch := r.cache.local.Lock, r.bringLarge
	if f.Bytes <= smallBlob {
		take, fetch = r.cache.turns.take, r.bringSmall
	}
	done, err := take(ctx, downloadTurn(f.Digest))
	if err != nil {
		return err
	}
	defer done()
	if r.cache.isHere(ctx, f) {
		return nil
	}
	err = fetch(ctx, f, progress)
	var ours *remote.TargetError
	switch {
	case errors.As(err, &ours):
		return ours.Err
	case err != nil:
		return r.failedDownload(ctx, key, f, err)
	}
	progress(f.Bytes)
	return nil
}

// bringSmall fetches a blob through the local store's hands, which verifies it.
func (r *member) bringSmall(ctx context.Context, f artifacts.OutputFile, progress remote.Progress) error {
	return r.Store.CopyTo(ctx, f.Digest, f.Bytes, r.cache.local, progress)
}

// bringLarge fetches a blob into a file that a later attempt can go on with, where
// the remote's store verifies it as it comes in, and hands it to the local store.
func (r *member) bringLarge(ctx context.Context, f artifacts.OutputFile, progress remote.Progress) error {
	path, err := r.cache.downloadPath(f.Digest)
	if err != nil {
		return &remote.TargetError{Err: err}
	}
	if err := r.Store.Download(ctx, f.Digest, f.Bytes, path, progress); err != nil {
		return err
	}
	if err := r.cache.local.Adopt(ctx, path, f.Digest); err != nil {
		return &remote.TargetError{Err: err}
	}
	return nil
}

// failedDownload is what an error of Download means: something local if the disk
// is full, else a miss at this remote.
func (r *member) failedDownload(ctx context.Context, key artifacts.Key, f artifacts.OutputFile, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case isLocal(err):
		return fmt.Errorf("fetching the result %s: %w", key.Short(), err)
	}
	r.failedRead(fmt.Sprintf("the blob %s (%s of the result %s)", f.Digest.Hex(), f.Path, key.Short()), err)
	reason := "cannot be read"
	switch {
	case errors.Is(err, artifacts.ErrCorrupt):
		reason = "is corrupt"
		r.breaks(key, f.Digest)
	case errors.Is(err, artifacts.ErrNotFound):
		reason = "is absent"
		r.breaks(key)
	}
	return &artifacts.Miss{Key: key, Reason: fmt.Sprintf("output %s %s at %s", f.Path, reason, r.name), Err: err}
}

// isLocal says whether a download failed because of this machine's disk.
func isLocal(err error) bool {
	return (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && !errors.Is(err, remote.ErrFull)
}

// downloadTurn is the key of the turn at a blob's download.
func downloadTurn(d artifacts.Digest) artifacts.Key {
	return artifacts.Key(artifacts.DigestOf([]byte("download of " + d)).Hex())
}

// downloads is the directory of what is being fetched, or was when a process
// died: the next one that wants the same goes on with it.
func downloads(stateDir string) string { return filepath.Join(stateDir, "downloads") }

func (c *Cache) downloadPath(d artifacts.Digest) (string, error) {
	dir := downloads(c.local.StateDir())
	if err := groupmode.MkdirAll(dir); err != nil {
		return "", err
	}
	return filepath.Join(dir, fmt.Sprintf("%s-%d", d.Hex(), os.Getuid())), nil // another user's may not be ours to write to
}

// forgetAfter is when nobody is taken to go on with a download.
const forgetAfter = 7 * 24 * time.Hour

// tidy removes old downloads, once.
func (c *Cache) tidy() {
	c.mu.Lock()
	again := c.tidied
	c.tidied = true
	c.mu.Unlock()
	if !again {
		_, _ = RemoveDownloads(c.local.StateDir(), c.opts.Now().Add(-forgetAfter)) // what stays is tried by the next process
	}
}

// RemoveDownloads removes what was fetched of blobs that nobody went on with
// since a time, and says how many files that were.
func RemoveDownloads(stateDir string, before time.Time) (removed int, err error) {
	entries, err := os.ReadDir(downloads(stateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("removing old downloads: %w", err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.ModTime().Before(before) {
			continue // gone just now, or in use
		}
		if err := os.RemoveAll(filepath.Join(downloads(stateDir), entry.Name())); err != nil {
			return removed, fmt.Errorf("removing old downloads: %w", err)
		}
		removed++
	}
	return removed, nil
}

// A meter adds up transfers that go on side by side.
type meter struct {
	mu       sync.Mutex // guards done
	done     int64
	total    int64
	progress Progress
}

// part is the progress of one of the transfers.
func (m *meter) part() remote.Progress {
	var had int64
	return func(bytes int64) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.done += bytes - had
		had = bytes
		if m.progress != nil {
			m.progress(m.done, m.total)
		}
	}
}
