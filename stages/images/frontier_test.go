package images

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func aVisit(host string, n int) *visit {
	return &visit{target: &target{}, url: &url.URL{Scheme: "http", Host: host, Path: fmt.Sprint("/", n)}}
}

// drain lets workers make all visits, each of which takes a while, and returns
// when each began, in the order of the beginnings.
func drain(t *testing.T, f *frontier, workers int, takes time.Duration) []string {
	t.Helper()
	began := time.Now()
	var mu sync.Mutex
	var log []string // guarded by mu
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				v, err := f.next(t.Context())
				if err != nil {
					t.Error(err)
				}
				if v == nil {
					return
				}
				mu.Lock()
				log = append(log, fmt.Sprintf("%v %s%s", time.Since(began), v.url.Host, v.url.Path))
				mu.Unlock()
				time.Sleep(takes)
				f.release(v)
			}
		})
	}
	all.Wait()
	return log
}

func TestFrontierKeepsToTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFrontier(8, 100*time.Millisecond, 0)
		for n := range 3 {
			f.add(aVisit("a", n))
		}
		time.Sleep(time.Millisecond)
		f.add(aVisit("b", 0))
		want := []string{"0s a/0", "0s b/0", "100ms a/1", "200ms a/2"}
		if diff := cmp.Diff(want, drain(t, f, 1, 0)); diff != "" {
			t.Errorf("visits (-want +got):\n%s", diff)
		}
	})
}

// One slow host has its share of the workers, and the others are not held up.
func TestFrontierLimitsAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFrontier(2, 0, 0)
		for n := range 5 {
			f.add(aVisit("a", n))
		}
		starts := map[string]int{}
		for _, line := range drain(t, f, 8, time.Second) {
			starts[line[:2]]++
		}
		if diff := cmp.Diff(map[string]int{"0s": 2, "1s": 2, "2s": 1}, starts); diff != "" {
			t.Errorf("beginnings (-want +got):\n%s", diff)
		}
	})
}

func TestFrontierWaitsForWhatIsPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFrontier(1, 0, 0)
		late, early := aVisit("a", 1), aVisit("a", 2)
		late.ready, early.ready = time.Now().Add(2*time.Second), time.Now().Add(time.Second)
		f.add(late)
		f.add(early)
		f.add(aVisit("a", 3))
		want := []string{"0s a/3", "1s a/2", "2s a/1"}
		if diff := cmp.Diff(want, drain(t, f, 3, 0)); diff != "" {
			t.Errorf("visits (-want +got):\n%s", diff)
		}
	})
}

func TestFrontierPausesAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFrontier(1, 0, 0)
		for n := range 2 {
			f.add(aVisit("a", n))
		}
		v, err := f.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.troubled(v, 3*time.Second, "")
		f.release(v)
		f.add(aVisit("b", 0))
		if diff := cmp.Diff([]string{"0s b/0", "3s a/1"}, drain(t, f, 2, 0)); diff != "" {
			t.Errorf("visits (-want +got):\n%s", diff)
		}
	})
}

func TestFrontierGivesUpAHost(t *testing.T) {
	f := newFrontier(1, 0, 2)
	for n := range 4 {
		f.add(aVisit("a", n))
	}
	for failures := 1; failures <= 3; failures++ {
		v, err := f.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if failures == 2 { // an answer in between begins the count anew
			f.answered(v)
			f.release(v)
			continue
		}
		orphans, why := f.troubled(v, 0, "")
		if failures == 1 && why != "" {
			t.Errorf("given up after one failure: %s", why)
		}
		f.release(v)
		if failures == 3 {
			_, why = f.troubled(v, 0, "")
			if len(orphans) > 0 || why != "it failed 2 times in a row" {
				t.Errorf("%d orphans, %q", len(orphans), why)
			}
		}
	}
	if why := f.add(aVisit("a", 9)); why == "" {
		t.Error("a host that was given up takes visits")
	}
	if v, err := f.next(t.Context()); v != nil || err != nil {
		t.Errorf("a visit of a host that was given up: %v, %v", v, err)
	}
}

func TestFrontierEndsWithItsContext(t *testing.T) {
	f := newFrontier(1, time.Hour, 0)
	f.add(aVisit("a", 0))
	f.add(aVisit("a", 1))
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := f.next(ctx); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	if v, err := f.next(ctx); v != nil || err != context.Canceled {
		t.Errorf("%v, %v", v, err)
	}
}

func TestBackoff(t *testing.T) {
	tests := []struct {
		attempts int
		random   float64
		want     time.Duration
	}{
		{1, 0.5, time.Second}, {1, 0, 500 * time.Millisecond}, {2, 0.5, 2 * time.Second}, {4, 0.25, 6 * time.Second},
		{5, 0.5, 10 * time.Second}, {5, 0, 5 * time.Second}, {100, 0.99, 10 * time.Second},
	}
	for _, test := range tests {
		b := backoff{time.Second, 10 * time.Second, func() float64 { return test.random }}
		if got := b.wait(test.attempts); got != test.want {
			t.Errorf("after %d attempts, random %g: %v, want %v", test.attempts, test.random, got, test.want)
		}
	}
	day := backoff{time.Hour, 24 * time.Hour, func() float64 { return 0.5 }}
	for attempts := range 100 { // an hour, doubled so often, is beyond what a Duration can hold
		if got := day.wait(attempts + 1); got < time.Hour || got > 24*time.Hour {
			t.Errorf("after %d attempts: %v, want from an hour to a day", attempts+1, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, "-5": 0, "soon": 0, "4294967296": math.MaxInt64, "99999999999999999999": math.MaxInt64,
		now.Add(time.Hour).Format(http.TimeFormat):  time.Hour,
		now.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("Retry-After: %s: %v, want %v", header, got, want)
		}
	}
}
