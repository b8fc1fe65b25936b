package images

import (
	"context"
	"io"
	"time"
)

// A watch ends the reading of a body that is silent, or takes, too long, once it is started.
type watch struct {
	stall, total time.Duration
	silence, end *time.Timer
}

func newWatch(cancel context.CancelCauseFunc, stall, total time.Duration) *watch {
	w := &watch{
		stall: stall, total: total,
		silence: time.AfterFunc(stall, func() { cancel(errStalled) }),
		end:     time.AfterFunc(total, func() { cancel(errTooSlow) }),
	}
	w.stop()
	return w
}

// start begins to count the time.
func (w *watch) start() {
	w.silence.Reset(w.stall)
	w.end.Reset(w.total)
}

func (w *watch) stop() {
	w.silence.Stop()
	w.end.Stop()
}

// watched is a body whose bytes are signs of life.
func (w *watch) watched(body io.ReadCloser) io.ReadCloser { return &watchedBody{body, w} }

type watchedBody struct {
	io.ReadCloser
	watch *watch
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.watch.silence.Reset(b.watch.stall)
	}
	return n, err
}
