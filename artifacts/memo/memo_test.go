package memo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

var (
	ctx   = context.Background()
	scope = artifacts.Request{Kind: "toy.rows", Version: 1, Params: map[string]any{"model": "a"}}
)

// fataler is what fails a test, of package testing or of rapid.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func openStore(t fataler, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return s
}

func openMemo(t fataler, s Store, o Options) *Memo {
	t.Helper()
	m, err := Open(ctx, s, scope, o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return m
}

func put(t fataler, m *Memo, key Key, value string) {
	t.Helper()
	if err := m.Put(key, []byte(value)); err != nil {
		t.Fatalf("%v", err)
	}
}

func closeMemo(t fataler, m *Memo) {
	t.Helper()
	if err := m.Close(ctx); err != nil {
		t.Fatalf("%v", err)
	}
}

// expect says that a memo knows these rows and, of n keys, no other.
func expect(t fataler, m *Memo, want map[Key]string, n int) {
	t.Helper()
	for i := range n {
		key := keyOf(i)
		value, known, err := m.Get(key)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if text, ok := want[key]; ok != known || text != string(value) || m.Has(key) != ok {
			t.Fatalf("row %d is %.50q (%v), want %.50q (%v)", i, value, known, text, ok)
		}
	}
	if rows := m.Stats().Rows; rows != len(want) {
		t.Fatalf("%d rows, want %d", rows, len(want))
	}
}

func keyOf(i int) Key { return Key{byte(i), byte(i >> 8), byte(i >> 16)} }

// The memo does what a map does, whatever is opened and closed in between, and
// however small its segments are.
func TestLikeAMap(t *testing.T) {
	parent := t.TempDir()
	type step struct {
		what  string
		key   int
		value []byte
	}
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			rapid.SampledFrom([]string{"put", "put", "put", "put", "close", "die"}).Draw(t, "what"),
			rapid.IntRange(0, 5).Draw(t, "key"), rapid.SliceOfN(rapid.Byte(), 0, 90).Draw(t, "value"),
		}
	}), 1, 30)
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(parent, "")
		if err != nil {
			t.Fatalf("%v", err)
		}
		defer os.RemoveAll(dir)
		s := openStore(t, dir)
		defer s.Close()
		options := Options{SegmentBytes: rapid.Int64Range(1, 600).Draw(t, "segment bytes")}
		want, m := map[Key]string{}, openMemo(t, s, options)
		for _, step := range steps.Draw(t, "steps") {
			switch step.what {
			case "put":
				want[keyOf(step.key)] = string(step.value)
				put(t, m, keyOf(step.key), string(step.value))
			case "close":
				closeMemo(t, m)
				m = openMemo(t, s, options)
			case "die":
				m.release()
				m = openMemo(t, s, options)
			}
			expect(t, m, want, 6)
		}
		m.release()
	})
}

func TestClosed(t *testing.T) {
	s := openStore(t, t.TempDir())
	m := openMemo(t, s, Options{})
	closeMemo(t, m)
	closeMemo(t, m)
	if err := m.Put(keyOf(1), nil); err != ErrClosed {
		t.Errorf("Put: %v", err)
	}
	if _, _, err := m.Get(keyOf(1)); err != ErrClosed {
		t.Errorf("Get: %v", err)
	}
	if _, err := s.GetAction(ctx, m.Key()); err == nil {
		t.Error("a memo without rows left a list")
	}
}

func TestScopesAreApart(t *testing.T) {
	s := openStore(t, t.TempDir())
	m := openMemo(t, s, Options{})
	put(t, m, keyOf(1), "one")
	closeMemo(t, m)
	other := scope
	other.Version = 2
	o, err := Open(ctx, s, other, Options{})
	if err != nil || o.Has(keyOf(1)) {
		t.Errorf("another scope knows the row, %v", err)
	}
	if key, err := scope.Key(); err != nil || key == m.Key() {
		t.Errorf("the list has the key %s of its scope, which a stage may have, %v", key.Short(), err)
	}
}

