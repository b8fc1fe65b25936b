package dag

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// meter watches the budgets from inside the tasks.
type meter struct {
	mu       sync.Mutex // guards the rest
	budget   Resources
	now      Resources
	running  int
	problems []string
}

// enter returns what a node was found to take; over nodes must be alone.
func (m *meter) enter(uses Resources) (claim Resources, over bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	uses.CPU = max(1, uses.CPU)
	over = uses.CPU > m.budget.CPU || uses.GPU > m.budget.GPU || m.budget.Memory > 0 && uses.Memory > m.budget.Memory
	if over {
		uses = m.budget
		if m.running > 0 {
			m.problems = append(m.problems, "an oversized node has company")
		}
	}
	m.running++
	m.now = Resources{m.now.CPU + uses.CPU, m.now.GPU + uses.GPU, m.now.Memory + uses.Memory}
	if m.now.CPU > m.budget.CPU || m.now.GPU > m.budget.GPU || m.budget.Memory > 0 && m.now.Memory > m.budget.Memory {
		m.problems = append(m.problems, fmt.Sprintf("%s in use of %s", m.now, m.budget))
	}
	return uses, over
}

func (m *meter) leave(claim Resources) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running--
	m.now = Resources{m.now.CPU - claim.CPU, m.now.GPU - claim.GPU, m.now.Memory - claim.Memory}
}

// plan is a random graph and how its nodes will behave.
type plan struct {
	nodes    []Node
	reusable []bool
	failing  []bool
}

func drawPlan(t *rapid.T) plan {
	var p plan
	n := rapid.IntRange(1, 30).Draw(t, "nodes")
	for i := range n {
		node := Node{Name: fmt.Sprint("n", i), Uses: Resources{
			CPU: rapid.IntRange(0, 5).Draw(t, "cpu"), GPU: rapid.IntRange(0, 2).Draw(t, "gpu"), Memory: rapid.Int64Range(0, 4).Draw(t, "memory")}}
		if i > 0 {
			earlier := rapid.SliceOfN(rapid.IntRange(0, i-1), 0, 3)
			for _, j := range earlier.Draw(t, "needs") {
				node.Needs = append(node.Needs, fmt.Sprint("n", j))
			}
			for _, j := range earlier.Draw(t, "after") {
				node.After = append(node.After, fmt.Sprint("n", j))
			}
		}
		p.nodes = append(p.nodes, node)
		p.reusable = append(p.reusable, rapid.Bool().Draw(t, "reusable"))
		p.failing = append(p.failing, rapid.IntRange(0, 5).Draw(t, "fails") == 0)
	}
	p.nodes = rapid.Permutation(p.nodes).Draw(t, "declared") // so that order is not declaration
	return p
}

// predict says how each node must end, by the definition.
func (p plan) predict(keepGoing bool) map[string]State {
	ends := map[string]State{}
	var end func(name string) State
	end = func(name string) State {
		if s, ok := ends[name]; ok {
			return s
		}
		node := p.nodes[indexOf(p.nodes, name)]
		before := slices.Clone(node.Needs)
		if !keepGoing {
			before = append(before, node.After...)
		}
		state := Ran
		for _, b := range before {
			if !end(b).OK() {
				state = Skipped
			}
		}
		var id int
		fmt.Sscanf(name, "n%d", &id)
		switch {
		case state == Skipped:
		case p.failing[id]:
			state = Failed
		case p.reusable[id]:
			state = Cached
		}
		ends[name] = state
		return state
	}
	for _, node := range p.nodes {
		end(node.Name)
	}
	return ends
}

