package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/prismflow/prismflow/artifacts"
)

// A request is one that is being made: it has its turn, the breaker's leave, and
// a watch that ends it when the remote is silent for too long.
type request struct {
	ctx    context.Context // of the call of the driver
	caller context.Context
	cancel context.CancelCauseFunc
	watch  *watch
	store  *Store
	trial  bool
	read   int64 // bytes of the body
}

// begin waits for a turn. end must be called in the end.
func (s *Store) begin(ctx context.Context) (*request, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.breaker.refuses(); err != nil {
		return nil, err // without waiting behind those that found out
	}
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	trial, err := s.breaker.enter()
	if err != nil {
		<-s.turns
		return nil, err
	}
	s.stats.requests.Add(1)
	r := &request{caller: ctx, store: s, trial: trial}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	r.watch = newWatch(s.opts, r.cancel)
	return r, nil
}

// answered says that the remote has answered, and that the body is to come.
func (r *request) answered() {
	r.store.breaker.begun(r.trial)
	r.trial = false
}

// end ends the request with what the driver made of it, and returns that as the
// store's callers are to see it.
func (r *request) end(err error) error {
	defer func() { <-r.store.turns }() // when the breaker has heard: who is next may not be let through
	r.watch.stop()
	cause := context.Cause(r.ctx)
	r.cancel(nil)
	switch {
	case err == nil:
		r.store.breaker.leave(r.trial, answered, nil)
		return nil
	case r.caller.Err() != nil:
		r.store.breaker.leave(r.trial, unknown, nil)
		return r.caller.Err()
	case cause == errSilent:
		err = fmt.Errorf("no answer for %v: %w", r.store.opts.Timeout, errSilent)
	case cause == errSlow:
		err = fmt.Errorf("less than %d bytes a second over %v: %w", r.store.opts.MinRate, r.store.opts.rateWindow(), errSlow)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("the driver gave up: %v", err) // by itself, which the caller must not take for its own end
	}
	r.tell(err)
	return err
}

// tell tells the breaker what an error says of the remote.
func (r *request) tell(err error) {
	breaker, wait := r.store.breaker, retryAfter(err)
	if mayPass(err) {
		r.store.stats.failures.Add(1)
	}
	switch {
	case isLocal(err):
		breaker.leave(r.trial, unknown, nil)
	case !mayPass(err):
		breaker.leave(r.trial, answered, nil)
	case wait > r.store.opts.Timeout:
		breaker.rest(r.trial, wait, err)
	case wait > 0:
		breaker.leave(r.trial, unknown, nil) // tries says more when it is not made again
	case r.read >= steady:
		breaker.leave(r.trial, answered, nil) // over a bad line, but it is there
	default:
		breaker.leave(r.trial, silent, err)
	}
}

// steady is after how many bytes what failed before is forgiven: a long transfer
// over a bad line breaks off more often than requests may fail.
const steady = 1 << 20

// once makes a request of which nothing is left when call returns.
func (s *Store) once(ctx context.Context, call func(*request) error) error {
	r, err := s.begin(ctx)
	if err != nil {
		return err
	}
	r.watch.arm(0)
	return r.end(call(r))
}

// ask makes a request as often as it takes and may be made.
func (s *Store) ask(ctx context.Context, call func(*request) error) error {
	var tries tries
	for {
		err := s.once(ctx, call)
		if err == nil {
			return nil
		}
		if err := tries.again(ctx, s, err); err != nil {
			return err
		}
	}
}

// tries counts those of one request that failed.
type tries struct{ failed int }

// again waits until the request may be made again after err, and returns err if
// it may not. A remote that says when it wants to be asked is waited for so long;
// if that is longer than it may be silent, the breaker is open by now.
func (t *tries) again(ctx context.Context, s *Store, err error) error {
	t.failed++
	if !mayPass(err) || s.breaker.refuses() != nil {
		return err
	}
	wait := retryAfter(err)
	if t.failed >= s.opts.Attempts {
		if wait > 0 { // it has always answered, and never done what it was asked
			s.breaker.leave(false, silent, err)
		}
		return err
	}
	s.stats.retries.Add(1)
	select {
	case <-s.opts.Sleep(wait + backoff(t.failed)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
)

// backoff is how long to wait after so many failures: twice as long each time,
// and by chance a half more or less, so that those whom a remote failed at the
// same time do not return at the same time.
func backoff(failed int) time.Duration {
	wait := min(firstBackoff<<min(failed-1, 16), maxBackoff)
	return wait/2 + rand.N(wait)
}

// mayPass says whether a request that ended with err might succeed if it is made
// again.
func mayPass(err error) bool {
	for _, stays := range []error{artifacts.ErrNotFound, artifacts.ErrCorrupt, ErrExists, ErrForbidden, ErrFull, ErrUnavailable} {
		if errors.Is(err, stays) {
			return false
		}
	}
	return !isLocal(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// A localError is one of this machine's, of a file that is read or written: no
// word on the remote.
type localError struct{ error }

func (l localError) Unwrap() error { return l.error }

func local(err error) error {
	if err == nil {
		return nil
	}
	return localError{err}
}

func isLocal(err error) bool {
	var l localError
	return errors.As(err, &l)
}
