package remote

import (
	"fmt"
	"sync"
	"time"
)

// A breaker keeps a store from paying for one time-out after another. It is
// closed while the remote answers; so many failures in a row open it, or the
// remote's own wish to be left alone, and then no request is made for a while;
// after that a single one is, on trial, whose answer closes it and whose failure
// opens it for as long again.
type breaker struct {
	limit    int
	cooldown time.Duration
	now      func() time.Time

	mu       sync.Mutex // guards what follows
	failures int        // in a row
	open     bool
	asked    bool      // it is open since the remote asked for that
	until    time.Time // no request before then, while it is open
	trying   bool      // a request is made on trial
	cause    error     // of the last failure
}

// enter says whether a request may be made, and if so whether it is on trial.
// Then leave or rest must be called with what became of it.
func (b *breaker) enter() (trial bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return false, nil
	}
	if err := b.refusal(); err != nil {
		return false, err
	}
	b.trying = true
	return true, nil
}

// refuses is the error that enter would return.
func (b *breaker) refuses() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return nil
	}
	return b.refusal()
}

func (b *breaker) refusal() error {
	if wait := b.until.Sub(b.now()); wait > 0 {
		return fmt.Errorf("%w (%s; it is asked again in %v)", ErrUnavailable, b.why(), wait.Round(time.Second))
	}
	if b.trying {
		return fmt.Errorf("%w (%s; one request is trying it)", ErrUnavailable, b.why())
	}
	return nil
}

// why says why the breaker is open.
func (b *breaker) why() string {
	if b.asked {
		return fmt.Sprintf("it asked for that: %v", b.cause)
	}
	return fmt.Sprintf("%d failures in a row, the last: %v", b.failures, b.cause)
}

// An outcome is what a request says of the remote.
type outcome int

const (
	answered outcome = iota // whatever the answer was
	silent                  // it failed in a way that may pass
	unknown                 // it was called off, or is to be made again when the remote said
)

// begun hears that a request on trial was answered, while its body is still on
// its way: others may go on, and the next failure opens the breaker again.
func (b *breaker) begun(trial bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if trial {
		b.trying, b.open, b.asked = false, false, false
		b.failures = b.limit - 1
	}
}

// leave hears what became of a request.
func (b *breaker) leave(trial bool, o outcome, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if trial {
		b.trying = false
	}
	switch o {
	case answered:
		b.failures = 0
		if trial || !b.asked { // what was asked before it wanted to be left alone says nothing
			b.open, b.asked = false, false
		}
	case silent:
		b.failures++
		if trial || b.failures >= b.limit && !b.asked {
			b.openFor(b.cooldown, false, err)
		}
	}
}

// rest hears of a request whose answer was that the remote wants to be left alone
// for a while.
func (b *breaker) rest(trial bool, wait time.Duration, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if trial {
		b.trying = false
	}
	b.openFor(wait, true, err)
}

func (b *breaker) openFor(wait time.Duration, asked bool, err error) {
	b.open, b.asked, b.cause = true, asked, err
	b.until = b.now().Add(wait)
}

// String is the breaker's state, for people.
func (b *breaker) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return "closed"
	case b.trying:
		return "half-open: one request is trying the remote after " + b.why()
	case b.now().Before(b.until):
		return fmt.Sprintf("open until %s: %s", b.until.Format(time.TimeOnly), b.why())
	}
	return "half-open: the next request tries the remote after " + b.why()
}
