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
