package disk

import (
	"bytes"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// TestLaterMarkStays holds up three uses that were begun at one time and
// finishes them at a later one, at which somebody else's lease has begun: the
// files have the later time, or GC would take them for unused.
func TestLaterMarkStays(t *testing.T) {
	var clock atomic.Int64
	begun := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	clock.Store(begun.UnixNano())
	s, err := Open(t.TempDir(), Options{Now: func() time.Time { return time.Unix(0, clock.Load()) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	looked, stored := storetest.Key("looked up"), storetest.Key("stored")
	if err := s.PutAction(ctx, looked, []byte("action"), false); err != nil {
		t.Fatal(err)
	}
	clock.Store(begun.Add(time.Hour).UnixNano())
	release, err := s.sweep.marks.hold()
	if err != nil {
		t.Fatal(err)
	}
	blob := []byte("blob")
	uses := map[string]func() error{
		s.blobPath(artifacts.DigestOf(blob).Hex()): func() error {
			return s.Put(ctx, artifacts.DigestOf(blob), int64(len(blob)), bytes.NewReader(blob))
		},
		s.actionPath(stored): func() error { return s.PutAction(ctx, stored, []byte("action"), false) },
		s.actionPath(looked): func() error { _, err := s.GetAction(ctx, looked); return err },
	}
	done := make(chan error, len(uses))
	for _, use := range uses {
		go func() { done <- use() }()
	}
	time.Sleep(50 * time.Millisecond) // by now they wait; were they slower, the test would see less
	later := begun.Add(2 * time.Hour)
	clock.Store(later.UnixNano())
	release()
	for range uses {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for path := range uses {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.ModTime(); !got.Equal(later) {
			t.Errorf("%s was marked at %v, want %v", path, got.UTC(), later)
		}
	}
}