func TestValueThatIsTooLong(t *testing.T) {
	m := openMemo(t, openStore(t, t.TempDir()), Options{})
	if err := m.Put(keyOf(1), make([]byte, MaxValue+1)); err == nil {
		t.Error("it was taken")
	}
	if err := m.Put(keyOf(1), make([]byte, MaxValue)); err != nil {
		t.Error(err)
	}
	if value, known, _ := m.Get(keyOf(1)); !known || len(value) != MaxValue {
		t.Errorf("known %v, %d bytes", known, len(value))
	}
	closeMemo(t, m)
}

// The value is kept, not the slice.
func TestValueIsCopied(t *testing.T) {
	m := openMemo(t, openStore(t, t.TempDir()), Options{})
	value := []byte("before")
	put(t, m, keyOf(1), string(value))
	if err := m.Put(keyOf(1), value); err != nil {
		t.Fatal(err)
	}
	copy(value, "after!")
	got, _, _ := m.Get(keyOf(1))
	if !bytes.Equal(got, []byte("before")) {
		t.Errorf("%q", got)
	}
}

func TestManyGoroutines(t *testing.T) {
	s := openStore(t, t.TempDir())
	m := openMemo(t, s, Options{SegmentBytes: 2000})
	var all sync.WaitGroup
	want := map[Key]string{}
	for i := range 400 {
		want[keyOf(i)] = fmt.Sprint("value ", i)
	}
	for w := range 8 {
		all.Go(func() {
			for i := w; i < 400; i += 8 {
				put(t, m, keyOf(i), fmt.Sprint("value ", i))
				if value, known, err := m.Get(keyOf(i)); !known || err != nil || string(value) != fmt.Sprint("value ", i) {
					t.Errorf("row %d: %q, %v, %v", i, value, known, err)
				}
			}
		})
	}
	all.Wait()
	closeMemo(t, m)
	expect(t, openMemo(t, s, Options{}), want, 500)
}

// Memos of one scope that are open at the same time lose nothing of each other.
func TestSeveralMemosOfOneScope(t *testing.T) {
	s := openStore(t, t.TempDir())
	want := map[Key]string{}
	var open []*Memo
	for i := range 20 {
		m := openMemo(t, s, Options{})
		want[keyOf(i)] = fmt.Sprint(i)
		put(t, m, keyOf(i), want[keyOf(i)])
		open = append(open, m)
	}
	var all sync.WaitGroup
	for _, m := range open {
		all.Go(func() { closeMemo(t, m) })
	}
	all.Wait()
	m := openMemo(t, s, Options{})
	expect(t, m, want, 30)
	if list, err := list(ctx, s, m.Key()); err != nil || len(list) > maxSmall {
		t.Errorf("%d segments, %v: they were to be merged", len(list), err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.StateDir(), "memo", "*", "*")); len(left) != 0 {
		t.Errorf("journals are left: %v", left)
	}
}

// The later value stands, also when the clock was put back in between, or is
// behind on the host that wrote it.
func TestClockThatGoesBack(t *testing.T) {
	s := openStore(t, t.TempDir())
	noon := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	values := []string{"first", "second", "third"}
	for i, value := range values {
		m := openMemo(t, s, Options{Now: func() time.Time { return noon.Add(-time.Duration(i) * time.Hour) }})
		put(t, m, keyOf(1), value)
		m.release() // as a kill would
	}
	m := openMemo(t, s, Options{})
	expect(t, m, map[Key]string{keyOf(1): "third"}, 5)
	closeMemo(t, m)
	expect(t, openMemo(t, s, Options{}), map[Key]string{keyOf(1): "third"}, 5)
}

// Memos that computed the same rows make one segment.
func TestEqualSegments(t *testing.T) {
	s := openStore(t, t.TempDir())
	one, other := openMemo(t, s, Options{}), openMemo(t, s, Options{})
	for _, m := range []*Memo{one, other} {
		put(t, m, keyOf(1), "one")
	}
	closeMemo(t, one)
	closeMemo(t, other)
	m := openMemo(t, s, Options{})
	expect(t, m, map[Key]string{keyOf(1): "one"}, 5)
	if list := listed(t, s, m); len(list) != 1 {
		t.Errorf("%d segments", len(list))
	}
}
