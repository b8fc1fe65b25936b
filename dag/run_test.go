package dag

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestEachNodeRunsOnceAfterItsNeeds(t *testing.T) {
	corpus, split, train := &work{}, &work{reuse: hit}, &work{
		reuse: func(context.Context) (Outcome, bool, error) { return Outcome{Reason: "seed is new"}, false, nil },
		execute: func(context.Context, int) (Outcome, error) {
			return Outcome{Detail: []string{"model"}}, nil
		},
	}
	model := &work{reuse: func(context.Context) (Outcome, bool, error) {
		return Outcome{State: Downloaded, Reason: "from a colleague"}, true, nil
	}}
	g := mustNew(t,
		Node{Name: "train", Kind: "prism.train", Needs: []string{"split"}, Task: train},
		Node{Name: "split", Needs: []string{"corpus"}, Task: split},
		Node{Name: "corpus", Task: corpus},
		Node{Name: "model", After: []string{"split"}, Task: model},
	)
	var j journal
	results, err := g.Run(context.Background(), Options{Listener: j.listen})
	if err != nil {
		t.Fatal(err)
	}
	corpus.check(t, "corpus", 1, 1)
	split.check(t, "split", 1, 0)
	train.check(t, "train", 1, 1)
	model.check(t, "model", 1, 0)
	want := []Result{
		{Name: "train", Kind: "prism.train", State: Ran, Reason: "seed is new", Attempts: 1, Detail: []string{"model"}},
		{Name: "split", State: Cached, Reason: "at hand"},
		{Name: "corpus", State: Ran, Reason: "never ran", Attempts: 1},
		{Name: "model", State: Downloaded, Reason: "from a colleague"},
	}
	for i := range results {
		if results[i].Started.IsZero() || results[i].Seconds < 0 {
			t.Errorf("%s started %v and took %v s", results[i].Name, results[i].Started, results[i].Seconds)
		}
		results[i].Started, results[i].Seconds = time.Time{}, 0
	}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{StageStarted, StageFinished}, j.types("train")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{StageFinished}, j.types("split")); diff != "" {
		t.Error(diff)
	}
	if e := j.find(t, StageStarted, "train"); e.Reason != "seed is new" || e.State != Running || e.Kind != "prism.train" {
		t.Errorf("train started: %+v", e)
	}
	if e := j.find(t, StageFinished, "train"); !cmp.Equal(e.Detail, any([]string{"model"})) || e.State != Ran || e.Attempt != 1 {
		t.Errorf("train finished: %+v", e)
	}
	last := j.events[len(j.events)-1]
	if j.events[0].Type != RunStarted || j.events[0].Total != 4 || last.Type != RunFinished || last.Done != 4 ||
		!cmp.Equal(last.Fields, map[string]any{"ran": 2, "cached": 1, "downloaded": 1}) {
		t.Errorf("first event %+v, last %+v", j.events[0], last)
	}
}

