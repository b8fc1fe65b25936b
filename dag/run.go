package dag

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sourcegraph/conc/panics"
	"github.com/sourcegraph/conc/pool"
)

// Run runs every node and returns how each ended, in declaration order.
//
// A node that fails is a root cause; what needs it, directly or not, is
// skipped; everything else goes on. The error is then a *Failure with all root
// causes. When ctx is done, tasks in flight see it through theirs, no further
// one starts, and the error matches ctx.Err() (and a *Failure, if there was
// one). In every case Run returns only after all tasks have.
//
// Among the nodes that could start, one of the earliest turn does, and of those
// the one with the longest chain of nodes behind it; none is passed over for ever
// by smaller ones.
func (g *Graph) Run(ctx context.Context, options Options) ([]Result, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	for _, node := range g.nodes {
		if node.Task == nil {
			return nil, fmt.Errorf("%s: the node has no task", node.Name)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	s := newScheduler(g, options.withDefaults())
	// Deferred, so that a listener that panics does not leave tasks behind.
	defer func() {
		cancel()
		s.reusing.Wait()
		s.executing.Wait()
	}()
	return s.run(ctx)
}

// scheduler is one run. All of it belongs to the goroutine that called Run;
// the pools' goroutines only call tasks and send reports.
type scheduler struct {
	g       *Graph
	options Options
	started time.Time

	nodes    []nodeRun
	results  []Result
	reusable intHeap // ranks of the nodes whose Reuse has not been called yet
	ledger   *ledger // the nodes that wait for budget

	// A slot in a pool is counted as taken until the step's report has been
	// read. So Go on a pool never waits for a task, only, for an instant, for
	// one that has already reported.
	reusing, executing *pool.Pool
	checks             int // Reuse steps in flight

	// reports has room for one report per node, and no node has two steps in
	// flight, so sending one never waits.
	reports  chan report
	inFlight int // reports still to come
}

// nodeRun is what a run knows about one node that has not ended.
type nodeRun struct {
	waiting  int  // nodes before it that have not ended
	ended    bool // its result is final
	inFlight bool // a report is still to come
	entered  bool // Reuse was called
	claim    Resources
	over     bool // wants more than the budget
	retry    *time.Timer
}

func newScheduler(g *Graph, options Options) *scheduler {
	s := &scheduler{
		g:         g,
		options:   options,
		nodes:     make([]nodeRun, len(g.nodes)),
		results:   make([]Result, len(g.nodes)),
		ledger:    newLedger(options.Budget, g.ranks()),
		reusing:   pool.New().WithMaxGoroutines(options.ReuseWorkers),
		executing: pool.New().WithMaxGoroutines(options.Budget.CPU), // each node claims at least one
		reports:   make(chan report, len(g.nodes)),
	}
	for i, node := range g.nodes {
		s.nodes[i].waiting = len(g.needs[i]) + len(g.after[i])
		s.nodes[i].claim, s.nodes[i].over = s.ledger.claim(node.Uses)
		s.results[i] = Result{Name: node.Name, Kind: node.Kind, State: Pending}
	}
	return s
}

func (s *scheduler) run(ctx context.Context) ([]Result, error) {
	s.started = s.options.Clock()
	s.emit(Event{Type: RunStarted, Total: int64(len(s.nodes))})
	for i := range s.nodes {
		if s.nodes[i].waiting == 0 && !s.nodes[i].ended {
			s.admit(i)
		}
	}
	done := ctx.Done()
	for {
		if ctx.Err() == nil {
			s.startChecks(ctx)
			s.startExecutions(ctx)
		} else if done != nil {
			done = nil
			s.cancelWaiting()
		}
		if s.inFlight == 0 {
			break
		}
		select {
		case r := <-s.reports:
			s.receive(ctx, r)
		case <-done:
		}
	}
	err := s.err(ctx)
	s.emitFinished(err)
	return s.results, err
}

// admit is called once everything before a node has ended.
func (s *scheduler) admit(i int) {
	if cause := s.blockedBy(i); cause != "" {
		s.skip(i, cause)
		return
	}
	heap.Push(&s.reusable, s.ledger.ranks[i])
}

// blockedBy returns the root cause that keeps a node from running, "" if there
// is none: the one behind the first of its needs that has no result.
func (s *scheduler) blockedBy(i int) string {
	before := s.g.needs[i]
	if !s.options.KeepGoing {
		before = append(before[:len(before):len(before)], s.g.after[i]...)
	}
	for _, j := range before {
		switch r := s.results[j]; r.State {
		case Failed:
			return r.Name
		case Skipped:
			return r.CausedBy
		}
	}
	return ""
}

func (s *scheduler) skip(i int, cause string) {
	r := &s.results[i]
	r.State, r.CausedBy, r.Reason = Skipped, cause, cause+" failed"
	s.finish(i)
}

func (s *scheduler) startChecks(ctx context.Context) {
	for len(s.reusable) > 0 && s.checks < s.options.ReuseWorkers {
		i := s.ledger.byRank[heap.Pop(&s.reusable).(int)]
		s.checks++
		s.nodes[i].entered = true
		task := s.g.nodes[i].Task
		s.start(ctx, s.reusing, report{node: i, step: stepReuse}, func() (Outcome, bool, error) {
			return task.Reuse(ctx)
		})
	}
}

func (s *scheduler) startExecutions(ctx context.Context) {
	for {
		i, ok := s.ledger.next()
		if !ok {
			return
		}
		if s.results[i].Attempts == 0 {
			s.announce(i)
		}
		s.results[i].Attempts++
		node, number := s.g.nodes[i], s.results[i].Attempts
		s.start(ctx, s.executing, report{node: i, step: stepExecute}, func() (Outcome, bool, error) {
			return attempt(ctx, node, number)
		})
	}
}

// announce says that a node begins to execute.
func (s *scheduler) announce(i int) {
	if s.nodes[i].over {
		s.emitNode(i, Event{Type: Note, Level: "warn", Message: fmt.Sprintf(
			"wants %s, more than the whole budget of %s: runs alone", s.g.nodes[i].Uses, s.options.Budget)})
	}
	s.emitNode(i, Event{Type: StageStarted, State: Running, Reason: s.results[i].Reason, Attempt: 1})
}

func (s *scheduler) start(ctx context.Context, in *pool.Pool, r report, call func() (Outcome, bool, error)) {
	s.inFlight++
	s.nodes[r.node].inFlight = true
	in.Go(func() { perform(ctx, s.options.Clock, r, call, s.reports) })
}

// receive takes note of a step that is over.
func (s *scheduler) receive(ctx context.Context, r report) {
	s.inFlight--
	s.nodes[r.node].inFlight = false
	switch r.step {
	case stepReuse:
		s.checks--
		s.reuseReturned(ctx, r)
	case stepExecute:
		s.ledger.release(s.nodes[r.node].claim)
		s.executeReturned(ctx, r)
	case stepRetry:
		s.nodes[r.node].retry = nil
		s.waitForBudget(ctx, r.node)
	}
}

func (s *scheduler) reuseReturned(ctx context.Context, r report) {
	s.record(r)
	if r.err == nil && !r.reused {
		s.waitForBudget(ctx, r.node)
		return
	}
	result := &s.results[r.node]
	result.Started, result.Seconds = r.started, r.seconds
	s.end(r, Cached)
}

func (s *scheduler) executeReturned(ctx context.Context, r report) {
	s.record(r)
	result := &s.results[r.node]
	if result.Attempts == 1 {
		result.Started = r.started
	}
	result.Seconds += r.seconds
	if r.err != nil && !r.cancelled && result.Attempts <= s.g.nodes[r.node].Retries {
		s.retry(ctx, r)
		return
	}
	s.end(r, Ran)
}

// record keeps what a step said; a later one that says nothing takes nothing
// back.
func (s *scheduler) record(r report) {
	result := &s.results[r.node]
	result.Reason = cmp.Or(r.outcome.Reason, result.Reason)
	if r.outcome.Detail != nil {
		result.Detail = r.outcome.Detail
	}
}

func (s *scheduler) waitForBudget(ctx context.Context, i int) {
	if ctx.Err() != nil {
		s.cancel(i)
		return
	}
	s.ledger.add(i, s.nodes[i].claim)
}

// retry lets a failed node wait and try again.
func (s *scheduler) retry(ctx context.Context, r report) {
	node, result := s.g.nodes[r.node], s.results[r.node]
	delay := s.options.RetryDelay(result.Attempts)
	s.emitNode(r.node, Event{Type: StageRetry, Level: "warn", Attempt: result.Attempts, Error: r.err.Error(),
		Message: fmt.Sprintf("attempt %d of %d failed, the next one in %s", result.Attempts, node.Retries+1, delay)})
	if ctx.Err() != nil {
		s.cancel(r.node)
		return
	}
	s.inFlight++
	s.nodes[r.node].inFlight = true
	s.nodes[r.node].retry = time.AfterFunc(delay, func() { s.reports <- report{node: r.node, step: stepRetry} })
}

// end settles a node whose last step is over. well is the state of one that
// succeeded without naming a state.
func (s *scheduler) end(r report, well State) {
	result := &s.results[r.node]
	result.State, result.Err = cmp.Or(r.outcome.State, well), r.err
	switch {
	case r.cancelled:
		result.State = Cancelled
	case r.err != nil:
		result.State = Failed
	case !result.State.OK():
		result.Err = fmt.Errorf("the task returned no error but the state %q", result.State)
		result.State = Failed
	}
	s.finish(r.node)
}

// cancelWaiting ends every node that is not in the middle of a step.
func (s *scheduler) cancelWaiting() {
	for _, i := range s.g.order {
		n := &s.nodes[i]
		if n.retry != nil && n.retry.Stop() {
			s.inFlight--
			n.inFlight, n.retry = false, nil
		}
		if n.ended || n.inFlight {
			continue
		}
		if cause := s.blockedBy(i); cause != "" {
			s.skip(i, cause)
		} else {
			s.cancel(i)
		}
	}
}

func (s *scheduler) cancel(i int) {
	s.results[i].State = Cancelled
	s.finish(i)
}

// finish makes a result final, tells of it, and admits what waited for it.
func (s *scheduler) finish(i int) {
	n, r := &s.nodes[i], &s.results[i]
	n.ended = true
	if err := s.release(i); err != nil && r.State != Failed {
		r.State, r.Err = Failed, err
	}
	s.emitNode(i, Event{Type: StageFinished, State: r.State, Reason: r.Reason, CausedBy: r.CausedBy,
		Seconds: r.Seconds, Attempt: r.Attempts, Detail: r.Detail, Error: message(r.Err)})
	for _, user := range s.g.users[i] {
		u := &s.nodes[user]
		if u.waiting--; u.waiting == 0 && !u.ended {
			s.admit(user)
		}
	}
}

// release lets go of what a task held between its steps.
func (s *scheduler) release(i int) error {
	releaser, ok := s.g.nodes[i].Task.(Releaser)
	if !ok || !s.nodes[i].entered {
		return nil
	}
	return panics.Try(releaser.Release).AsError()
}

// err is the error of the whole run.
func (s *scheduler) err(ctx context.Context) error {
	failure, cancelled := &Failure{}, false
	for i := range s.results {
		switch r := &s.results[i]; r.State {
		case Failed:
			failure.Causes = append(failure.Causes, &NodeError{Node: r.Name, Kind: r.Kind, Attempts: r.Attempts, Err: r.Err})
		case Cancelled:
			cancelled = true
		}
	}
	switch {
	case len(failure.Causes) > 0 && cancelled:
		return errors.Join(failure, cancellation(ctx))
	case len(failure.Causes) > 0:
		return failure
	case cancelled:
		return cancellation(ctx)
	default:
		return nil
	}
}

func cancellation(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("run cancelled: %w: %w", cause, ctx.Err())
	}
	return fmt.Errorf("run cancelled: %w", ctx.Err())
}

func (s *scheduler) emitFinished(err error) {
	event := Event{Type: RunFinished, State: Ran, Total: int64(len(s.results)), Error: message(err), Fields: map[string]any{},
		Seconds: s.options.Clock().Sub(s.started).Seconds()}
	counts := map[State]int{}
	for i := range s.results {
		counts[s.results[i].State]++
	}
	for state, n := range counts {
		event.Fields[string(state)] = n
		if state.OK() {
			event.Done += int64(n)
		}
	}
	switch {
	case counts[Cancelled] > 0:
		event.State = Cancelled
	case counts[Failed] > 0:
		event.State = Failed
	}
	s.emit(event)
}

func (s *scheduler) emitNode(i int, event Event) {
	event.Stage, event.Kind = s.g.nodes[i].Name, s.g.nodes[i].Kind
	s.emit(event)
}

func (s *scheduler) emit(event Event) {
	event.Time = s.options.Clock()
	s.options.Listener(event)
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
