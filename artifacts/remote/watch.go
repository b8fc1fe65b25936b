package remote

import (
	"sync"
	"time"
)

// A watch ends a request when the remote is silent for too long. It is armed
// while the remote is to do something, and at rest while it is this side's turn:
// while a file is read, a bandwidth kept to, or a reader waited for.
type watch struct {
	limit time.Duration
	timer *time.Timer

	mu      sync.Mutex // guards stopped
	stopped bool       // a driver may read on after its answer
}

func newWatch(limit time.Duration, silent func()) *watch {
	w := &watch{limit: limit, timer: time.AfterFunc(limit, silent)}
	w.timer.Stop()
	return w
}

// arm lets the remote be silent for the limit and grace from now on.
func (w *watch) arm(grace time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.timer.Reset(w.limit + grace)
	}
}

// rest lets any time pass.
func (w *watch) rest() { w.timer.Stop() }

// stop puts the watch at rest for good.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}

// What a driver takes from a content it may keep for a while, as clients do that
// send in parts: the remote gets as long as a slow line needs for that.
const (
	heldBytes   = 32 << 20
	slowestLine = 256 << 10 // bytes a second
)

// grace is how much longer than its limit a remote may be silent after so many
// bytes were handed to its driver.
func grace(handed int64) time.Duration {
	return time.Duration(min(handed, heldBytes)) * time.Second / slowestLine
}
