package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
)

func TestParseRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where it is midnight of 2000-01-01
		const skewed = "Thu, 26 Nov 2026 12:00:00 GMT"
		for _, row := range []struct {
			after, date string
			want        time.Duration
		}{
			{"", "", 0}, {"0", "", 0}, {"3", "", 3 * time.Second}, {"3", skewed, 3 * time.Second},
			{"-3", "", 0}, {"1.5", "", 0}, {"soon", "", 0},
			{"999999999", "", remote.MaxRetryAfter}, {"99999999999999999999", "", 0},
			{"Sat, 01 Jan 2000 00:00:05 GMT", "", 5 * time.Second},
			{"Fri, 31 Dec 1999 23:59:59 GMT", "", 0},
			{"Thu, 01 Jan 2099 00:00:00 GMT", "", remote.MaxRetryAfter},
			{"Thu, 26 Nov 2026 12:00:05 GMT", skewed, 5 * time.Second},
			{"Thu, 26 Nov 2026 11:00:00 GMT", skewed, 0},
			{"Sat, 01 Jan 2000 00:00:05 GMT", "nonsense", 5 * time.Second},
		} {
			h := http.Header{}
			h.Set("Retry-After", row.after)
			h.Set("Date", row.date)
			if got := remote.ParseRetryAfter(h); got != row.want {
				t.Errorf("%q at %q: %v, want %v", row.after, row.date, got, row.want)
			}
		}
	})
}

// A busyError is a place's wish to be left alone for so long.
type busyError time.Duration

func (b busyError) Error() string { return fmt.Sprintf("busy for %v", time.Duration(b)) }

func (b busyError) RetryAfter() time.Duration { return time.Duration(b) }

// busy is a place that answers the first calls with its wish.
func busy(calls int, wait time.Duration) *remotetest.Faulty {
	var mu sync.Mutex
	return remotetest.NewFaulty(remotetest.NewMemory(remotetest.AllTraits), func(remotetest.Call) remotetest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if calls--; calls >= 0 {
			return remotetest.Fault{Err: fmt.Errorf("asking: %w", busyError(wait))}
		}
		return remotetest.Fault{}
	})
}

// A place that wants to be asked again soon is, and not before.
func TestRetryAfterIsWaitedFor(t *testing.T) {
	for what, ask := range map[string]func(s *remote.Store) error{
		"Stat":      func(s *remote.Store) error { _, err := s.Stat(ctx, artifacts.DigestOf(few)); return err },
		"GetAction": func(s *remote.Store) error { _, err := s.GetAction(ctx, key); return err },
		"Get":       func(s *remote.Store) error { _, err := getAll(s, artifacts.DigestOf(few)); return err },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := remote.New(busy(2, 20*time.Second), remote.Options{})
				began := time.Now()
				if err := ask(s); !errors.Is(err, artifacts.ErrNotFound) {
					t.Errorf("%v, want what the place has to say when it is free", err)
				}
				if took := time.Since(began); took < 40*time.Second || took > 42*time.Second {
					t.Errorf("it took %v, want twice what was asked for and two pauses", took)
				}
			})
		})
	}
	t.Run("Upload", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := busy(2, 20*time.Second)
			s, _ := remote.New(d, remote.Options{})
			upload(t, s, few)
			if writes, looks := d.Calls(remotetest.Write), d.Calls(remotetest.Stat); writes != 3 || looks != 0 {
				t.Errorf("%d writes and %d looks, want 3 and none while it is busy", writes, looks)
			}
		})
	})
}

// Many requests that are all told to come again do so, and none of them is refused
// by a breaker, which is for remotes that do not answer.
func TestRetryAfterOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := remote.New(busy(8, 2*time.Second), remote.Options{Breaker: 3})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := s.GetAction(ctx, key); !errors.Is(err, artifacts.ErrNotFound) {
					t.Errorf("GetAction: %v", err)
				}
			})
		}
		wg.Wait()
		if got := s.Stats(); got.Requests != 16 || got.Breaker != "closed" {
			t.Errorf("%+v, want 16 requests and a closed breaker", got)
		}
	})
}

// A place that is always busy is given up as one that does not answer is.
func TestRetryAfterForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := busy(1000, time.Second)
		s, _ := remote.New(d, remote.Options{Breaker: 3, Attempts: 3})
		for range 3 {
			if _, err := s.GetAction(ctx, key); !errSaying("busy for 1s").is(err) || errors.Is(err, remote.ErrUnavailable) {
				t.Errorf("GetAction: %v", err)
			}
		}
		if _, err := s.GetAction(ctx, key); !errors.Is(err, remote.ErrUnavailable) {
			t.Errorf("GetAction: %v, want ErrUnavailable", err)
		}
		if calls := d.Calls(remotetest.Read); calls != 9 {
			t.Errorf("%d requests, want 9", calls)
		}
	})
}

// A place that wants to be left alone for longer than it may be silent is, by all
// requests, and none of them waits.
func TestLongRetryAfterOpensTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := busy(1, 5*time.Minute)
		s, _ := remote.New(d, remote.Options{})
		began := time.Now()
		if _, err := s.GetAction(ctx, key); !errSaying("busy for 5m0s").is(err) {
			t.Errorf("GetAction: %v", err)
		}
		_, err := s.GetAction(ctx, key)
		if !errors.Is(err, remote.ErrUnavailable) || !strings.Contains(err.Error(), "it asked for that: asking: busy for 5m0s; it is asked again in 5m0s") {
			t.Errorf("GetAction: %v", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("%v were waited", took)
		}
		time.Sleep(5*time.Minute - time.Second)
		if _, err := s.GetAction(ctx, key); !errors.Is(err, remote.ErrUnavailable) {
			t.Errorf("GetAction a second early: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := s.GetAction(ctx, key); !errors.Is(err, artifacts.ErrNotFound) {
			t.Errorf("GetAction: %v, want that it is asked again", err)
		}
		if got := s.Stats(); got.Requests != 2 || got.Breaker != "closed" {
			t.Errorf("%+v, want 2 requests", got)
		}
	})
}

// What was asked before, and is answered since, does not make a place be asked that
// wanted to be left alone; nor does a lie of a year.
func TestRetryAfterIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := busy(1, 365*24*time.Hour)
		m := d.Driver.(*remotetest.Memory)
		m.Set("cas/"+artifacts.DigestOf(few).Hex(), few)
		s, _ := remote.New(gatedReads{d}, remote.Options{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if got, err := getAll(s, artifacts.DigestOf(few)); err != nil {
				t.Errorf("Get that was under way: %q, %v", got, err)
			}
		})
		synctest.Wait()
		if _, err := s.Stat(ctx, artifacts.DigestOf(few)); !errSaying("busy").is(err) {
			t.Errorf("Stat: %v", err)
		}
		wg.Wait()
		if _, err := s.Stat(ctx, artifacts.DigestOf(few)); !errors.Is(err, remote.ErrUnavailable) {
			t.Errorf("Stat: %v, want that it is left alone", err)
		}
		time.Sleep(remote.MaxRetryAfter)
		if _, err := s.Stat(ctx, artifacts.DigestOf(few)); err != nil {
			t.Errorf("Stat after the longest time: %v", err)
		}
	})
}

// gatedReads takes a while for each read, and lets only other calls go wrong.
type gatedReads struct{ *remotetest.Faulty }

func (g gatedReads) Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	time.Sleep(10 * time.Second)
	return g.Faulty.Driver.Read(ctx, name, offset, length)
}
