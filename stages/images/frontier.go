package images

import (
	"container/heap"
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"
)

// A visit is one request that is to be made: for the URL of a picture, or for
// where that one redirected.
type visit struct {
	target   *target
	url      *url.URL
	earlier  []string // the URLs that led here by redirects
	attempts int      // of the target, before this one

	ready time.Time // before which it is not to be made
}

// A frontier holds the visits that are to be made and says which is next. It
// keeps the manners: so many requests to a host at once, so many a second, none
// while the host asks for a pause, and no more once it failed too often.
// Workers never sleep for a host, so a slow one does not hold up the others.
type frontier struct {
	perHost  int           // requests to a host at once
	interval time.Duration // between the beginnings of two requests to a host
	patience int           // failures in a row after which a host is given up; 0 for no end

	mu      sync.Mutex // guards what follows
	hosts   map[string]*host
	waiting hostHeap      // hosts that have a visit and room for it
	open    int           // visits that wait or are under way
	changed chan struct{} // closed, and replaced, when there may be something to do
}

// A host is a server with what is asked of it.
type host struct {
	name   string
	fresh  []*visit  // first come, first served
	again  []*visit  // by when they are ready
	busy   int       // visits under way
	quiet  time.Time // before which it is left alone
	failed int       // in a row
	closed string    // why it is given up

	at    time.Time // when its next visit is due
	index int       // in the heap; -1 when it is not in it
}

func newFrontier(perHost int, interval time.Duration, patience int) *frontier {
	return &frontier{perHost: perHost, interval: interval, patience: patience, hosts: map[string]*host{}, changed: make(chan struct{})}
}

// add lets the visit wait for its turn. Where its host is given up it says why
// instead.
func (f *frontier) add(v *visit) (closed string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.host(v)
	if h.closed != "" {
		return h.closed
	}
	if v.ready.IsZero() {
		h.fresh = append(h.fresh, v)
	} else {
		i, _ := slices.BinarySearchFunc(h.again, v, func(a, b *visit) int { return a.ready.Compare(b.ready) })
		h.again = slices.Insert(h.again, i, v)
	}
	f.open++
	f.place(h)
	f.signal()
	return ""
}

// next waits for the next visit. It is nil when there is none left. Whoever got
// one must release it.
func (f *frontier) next(ctx context.Context) (*visit, error) {
	for ctx.Err() == nil {
		v, due, changed := f.take(time.Now())
		if v != nil || due == forever {
			return v, nil
		}
		timer := time.NewTimer(due)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil, ctx.Err()
}

// forever is when the next visit is due after the last one.
const forever = time.Duration(-1)

// take is the visit whose turn it is, or for how long there is none.
func (f *frontier) take(now time.Time) (v *visit, due time.Duration, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.open == 0:
		return nil, forever, nil
	case len(f.waiting) == 0:
		return nil, time.Hour, f.changed // until a visit under way ends
	case f.waiting[0].at.After(now):
		return nil, f.waiting[0].at.Sub(now), f.changed
	}
	h := f.waiting[0]
	v = h.pop(now)
	h.busy++
	h.quiet = now.Add(f.interval)
	f.place(h)
	return v, 0, nil
}

// release ends a visit. What follows from it must have been added before.
func (f *frontier) release(v *visit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.host(v)
	h.busy--
	f.open--
	f.place(h)
	f.signal()
}

// answered takes note that the visit's host is well.
func (f *frontier) answered(v *visit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.host(v).failed = 0
}

// troubled takes note that the visit's host is not, and leaves it alone for a
// while. When that was once too often, or closed says why, the host is given
// up: its visits that have not begun are handed back with the reason.
func (f *frontier) troubled(v *visit, pause time.Duration, closed string) (orphans []*visit, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.host(v)
	h.failed++
	if quiet := time.Now().Add(pause); pause > 0 && quiet.After(h.quiet) {
		h.quiet = quiet
	}
	if closed == "" && f.patience > 0 && h.failed >= f.patience {
		closed = fmt.Sprintf("it failed %d times in a row", h.failed)
	}
	if closed == "" || h.closed != "" {
		f.place(h)
		return nil, h.closed
	}
	h.closed = closed
	orphans = append(h.fresh, h.again...)
	h.fresh, h.again = nil, nil
	f.open -= len(orphans)
	f.place(h)
	f.signal()
	return orphans, closed
}

func (f *frontier) host(v *visit) *host {
	name := v.url.Scheme + "://" + v.url.Host
	h := f.hosts[name]
	if h == nil {
		h = &host{name: name, index: -1}
		f.hosts[name] = h
	}
	return h
}

// place puts the host where it belongs in the heap.
func (f *frontier) place(h *host) {
	idle := len(h.fresh)+len(h.again) == 0 || h.busy >= f.perHost
	if !idle {
		h.at = h.due()
	}
	switch {
	case idle && h.index >= 0:
		heap.Remove(&f.waiting, h.index)
	case idle:
	case h.index >= 0:
		heap.Fix(&f.waiting, h.index)
	default:
		heap.Push(&f.waiting, h)
	}
}

// signal wakes the workers that wait for something to do.
func (f *frontier) signal() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// due is when a host that has a visit may be asked.
func (h *host) due() time.Time {
	if len(h.fresh) == 0 && h.again[0].ready.After(h.quiet) {
		return h.again[0].ready
	}
	return h.quiet
}

// pop takes out the visit whose turn it is: one that waited to be made again
// goes before one that is new.
func (h *host) pop(now time.Time) *visit {
	from := &h.fresh
	if len(h.again) > 0 && !h.again[0].ready.After(now) {
		from = &h.again
	}
	v := (*from)[0]
	(*from)[0] = nil
	*from = (*from)[1:]
	return v
}

// A hostHeap has on top the host whose next visit is due first. It is a
// heap.Interface.
type hostHeap []*host

func (w hostHeap) Len() int           { return len(w) }
func (w hostHeap) Less(i, j int) bool { return w[i].at.Before(w[j].at) }
func (w hostHeap) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push and Pop are called by package heap.
func (w *hostHeap) Push(x any) {
	h := x.(*host)
	h.index = len(*w)
	*w = append(*w, h)
}

func (w *hostHeap) Pop() any {
	last := len(*w) - 1
	h := (*w)[last]
	h.index = -1
	(*w)[last] = nil
	*w = (*w)[:last]
	return h
}