func TestFailureSkipsWhatNeedsItAndNothingElse(t *testing.T) {
	tasks := map[string]*work{}
	node := func(name string, needs, after []string) Node {
		tasks[name] = &work{}
		return Node{Name: name, Needs: needs, After: after, Task: tasks[name]}
	}
	nodes := []Node{
		node("bad", nil, nil), node("worse", nil, nil), node("good", nil, nil),
		node("child", []string{"good", "bad"}, nil),
		node("grandchild", []string{"worse", "child"}, nil),
		node("independent", []string{"good"}, nil),
		node("later", nil, []string{"bad"}),
		node("muchlater", nil, []string{"child"}),
		node("latest", []string{"later"}, nil),
	}
	for _, keepGoing := range []bool{false, true} {
		t.Run(fmt.Sprintf("KeepGoing=%v", keepGoing), func(t *testing.T) {
			for name := range tasks {
				*tasks[name] = work{}
			}
			tasks["bad"].execute = fails
			tasks["worse"].reuse = func(context.Context) (Outcome, bool, error) { return Outcome{Reason: "who knows"}, true, errBoom }
			var j journal
			results, err := mustNew(t, nodes...).Run(context.Background(), Options{KeepGoing: keepGoing, Listener: j.listen})

			orderOnly, orderOnlyCause := Skipped, "bad"
			if keepGoing {
				orderOnly, orderOnlyCause = Ran, ""
			}
			want := map[string]State{"bad": Failed, "worse": Failed, "good": Ran, "child": Skipped, "grandchild": Skipped,
				"independent": Ran, "later": orderOnly, "muchlater": orderOnly, "latest": orderOnly}
			if diff := cmp.Diff(want, states(results)); diff != "" {
				t.Error(diff)
			}
			causes := map[string]string{"child": "bad", "grandchild": "worse", "later": orderOnlyCause,
				"muchlater": orderOnlyCause, "latest": orderOnlyCause}
			for _, r := range results {
				if r.CausedBy != causes[r.Name] {
					t.Errorf("%s was skipped for %q, want %q", r.Name, r.CausedBy, causes[r.Name])
				}
				if calls := tasks[r.Name].reuses; (calls == 0) != (r.State == Skipped) {
					t.Errorf("%s is %s after %d calls", r.Name, r.State, calls)
				}
			}
			var failure *Failure
			if !errors.As(err, &failure) || !errors.Is(err, errBoom) || err.Error() != "bad: boom\nworse: boom" {
				t.Errorf("%T %v", err, err)
			}
			if e := j.find(t, StageFinished, "grandchild"); e.Reason != "worse failed" || e.CausedBy != "worse" || e.State != Skipped {
				t.Errorf("%+v", e)
			}
			if e := j.find(t, RunFinished, ""); e.State != Failed || e.Error != err.Error() {
				t.Errorf("%+v", e)
			}
			tasks["bad"].check(t, "bad", 1, 1)
			tasks["worse"].check(t, "worse", 1, 0)
		})
	}
}

func TestCancellationWaitsForTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("someone pressed a key")
		ctx, cancel := context.WithCancelCause(context.Background())
		slow := &work{execute: func(ctx context.Context, _ int) (Outcome, error) {
			<-ctx.Done()
			time.Sleep(time.Hour) // tidying up
			return Outcome{}, errors.New("signal: killed")
		}}
		stubborn := &work{execute: func(context.Context, int) (Outcome, error) {
			time.Sleep(time.Minute)
			return Outcome{}, nil
		}}
		waits := &work{reuse: func(ctx context.Context) (Outcome, bool, error) {
			<-ctx.Done()
			return Outcome{}, false, nil // as if there had been no cancellation
		}}
		queued := &work{reuse: missLater} // so slow, which wants the same GPU, has it
		retrying, behind := &work{execute: fails}, &work{}
		g := mustNew(t,
			Node{Name: "bad", Task: &work{execute: fails}},
			Node{Name: "slow", Task: slow, Uses: Resources{GPU: 1}},
			Node{Name: "stubborn", Task: stubborn},
			Node{Name: "waits", Task: waits},
			Node{Name: "retrying", Task: retrying, Retries: 1},
			Node{Name: "queued", Task: queued, Uses: Resources{GPU: 1}},
			Node{Name: "behind", Needs: []string{"slow"}, Task: behind},
			Node{Name: "skipped", Needs: []string{"slow", "bad"}},
		)
		var j journal
		var results []Result
		var err error
		start := time.Now()
		go func() {
			time.Sleep(time.Second)
			cancel(cause)
		}()
		results, err = g.Run(ctx, Options{Budget: Resources{CPU: 8, GPU: 1}, Listener: j.listen,
			RetryDelay: func(int) time.Duration { return time.Minute }})
		if got := time.Since(start); got != time.Hour+time.Second {
			t.Errorf("Run returned after %s, the slow task after an hour", got)
		}
		want := map[string]State{"bad": Failed, "slow": Cancelled, "stubborn": Ran, "waits": Cancelled,
			"retrying": Cancelled, "queued": Cancelled, "behind": Cancelled, "skipped": Skipped}
		if diff := cmp.Diff(want, states(results)); diff != "" {
			t.Error(diff)
		}
		var failure *Failure
		if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || !errors.As(err, &failure) || len(failure.Causes) != 1 {
			t.Errorf("%v", err)
		}
		slow.check(t, "slow", 1, 1)
		waits.check(t, "waits", 1, 0)
		queued.check(t, "queued", 1, 0)
		retrying.check(t, "retrying", 1, 1)
		behind.check(t, "behind", 0, 0)
		for name := range want {
			if n := len(slices.DeleteFunc(j.types(name), func(s string) bool { return s != StageFinished })); n != 1 {
				t.Errorf("%s finished %d times", name, n)
			}
		}
		if e := j.find(t, RunFinished, ""); e.State != Cancelled || e.Done != 1 {
			t.Errorf("%+v", e)
		}
	})
}

