package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// Options are the choices of a store. The zero value is right for use.
type Options struct {
	// LinkAbove is the size in bytes above which Materialise makes a symbolic
	// link instead of a copy. 0 means DefaultLinkAbove.
	LinkAbove int64

	// Now is the clock. nil means time.Now.
	Now func() time.Time
}

// DefaultLinkAbove is the size above which a result is worth a link and not a
// copy where the file system cannot share blocks: 64 MiB.
const DefaultLinkAbove = 64 << 20

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	if o.LinkAbove < 0 {
		return fmt.Errorf("option LinkAbove is %d, must not be negative", o.LinkAbove)
	}
	return nil
}

// A Store keeps artifacts in a directory. Open makes one; Close releases it.
// All methods may be called by several goroutines at once, and several
// processes may have the directory open at once.
//
// Where a method takes more than one lock, it takes them in this order: a
// goroutine's turn at a key or blob (turns), the file lock of that key, the
// sweep lock.
type Store struct {
	dir   string // absolute
	opts  Options
	fault fault // nil but in tests

	stamps  *stampLog
	exact   func(device uint64) bool // whether change times are exact there
	sweep   *sweepLock
	locking turns // Lock, by key
	hashing turns // Verified, by blob
	fan     fan

	leaseStart atomic.Int64 // when the newest lease of this process began, ns since 1970

	mu    sync.Mutex // guards temps and inTmp
	temps map[string]*fileLock
	inTmp string // the directory of this store's own temporary files, once made
}

var _ artifacts.Store = (*Store)(nil)

// Open opens the store in a directory, which is made where it is absent.
func Open(dir string, opts Options) (*Store, error) { return open(dir, opts, nil) }

func open(dir string, opts Options, f fault) (*Store, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("opening cache %s: %w", dir, err)
	}
	if opts.LinkAbove == 0 {
		opts.LinkAbove = DefaultLinkAbove
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening cache %s: %w", dir, err)
	}
	for _, sub := range []string{"cas", "ac", "tmp", "state/locks", "state/leases"} {
		if err := groupmode.MkdirAll(filepath.Join(abs, sub)); err != nil {
			return nil, fmt.Errorf("opening cache: %w", spaceError(err, abs))
		}
	}
	for _, sub := range []string{"cas", "ac", "tmp", "state", "state/locks", "state/leases"} {
		groupmode.ShareExisting(filepath.Join(abs, sub))
	}
	s := &Store{dir: abs, opts: opts, fault: f, temps: map[string]*fileLock{}}
	s.stamps = newStampLog(s.path("state", "stat"), s.path("state", "stat.lock"))
	s.sweep = newSweepLock(s.path("state", "gc.lock"), s.path("state", "marks.lock"))
	s.exact = probeExactTimes(s.path("tmp"))
	return s, nil
}

// Close writes down what the store learned about files and removes its
// temporary directories. Leases and locks stay with their holders.
func (s *Store) Close() error {
	err := s.stamps.flush()
	s.mu.Lock()
	dirs := make([]string, 0, len(s.temps))
	for dir := range s.temps {
		dirs = append(dirs, dir)
	}
	s.mu.Unlock()
	for _, dir := range dirs {
		err = errors.Join(err, s.RemoveTemp(dir))
	}
	s.sweep.close()
	return err
}

// Dir is the store's directory, absolute.
func (s *Store) Dir() string { return s.dir }

// StateDir is the directory of what belongs to this machine and is never
// shared. In it, the names stat, stat.lock, gc.lock, marks.lock, locks and leases are
// this package's; runs, logs, checkpoints, memo and the like are other packages'.
func (s *Store) StateDir() string { return s.path("state") }

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// blobPath is where the blob of 64 hex digits is.
func (s *Store) blobPath(hex string) string { return s.dir + "/cas/" + hex[:2] + "/" + hex }

func (s *Store) actionPath(k artifacts.Key) string {
	return s.dir + "/ac/" + string(k[:2]) + "/" + string(k)
}

// checkDigest is the hex form of a digest, and ends what is called off or
// malformed before it touches a file.
func checkDigest(ctx context.Context, d artifacts.Digest) (hex string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if _, err := artifacts.ParseDigest(string(d)); err != nil {
		return "", err
	}
	return d.Hex(), nil
}

func checkKey(ctx context.Context, k artifacts.Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := artifacts.ParseKey(string(k))
	return err
}

func notFound(what, short string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %s: %w", what, short, artifacts.ErrNotFound)
	}
	return fmt.Errorf("%s %s: %w", what, short, err)
}
