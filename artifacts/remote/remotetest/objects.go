package remotetest

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
)

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
