// Package remotetest tests what remotes are made of: a suite that every
// remote.Driver passes, a driver in memory, and one that fails as told.
//
//	func TestDriver(t *testing.T) {
//		remotetest.Run(t, func(t *testing.T) remote.Driver { return open(t) })
//	}
//
// The suite knows a driver by its interface and its traits alone. What stores do
// over any driver is tested in package remote.
package remotetest

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// Run runs the suite. Every call of open gives a driver, which the suite closes.
// They may all be of one place, also one in use: the suite's objects are new
// each time. An object of the name cas/<hex> is what its name says, and one under
// ac/ an action result, so that servers that look may be tested.
func Run(t *testing.T, open func(t *testing.T) remote.Driver) {
	for _, test := range []struct {
		name  string
		needs func(remote.Traits) bool
		run   func(*testing.T, remote.Driver)
	}{
		{"RoundTrip", always, roundTrip},
		{"NotFound", always, notFound},
		{"Ranges", func(t remote.Traits) bool { return t.Ranges }, ranges},
		{"Names", func(t remote.Traits) bool { return t.AnyName }, names},
		{"Replace", always, replace},
		{"IfAbsent", func(t remote.Traits) bool { return t.Conditional }, ifAbsent},
		{"OneWinner", func(t remote.Traits) bool { return t.Conditional }, oneWinner},
		{"OneWinnerLarge", func(t remote.Traits) bool { return t.Conditional && t.AnyName }, oneWinnerLarge},
		{"ContentFails", always, contentFails},
		{"ContentIsClosed", always, contentIsClosed},
		{"ReplacedWhileRead", always, replacedWhileRead},
		{"Concurrent", always, concurrent},
		{"Cancelled", always, cancelled},
		{"ReadCancelledMidway", always, readCancelledMidway},
		{"WriteCancelledMidway", always, writeCancelledMidway},
		{"ClosedEarly", always, closedEarly},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := open(t)
			defer func() {
				if err := d.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			if !test.needs(d.Traits()) {
				t.Skipf("traits %+v", d.Traits())
			}
			within(t, patience, func() { test.run(t, d) })
		})
	}
}

func always(remote.Traits) bool { return true }

var ctx = context.Background()

const large = 33 << 20 // more than one part of any multipart upload

// patience is for how long the suite waits for what must come: longer than any
// place takes for it, however slow and loaded.
const patience = 5 * time.Minute

// within fails the test, with nothing left to wait for, when f takes longer.
func within(t *testing.T, limit time.Duration, f func()) {
	t.Helper()
	hung := time.AfterFunc(limit, func() { panic(fmt.Sprintf("%s: not done after %v", t.Name(), limit)) })
	defer hung.Stop()
	f()
}

// fresh is n bytes that nobody has seen before, and the name of their object.
func fresh(n int) (name string, b []byte) {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	b = make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return "cas/" + artifacts.DigestOf(b).Hex(), b
}

// freshAction is the name of an action that is not there.
func freshAction() string {
	_, b := fresh(16)
	return "ac/" + artifacts.DigestOf(b).Hex()
}

// action is an action result that names no blobs, other bytes for another code.
func action(code int) []byte { return artifacts.ActionResult{ExitCode: int32(code)}.Encode() }

var commonName = regexp.MustCompile(`^(cas|ac)/[0-9a-f]{64}$`).MatchString

// Bytes is content in memory.
func Bytes(b []byte) remote.Content {
	return remote.Content{
		Size: int64(len(b)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
	}
}

// content is what r yields, once.
func content(size int, r io.Reader) remote.Content {
	return remote.Content{Size: int64(size), Open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil }}
}

func write(t *testing.T, d remote.Driver, name string, b []byte) {
	t.Helper()
	if err := d.Write(ctx, name, Bytes(b), false); err != nil {
		t.Fatalf("Write %s, %d bytes: %v", name, len(b), err)
	}
}

func read(ctx context.Context, d remote.Driver, name string, offset, length int64) ([]byte, error) {
	r, err := d.Read(ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func wantObject(t *testing.T, d remote.Driver, name string, want []byte) {
	t.Helper()
	if size, err := d.Stat(ctx, name); err != nil || size != int64(len(want)) {
		t.Errorf("Stat %s: %d, %v, want %d", name, size, err, len(want))
	}
	if got, err := read(ctx, d, name, 0, -1); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Read %s: %d bytes, %v, want those %d that were written", name, len(got), err, len(want))
	}
}

func wantAbsent(t *testing.T, d remote.Driver, name string) {
	t.Helper()
	if _, err := d.Stat(ctx, name); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("Stat %s: %v, want ErrNotFound", name, err)
	}
	r, err := d.Read(ctx, name, 0, -1)
	if err == nil {
		r.Close()
	}
	if !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("Read %s: %v, want ErrNotFound", name, err)
	}
}

func roundTrip(t *testing.T, d remote.Driver) {
	for _, n := range []int{0, 1, 20_000, 5 << 20, large} {
		name, b := fresh(n)
		if n == 0 {
			name = freshAction() // the empty blob may be there
		}
		wantAbsent(t, d, name)
		write(t, d, name, b)
		wantObject(t, d, name, b)
	}
}

