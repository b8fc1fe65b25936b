package fileshare

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// maxCalls is how many file operations go on at once, also such as never come
	// back. More than any store makes, and few enough for a dead mount not to cost
	// a process its threads.
	maxCalls = 64

	// grace is how long a caller whose context ended waits for what it leaves to be
	// tidied up.
	grace = time.Second
)

// abandonedError says that an operation was begun and goes on without its caller.
type abandonedError struct{ error }

func (e abandonedError) Unwrap() error { return e.error }

func abandoned(err error) bool {
	var a abandonedError
	return errors.As(err, &a)
}

// call does a file operation that a dead mount may keep for ever. It returns when
// the operation does or, soon, when ctx ends. If the operation was begun by then,
// the error is an abandonedError, and drop gets what comes of it after all. op
// must touch nothing that its caller goes on using.
func call[T any](ctx context.Context, d *Driver, op func() (T, error), drop func(T)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	select {
	case d.calls <- struct{}{}:
	case <-ctx.Done():
		return none, fmt.Errorf("the share does not answer, %d file operations have not come back: %w", maxCalls, ctx.Err())
	}
	type outcome struct {
		value T
		err   error
	}
	done, gone := make(chan outcome), make(chan struct{})
	go func() {
		defer func() { <-d.calls }()
		value, err := op()
		select {
		case done <- outcome{value, err}:
		case <-gone:
			drop(value)
		}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		close(gone)
		return none, abandonedError{ctx.Err()}
	}
}

// tidy does an operation for which nobody waits longer than grace.
func (d *Driver) tidy(ctx context.Context, op func()) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	_, _ = call(ctx, d, func() (struct{}, error) { op(); return struct{}{}, nil }, func(struct{}) {})
}
