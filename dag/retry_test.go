package dag

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

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
