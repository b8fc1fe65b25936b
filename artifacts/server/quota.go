package server

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
)

// recountEvery is how often the store is measured: others may use the directory,
// too.
const recountEvery = 5 * time.Minute

// collectEvery is how long gc rests at least: it looks at all of the store, and
// may find nothing that can go.
const collectEvery = 5 * time.Second

// A quota knows about how large the store is, and what is on its way in. Between
// two measurements what was taken is added, also what replaced something.
type quota struct {
	max  int64         // 0 is no bound
	over chan struct{} // holds one when there is something for gc to do

	mu     sync.Mutex // guards the rest
	stored int64      // bytes in the store
	coming int64      // bytes that uploads in flight may still add: the sum of their rooms
	wanted int64      // the most that one was refused since gc last ran
	added  int64      // all that was ever added, to know what came during a measurement
}

func newQuota(most, used int64) *quota {
	q := &quota{max: most, stored: used, over: make(chan struct{}, 1)}
	if q.max > 0 && used > q.max {
		q.callForGC()
	}
	return q
}

// used is the size of the store in bytes.
func (q *quota) used() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stored
}

// A room is the part of a quota that an upload has while it comes in, so that
// all that are in flight fit into the store together.
type room struct {
	q    *quota
	held int64
}

// reserve gives an upload room for a number of bytes, or refuses: when gc runs
// behind, or may not remove what was used just now, or others are on their way
// into what is left. It ends with leave.
func (q *quota) reserve(bytes int64) (*room, error) {
	r := &room{q: q}
	return r, r.widen(bytes)
}

// widen has a room be of at least a number of bytes. Where that is refused, all of
// the room goes to others.
func (r *room) widen(bytes int64) error {
	q := r.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.held > 0 && bytes <= r.held {
		return nil // also when the store has grown meanwhile, as by another process
	}
	more := bytes - r.held
	if q.max > 0 && q.stored+q.coming+more > q.most() {
		wanted := bytes
		if r.held > 0 { // nobody knows how large it would get: the next try has twice the room
			wanted *= 2
		}
		q.wanted = max(q.wanted, min(wanted, q.max))
		q.coming -= r.held
		r.held = 0
		q.callForGC()
		return refuse(http.StatusInsufficientStorage, "the cache is full: what is in it was used too lately to go, or is still coming in")
	}
	q.coming += more
	r.held += more
	return nil
}

// fill counts what was stored, which needs its room no longer, and calls for gc
// when the store is above its bound.
func (r *room) fill(bytes int64) {
	q := r.q
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stored += bytes
	q.added += bytes
	q.coming -= min(bytes, r.held)
	r.held -= min(bytes, r.held)
	if q.max > 0 && q.stored > q.max {
		q.callForGC()
	}
}

// leave gives back what was not filled.
func (r *room) leave() {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	r.q.coming -= r.held
	r.held = 0
}

// most is up to where something is taken.
func (q *quota) most() int64 { return q.max + q.max/10 }

// goal is the size in bytes that gc brings the store down to: nine tenths, so
// that the next blob does not have it run again, or less when that would not make
// room for one that was refused. Where no gc could, as too much is coming in, the
// client has to wait for that.
func (q *quota) goal() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	goal := q.max - q.max/10
	if fits := q.most() - q.coming - q.wanted; fits > 0 {
		goal = min(goal, fits)
	}
	q.wanted = 0
	return goal
}

func (q *quota) callForGC() {
	select {
	case q.over <- struct{}{}:
	default: // somebody did already
	}
}

func usedBytes(ctx context.Context, store *disk.Store) (int64, error) {
	usage, err := store.Usage(ctx)
	return usage.Blobs.Bytes + usage.Actions.Bytes, err
}

// recount measures the store. What comes in meanwhile counts, measured or not.
func (s *Server) recount(ctx context.Context) error {
	q := s.quota
	q.mu.Lock()
	before := q.added
	q.mu.Unlock()
	used, err := usedBytes(ctx, s.store)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stored = used + q.added - before
	if q.max > 0 && q.stored > q.max {
		q.callForGC()
	}
	return nil
}

// collect makes room.
func (s *Server) collect(ctx context.Context) error {
	report, err := s.store.GC(ctx, disk.GCOptions{MaxBytes: s.quota.goal(), Keep: s.opts.Keep})
	if err != nil {
		return err
	}
	if err := s.recount(ctx); err != nil {
		return err
	}
	used := s.quota.used()
	s.metrics.collected.Add(float64(report.Bytes))
	event := s.opts.Log.Info()
	if used > s.quota.max {
		event = s.opts.Log.Warn()
	}
	event.Int("results", report.Actions).Int("blobs", report.Blobs).Int64("bytes", report.Bytes).Int64("left", used).Msg("made room")
	return nil
}
