package disk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/internal/peertest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

func TestMain(m *testing.M) {
	peertest.Main(m, func(task, dir string, _ []string) error { return helpers[task](dir) })
}

// helpers are what the other processes of tests do. They print a line when
// they are ready, and end when their input does.
var helpers = map[string]func(dir string) error{
	"lock": func(dir string) error {
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		unlock, err := s.Lock(ctx, storetest.Key("shared"))
		if err != nil {
			return err
		}
		peertest.Wait("locked")
		unlock()
		return nil
	},
	"count": func(dir string) error { // adds to a number without any lock but the store's
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		for range 25 {
			unlock, err := s.Lock(ctx, storetest.Key("shared"))
			if err != nil {
				return err
			}
			if err := increment(filepath.Join(dir, "number")); err != nil {
				return err
			}
			unlock()
		}
		return nil
	},
	"temp": func(dir string) error {
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		temp, err := s.TempDir("stage-*-x")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(temp, "half"), []byte("half"), 0o644); err != nil {
			return err
		}
		peertest.Wait(temp)
		return s.Close()
	},
	"lease": func(dir string) error {
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		lease, err := s.Lease(ctx, "a run with\na name")
		if err != nil {
			return err
		}
		if err := lease.Keep(ctx, artifacts.DigestOf([]byte("kept by digest"))); err != nil {
			return err
		}
		if _, err := artifacts.Lookup(ctx, s, storetest.Key("never")); err == nil {
			return errors.New("found what never was")
		}
		m := storetest.Manifest(quiet{}, s, 1, nil)
		if _, err := artifacts.Lookup(ctx, s, m.Key); err != nil {
			return err
		}
		if err := putBytes(s, []byte("stored and not yet published")); err != nil {
			return err
		}
		peertest.Wait("leased")
		return lease.Close()
	},
	"stamps": func(dir string) error {
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		s.stamps.patience = patience // no process is stopped, however long it takes
		for i := range 2000 {
			s.stamps.record(fmt.Sprintf("/file-%d-%d", os.Getpid(), i), Stamp{ID: FileID{Inode: uint64(i), Size: 1}})
		}
		return s.Close()
	},
	"leave":          leaveToOthers,
	"find":           findOfOthers,
	"collect-unread": collectUnread,
	"publish": func(dir string) error {
		syscall.Umask(0o022) // what is made is not for the group by itself
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		m := storetest.Manifest(quiet{}, s, 1, map[string][]byte{"table": []byte("rows")})
		if _, err := artifacts.Publish(ctx, s, m); err != nil {
			return err
		}
		peertest.Wait("published")
		_, err = s.GC(ctx, GCOptions{MaxBytes: 1})
		return errors.Join(err, s.Close())
	},
	"use": func(dir string) error {
		syscall.Umask(0o077)
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		lease, err := s.Lease(ctx, "of another user")
		if err != nil {
			return err
		}
		m := storetest.Manifest(quiet{}, lookupOnly{s}, 1, nil)
		if _, err := artifacts.Lookup(ctx, s, m.Key); err != nil {
			return err
		}
		peertest.Wait("in use")
		if m, err = artifacts.Lookup(ctx, s, m.Key); err != nil {
			return err
		}
		return errors.Join(lease.Close(), artifacts.Replace(ctx, s, m), s.Close())
	},
	"writer":   func(dir string) error { return write(dir, true) },
	"unleased": func(dir string) error { return write(dir, false) },
	"forever":  putForever,
}

// quiet lets helpers use what fails a test.
type quiet struct{ testing.TB }

func (quiet) Helper()           {}
func (quiet) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func increment(path string) error {
	var n int
	b, err := os.ReadFile(path)
	if err == nil {
		_, err = fmt.Sscan(string(b), &n)
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(path, fmt.Append(nil, n+1), 0o644)
}

func TestLockExcludesProcesses(t *testing.T) {
	s := openTest(t)
	var all []*peertest.Process
	for range 3 {
		all = append(all, peertest.Start(t, "count", s.Dir()))
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 25 {
				unlock, err := s.Lock(ctx, storetest.Key("shared"))
				if err != nil {
					t.Error(err)
					return
				}
				if err := increment(filepath.Join(s.Dir(), "number")); err != nil {
					t.Error(err)
				}
				unlock()
				unlock() // a second time does nothing
			}
		})
	}
	wg.Wait()
	for _, p := range all {
		p.End()
	}
	if b, err := os.ReadFile(filepath.Join(s.Dir(), "number")); err != nil || string(b) != "150" {
		t.Errorf("six counted to %s, %v, want 150", b, err)
	}
	if left, err := os.ReadDir(s.path("state", "locks")); err != nil || len(left) > 0 {
		t.Errorf("lock files left: %v, %v", left, err)
	}
}