func TestRandomGraphs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlan(t)
		m := &meter{budget: Resources{CPU: rapid.IntRange(1, 6).Draw(t, "cpus"), GPU: rapid.IntRange(0, 2).Draw(t, "gpus"),
			Memory: rapid.Int64Range(0, 5).Draw(t, "memories")}}
		keepGoing := rapid.Bool().Draw(t, "keepGoing")
		ended := map[string]bool{}
		tasks := map[string]*work{}
		nodes := slices.Clone(p.nodes)
		for i := range nodes {
			node := nodes[i]
			var id int
			fmt.Sscanf(node.Name, "n%d", &id)
			settled := func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				for _, b := range slices.Concat(node.Needs, node.After) {
					if !ended[b] {
						m.problems = append(m.problems, node.Name+" began before the end of "+b)
					}
				}
			}
			tasks[node.Name] = &work{
				reuse: func(context.Context) (Outcome, bool, error) {
					settled()
					return Outcome{}, p.reusable[id] && !p.failing[id], nil
				},
				execute: func(context.Context, int) (Outcome, error) {
					settled()
					claim, _ := m.enter(node.Uses)
					runtime.Gosched()
					m.leave(claim)
					if p.failing[id] {
						return Outcome{}, errBoom
					}
					return Outcome{}, nil
				},
			}
			nodes[i].Task = tasks[node.Name]
		}
		g, err := New(nodes)
		if err != nil {
			t.Fatal(err)
		}
		results, err := g.Run(context.Background(), Options{Budget: m.budget, KeepGoing: keepGoing,
			ReuseWorkers: rapid.IntRange(0, 3).Draw(t, "reuseWorkers"),
			Listener: func(e Event) {
				if e.Type == StageFinished {
					m.mu.Lock()
					ended[e.Stage] = true
					m.mu.Unlock()
				}
			}})
		if len(m.problems) > 0 {
			t.Fatal(m.problems)
		}
		want := p.predict(keepGoing)
		if diff := cmp.Diff(want, states(results)); diff != "" {
			t.Fatal(diff)
		}
		causes := 0
		for _, r := range results {
			w := tasks[r.Name]
			wantReuses, wantExecutes := 1, 1
			if r.State == Skipped {
				wantReuses = 0
			}
			if r.State == Skipped || r.State == Cached {
				wantExecutes = 0
			}
			if w.reuses != wantReuses || w.executes != wantExecutes || w.afters != wantReuses {
				t.Fatalf("%s is %s after %d/%d/%d calls", r.Name, r.State, w.reuses, w.executes, w.afters)
			}
			if r.State == Failed {
				causes++
			}
			if (r.CausedBy != "") != (r.State == Skipped) || r.CausedBy != "" && want[r.CausedBy] != Failed {
				t.Fatalf("%s is %s because of %q", r.Name, r.State, r.CausedBy)
			}
		}
		var failure *Failure
		if errors.As(err, &failure) != (causes > 0) || failure != nil && len(failure.Causes) != causes {
			t.Fatalf("%d nodes failed: %v", causes, err)
		}
	})
}

// TestRandomCancellation cancels at a random moment and demands that every node
// is settled exactly once and that no task is left.
func TestRandomCancellation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { rapid.SyncTest(t, cancelAtRandom) })
}

func cancelAtRandom(t *rapid.T) {
	p := drawPlan(t)
	tasks := map[string]*work{}
	for i := range p.nodes {
		wait := time.Duration(rapid.IntRange(0, 3).Draw(t, "wait")) * time.Second
		nap := func(ctx context.Context) error {
			select {
			case <-time.After(wait):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		var id int
		fmt.Sscanf(p.nodes[i].Name, "n%d", &id)
		w := &work{
			reuse: func(ctx context.Context) (Outcome, bool, error) {
				err := nap(ctx)
				return Outcome{}, p.reusable[id], err
			},
			execute: func(ctx context.Context, _ int) (Outcome, error) {
				if err := nap(ctx); err != nil || !p.failing[id] {
					return Outcome{}, err
				}
				return Outcome{}, errBoom
			},
		}
		p.nodes[i].Task, p.nodes[i].Retries = w, rapid.IntRange(0, 1).Draw(t, "retries")
		tasks[p.nodes[i].Name] = w
	}
	g, err := New(p.nodes)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rapid.IntRange(0, 12).Draw(t, "cancel after"))*time.Second)
	defer cancel()
	finished := map[string]int{}
	results, err := g.Run(ctx, Options{Budget: Resources{CPU: 3, GPU: 1, Memory: 3}, Listener: func(e Event) {
		if e.Type == StageFinished {
			finished[e.Stage]++
		}
	}})
	cancelled := false
	for _, r := range results {
		cancelled = cancelled || r.State == Cancelled
		if finished[r.Name] != 1 || r.State == Pending || r.State == Running {
			t.Fatalf("%s is %s and finished %d times", r.Name, r.State, finished[r.Name])
		}
		if w := tasks[r.Name]; w.afters != w.reuses || w.reuses > 1 || w.executes != r.Attempts {
			t.Fatalf("%s: %d/%d/%d calls", r.Name, w.reuses, w.executes, w.afters)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) != cancelled {
		t.Fatalf("some nodes were cancelled: %v, but the error is %v", cancelled, err)
	}
}
