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
	"io"
	"math/rand/v2"
	"testing"
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
