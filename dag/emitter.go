package dag

import (
	"sync"
	"time"

	"github.com/sourcegraph/conc"
	"github.com/sourcegraph/conc/panics"
)

// DefaultProgressInterval is the least time between two progress events of one
// stage: ten a second look smooth and cost nothing.
const DefaultProgressInterval = 100 * time.Millisecond

// EmitterOptions says how an Emitter completes and thins out events.
type EmitterOptions struct {
	Run      string           // filled into events that have none
	Pipeline string           // filled into events that have none
	Clock    func() time.Time // for events without a time; nil is time.Now
	Interval time.Duration    // between progress events of a stage; 0 is DefaultProgressInterval
}

// Emitter takes events from any number of goroutines and hands them to one
// listener, one at a time, in the order in which they came. Its Emit is the
// Listener of a run and the function that stages report through, so that all
// events of a run are in one order.
//
// Emit never waits for the listener, which runs in a goroutine of its own: a
// terminal that has stopped reading does not stop the training, and a listener
// may emit. What a slow listener has not taken yet is kept in memory. Progress
// is thinned out: of the progress events that one stage sends within an
// interval only the newest is delivered, and always before the next event of
// that stage, so that the last one is never lost.
type Emitter struct {
	listener Listener
	options  EmitterOptions

	mu       sync.Mutex        // guards the fields below
	queue    []Event           // accepted, not yet taken by deliver
	progress map[string]*Event // stages with a recent progress event; the newest held back, if any
	closed   bool

	wake     chan struct{} // holds one token while deliver has something to look at
	delivery conc.WaitGroup
	panicked panics.Catcher // by the listener
}

// NewEmitter starts an Emitter. The caller closes it after the last event.
func NewEmitter(listener Listener, options EmitterOptions) *Emitter {
	if options.Clock == nil {
		options.Clock = time.Now
	}
	if options.Interval == 0 {
		options.Interval = DefaultProgressInterval
	}
	e := &Emitter{
		listener: listener,
		options:  options,
		progress: map[string]*Event{},
		wake:     make(chan struct{}, 1),
	}
	e.delivery.Go(e.deliver)
	return e
}

// Emit accepts one event. It is safe for concurrent use and does not block. An
// event that comes after Close is dropped.
func (e *Emitter) Emit(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.complete(&event)
	if event.Type != StageProgress && event.Type != Sharing {
		e.release(event.Stage)
		e.queue = append(e.queue, event)
	} else if _, recent := e.progress[event.Stage]; recent {
		e.progress[event.Stage] = &event
	} else {
		e.progress[event.Stage] = nil
		e.queue = append(e.queue, event)
	}
	e.signal()
}

// Stage returns a Listener that fills in the name and kind of one stage.
func (e *Emitter) Stage(name, kind string) Listener {
	return func(event Event) {
		event.Stage, event.Kind = name, kind
		e.Emit(event)
	}
}

// Close waits until everything accepted has been delivered. When the listener
// panicked meanwhile, Close panics with the first of its panics.
func (e *Emitter) Close() {
	e.mu.Lock()
	for stage := range e.progress {
		e.release(stage)
	}
	e.closed = true
	e.signal()
	e.mu.Unlock()
	e.delivery.Wait()
	e.panicked.Repanic()
}

func (e *Emitter) complete(event *Event) {
	if event.Time.IsZero() {
		event.Time = e.options.Clock()
	}
	if event.Run == "" {
		event.Run = e.options.Run
	}
	if event.Pipeline == "" {
		event.Pipeline = e.options.Pipeline
	}
}

// release queues the progress event held back for a stage, without letting the
// stage send the next one any sooner. The caller holds mu.
func (e *Emitter) release(stage string) {
	if held := e.progress[stage]; held != nil {
		e.queue = append(e.queue, *held)
		e.progress[stage] = nil
	}
}

func (e *Emitter) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// deliver runs until Close and is the only caller of the listener.
func (e *Emitter) deliver() {
	var tick <-chan time.Time // set while a stage has recent progress
	for {
		select {
		case <-e.wake:
		case <-tick:
			tick = nil
			e.expire()
		}
		batch, recent, closed := e.take()
		for _, event := range batch {
			e.panicked.Try(func() { e.listener(event) })
		}
		if closed {
			return
		}
		if recent && tick == nil {
			tick = time.After(e.options.Interval)
		}
	}
}

// take empties the queue. Once closed is true nothing more will come.
func (e *Emitter) take() (batch []Event, recent, closed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	batch, e.queue = e.queue, nil
	return batch, len(e.progress) > 0, e.closed
}

// expire ends an interval: what was held back is queued and begins a new one,
// a stage that sent nothing meanwhile may send at once again.
func (e *Emitter) expire() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for stage, held := range e.progress {
		if held == nil {
			delete(e.progress, stage)
			continue
		}
		e.queue = append(e.queue, *held)
		e.progress[stage] = nil
	}
}
