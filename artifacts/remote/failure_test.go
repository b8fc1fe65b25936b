package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// TestBreaker follows a remote that goes away and comes back.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		d := remotetest.NewFaulty(remotetest.NewMemory(remotetest.AllTraits), func(remotetest.Call) remotetest.Fault {
			if away.Load() {
				return remotetest.Fault{Hang: true}
			}
			return remotetest.Fault{}
		})
		s, _ := remote.New(d, remote.Options{Timeout: time.Second, Attempts: 2, Breaker: 3, Cooldown: time.Minute})
		wantState := func(prefix string) {
			t.Helper()
			if got := s.Stats().Breaker; !strings.HasPrefix(got, prefix) {
				t.Errorf("breaker %q, want %s…", got, prefix)
			}
		}
		ask := func(wantCalls int, want error) {
			t.Helper()
			before := d.Calls(remotetest.Read)
			_, err := s.GetAction(ctx, key)
			if !errors.Is(err, want) && !errSaying(want.Error()).is(err) {
				t.Errorf("GetAction: %v, want %v", err, want)
			}
			if made := d.Calls(remotetest.Read) - before; made != wantCalls {
				t.Errorf("%d requests were made, want %d", made, wantCalls)
			}
		}
		errSilent := errSaying("no answer for 1s")
		ask(1, artifacts.ErrNotFound)
		wantState("closed")
		away.Store(true)
		ask(2, errSilent)
		ask(1, errSilent) // the third in a row
		wantState("open until ")
		ask(0, remote.ErrUnavailable)
		time.Sleep(time.Minute)
		wantState("half-open")
		ask(1, errSilent)
		wantState("open until ")
		time.Sleep(59 * time.Second)
		ask(0, remote.ErrUnavailable)
		time.Sleep(time.Second)
		away.Store(false)
		ask(1, artifacts.ErrNotFound)
		wantState("closed")
	})
}

// errSaying matches errors by what they say.
type errSaying string

func (e errSaying) Error() string { return string(e) }

func (e errSaying) is(err error) bool { return strings.Contains(err.Error(), string(e)) }

// On trial there is one request, whoever asks.
func TestBreakerTriesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := remotetest.NewFaulty(remotetest.NewMemory(remotetest.AllTraits), remotetest.Always(remotetest.Fault{Hang: true}))
		s, _ := remote.New(d, remote.Options{Timeout: time.Second, Attempts: 1, Breaker: 1})
		_, _ = s.GetAction(ctx, key)
		time.Sleep(time.Minute)
		before := d.Calls(remotetest.Read)
		var refused atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := s.GetAction(ctx, key); errors.Is(err, remote.ErrUnavailable) {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if made := d.Calls(remotetest.Read) - before; made != 1 || refused.Load() != 7 {
			t.Errorf("%d requests were made and %d refused, want 1 and 7", made, refused.Load())
		}
		// One that is called off says nothing, and the next one tries.
		time.Sleep(time.Minute)
		during, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if _, err := s.GetAction(during, key); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("GetAction: %v, want the caller's end", err)
		}
		if _, err := s.GetAction(ctx, key); errors.Is(err, remote.ErrUnavailable) {
			t.Errorf("GetAction after one on trial was called off: %v", err)
		}
	})
}

// A remote that answers, if only to refuse, is not cut off.
func TestBreakerLeavesAnswersAlone(t *testing.T) {
	for _, err := range []error{artifacts.ErrNotFound, remote.ErrForbidden, remote.ErrFull} {
		s := newStore(t, remotetest.NewFaulty(remotetest.NewMemory(remotetest.AllTraits), remotetest.Always(remotetest.Fault{Err: err})), remote.Options{Breaker: 1})
		for range 3 {
			if _, got := s.GetAction(ctx, key); !errors.Is(got, err) {
				t.Errorf("GetAction: %v, want %v", got, err)
			}
		}
	}
}

