package dag

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// work is a Task for tests that counts its calls. A nil reuse says no, a nil
// execute succeeds.
type work struct {
	reuse   func(ctx context.Context) (Outcome, bool, error)
	execute func(ctx context.Context, attempt int) (Outcome, error)

	mu                       sync.Mutex // guards the counts
	reuses, executes, afters int
}

func (w *work) Reuse(ctx context.Context) (Outcome, bool, error) {
	w.mu.Lock()
	w.reuses++
	w.mu.Unlock()
	if w.reuse == nil {
		return Outcome{Reason: "never ran"}, false, nil
	}
	return w.reuse(ctx)
}

func (w *work) Execute(ctx context.Context, attempt int) (Outcome, error) {
	w.mu.Lock()
	w.executes++
	w.mu.Unlock()
	if w.execute == nil {
		return Outcome{}, nil
	}
	return w.execute(ctx, attempt)
}

// Release makes work a Releaser.
func (w *work) Release() {
	w.mu.Lock()
	w.afters++
	w.mu.Unlock()
}

// check compares the number of calls so far.
func (w *work) check(t *testing.T, name string, reuses, executes int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reuses != reuses || w.executes != executes || w.afters != min(reuses, 1) {
		t.Errorf("%s: %d calls of Reuse, %d of Execute, %d of Release; want %d, %d, %d",
			name, w.reuses, w.executes, w.afters, reuses, executes, min(reuses, 1))
	}
}

var errBoom = errors.New("boom")

func fails(context.Context, int) (Outcome, error) { return Outcome{}, errBoom }

func hit(context.Context) (Outcome, bool, error) { return Outcome{Reason: "at hand"}, true, nil }

// missLater says no once everything else in its synctest bubble waits for
// something: reuse steps answer in any order, and this one answers last.
func missLater(context.Context) (Outcome, bool, error) {
	time.Sleep(time.Millisecond)
	return Outcome{}, false, nil
}

// untilDone waits for its context and says why it ended.
func untilDone(ctx context.Context, _ int) (Outcome, error) {
	<-ctx.Done()
	return Outcome{}, ctx.Err()
}

// mustNew makes a graph; a node without a task gets one that succeeds.
func mustNew(t testing.TB, nodes ...Node) *Graph {
	t.Helper()
	for i := range nodes {
		if nodes[i].Task == nil {
			nodes[i].Task = &work{}
		}
	}
	g, err := New(nodes)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func states(results []Result) map[string]State {
	m := map[string]State{}
	for _, r := range results {
		m[r.Name] = r.State
	}
	return m
}

// journal keeps what a listener hears. It has no lock, so that the race
// detector notices a listener that is called from two goroutines at once.
type journal struct{ events []Event }

func (j *journal) listen(e Event) { j.events = append(j.events, e) }

// types lists the types of the events of one node, of the run for "".
func (j *journal) types(stage string) []string {
	var types []string
	for _, e := range j.events {
		if e.Stage == stage {
			types = append(types, e.Type)
		}
	}
	return types
}

// find returns the first event of a type and node.
func (j *journal) find(t *testing.T, eventType, stage string) Event {
	t.Helper()
	i := slices.IndexFunc(j.events, func(e Event) bool { return e.Type == eventType && e.Stage == stage })
	if i < 0 {
		t.Fatalf("no event %s of %q", eventType, stage)
	}
	return j.events[i]
}