func TestLockOfDeadProcessIsFree(t *testing.T) {
	s := openTest(t)
	p := peertest.Start(t, "lock", s.Dir())
	p.Line()
	waiting, cancel := context.WithCancel(ctx)
	waited := make(chan error)
	go func() {
		_, err := s.Lock(waiting, storetest.Key("shared"))
		waited <- err
	}()
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("Lock that was called off: %v", err)
	}
	p.Kill()
	unlock, err := s.Lock(ctx, storetest.Key("shared"))
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestTempDirLivesAsLongAsItsProcess(t *testing.T) {
	s := openTest(t)
	living, dying := peertest.Start(t, "temp", s.Dir()), peertest.Start(t, "temp", s.Dir())
	kept, lost := living.Line(), dying.Line()
	own, err := s.TempDir("own-")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.CleanTemp(ctx); err != nil || n != 0 {
		t.Errorf("CleanTemp removed %d, %v, while all live", n, err)
	}
	dying.Kill()
	if n, err := s.CleanTemp(ctx); err != nil || n != 1 {
		t.Errorf("CleanTemp removed %d, %v, want that of the dead one", n, err)
	}
	wantExists(t, kept, true)
	wantExists(t, own, true)
	wantExists(t, lost, false)
	wantExists(t, lost+lockSuffix, false)
	living.End()
	wantExists(t, kept, false)
	if err := s.RemoveTemp(own); err != nil {
		t.Error(err)
	}
	wantExists(t, own, false)
	wantExists(t, own+lockSuffix, false)
	if err := s.RemoveTemp(own); err == nil {
		t.Error("RemoveTemp twice: no error")
	}
}

func wantExists(t *testing.T, path string, want bool) {
	t.Helper()
	_, err := os.Lstat(path)
	if exists := err == nil; exists != want {
		t.Errorf("%s exists: %v, want %v", path, exists, want)
	}
}

func TestStampsOfManyProcesses(t *testing.T) {
	s := openTest(t)
	var all []*peertest.Process
	for range 4 {
		all = append(all, peertest.Start(t, "stamps", s.Dir()))
	}
	for _, p := range all {
		p.End()
	}
	for _, p := range all {
		for i := range 2000 {
			if _, ok := s.stamps.lookup(fmt.Sprintf("/file-%d-%d", p.PID(), i)); !ok {
				t.Fatalf("stamp %d of process %d is lost", i, p.PID())
			}
		}
	}
}

// lookupOnly keeps storetest.Manifest from storing anything.
type lookupOnly struct{ artifacts.Store }

// putForever publishes results until it is killed. It is ready when it has published
// one: however slow the disk is, something is there.
func putForever(dir string) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		m := storetest.Manifest(quiet{}, s, i%50, map[string][]byte{"table": storetest.Random(1<<20, uint64(i%50)), "small": fmt.Append(nil, i)})
		if err := artifacts.Replace(ctx, s, m); err != nil {
			return err
		}
		if i == 0 {
			fmt.Println("ready")
		}
	}
}

func TestKilledWritersLeaveNothingHalf(t *testing.T) {
	s := openTest(t)
	for round := range 10 {
		p := peertest.Start(t, "forever", s.Dir())
		p.Line()
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond) // a random moment
		p.Kill()
		report, err := s.Verify(ctx, VerifyOptions{})
		if err != nil || len(report.Problems) > 0 {
			t.Errorf("round %d: %v, %v", round, report.Problems, err)
		}
	}
	if _, err := s.CleanTemp(ctx); err != nil {
		t.Error(err)
	}
	if u, err := s.Usage(ctx); err != nil || u.Temp.Files > 0 || u.Blobs.Files == 0 {
		t.Errorf("%+v, %v, want blobs and no temporary files", u, err)
	}
}
