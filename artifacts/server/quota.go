package server

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
)

// recountEvery is how often the store is measured: others may use the directory,
// too.
const recountEvery = 5 * time.Minute

// collectEvery is how long gc rests at least: it looks at all of the store, and
// may find nothing that can go.
const collectEvery = 5 * time.Second

// A quota knows about how large the store is. Between two measurements what was
// taken is added, also what replaced something.
type quota struct {
	max  int64 // 0 is no bound
	used atomic.Int64
	over chan struct{} // holds one when somebody found the store above its bound
}

func newQuota(most, used int64) *quota {
	q := &quota{max: most, over: make(chan struct{}, 1)}
	q.add(used)
	return q
}

// add counts what was taken, and calls for gc when that was too much.
func (q *quota) add(bytes int64) {
	if used := q.used.Add(bytes); q.max > 0 && used > q.max {
		q.callForGC()
	}
}

// full says whether the store is so far above its bound that nothing more can
// be taken: gc runs behind, or may not remove what was used just now.
func (q *quota) full() bool {
	full := q.max > 0 && q.used.Load() > q.max+q.max/10
	if full {
		q.callForGC()
	}
	return full
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

func (s *Server) recount(ctx context.Context) error {
	used, err := usedBytes(ctx, s.store)
	if err != nil {
		return err
	}
	s.quota.used.Store(0)
	s.quota.add(used)
	return nil
}

// collect makes room: down to nine tenths, so that the next blob does not have it
// run again.
func (s *Server) collect(ctx context.Context) error {
	report, err := s.store.GC(ctx, disk.GCOptions{MaxBytes: s.quota.max - s.quota.max/10, Keep: s.opts.Keep})
	if err != nil {
		return err
	}
	used, err := usedBytes(ctx, s.store)
	if err != nil {
		return err
	}
	s.quota.used.Store(used)
	s.metrics.collected.Add(float64(report.Bytes))
	event := s.opts.Log.Info()
	if used > s.quota.max {
		event = s.opts.Log.Warn()
	}
	event.Int("results", report.Actions).Int("blobs", report.Blobs).Int64("bytes", report.Bytes).Int64("left", used).Msg("made room")
	return nil
}
