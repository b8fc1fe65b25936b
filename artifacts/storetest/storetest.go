// Package storetest is the conformance suite of artifacts.Store: what a disk,
// the memory, and any remote must do alike.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) artifacts.Store { return memory.New() })
//	}
//
// It tests through the interface alone. What a store has beyond it, and how it
// behaves when its medium fails, is tested beside the store.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/prismflow/prismflow/artifacts"
)

// Run runs the suite. Every call of open gives a store that is empty.
func Run(t *testing.T, open func(t *testing.T) artifacts.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, artifacts.Store)
	}{
		{"RoundTrip", roundTrip},
		{"EmptyBlob", emptyBlob},
		{"BigBlob", bigBlob},
		{"SlowReader", slowReader},
		{"NotFound", notFound},
		{"WrongBytes", wrongBytes},
		{"ReaderFails", readerFails},
		{"PutAgain", putAgain},
		{"ConcurrentPuts", concurrentPuts},
		{"Cancelled", cancelled},
		{"CancelledMidway", cancelledMidway},
		{"Malformed", malformed},
		{"FirstActionStays", firstActionStays},
		{"ReplaceAction", replaceAction},
		{"ActionsAreCopies", actionsAreCopies},
		{"ConcurrentActions", concurrentActions},
		{"PublishAndLookup", publishAndLookup},
		{"PublishWithoutOutput", publishWithoutOutput},
		{"Alternatives", alternatives},
		{"PublishOverUnusable", publishOverUnusable},
		{"PublishOverIncomplete", publishOverIncomplete},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

var ctx = context.Background()

// Put stores b and returns its digest.
func Put(t testing.TB, s artifacts.Store, b []byte) artifacts.Digest {
	t.Helper()
	d := artifacts.DigestOf(b)
	if err := s.Put(ctx, d, int64(len(b)), bytes.NewReader(b)); err != nil {
		t.Fatalf("Put: %v", err)
	}
	return d
}

// Get is the blob d, read to its end.
func Get(t *testing.T, s artifacts.Store, d artifacts.Digest) []byte {
	t.Helper()
	r, err := s.Get(ctx, d)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("reading blob: %v", err)
	}
	return b
}

// Absent checks that the store has no blob d. The empty one may be there from the
// beginning, as servers of build caches have it.
func Absent(t *testing.T, s artifacts.Store, d artifacts.Digest) {
	t.Helper()
	_, err := s.Stat(ctx, d)
	if err == nil && d == artifacts.DigestOf(nil) {
		return
	}
	if !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("Stat of an absent blob: %v, want ErrNotFound", err)
	}
	r, err := s.Get(ctx, d)
	if err == nil {
		// A remote may learn only while reading.
		_, err = io.Copy(io.Discard, r)
		r.Close()
	}
	if !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("Get of an absent blob: %v, want ErrNotFound", err)
	}
}

// Random is n bytes that depend on the seed alone.
func Random(n int, seed uint64) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func roundTrip(t *testing.T, s artifacts.Store) {
	b := []byte("five little ducks")
	d := Put(t, s, b)
	size, err := s.Stat(ctx, d)
	if err != nil || size != int64(len(b)) {
		t.Errorf("Stat: %d, %v, want %d", size, err, len(b))
	}
	if got := Get(t, s, d); !bytes.Equal(got, b) {
		t.Errorf("Get: %q, want %q", got, b)
	}
}

func emptyBlob(t *testing.T, s artifacts.Store) {
	d := artifacts.DigestOf(nil)
	Absent(t, s, d)
	Put(t, s, nil)
	if size, err := s.Stat(ctx, d); err != nil || size != 0 {
		t.Errorf("Stat: %d, %v, want 0", size, err)
	}
	if got := Get(t, s, d); len(got) != 0 {
		t.Errorf("Get: %d bytes, want none", len(got))
	}
}

func bigBlob(t *testing.T, s artifacts.Store) {
	b := Random(32<<20+7, 1)
	d := Put(t, s, b)
	if !bytes.Equal(Get(t, s, d), b) {
		t.Error("Get returned other bytes")
	}
}

// slowReader: what comes in single bytes, or ends with data and io.EOF at once.
func slowReader(t *testing.T, s artifacts.Store) {
	b := Random(3000, 2)
	for name, wrap := range map[string]func(io.Reader) io.Reader{"one byte": iotest.OneByteReader, "end with data": iotest.DataErrReader} {
		c := append([]byte(name), b...)
		d := artifacts.DigestOf(c)
		if err := s.Put(ctx, d, int64(len(c)), wrap(bytes.NewReader(c))); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r, err := s.Get(ctx, d)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := iotest.TestReader(r, c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r.Close()
	}
}

func notFound(t *testing.T, s artifacts.Store) {
	Absent(t, s, artifacts.DigestOf([]byte("never stored")))
	if _, err := s.GetAction(ctx, Key("never asked")); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("GetAction: %v, want ErrNotFound", err)
	}
	var miss *artifacts.Miss
	if _, err := artifacts.Lookup(ctx, s, Key("never asked")); !errors.As(err, &miss) {
		t.Errorf("Lookup: %v, want a Miss", err)
	}
}

