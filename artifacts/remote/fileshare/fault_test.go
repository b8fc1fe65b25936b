package fileshare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
)

// failNth makes the n-th file operation fail with err, once.
func failNth(n int, err error) (f fault, failed *string) {
	failed = new(string)
	var mu sync.Mutex
	return func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if n--; n != 0 {
			return nil
		}
		*failed = op + " " + filepath.Base(path)
		return err
	}, failed
}

// TestEveryOperationFailsOnce: whatever fails, an object is there whole or not at
// all, others are not harmed, the error is of its kind, and trying again helps.
func TestEveryOperationFailsOnce(t *testing.T) {
	for errno, kind := range map[syscall.Errno]error{
		syscall.EIO: nil, syscall.ESTALE: nil, syscall.ENOSPC: remote.ErrFull, syscall.EDQUOT: remote.ErrFull,
		syscall.EACCES: remote.ErrForbidden, syscall.EROFS: remote.ErrForbidden,
	} {
		t.Run(errno.Error(), func(t *testing.T) { everyOperationFailsOnce(t, errno, kind) })
	}
}

func everyOperationFailsOnce(t *testing.T, errno syscall.Errno, kind error) {
	b := bytes.Repeat([]byte("0123456789"), 1000)
	for _, ifAbsent := range []bool{true, false} {
		for n := 1; ; n++ {
			dir := t.TempDir()
			d := openDriver(t, dir)
			failing, failed := failNth(n, errno)
			d.fault = failing
			err := d.Write(ctx, "cas/abcd", remotetest.Bytes(b), ifAbsent)
			if *failed == "" {
				if n < 12 || err != nil {
					t.Fatalf("an end after %d operations: %v", n, err)
				}
				break
			}
			what := fmt.Sprintf("%s failed, if absent %v", *failed, ifAbsent)
			if err == nil && (*failed)[:6] != "remove" {
				t.Errorf("%s: no error", what)
			}
			if err != nil && (!errors.Is(err, errno) || kind != nil && !errors.Is(err, kind) || errors.Is(err, artifacts.ErrNotFound)) {
				t.Errorf("%s: %v", what, err)
			}
			if got, err := get(ctx, d, "cas/abcd"); err == nil && !bytes.Equal(got, b) || err != nil && !errors.Is(err, artifacts.ErrNotFound) {
				t.Errorf("%s: then %d bytes, %v", what, len(got), err)
			}
			if err := d.Write(ctx, "cas/abcd", remotetest.Bytes(b), ifAbsent); err != nil && !errors.Is(err, remote.ErrExists) {
				t.Errorf("%s: again: %v", what, err)
			}
			wantObject(t, d, "cas/abcd", b)
			if (*failed)[:6] != "remove" {
				wantNoUploads(t, dir)
			}
		}
	}
}

func TestEveryReadFailsOnce(t *testing.T) {
	d := openDriver(t, t.TempDir())
	b := bytes.Repeat([]byte("0123456789"), 300_000) // three pieces
	must(t, put(d, "cas/abcd", b))
	for n := 1; ; n++ {
		failing, failed := failNth(n, syscall.EIO)
		d.fault = failing
		got, err := get(ctx, d, "cas/abcd")
		if *failed == "" {
			if n < 5 || err != nil {
				t.Fatalf("an end after %d operations: %v", n, err)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) || !bytes.HasPrefix(b, got) {
			t.Errorf("%s failed: %d bytes, %v", *failed, len(got), err)
		}
		wantObject(t, d, "cas/abcd", b)
	}
}

// A deadMount is a fault by which an operation hangs until the mount comes back.
type deadMount struct {
	op     string
	back   chan struct{}
	hung   atomic.Int32
	onHang atomic.Value // func(), called by each operation that hangs
}

func (m *deadMount) fault(op, _ string) error {
	if op == m.op {
		m.hung.Add(1)
		if tell, ok := m.onHang.Load().(func()); ok {
			tell()
		}
		<-m.back
		m.hung.Add(-1)
	}
	return nil
}

// TestDeadMount: calls return when their context ends, though the operation does
// not; when it does, it leaves nothing behind.
func TestDeadMount(t *testing.T) {
	for _, op := range []string{"open", "stat", "read", "create", "write", "chmod", "sync", "link", "syncdir", "remove"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { deadMountAt(t, op) })
		})
	}
}

func deadMountAt(t *testing.T, op string) {
	dir := t.TempDir()
	d := openDriver(t, dir)
	must(t, put(d, "cas/there", []byte("there")))
	mount := &deadMount{op: op, back: make(chan struct{})}
	d.fault = mount.fault
	for what, call := range map[string]func(context.Context) error{
		"Stat":  func(ctx context.Context) error { _, err := d.Stat(ctx, "cas/there"); return err },
		"Read":  func(ctx context.Context) error { _, err := get(ctx, d, "cas/there"); return err },
		"Write": func(ctx context.Context) error { return d.Write(ctx, "cas/abcd", remotetest.Bytes([]byte("b")), true) },
	} {
		hung := mount.hung.Load()
		limited, cancel := context.WithCancel(ctx)
		mount.onHang.Store(func() { cancel() })
		began := time.Now()
		err := call(limited)
		cancel()
		if took := time.Since(began); took > 2*grace {
			t.Errorf("%s went on for %v", what, took)
		}
		if mount.hung.Load() > hung && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want its context's error", what, err)
		}
	}
	if mount.hung.Load() == 0 {
		t.Fatal("nothing hung: the test tested nothing")
	}
	close(mount.back)
	wantNoCalls(t, d)
	wantObject(t, d, "cas/there", []byte("there"))
	if b, err := get(ctx, d, "cas/abcd"); err == nil && string(b) != "b" || err != nil && !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("then %q, %v", b, err)
	}
	wantNoUploads(t, dir)
}

// wantNoCalls checks, in a bubble of package synctest, that all operations end.
func wantNoCalls(t *testing.T, d *Driver) {
	t.Helper()
	synctest.Wait()
	if n := len(d.calls); n > 0 {
		t.Errorf("%d operations go on", n)
	}
}

// TestDeadMountDuringBody: a body whose context ends is at its end, and what the
// hung operation reads later goes nowhere.
func TestDeadMountDuringBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDriver(t, t.TempDir())
		must(t, put(d, "cas/abcd", make([]byte, 2*readBuffer)))
		limited, cancel := context.WithCancel(ctx)
		r, err := d.Read(limited, "cas/abcd", 0, -1)
		must(t, err)
		p := make([]byte, readBuffer)
		_, err = io.ReadFull(r, p)
		must(t, err)
		mount := &deadMount{op: "read", back: make(chan struct{})}
		d.fault = mount.fault
		time.AfterFunc(time.Hour, cancel)
		if n, err := r.Read(p); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("Read: %d, %v", n, err)
		}
		must(t, r.Close())
		close(mount.back)
		wantNoCalls(t, d)
	})
}

// TestDeadMountCostsBoundedGoroutines: who calls often on a dead mount does not
// pile up operations.
func TestDeadMountCostsBoundedGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDriver(t, t.TempDir())
		mount := &deadMount{op: "open", back: make(chan struct{})}
		d.fault = mount.fault
		var wg sync.WaitGroup
		for range 2 * maxCalls {
			wg.Go(func() {
				limited, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				if _, err := d.Stat(limited, "cas/abcd"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Stat: %v", err)
				}
			})
		}
		wg.Wait()
		if n := mount.hung.Load(); n != maxCalls {
			t.Errorf("%d operations hang, want %d", n, maxCalls)
		}
		close(mount.back)
		wantNoCalls(t, d)
	})
}