func TestCancelledBeforeItBegins(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	task := &work{}
	results, err := mustNew(t, Node{Name: "a", Task: task}, Node{Name: "b", Needs: []string{"a"}}).Run(ctx, Options{})
	if !errors.Is(err, context.Canceled) || err.Error() != "run cancelled: context canceled" {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]State{"a": Cancelled, "b": Cancelled}, states(results)); diff != "" {
		t.Error(diff)
	}
	task.check(t, "a", 0, 0)
}

func TestDeadlineOfTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		results, err := mustNew(t, Node{Name: "a", Timeout: time.Hour, Task: &work{execute: untilDone}}).Run(ctx, Options{})
		if results[0].State != Cancelled || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", results[0].State, err)
		}
	})
}

func TestPanicIsTheNodesFailure(t *testing.T) {
	g := mustNew(t,
		Node{Name: "reuse", Task: &work{reuse: func(context.Context) (Outcome, bool, error) { panic(errBoom) }}},
		Node{Name: "execute", Task: &work{execute: func(context.Context, int) (Outcome, error) { panic("ouch") }}},
		Node{Name: "exit", Task: &work{execute: func(context.Context, int) (Outcome, error) { runtime.Goexit(); return Outcome{}, nil }}},
		Node{Name: "state", Task: &work{execute: func(context.Context, int) (Outcome, error) { return Outcome{State: Skipped}, nil }}},
		Node{Name: "release", Task: &panickyRelease{}},
		Node{Name: "fine"},
	)
	results, err := g.Run(context.Background(), Options{Budget: Resources{CPU: 1}, ReuseWorkers: 1})
	if diff := cmp.Diff(map[string]State{"reuse": Failed, "execute": Failed, "exit": Failed, "state": Failed,
		"release": Failed, "fine": Ran}, states(results)); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(err, errBoom) {
		t.Errorf("%v does not match the error that Reuse panicked with", err)
	}
	for at, part := range []string{"boom", "ouch", "ended its goroutine", `"skipped"`, "let go"} {
		if !strings.Contains(results[at].Err.Error(), part) {
			t.Errorf("%s: %v", results[at].Name, results[at].Err)
		}
	}
	if !strings.Contains(results[1].Err.Error(), "run_test.go") {
		t.Errorf("no stack in %v", results[1].Err)
	}
}

type panickyRelease struct{ work }

func (*panickyRelease) Release() { panic("let go") }

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &work{execute: func(ctx context.Context, _ int) (Outcome, error) {
			<-ctx.Done()
			return Outcome{}, errBoom
		}}
		late := &work{execute: func(ctx context.Context, _ int) (Outcome, error) {
			<-ctx.Done()
			return Outcome{}, nil
		}}
		patient := &work{reuse: func(context.Context) (Outcome, bool, error) {
			time.Sleep(time.Hour) // not counted
			return Outcome{}, false, nil
		}}
		g := mustNew(t,
			Node{Name: "plain", Timeout: time.Second, Task: &work{execute: untilDone}},
			Node{Name: "own", Timeout: time.Second, Task: own},
			Node{Name: "late", Timeout: time.Second, Task: late},
			Node{Name: "patient", Timeout: time.Second, Task: patient},
		)
		results, err := g.Run(context.Background(), Options{})
		if diff := cmp.Diff(map[string]State{"plain": Failed, "own": Failed, "late": Ran, "patient": Ran}, states(results)); diff != "" {
			t.Error(diff)
		}
		if want := "plain: timed out after 1s\nown: timed out after 1s: boom"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		var timeout *TimeoutError
		if !errors.As(err, &timeout) || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBoom) {
			t.Errorf("%v does not match", err)
		}
		if results[2].Seconds != 1 || results[3].Seconds != 0 {
			t.Errorf("late took %v s, patient %v s", results[2].Seconds, results[3].Seconds)
		}
	})
}