func notFound(t *testing.T, d remote.Driver) {
	name, _ := fresh(16)
	wantAbsent(t, d, name)
	wantAbsent(t, d, freshAction())
}

func ranges(t *testing.T, d remote.Driver) {
	name, b := fresh(100_000)
	write(t, d, name, b)
	n := int64(len(b))
	for _, r := range [][2]int64{{0, -1}, {0, 1}, {0, n}, {1, 5}, {4095, 4098}, {50_000, -1}, {n - 1, 1}, {n - 1, -1}} {
		end := n
		if r[1] >= 0 {
			end = r[0] + r[1]
		}
		if got, err := read(ctx, d, name, r[0], r[1]); err != nil || !bytes.Equal(got, b[r[0]:end]) {
			t.Errorf("%d bytes from %d on: %d bytes, %v", r[1], r[0], len(got), err)
		}
	}
	absent, _ := fresh(16)
	if _, err := read(ctx, d, absent, 5, 3); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("range of an absent object: %v, want ErrNotFound", err)
	}
}

func names(t *testing.T, d remote.Driver) {
	blob, b := fresh(1000)
	_, unique, _ := strings.Cut(blob, "/")
	seen := map[string][]byte{}
	for _, name := range []string{blob, blob + ".zst", unique, "x." + unique, "Info/" + unique + ".A.b", "9/" + unique} {
		content := b
		if name != blob {
			_, content = fresh(1000)
		}
		write(t, d, name, content)
		seen[name] = content
	}
	for name, want := range seen {
		wantObject(t, d, name, want)
	}
}

func replace(t *testing.T, d remote.Driver) {
	name := freshAction()
	for code := 1; code < 4; code++ {
		write(t, d, name, action(code*1000))
		wantObject(t, d, name, action(code*1000))
	}
	if err := d.Write(ctx, name, content(3, failing(action(4)[:1])), false); err == nil {
		t.Error("Write from a content that fails: no error")
	}
	wantObject(t, d, name, action(3000))
}

func ifAbsent(t *testing.T, d remote.Driver) {
	name := freshAction()
	if err := d.Write(ctx, name, Bytes(action(1)), true); err != nil {
		t.Fatalf("Write of what is absent: %v", err)
	}
	if err := d.Write(ctx, name, Bytes(action(2)), true); !errors.Is(err, remote.ErrExists) {
		t.Errorf("Write of what is there: %v, want ErrExists", err)
	}
	wantObject(t, d, name, action(1))
	write(t, d, name, action(3))
	wantObject(t, d, name, action(3))
	if err := d.Write(ctx, name, content(2, failing(action(4)[:1])), true); err == nil {
		t.Error("Write of what is there from a content that fails: no error")
	}
	wantObject(t, d, name, action(3))
}

// writers are that many who write something else under one name at once.
const writers = 16

func oneWinner(t *testing.T, d remote.Driver) {
	for range 5 {
		race(t, d, freshAction(), func(i int) []byte { return action(i + 1) })
	}
}

func oneWinnerLarge(t *testing.T, d remote.Driver) {
	for _, n := range []int{1 << 20, 12 << 20} {
		_, b := fresh(n)
		name, _ := fresh(16)
		race(t, d, name+".zst", func(i int) []byte { return append([]byte{byte(i)}, b...) })
	}
}

// race lets writers loose upon one name, of whom one must win, and what it wrote
// must stand. A loser of many bytes may be told by a broken connection.
func race(t *testing.T, d remote.Driver, name string, bytesOf func(int) []byte) {
	t.Helper()
	var errs [writers]error
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { errs[i] = d.Write(ctx, name, Bytes(bytesOf(i)), true) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("%d and %d both won", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, remote.ErrExists) && len(bytesOf(i)) < 1<<20:
			t.Errorf("a loser: %v, want ErrExists", err)
		}
	}
	if winner < 0 {
		t.Fatalf("nobody won: %v", errors.Join(errs[:]...))
	}
	wantObject(t, d, name, bytesOf(winner))
}

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

// replacedWhileRead: who reads sees one of the objects, whole. A place may notice
// that it was about to mix them, and fail; then it is asked again, as a Store does.
func replacedWhileRead(t *testing.T, d remote.Driver) {
	name := freshAction()
	write(t, d, name, action(1))
	var done atomic.Bool
	var wg sync.WaitGroup
	for code := 1; code <= 2; code++ {
		wg.Go(func() {
			for range 30 {
				if err := d.Write(ctx, name, Bytes(action(code)), false); err != nil {
					t.Errorf("Write: %v", err)
				}
			}
			done.Store(true)
		})
	}
	for range 2 {
		wg.Go(func() {
			for !done.Load() {
				got, err := read(ctx, d, name, 0, -1)
				for again := 1; err != nil && again < remote.DefaultAttempts; again++ {
					got, err = read(ctx, d, name, 0, -1)
				}
				if err != nil || !bytes.Equal(got, action(1)) && !bytes.Equal(got, action(2)) {
					t.Errorf("Read: %x, %v, want one of the two", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func concurrent(t *testing.T, d remote.Driver) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 4 {
				name, b := fresh(1000 << (i % 8))
				if err := d.Write(ctx, name, Bytes(b), true); err != nil {
					t.Errorf("Write: %v", err)
				}
				wantObject(t, d, name, b)
			}
		})
	}
	wg.Wait()
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
