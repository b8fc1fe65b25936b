package dag

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

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