func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flaky := &work{execute: func(ctx context.Context, attempt int) (Outcome, error) {
			if attempt < 3 {
				<-ctx.Done()
				return Outcome{}, ctx.Err()
			}
			return Outcome{}, nil
		}}
		hopeless, once := &work{execute: fails}, &work{execute: fails}
		broken := &work{reuse: func(context.Context) (Outcome, bool, error) { return Outcome{}, false, errBoom }}
		// other runs while flaky waits between its attempts, as that holds no budget
		other := &work{reuse: missLater, execute: func(context.Context, int) (Outcome, error) {
			time.Sleep(100 * time.Millisecond)
			return Outcome{}, nil
		}}
		g := mustNew(t,
			Node{Name: "flaky", Retries: 3, Timeout: time.Second, Task: flaky},
			Node{Name: "other", Task: other},
			Node{Name: "hopeless", Retries: 2, Task: hopeless},
			Node{Name: "once", Task: once},
			Node{Name: "broken", Retries: 5, Task: broken},
		)
		var j journal
		start := time.Now()
		results, err := g.Run(context.Background(), Options{Budget: Resources{CPU: 1}, Listener: j.listen})
		if got := time.Since(start); got != 3500*time.Millisecond {
			t.Errorf("two timeouts of a second and delays of 0.5 s and 1 s took %s", got)
		}
		flaky.check(t, "flaky", 1, 3)
		hopeless.check(t, "hopeless", 1, 3)
		once.check(t, "once", 1, 1)
		broken.check(t, "broken", 1, 0)
		if r := results[0]; r.State != Ran || r.Attempts != 3 || r.Seconds != 2 || r.Err != nil {
			t.Errorf("%+v", r)
		}
		if want := "hopeless: attempt 3: boom\nonce: boom\nbroken: boom"; err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if diff := cmp.Diff([]string{StageStarted, StageRetry, StageRetry, StageFinished}, j.types("flaky")); diff != "" {
			t.Error(diff)
		}
		e := j.find(t, StageRetry, "hopeless")
		if e.Message != "attempt 1 of 3 failed, the next one in 500ms" || e.Error != "boom" || e.Attempt != 1 {
			t.Errorf("%+v", e)
		}
	})
}

// TestCancelledWhileARetryIsAnnounced cancels between a failed attempt and the
// timer of the next.
func TestCancelledWhileARetryIsAnnounced(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	task := &work{execute: fails}
	results, err := mustNew(t, Node{Name: "a", Retries: 1, Task: task}).Run(ctx, Options{Listener: func(e Event) {
		if e.Type == StageRetry {
			cancel()
		}
	}})
	task.check(t, "a", 1, 1)
	if results[0].State != Cancelled || !errors.Is(err, context.Canceled) {
		t.Errorf("%s: %v", results[0].State, err)
	}
}

