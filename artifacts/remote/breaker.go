package remote

import (
	"fmt"
	"sync"
	"time"
)

// A breaker keeps a store from paying for one time-out after another. It is
// closed while the remote answers; so many failures in a row open it, and then
// no request is made for a while; after that a single one is, on trial, whose
// answer closes it and whose failure opens it for as long again.
type breaker struct {
	limit    int
	cooldown time.Duration
	now      func() time.Time

	mu       sync.Mutex // guards what follows
	failures int        // in a row
	until    time.Time  // no request before then, while failures >= limit
	trying   bool       // a request is made on trial
	cause    error      // of the last failure
}

// enter says whether a request may be made, and if so whether it is on trial.
// Then leave must be called with what became of it.
func (b *breaker) enter() (trial bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < b.limit {
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
	if b.failures < b.limit {
		return nil
	}
	return b.refusal()
}

func (b *breaker) refusal() error {
	if wait := b.until.Sub(b.now()); wait > 0 {
		return fmt.Errorf("%w (%d failures in a row, the last: %v; it is asked again in %v)", ErrUnavailable, b.failures, b.cause, wait.Round(time.Second))
	}
	if b.trying {
		return fmt.Errorf("%w (%d failures in a row, the last: %v; one request is trying it)", ErrUnavailable, b.failures, b.cause)
	}
	return nil
}

// An outcome is what a request says of the remote.
type outcome int

const (
	answered outcome = iota // whatever the answer was
	silent                  // it failed in a way that may pass
	unknown                 // it was called off
)

// begun hears that a request on trial was answered, while its body is still on
// its way: others may go on, and the next failure opens the breaker again.
func (b *breaker) begun(trial bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if trial {
		b.trying = false
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
	case silent:
		b.failures++
		b.cause = err
		b.until = b.now().Add(b.cooldown)
	}
}

// String is the breaker's state, for people.
func (b *breaker) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failures < b.limit:
		return "closed"
	case b.trying:
		return fmt.Sprintf("half-open: one request is trying the remote after %d failures in a row, the last: %v", b.failures, b.cause)
	case b.now().Before(b.until):
		return fmt.Sprintf("open until %s: %d failures in a row, the last: %v", b.until.Format(time.TimeOnly), b.failures, b.cause)
	}
	return fmt.Sprintf("half-open: the next request tries the remote after %d failures in a row, the last: %v", b.failures, b.cause)
}