// Sleep and Now of the options are those that are used.
func TestBackoff(t *testing.T) {
	var waits []time.Duration
	d := remotetest.NewFaulty(remotetest.NewMemory(remotetest.AllTraits), remotetest.Always(remotetest.Fault{Err: errReset}))
	s := newStore(t, d, remote.Options{Attempts: 12, Breaker: 100, Sleep: func(d time.Duration) <-chan time.Time {
		waits = append(waits, d)
		return time.After(0)
	}})
	if _, err := s.GetAction(ctx, key); !errors.Is(err, errReset) {
		t.Errorf("GetAction: %v", err)
	}
	if len(waits) != 11 {
		t.Fatalf("%d waits, want 11", len(waits))
	}
	for i, wait := range waits {
		full := min(100*time.Millisecond<<i, 5*time.Second)
		if wait < full/2 || wait >= full*3/2 {
			t.Errorf("wait %d is %v, want about %v", i, wait, full)
		}
	}
	if got := s.Stats(); got.Requests != 12 || got.Retries != 11 || got.Failures != 12 {
		t.Errorf("%+v, want 12 requests, 11 of them again, all failed", got)
	}
}

// A pause ends with its caller.
func TestBackoffIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := remotetest.NewFaulty(remotetest.NewMemory(remotetest.AllTraits), remotetest.Always(remotetest.Fault{Err: errReset}))
		s, _ := remote.New(d, remote.Options{})
		during, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if _, err := s.GetAction(during, key); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("GetAction: %v, want the caller's end", err)
		}
	})
}

// A trickle moves a byte at a time, slowly, but it moves.
type trickle struct {
	r     io.Reader
	every time.Duration
}

func (s *trickle) Read(p []byte) (int, error) {
	time.Sleep(s.every)
	return s.r.Read(p[:min(len(p), 1)])
}

func (s *trickle) Close() error { return nil }

// A trickling driver's bodies trickle.
type trickling struct{ remote.Driver }

func (d trickling) Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := d.Driver.Read(ctx, name, offset, length)
	return &trickle{r, 900 * time.Millisecond}, err
}

// TestSlowIsNotSilent: whatever takes long here or there, as long as something
// moves or it is this side's turn.
func TestSlowIsNotSilent(t *testing.T) {
	opts := remote.Options{Timeout: time.Second, Attempts: 1}
	t.Run("remote", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, _ := remote.New(trickling{remotetest.NewMemory(remotetest.AllTraits)}, opts)
			upload(t, s, few)
			if got, err := getAll(s, artifacts.DigestOf(few)); err != nil || !bytes.Equal(got, few) {
				t.Errorf("Get: %v", err)
			}
			if err := download(t, s, filepath.Join(t.TempDir(), "file"), few); err != nil {
				t.Errorf("Download: %v", err)
			}
		})
	})
	t.Run("content", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, _ := remote.New(remotetest.NewMemory(remotetest.AllTraits), opts)
			content := remote.Content{Size: int64(len(few)), Open: func() (io.ReadCloser, error) {
				time.Sleep(time.Minute)
				return &trickle{bytes.NewReader(few), time.Minute}, nil
			}}
			if _, err := s.Upload(ctx, artifacts.DigestOf(few), content, nil); err != nil {
				t.Errorf("Upload: %v", err)
			}
		})
	})
	t.Run("reader", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, _ := remote.New(remotetest.NewMemory(remotetest.AllTraits), opts)
			upload(t, s, few)
			r, err := s.Get(ctx, artifacts.DigestOf(few))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := io.ReadAll(&trickle{r, time.Minute}); err != nil || !bytes.Equal(got, few) {
				t.Errorf("Get: %v", err)
			}
		})
	})
	t.Run("turn", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			opts := opts
			opts.Parallel = 1
			s, _ := remote.New(remotetest.NewMemory(remotetest.AllTraits), opts)
			upload(t, s, few)
			r, err := s.Get(ctx, artifacts.DigestOf(few))
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Hour, func() { r.Close() })
			if _, err := s.Stat(ctx, artifacts.DigestOf(few)); err != nil {
				t.Errorf("Stat after a wait for its turn: %v", err)
			}
		})
	})
}