func wrongBytes(t *testing.T, s artifacts.Store) {
	b := Random(10000, 3)
	flipped := bytes.Clone(b)
	flipped[5000] ^= 1
	for name, body := range map[string][]byte{
		"other bytes": flipped, "short": b[:9999], "empty": nil,
		"long": append(bytes.Clone(b), 0), "much longer": append(bytes.Clone(b), Random(9<<20, 4)...),
	} {
		t.Run(name, func(t *testing.T) {
			d := artifacts.DigestOf(b)
			err := s.Put(ctx, d, int64(len(b)), bytes.NewReader(body))
			if !errors.Is(err, artifacts.ErrCorrupt) {
				t.Errorf("Put: %v, want ErrCorrupt", err)
			}
			Absent(t, s, d)
			Absent(t, s, artifacts.DigestOf(body))
		})
	}
	t.Run("right bytes, wrong size", func(t *testing.T) {
		d := artifacts.DigestOf(b)
		for _, size := range []int64{int64(len(b)) - 1, int64(len(b)) + 1, 0, -1} {
			if err := s.Put(ctx, d, size, bytes.NewReader(b)); err == nil {
				t.Errorf("Put with size %d: no error", size)
			}
			Absent(t, s, d)
		}
	})
}

func readerFails(t *testing.T, s artifacts.Store) {
	b := Random(9<<20, 5)
	broken := errors.New("the line went dead")
	r := io.MultiReader(bytes.NewReader(b[:5<<20]), iotest.ErrReader(broken))
	d := artifacts.DigestOf(b)
	if err := s.Put(ctx, d, int64(len(b)), r); !errors.Is(err, broken) {
		t.Errorf("Put: %v, want the reader's error", err)
	}
	Absent(t, s, d)
}

func putAgain(t *testing.T, s artifacts.Store) {
	b := Random(100, 6)
	d := Put(t, s, b)
	Put(t, s, b)
	if err := s.Put(ctx, d, 100, strings.NewReader("wrong")); !errors.Is(err, artifacts.ErrCorrupt) {
		t.Errorf("Put of wrong bytes over right ones: %v, want ErrCorrupt", err)
	}
	if !bytes.Equal(Get(t, s, d), b) {
		t.Error("Get returned other bytes")
	}
}

func concurrentPuts(t *testing.T, s artifacts.Store) {
	b := Random(1<<20, 7)
	d := artifacts.DigestOf(b)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			body, fine := bytes.Clone(b), i%4 != 3
			if !fine { // somebody lies at the same time
				body[i] ^= 1
			}
			if err := s.Put(ctx, d, int64(len(b)), bytes.NewReader(body)); (err == nil) != fine {
				t.Errorf("Put %d: %v", i, err)
			}
			r, err := s.Get(ctx, d)
			if errors.Is(err, artifacts.ErrNotFound) && !fine {
				return // nobody was done yet
			}
			if err != nil {
				t.Errorf("Get %d: %v", i, err)
				return
			}
			defer r.Close()
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Errorf("reading %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func cancelled(t *testing.T, s artifacts.Store) {
	b := []byte("a blob")
	d := Put(t, s, b)
	over, cancel := context.WithCancel(ctx)
	cancel()
	calls := map[string]func() error{
		"Stat":      func() error { _, err := s.Stat(over, d); return err },
		"Get":       func() error { _, err := s.Get(over, d); return err },
		"Put":       func() error { return s.Put(over, d, int64(len(b)), bytes.NewReader(b)) },
		"GetAction": func() error { _, err := s.GetAction(over, Key("k")); return err },
		"PutAction": func() error { return s.PutAction(over, Key("k"), []byte("x"), true) },
		"Lookup":    func() error { _, err := artifacts.Lookup(over, s, Key("k")); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}
	if _, err := s.GetAction(ctx, Key("k")); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("GetAction after a cancelled PutAction: %v, want ErrNotFound", err)
	}
}

func cancelledMidway(t *testing.T, s artifacts.Store) {
	during, cancel := context.WithCancel(ctx)
	b := Random(12<<20, 8)
	d := artifacts.DigestOf(b)
	r := io.MultiReader(bytes.NewReader(b[:6<<20]), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, io.EOF
	}), bytes.NewReader(b[6<<20:]))
	if err := s.Put(during, d, int64(len(b)), r); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v, want context.Canceled", err)
	}
	Absent(t, s, d)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// malformed: digests and keys become names, so none but whole ones may pass.
