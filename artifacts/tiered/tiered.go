package tiered

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// A Remote is one cache behind the local one.
type Remote struct {
	Store    *remote.Store
	ReadOnly bool         // nothing is sent to it
	Upload   UploadPolicy // empty means Always
}

// An UploadPolicy says what of a run is sent to a remote.
type UploadPolicy string

// Upload policies.
const (
	Always    UploadPolicy = "always"     // each result as soon as it is there
	OnSuccess UploadPolicy = "on-success" // all results at the end of a run without a failure
	Never     UploadPolicy = "never"      // nothing but what `cache push` names
)

// Options are the choices of a Cache. The zero value is right for use.
type Options struct {
	// Trusted says who signed a manifest, or an error that nobody did who is
	// believed; signature is empty for one that is not signed. nil believes all.
	Trusted func(manifest artifacts.Digest, signature []byte) (signer string, err error)

	// Signer signs lists of rows, which are made here of several people's. Results
	// are sent as they were published, by whoever. nil signs none.
	Signer artifacts.Signer

	// Warn hears, for people, what went wrong with a remote, each cause once.
	// nil: nobody hears.
	Warn func(message string)

	// Recheck asks remotes also for what they are remembered to have, as `cache
	// push` does.
	Recheck bool

	// Now is the clock. nil means time.Now.
	Now func() time.Time
}

// A Cache is a local store and the remotes behind it. New makes one; Finish ends
// it. Its methods may be called by several goroutines at once.
//
// A goroutine that takes both takes the turn at a key, or a lock of the local
// store, before the mutex of the cache or of one remote.
type Cache struct {
	local   *disk.Store
	remotes []*member
	opts    Options
	turns   turns // Fetch and FetchRows, by key

	// Uploads end with Finish and not with the call that asked for them.
	uploads context.Context
	stop    context.CancelFunc

	leasing sync.Mutex  // guards lease
	lease   *disk.Lease // once something is on its way

	mu       sync.Mutex // guards what follows
	warn     func(message string)
	sighted  map[artifacts.Key]*sighting // what Find saw and nobody has fetched
	fetched  map[artifacts.Key]string    // which remote a result of this process is from
	report   Report
	sent     transfer
	progress Progress // of Finish
	tidied   bool     // old downloads were removed
}

// A Progress hears how far a transfer is; total is 0 when it is not known. It may be nil.
type Progress func(done, total int64)

// New is the cache of a local store and remotes, which are asked in this order
// and are then the cache's to close. The local store stays the caller's.
func New(local *disk.Store, remotes []Remote, opts Options) (*Cache, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	c := &Cache{local: local, opts: opts, warn: opts.Warn, sighted: map[artifacts.Key]*sighting{}, fetched: map[artifacts.Key]string{}}
	c.uploads, c.stop = context.WithCancel(context.Background())
	var wrong []error
	for _, r := range remotes {
		switch r.Upload {
		case "":
			r.Upload = Always
		case Always, OnSuccess, Never:
		default:
			wrong = append(wrong, fmt.Errorf("remote %s: upload is %q, must be %s, %s or %s", r.Store, r.Upload, Always, OnSuccess, Never))
		}
		c.remotes = append(c.remotes, newMember(c, r))
	}
	return c, errors.Join(wrong...)
}

// Listen makes warn hear what goes wrong from now on, in place of Options.Warn.
func (c *Cache) Listen(warn func(message string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.warn = warn
}

// Pending is how many bytes are known to be still on their way to remotes.
func (c *Cache) Pending() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent.total - c.sent.done
}

// A Report says what moved.
type Report struct {
	Downloaded, Uploaded           int   // results
	DownloadedBytes, UploadedBytes int64 // over the wire, whatever they were of
	Failed                         int   // results that could not be sent
}

// Finish sends what waited for the end of the run, waits for all that is on its
// way as long as ctx lasts, and closes the remotes. progress hears of the bytes
// that are sent, those that were sent before included; it must not call the
// cache. What could not be sent is left for the next run.
func (c *Cache) Finish(ctx context.Context, succeeded bool, progress Progress) Report {
	c.mu.Lock()
	c.progress = progress
	c.mu.Unlock()
	defer context.AfterFunc(ctx, c.stop)()
	for _, r := range c.remotes {
		r.endOfRun(succeeded)
	}
	c.moved(0, 0) // so that what is already on its way is heard of
	for _, r := range c.remotes {
		r.senders.Wait()
	}
	c.close()
	return c.tally()
}

// close ends what the cache holds.
func (c *Cache) close() {
	c.stop()
	for _, r := range c.remotes {
		if err := r.Store.Close(); err != nil {
			r.complain("closing", "closing it: %v", err)
		}
	}
	c.leasing.Lock()
	defer c.leasing.Unlock()
	if c.lease != nil {
		_ = c.lease.Close()
		c.lease = nil
	}
}

// tally is the report.
func (c *Cache) tally() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	report := c.report
	for _, r := range c.remotes {
		stats := r.Store.Stats()
		report.DownloadedBytes += stats.Received
		report.UploadedBytes += stats.Sent
	}
	return report
}

// A transfer sums up what is sent.
type transfer struct{ done, total int64 }

// moved adds to what is sent, or known to be sent.
func (c *Cache) moved(done, total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent.done += done
	c.sent.total += total
	if c.progress != nil && c.sent.total > 0 {
		c.progress(c.sent.done, c.sent.total)
	}
}

// count changes the report.
func (c *Cache) count(change func(*Report)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.report)
}
