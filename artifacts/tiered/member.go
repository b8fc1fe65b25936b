package tiered

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sourcegraph/conc"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// A member is a remote in use, and what was learned about it.
type member struct {
	Remote
	cache *Cache
	name  string // for people
	known known  // what it is remembered to have
	box   outbox // what is to be sent to it

	senders conc.WaitGroup // of the goroutines that send

	mu       sync.Mutex // guards what follows
	told     map[string]bool
	named    int                                         // wrong entries that were told
	noReads  bool                                        // it refuses to answer
	noWrites bool                                        // it refuses to take anything, or is full
	broken   map[artifacts.Key]map[artifacts.Digest]bool // results to replace there, and the blobs of each that are wrong
	queue    []job
	queued   map[job]int64 // waiting or being sent, and their bytes
	held     []job         // until the run has succeeded
	working  int           // senders
	resumed  bool          // what earlier processes left was taken up
	ended    bool          // nothing further is taken
}

func newMember(c *Cache, r Remote) *member {
	id := artifacts.DigestOf([]byte(r.Store.String())).Hex()[:32]
	state := c.local.StateDir()
	return &member{
		Remote: r, cache: c, name: r.Store.String(),
		known:  known{path: filepath.Join(state, "shared", id), now: c.opts.Now},
		box:    outbox{dir: filepath.Join(state, "outbox", id)},
		told:   map[string]bool{},
		broken: map[artifacts.Key]map[artifacts.Digest]bool{},
		queued: map[job]int64{},
	}
}

// prefix begins what is told of the remote, and the errors of its store.
func (r *member) prefix() string { return fmt.Sprintf("remote %s: ", r.name) }

// reason is what an error says behind the remote's name.
func (r *member) reason(err error) string { return strings.TrimPrefix(err.Error(), r.prefix()) }

// mostNamed is how many wrong entries of one remote are told one by one.
const mostNamed = 10

// complain warns of a cause once.
func (r *member) complain(cause, format string, args ...any) {
	r.mu.Lock()
	again := r.told[cause]
	r.told[cause] = true
	r.mu.Unlock()
	if again {
		return
	}
	r.cache.mu.Lock()
	warn := r.cache.warn
	r.cache.mu.Unlock()
	if warn != nil {
		warn(r.prefix() + fmt.Sprintf(format, args...))
	}
}

// complainOfWrong warns of an entry whose bytes are not what they should be.
func (r *member) complainOfWrong(entry string, err error) {
	r.mu.Lock()
	r.named++
	named := r.named
	r.mu.Unlock()
	switch {
	case named <= mostNamed:
		r.complain(entry, "%s is WRONG there and is not used: %s", entry, r.reason(err))
	case named == mostNamed+1:
		r.complain("many", "more of its entries are WRONG; they are not used, and no longer named here")
	}
}

// failed takes note of what a request to the remote met. A blob that is absent
// is ordinary: caches forget.
func (r *member) failed(entry string, err error) {
	switch {
	case errors.Is(err, artifacts.ErrCorrupt):
		r.complainOfWrong(entry, err)
	case errors.Is(err, artifacts.ErrNotFound):
	case errors.Is(err, remote.ErrForbidden):
		r.complain("forbidden", "%s; it is left alone for the rest of the run, and \"prismflow doctor\" says what to do", r.reason(err))
	case errors.Is(err, remote.ErrFull):
		r.complain("full", "%s; nothing more is sent to it in this run", r.reason(err))
	default:
		r.complain("silent", "%s; the run goes on without it as long as that is so", r.reason(err))
	}
}

// failedRead is failed for a request that reads.
func (r *member) failedRead(entry string, err error) {
	if errors.Is(err, remote.ErrForbidden) {
		r.mu.Lock()
		r.noReads = true
		r.mu.Unlock()
	}
	r.failed(entry, err)
}

// failedWrite is failed for a request that sends something.
func (r *member) failedWrite(entry string, err error) {
	if errors.Is(err, remote.ErrForbidden) || errors.Is(err, remote.ErrFull) {
		r.mu.Lock()
		r.noWrites = true
		r.mu.Unlock()
	}
	r.failed(entry, err)
}

func (r *member) answers() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.noReads
}

// wants says whether the remote is to be sent something, in this run or a later one.
func (r *member) wants() bool { return !r.ReadOnly && r.Upload != Never }

// takes says whether there is use in sending it something now.
func (r *member) takes() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.noWrites
}

// breaks remembers that a result there is of no use, and which of its blobs are
// wrong: the next upload of it replaces them.
func (r *member) breaks(key artifacts.Key, wrong ...artifacts.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken[key] == nil {
		r.broken[key] = map[artifacts.Digest]bool{}
	}
	for _, d := range wrong {
		r.broken[key][d] = true
	}
}

// damage is what is remembered by breaks.
func (r *member) damage(key artifacts.Key) (wrong map[artifacts.Digest]bool, broken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wrong, broken = r.broken[key]
	return wrong, broken
}

// healed forgets what breaks remembered.
func (r *member) healed(key artifacts.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.broken, key)
}
