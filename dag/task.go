package dag

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sourcegraph/conc/panics"
)

// Task is one node's work in two steps, so that a result at hand costs no
// budget. The steps of one Task never run at the same time, and whatever the
// tasks of its needs wrote before they returned is visible to it.
//
// A Task must return soon after its ctx is done: Run waits for it.
type Task interface {
	// Reuse says whether the result is already at hand. It is called once, as
	// soon as everything the node waits for has ended, holds no budget, and
	// may wait (for another process that computes the same). When it says no,
	// the Reason of its Outcome says why the node has to execute.
	Reuse(ctx context.Context) (Outcome, bool, error)

	// Execute computes the result, within the budgets. It is called only if
	// Reuse said no; attempt counts from 1.
	Execute(ctx context.Context, attempt int) (Outcome, error)
}

// Releaser is a Task that holds something (a lock, a file) from Reuse on.
// Release is called exactly once after the last step of a Task whose Reuse was
// called: whether it was reused, executed, failed or was cancelled between the
// two. It is called by the scheduler itself and must be quick.
type Releaser interface {
	Release()
}

// Outcome is what a step of a Task has to say.
type Outcome struct {
	// State is how the result came about: Ran, Cached or Downloaded. Empty is
	// Cached from Reuse and Ran from Execute.
	State State

	Reason string // why it ran, or why it did not have to
	Detail any    // carried into the Result and its event untouched
}

// Result is how one node ended.
type Result struct {
	Name     string
	Kind     string
	State    State
	Reason   string
	Err      error     // set when Failed, and when Cancelled in the middle of a step
	Started  time.Time // of the first attempt, or of Reuse when that was the last step; zero if there was neither
	Seconds  float64   // spent in all attempts, or in Reuse when that was the last step
	Attempts int       // calls of Execute
	CausedBy string    // the failed node that this one was skipped for
	Detail   any
}

// NodeError is one root cause: a node that failed by itself.
type NodeError struct {
	Node     string
	Kind     string
	Attempts int // calls of Execute; 0 when Reuse failed
	Err      error
}

// Error names the node, the number of attempts if several, and the cause.
func (e *NodeError) Error() string {
	if e.Attempts > 1 {
		return fmt.Sprintf("%s: attempt %d: %v", e.Node, e.Attempts, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Node, e.Err)
}

// Unwrap returns the cause.
func (e *NodeError) Unwrap() error { return e.Err }

// Failure is the error of a run in which nodes failed: the root causes, each
// once, in declaration order. What was skipped for them is in the results.
type Failure struct {
	Causes []*NodeError
}

// Error lists the root causes, one a line.
func (f *Failure) Error() string { return errors.Join(f.Unwrap()...).Error() }

// Unwrap returns the root causes.
func (f *Failure) Unwrap() []error {
	errs := make([]error, len(f.Causes))
	for i, cause := range f.Causes {
		errs[i] = cause
	}
	return errs
}

// TimeoutError is the error of an attempt that ran past its node's Timeout. It
// matches context.DeadlineExceeded and whatever the task itself returned.
type TimeoutError struct {
	After time.Duration
	Err   error
}

// Error says how long the attempt was given, and what the task said about it.
func (e *TimeoutError) Error() string {
	if errors.Is(e.Err, context.DeadlineExceeded) {
		return fmt.Sprintf("timed out after %s", e.After)
	}
	return fmt.Sprintf("timed out after %s: %v", e.After, e.Err)
}

// Unwrap returns context.DeadlineExceeded and the task's own error.
func (e *TimeoutError) Unwrap() []error { return []error{context.DeadlineExceeded, e.Err} }

// errGone is what remains of a task that called runtime.Goexit, as a failing
// assertion of package testing does.
var errGone = errors.New("the task ended its goroutine instead of returning")

// report is what a step left behind. The zero Err of a step that never came
// back would read as success, so a report starts out with errGone.
type report struct {
	node      int
	step      step
	outcome   Outcome
	reused    bool
	err       error
	cancelled bool // the run was cancelled by the time the step failed
	started   time.Time
	seconds   float64
}

type step uint8

const (
	stepReuse   step = iota // Reuse returned
	stepExecute             // Execute returned
	stepRetry               // the delay before another attempt is over
)

// perform calls one step and reports how it went, whatever it does: return,
// panic, or end its goroutine.
func perform(ctx context.Context, clock func() time.Time, r report, call func() (Outcome, bool, error), send chan<- report) {
	r.started, r.err = clock(), errGone
	defer func() {
		r.seconds = clock().Sub(r.started).Seconds()
		r.cancelled = r.err != nil && ctx.Err() != nil
		send <- r
	}()
	if panicked := panics.Try(func() { r.outcome, r.reused, r.err = call() }); panicked != nil {
		r.err = panicked.AsError()
	}
}

// attempt calls Execute under the node's timeout.
func attempt(ctx context.Context, node Node, number int) (Outcome, bool, error) {
	limited, cancel := ctx, context.CancelFunc(func() {})
	if node.Timeout > 0 {
		limited, cancel = context.WithTimeout(ctx, node.Timeout)
	}
	defer cancel()
	outcome, err := node.Task.Execute(limited, number)
	if err != nil && ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
		err = &TimeoutError{After: node.Timeout, Err: err}
	}
	return outcome, false, err
}