func TestDefaultRetryDelay(t *testing.T) {
	var got []time.Duration
	for _, attempt := range []int{1, 2, 3, 6, 7, 8, 100} {
		got = append(got, DefaultRetryDelay(attempt))
	}
	want := []time.Duration{time.Second / 2, time.Second, 2 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRunRefuses(t *testing.T) {
	g := mustNew(t, Node{Name: "a"})
	_, err := g.Run(context.Background(), Options{Budget: Resources{CPU: -1}, ReuseWorkers: -1})
	if want := "run options: cpu -1 is below 0, reuse workers -1 is below 0"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	drawn, err := New([]Node{{Name: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := drawn.Run(context.Background(), Options{}); err == nil || err.Error() != "b: the node has no task" {
		t.Error(err)
	}
}

func TestEmptyGraph(t *testing.T) {
	if results, err := mustNew(t).Run(context.Background(), Options{}); len(results) != 0 || err != nil {
		t.Errorf("%v, %v", results, err)
	}
}

// TestReuseHoldsNoBudget lets a node wait in Reuse while others execute with
// all the budget, and limits how many may wait so.
func TestReuseHoldsNoBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		checking, most := 0, 0
		var nodes []Node
		for i := range 6 {
			nodes = append(nodes, Node{Name: fmt.Sprint("waits", i), Task: &work{reuse: func(context.Context) (Outcome, bool, error) {
				mu.Lock()
				checking++
				most = max(most, checking)
				mu.Unlock()
				time.Sleep(time.Hour)
				mu.Lock()
				checking--
				mu.Unlock()
				return Outcome{}, true, nil
			}}})
		}
		busy := &work{execute: func(context.Context, int) (Outcome, error) {
			time.Sleep(3 * time.Hour)
			return Outcome{}, nil
		}}
		nodes = append(nodes, Node{Name: "busy", Task: busy}, Node{Name: "behind", Needs: []string{"busy"}})
		start := time.Now()
		if _, err := mustNew(t, nodes...).Run(context.Background(), Options{Budget: Resources{CPU: 1}, ReuseWorkers: 2}); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); most != 2 || got != 3*time.Hour {
			t.Errorf("%d at once, %s in all", most, got)
		}
	})
}

// TestBigNodeIsNotStarved has one node that wants everything among many small
// ones that would always find room. They ask for the budget one after the other,
// the big one after the first, or it would not be its turn.
func TestBigNodeIsNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var ended []string
		asking := time.Duration(0)
		task := func(name string, seconds int) Task {
			asking += time.Millisecond
			wait := asking
			return &work{
				reuse: func(context.Context) (Outcome, bool, error) {
					time.Sleep(wait)
					return Outcome{}, false, nil
				},
				execute: func(context.Context, int) (Outcome, error) {
					time.Sleep(time.Duration(seconds) * time.Second)
					mu.Lock()
					defer mu.Unlock()
					ended = append(ended, name)
					return Outcome{}, nil
				},
			}
		}
		nodes := []Node{{Name: "first", Task: task("first", 1)}, {Name: "big", Uses: Resources{CPU: 1000}, Task: task("big", 1)}}
		for i := range 50 {
			name := fmt.Sprint("small", i)
			nodes = append(nodes, Node{Name: name, Task: task(name, 2+i%2)})
		}
		var j journal
		if _, err := mustNew(t, nodes...).Run(context.Background(), Options{Budget: Resources{CPU: 2, GPU: 1}, Listener: j.listen, ReuseWorkers: 64}); err != nil {
			t.Fatal(err)
		}
		if at := slices.Index(ended, "big"); at != 1 {
			t.Errorf("the big node ended as number %d, want the second", at+1)
		}
		note := j.find(t, Note, "big")
		if want := "wants 1000 cpu, more than the whole budget of 2 cpu, 1 gpu: runs alone"; note.Message != want || note.Level != "warn" {
			t.Errorf("got %q, want %q", note.Message, want)
		}
		if diff := cmp.Diff([]string{Note, StageStarted, StageFinished}, j.types("big")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestListenerMayPanicWithoutLeavingTasksBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails when a goroutine is left
		g := mustNew(t, Node{Name: "a", Task: &work{execute: untilDone}}, Node{Name: "b"}, Node{Name: "c", Needs: []string{"b"}})
		defer func() {
			if recover() != "no more" {
				t.Error("the listener's panic did not reach the caller")
			}
		}()
		budget := Resources{CPU: 2} // a keeps one of them
		_, _ = g.Run(context.Background(), Options{Budget: budget, Listener: func(e Event) {
			if e.Type == StageFinished {
				panic("no more")
			}
		}})
	})
}

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

// Without turns all first nodes would come before any second one, having the
// longer chain behind them.
func TestEarlierTurnsGoFirst(t *testing.T) {
	var nodes []Node
	for turn := range 3 {
		first, second := fmt.Sprintf("first%d", turn), fmt.Sprintf("second%d", turn)
		nodes = append(nodes, Node{Name: second, Needs: []string{first}, Turn: turn}, Node{Name: first, Turn: turn})
	}
	order := make([]string, len(nodes))
	for i, rank := range mustNew(t, nodes...).ranks() {
		order[rank] = nodes[i].Name
	}
	if want := []string{"first0", "second0", "first1", "second1", "first2", "second2"}; !slices.Equal(order, want) {
		t.Errorf("nodes are taken in the order %v, want %v", order, want)
	}
}
