package dag

import (
	"cmp"
	"fmt"
	"runtime"
	"strings"
	"time"
)

// DefaultReuseWorkers is how many Reuse steps run at once unless
// Options.ReuseWorkers says otherwise. They mostly wait, for disks, networks
// and other processes, so it is not bound to the number of cpus.
const DefaultReuseWorkers = 16

// Options says how a graph is run. The zero value is useful: all cpus, no gpu,
// memory not rationed, no events.
type Options struct {
	// Budget is what the executing nodes may use together. A node that wants
	// more than all of it gets all of it, alone, and a note says so.
	Budget Resources

	// KeepGoing runs nodes whose After has failed. What does not depend on a
	// failed node goes on to its end either way, and what needs it is skipped
	// either way.
	KeepGoing bool

	// Listener receives the run's events, from the goroutine that called Run,
	// which is as slow as the listener is. Pass an Emitter's Emit when tasks
	// send events too, or when the listener may stall. nil is none.
	Listener Listener

	// Clock gives the times in events and results. It must be safe for
	// concurrent use; nil is time.Now.
	Clock func() time.Time

	// ReuseWorkers is how many Reuse steps run at once; 0 is
	// DefaultReuseWorkers.
	ReuseWorkers int

	// RetryDelay is the time from a failed attempt (the first is 1) to the
	// next one of the same node, during which it holds no budget; nil is
	// DefaultRetryDelay.
	RetryDelay func(attempt int) time.Duration
}

// DefaultRetryDelay is half a second after the first failed attempt and twice
// as long after each further one, up to half a minute.
func DefaultRetryDelay(attempt int) time.Duration {
	const first, longest = 500 * time.Millisecond, 30 * time.Second
	return min(first<<min(attempt-1, 10), longest)
}

// Validate lists every setting that is out of bounds.
func (o Options) Validate() error {
	messages := o.Budget.negatives()
	if o.ReuseWorkers < 0 {
		messages = append(messages, fmt.Sprintf("reuse workers %d is below 0", o.ReuseWorkers))
	}
	if len(messages) > 0 {
		return fmt.Errorf("run options: %s", strings.Join(messages, ", "))
	}
	return nil
}

func (o Options) withDefaults() Options {
	o.Budget.CPU = cmp.Or(o.Budget.CPU, runtime.GOMAXPROCS(0))
	o.ReuseWorkers = cmp.Or(o.ReuseWorkers, DefaultReuseWorkers)
	if o.Listener == nil {
		o.Listener = func(Event) {}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.RetryDelay == nil {
		o.RetryDelay = DefaultRetryDelay
	}
	return o
}