func malformed(t *testing.T, s artifacts.Store) {
	for _, bad := range []string{"", "sha256:", "../../../etc/passwd", "sha256:../" + strings.Repeat("0", 61), strings.Repeat("A", 64), "sha256:" + strings.Repeat("A", 64)} {
		d, k := artifacts.Digest(bad), artifacts.Key(bad)
		if _, err := s.Stat(ctx, d); err == nil {
			t.Errorf("Stat(%q): no error", bad)
		}
		if _, err := s.Get(ctx, d); err == nil {
			t.Errorf("Get(%q): no error", bad)
		}
		if err := s.Put(ctx, d, 0, strings.NewReader("")); err == nil {
			t.Errorf("Put(%q): no error", bad)
		}
		if _, err := s.GetAction(ctx, k); err == nil {
			t.Errorf("GetAction(%q): no error", bad)
		}
		if err := s.PutAction(ctx, k, nil, true); err == nil {
			t.Errorf("PutAction(%q): no error", bad)
		}
	}
}

func firstActionStays(t *testing.T, s artifacts.Store) {
	k := Key("first")
	putAction(t, s, k, "first", false)
	putAction(t, s, k, "second", false)
	wantAction(t, s, k, "first")
}

func replaceAction(t *testing.T, s artifacts.Store) {
	k := Key("replace")
	putAction(t, s, k, "first", true)
	putAction(t, s, k, "second", true)
	wantAction(t, s, k, "second")
	putAction(t, s, k, "third", false)
	wantAction(t, s, k, "second")
}

func actionsAreCopies(t *testing.T, s artifacts.Store) {
	k, action := Key("copies"), []byte("as published")
	if err := s.PutAction(ctx, k, action, false); err != nil {
		t.Fatal(err)
	}
	action[0] = '!'
	got, err := s.GetAction(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	got[1] = '!'
	wantAction(t, s, k, "as published")
}

func concurrentActions(t *testing.T, s artifacts.Store) {
	k := Key("concurrent")
	const n = 8
	seen := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := s.PutAction(ctx, k, fmt.Append(nil, "by ", i), false); err != nil {
				t.Errorf("PutAction: %v", err)
			}
			action, err := s.GetAction(ctx, k)
			if err != nil {
				t.Errorf("GetAction: %v", err)
			}
			seen[i] = string(action)
		})
	}
	wg.Wait()
	for _, one := range seen {
		if one != seen[0] {
			t.Errorf("one saw %q, another %q", one, seen[0])
		}
	}
}

func putAction(t *testing.T, s artifacts.Store, k artifacts.Key, action string, replace bool) {
	t.Helper()
	if err := s.PutAction(ctx, k, []byte(action), replace); err != nil {
		t.Fatalf("PutAction: %v", err)
	}
}

func wantAction(t *testing.T, s artifacts.Store, k artifacts.Key, want string) {
	t.Helper()
	if got, err := s.GetAction(ctx, k); err != nil || string(got) != want {
		t.Errorf("GetAction: %q, %v, want %q", got, err, want)
	}
}

// Key is a key that depends on what alone.
func Key(what string) artifacts.Key {
	return artifacts.Key(artifacts.DigestOf([]byte(what)).Hex())
}

// Manifest is a valid manifest of a request that seed tells from others, with
// outputs that it puts into the store.
func Manifest(t testing.TB, s artifacts.Store, seed int, outputs map[string][]byte) artifacts.Manifest {
	t.Helper()
	m := artifacts.Manifest{
		Format:  artifacts.ManifestFormat,
		Request: artifacts.Request{Kind: "test", Version: 1, Params: map[string]any{"seed": seed}},
		Outputs: map[string]artifacts.Output{},
		Report:  []artifacts.Count{{Name: "rows_left_out", Value: 2}},
		Provenance: artifacts.Provenance{
			Pipeline: "storetest", Stage: "test", Run: "1",
			Started: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Seconds: 0.25,
		},
	}
	key, err := m.Request.Key()
	if err != nil {
		t.Fatal(err)
	}
	m.Key = key
	for name, b := range outputs {
		d := artifacts.DigestOf(b)
		if err := s.Put(ctx, d, int64(len(b)), bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		m.Outputs[name] = artifacts.Output{Digest: d, Bytes: int64(len(b))}
	}
	return m
}

func publish(t *testing.T, s artifacts.Store, m artifacts.Manifest) artifacts.Manifest {
	t.Helper()
	standing, err := artifacts.Publish(ctx, s, m)
	if err != nil {
		t.Fatalf("Publish: %v", err)
	}
	return standing
}

func publishAndLookup(t *testing.T, s artifacts.Store) {
	m := Manifest(t, s, 1, map[string][]byte{"one": []byte("1"), "two": []byte("22"), "empty": nil})
	publish(t, s, m)
	got, err := artifacts.Lookup(ctx, s, m.Key)
	if err != nil {
		t.Fatalf("Lookup: %v", err)
	}
	want, _ := m.Encode()
	if b, err := got.Encode(); err != nil || !bytes.Equal(b, want) {
		t.Errorf("Lookup: %s, %v, want %s", b, err, want)
	}
	later := m
	later.Provenance.Seconds = 99
	if standing := publish(t, s, later); standing.Provenance.Seconds != 0.25 {
		t.Error("a later execution with the same result replaced the first")
	}
	if err := artifacts.Replace(ctx, s, later); err != nil {
		t.Fatalf("Replace: %v", err)
	}
	if got, err := artifacts.LookupManifest(ctx, s, m.Key); err != nil || got.Provenance.Seconds != 99 {
		t.Errorf("after Replace: %v, %v seconds, want 99", err, got.Provenance.Seconds)
	}
}

func publishWithoutOutput(t *testing.T, s artifacts.Store) {
	m := Manifest(t, s, 2, nil)
	m.Outputs["table"] = artifacts.Output{Digest: artifacts.DigestOf([]byte("not stored")), Bytes: 10}
	if _, err := artifacts.Publish(ctx, s, m); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("Publish: %v, want ErrNotFound", err)
	}
	if _, err := s.GetAction(ctx, m.Key); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("GetAction: %v, want ErrNotFound", err)
	}
}

