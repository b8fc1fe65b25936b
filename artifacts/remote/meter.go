package remote

import (
	"sync"
	"sync/atomic"
)

// A meter tells a Progress how far a transfer has come: in bytes of the blob,
// however many of them go over the wire, and never backwards.
type meter struct {
	tell        Progress
	wire, plain int64 // sizes of the object and of the blob

	mu       sync.Mutex // guards what follows, and keeps calls of tell apart
	moved    int64      // bytes on the wire, in this attempt
	furthest int64      // that was told
}

func newMeter(tell Progress, wire, plain int64) *meter {
	return &meter{tell: tell, wire: wire, plain: plain}
}

// add hears of bytes that went over the wire. A nil *meter does nothing.
func (m *meter) add(n int64) {
	if m == nil || m.tell == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moved += n
	done := min(m.moved, m.wire)
	if m.wire != m.plain && m.wire > 0 {
		done = int64(float64(done) / float64(m.wire) * float64(m.plain))
	}
	if done > m.furthest {
		m.furthest = done
		m.tell(done)
	}
}

// sized hears how many bytes the object has, before any of them moves.
func (m *meter) sized(wire int64) {
	if m != nil {
		m.wire = wire
	}
}

// restart hears that an attempt begins anew.
func (m *meter) restart() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moved = 0
}

// Stats say what a store has done so far.
type Stats struct {
	Requests int64  // made, again or not
	Retries  int64  // those of them that were made again
	Failures int64  // those of them that failed in a way that may pass
	Sent     int64  // bytes of bodies, of a driver that compresses before that
	Received int64  // likewise
	Breaker  string // closed, open or half-open, and why; for people
}

type counters struct{ requests, retries, failures, sent, received atomic.Int64 }

// Stats are what the store has done since New.
func (s *Store) Stats() Stats {
	return Stats{
		Requests: s.stats.requests.Load(),
		Retries:  s.stats.retries.Load(),
		Failures: s.stats.failures.Load(),
		Sent:     s.stats.sent.Load(),
		Received: s.stats.received.Load(),
		Breaker:  s.breaker.String(),
	}
}