// TestSilence: a remote may be silent for the time-out, and no longer. After many
// bytes it gets as long as a slow line takes for what its driver may still hold.
func TestSilence(t *testing.T) {
	large := storetest.Random(64<<20, 9)
	for _, c := range []struct {
		what string
		f    remotetest.Fault
		op   remotetest.Op
		b    []byte
		want time.Duration
	}{
		{"before an answer", remotetest.Fault{Hang: true}, remotetest.Write, few, time.Second},
		{"in a body", remotetest.Fault{Stall: true, Tenth: 5}, remotetest.Write, few, time.Second},
		{"after a small body", remotetest.Fault{Stall: true, Tenth: 10}, remotetest.Write, storetest.Random(1<<20, 9), 5 * time.Second},
		{"after a large body", remotetest.Fault{Stall: true, Tenth: 10}, remotetest.Write, large, 129 * time.Second},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := remotetest.NewFaulty(remotetest.NewMemory(remote.Traits{}), remotetest.Always(c.f, c.op))
				s, _ := remote.New(d, remote.Options{Timeout: time.Second, Attempts: 1})
				began := time.Now()
				_, err := s.Upload(ctx, artifacts.DigestOf(c.b), remotetest.Bytes(c.b), nil)
				if !errSaying("no answer for 1s").is(err) {
					t.Errorf("Upload: %v", err)
				}
				if took := time.Since(began); took < c.want-time.Millisecond || took > c.want+time.Millisecond {
					t.Errorf("it took %v, want %v", took, c.want)
				}
			})
		})
	}
}

// After any error of a write the object may be there: what is there is not sent
// again, and counts as sent.
func TestLostAnswer(t *testing.T) {
	for what, traits := range faultTraits {
		for _, blob := range blobs {
			d := remotetest.NewFaulty(remotetest.NewMemory(traits), remotetest.Once(remotetest.Write, 1, remotetest.Fault{Lost: errReset}))
			s := newStore(t, d, remote.Options{})
			upload(t, s, blob.bytes)
			if n := d.Calls(remotetest.Write); n != 1 {
				t.Errorf("%s, %s: %d writes, want 1", what, blob.name, n)
			}
		}
	}
}

// Two stores on one place, as two machines have it: of two results the first stays,
// and the loser of a race, however it is told, is content.
func TestTwoWriters(t *testing.T) {
	for what, f := range map[string]remotetest.Fault{
		"told":  {Err: remote.ErrExists},
		"reset": {Err: errReset},
	} {
		m := remotetest.NewMemory(remotetest.AllTraits)
		first := newStore(t, m, remote.Options{})
		second := newStore(t, remotetest.NewFaulty(m, func(c remotetest.Call) remotetest.Fault {
			if c.Op == remotetest.Write { // the other one was here in between
				upload(t, first, few)
				if err := first.PutAction(ctx, key, action, false); err != nil {
					t.Errorf("PutAction: %v", err)
				}
				return f
			}
			return remotetest.Fault{}
		}), remote.Options{})
		upload(t, second, few)
		if err := second.PutAction(ctx, key, []byte("another"), false); err != nil {
			t.Errorf("%s: PutAction: %v", what, err)
		}
		if got, err := second.GetAction(ctx, key); err != nil || !bytes.Equal(got, action) {
			t.Errorf("%s: GetAction: %q, %v, want the first one", what, got, err)
		}
	}
}

func TestOptionsAreValidated(t *testing.T) {
	_, err := remote.New(remotetest.NewMemory(remote.Traits{}), remote.Options{Parallel: -1, Bandwidth: -2})
	for _, part := range []string{"memory://", "Parallel is -1", "Bandwidth is -2"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("New: %v, want %q in it", err, part)
		}
	}
}