func alternatives(t *testing.T, s artifacts.Store) {
	first := Manifest(t, s, 3, map[string][]byte{"model": []byte("trained on a GPU")})
	second := Manifest(t, s, 3, map[string][]byte{"model": []byte("trained on a CPU")})
	publish(t, s, first)
	for range 2 {
		if standing := publish(t, s, second); standing.Outputs["model"].Digest != first.Outputs["model"].Digest {
			t.Errorf("what stands is not what was published first")
		}
	}
	alts, err := artifacts.Alternatives(ctx, s, first.Key)
	if err != nil || len(alts) != 1 || alts[0].Outputs["model"].Digest != second.Outputs["model"].Digest {
		t.Errorf("Alternatives: %v, %v, want the second", alts, err)
	}
	if _, err := artifacts.Lookup(ctx, s, first.Key); err != nil {
		t.Errorf("Lookup: %v", err)
	}
}

func publishOverUnusable(t *testing.T, s artifacts.Store) {
	m := Manifest(t, s, 4, map[string][]byte{"table": []byte("rows")})
	gone := artifacts.DigestOf([]byte("evicted"))
	for name, action := range map[string][]byte{
		"garbage":        []byte("\xff\xff\xff"),
		"empty":          {},
		"no manifest":    artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{{Path: artifacts.ManifestPath, Digest: gone, Bytes: 3}}}.Encode(),
		"not a manifest": artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{{Path: artifacts.ManifestPath, Digest: m.Outputs["table"].Digest, Bytes: 4}}}.Encode(),
	} {
		putAction(t, s, m.Key, string(action), true)
		var miss *artifacts.Miss
		if _, err := artifacts.Lookup(ctx, s, m.Key); !errors.As(err, &miss) {
			t.Errorf("%s: Lookup: %v, want a Miss", name, err)
		}
		publish(t, s, m)
		if _, err := artifacts.Lookup(ctx, s, m.Key); err != nil {
			t.Errorf("%s: Lookup after Publish: %v", name, err)
		}
	}
}

// A complete result takes the place of an incomplete one, and no other of it.
func publishOverIncomplete(t *testing.T, s artifacts.Store) {
	result := func(incomplete, bytes string) artifacts.Manifest {
		m := Manifest(t, s, 5, map[string][]byte{"table": []byte(bytes)})
		m.Incomplete = incomplete
		return m
	}
	for _, step := range []struct {
		publish artifacts.Manifest
		stands  string
	}{
		{result("3 rows failed", "few rows"), "3 rows failed"},
		{result("1 row failed", "more rows"), "3 rows failed"},
		{result("", "few rows"), ""},
		{result("2 rows failed", "few rows"), ""},
		{result("4 rows failed", "fewer rows"), ""},
	} {
		if got := publish(t, s, step.publish); got.Incomplete != step.stands {
			t.Errorf("%q published: %q stands, want %q", step.publish.Incomplete, got.Incomplete, step.stands)
		}
		if got, err := artifacts.Lookup(ctx, s, step.publish.Key); err != nil || got.Incomplete != step.stands {
			t.Errorf("%q published: Lookup says %q, %v, want %q", step.publish.Incomplete, got.Incomplete, err, step.stands)
		}
	}
	if others, err := artifacts.Alternatives(ctx, s, result("", "").Key); err != nil || len(others) != 0 {
		t.Errorf("kept beside it: %v, %v", others, err)
	}
}
