package remotetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts/remote"
)

var errBroken = errors.New("the content broke")

// failing yields b and then an error.
func failing(b []byte) io.Reader { return io.MultiReader(bytes.NewReader(b), errReader{}) }

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBroken }

// contentFails: what cannot be read whole is not written at all.
func contentFails(t *testing.T, d remote.Driver) {
	for _, n := range []int{1000, large} {
		name, b := fresh(n)
		for what, content := range map[string]remote.Content{
			"cannot be opened":     {Size: int64(n), Open: func() (io.ReadCloser, error) { return nil, errBroken }},
			"fails at once":        content(n, errReader{}),
			"fails midway":         content(n, failing(b[:n/2])),
			"fails before its end": content(n, failing(b[:n-1])),
			"ends midway":          content(n, bytes.NewReader(b[:n/2])),
			"ends before its end":  content(n, bytes.NewReader(b[:n-1])),
		} {
			for _, ifAbsent := range []bool{true, false} {
				if err := d.Write(ctx, name, content, ifAbsent); err == nil || errors.Is(err, remote.ErrExists) {
					t.Errorf("%d bytes, content %s, if absent %v: %v, want an error", n, what, ifAbsent, err)
				}
				wantAbsent(t, d, name)
			}
		}
		write(t, d, name, b)
		wantObject(t, d, name, b)
	}
}

// A counted reader counts itself among the open ones until it is closed.
type counted struct {
	io.Reader
	open *atomic.Int32
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return nil
}

func contentIsClosed(t *testing.T, d remote.Driver) {
	var open atomic.Int32
	counting := func(size int, body func() io.Reader) remote.Content {
		return remote.Content{Size: int64(size), Open: func() (io.ReadCloser, error) {
			open.Add(1)
			return &counted{Reader: body(), open: &open}, nil
		}}
	}
	name, b := fresh(10_000)
	_ = d.Write(ctx, name, counting(len(b), func() io.Reader { return failing(b[:5000]) }), true)
	write(t, d, name, b)
	_ = d.Write(ctx, name, counting(len(b), func() io.Reader { return bytes.NewReader(b) }), true)
	_ = d.Write(ctx, name, counting(len(b), func() io.Reader { return bytes.NewReader(b) }), false)
	if !eventually(func() bool { return open.Load() == 0 }) {
		t.Errorf("%d contents were left open", open.Load())
	}
}

// eventually waits for what is done in the background: a client may
// close a body only after it has given its answer.
func eventually(done func() bool) bool {
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

func cancelled(t *testing.T, d remote.Driver) {
	name, b := fresh(1000)
	write(t, d, name, b)
	other, more := fresh(1000)
	over, cancel := context.WithCancel(ctx)
	cancel()
	for what, call := range map[string]func() error{
		"Stat":  func() error { _, err := d.Stat(over, name); return err },
		"Read":  func() error { _, err := read(over, d, name, 0, -1); return err },
		"Write": func() error { return d.Write(over, other, Bytes(more), true) },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", what, err)
		}
	}
	wantAbsent(t, d, other)
}

// soon is how long after its context a call may take.
const soon = time.Minute

func wantSoon(t *testing.T, cancelled time.Time) {
	t.Helper()
	if took := time.Since(cancelled); took > soon {
		t.Errorf("it went on for %v after its context", took)
	}
}

func readCancelledMidway(t *testing.T, d remote.Driver) {
	name, b := fresh(large)
	write(t, d, name, b)
	during, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := d.Read(during, name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	cancelled := time.Now()
	if n, err := io.Copy(io.Discard, r); err == nil {
		t.Errorf("%d more bytes were read to the end", n)
	}
	wantSoon(t, cancelled)
}

func writeCancelledMidway(t *testing.T, d remote.Driver) {
	for _, n := range []int{10_000, large} {
		during, cancel := context.WithCancel(ctx)
		defer cancel()
		name, b := fresh(n)
		cancelled := make(chan time.Time, 1)
		body := io.MultiReader(bytes.NewReader(b[:n/2]), readerFunc(func([]byte) (int, error) {
			cancel()
			cancelled <- time.Now()
			return 0, io.EOF // of this part
		}), bytes.NewReader(b[n/2:]))
		if err := d.Write(during, name, content(n, body), true); !errors.Is(err, context.Canceled) {
			t.Errorf("Write of %d bytes: %v, want context.Canceled", n, err)
		}
		select {
		case at := <-cancelled:
			wantSoon(t, at)
		default: // it failed before
		}
		wantAbsent(t, d, name)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// closedEarly: who has seen enough may close a body, and the driver goes on.
func closedEarly(t *testing.T, d remote.Driver) {
	name, b := fresh(large)
	write(t, d, name, b)
	for range 20 {
		r, err := d.Read(ctx, name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadFull(r, make([]byte, 10))
		if err := r.Close(); err != nil {
			t.Errorf("Close midway: %v", err)
		}
	}
	wantObject(t, d, name, b)
}
