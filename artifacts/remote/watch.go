package remote

import (
	"errors"
	"sync"
	"time"
)

// A watch ends a request when the remote is silent for too long, or so slow that
// it might as well be. It is armed while the remote is to do something, and at
// rest while it is this side's turn: while a file is read, a bandwidth kept to, or
// a reader waited for.
type watch struct {
	limit  time.Duration // of silence
	rate   int64         // bytes a second below which the remote is too slow
	window time.Duration // over which that is the mean
	timer  *time.Timer

	mu       sync.Mutex // guards what follows
	stopped  bool       // a driver may read on after its answer
	armed    time.Time  // since when; zero at rest
	patience time.Duration
	slow     bool // when the timer ends, it is patience that is used up
}

// Why a watch ends a request.
var (
	errSilent = errors.New("the remote is silent")
	errSlow   = errors.New("the remote is too slow")
)

// newWatch is a watch at rest; end hears that the remote was silent for the limit
// of the options, or slower than they allow.
func newWatch(opts Options, end func(error)) *watch {
	w := &watch{limit: opts.Timeout, rate: opts.MinRate, window: opts.rateWindow()}
	w.patience = w.window
	w.timer = time.AfterFunc(w.limit, func() { end(w.verdict()) })
	w.timer.Stop()
	return w
}

func (w *watch) verdict() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.slow {
		return errSlow
	}
	return errSilent
}

// arm lets the remote be silent for the limit and grace from now on, or as long as
// patience lasts.
func (w *watch) arm(grace time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	w.charge()
	w.armed = time.Now()
	wait := w.limit + grace
	if w.slow = w.patience < wait; w.slow {
		wait = w.patience
	}
	w.timer.Reset(wait)
}

// rest lets any time pass.
func (w *watch) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.charge()
	w.armed = time.Time{}
}

// charge takes the time for which the watch was armed from its patience.
func (w *watch) charge() {
	if !w.armed.IsZero() {
		w.patience -= time.Since(w.armed)
	}
}

// moved hears of n bytes, which give patience back: the time in which the lowest
// rate moves them, up to the window and grace.
//
// A mean over the last minute would ask for a list of what came when, and would
// take a driver that sends 8 MiB at once, and then waits for them to be taken, for
// a slow one.
func (w *watch) moved(n int, grace time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gained := time.Duration(min(n, heldBytes)) * time.Second / time.Duration(w.rate)
	w.patience = min(w.patience+gained, w.window+grace)
}

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
