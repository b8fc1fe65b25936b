package memo

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

// remember opens the memo of a store and puts rows.
func remember(t *testing.T, s Store, rows map[int]string) {
	t.Helper()
	m := openMemo(t, s, Options{})
	for i, value := range rows {
		put(t, m, keyOf(i), value)
	}
	closeMemo(t, m)
}

// listOf is the list of a store.
func listOf(t *testing.T, s artifacts.Store) artifacts.Manifest {
	t.Helper()
	key, err := List(scope).Key()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := artifacts.LookupManifest(ctx, s, key)
	if err != nil {
		t.Fatal(err)
	}
	return manifest
}

// carry copies the segments of one store's list to another store.
func carry(t *testing.T, from, to *disk.Store) artifacts.Manifest {
	t.Helper()
	list := listOf(t, from)
	for _, s := range Segments(list) {
		r, err := from.Get(ctx, s.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if err := to.Put(ctx, s.Digest, s.Bytes, r); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	return list
}

func TestAnotherListIsTakenIn(t *testing.T) {
	theirs, ours := openStore(t, t.TempDir()), openStore(t, t.TempDir())
	defer theirs.Close()
	defer ours.Close()
	remember(t, theirs, map[int]string{1: "one", 2: "their two"})
	remember(t, ours, map[int]string{2: "our two", 3: "three"})
	list := carry(t, theirs, ours)
	for range 2 { // the second time there is nothing to add
		if err := Merge(ctx, ours, list); err != nil {
			t.Fatal(err)
		}
		m := openMemo(t, ours, Options{})
		expect(t, m, map[Key]string{keyOf(1): "one", keyOf(2): "their two", keyOf(3): "three"}, 5)
		closeMemo(t, m)
		if n := len(Segments(listOf(t, ours))); n != 2 {
			t.Errorf("the list has %d segments", n)
		}
	}
}

// A list that lost a segment takes in another one all the same.
func TestAnotherListIsTakenInWhereASegmentIsLost(t *testing.T) {
	theirs, ours := openStore(t, t.TempDir()), openStore(t, t.TempDir())
	defer theirs.Close()
	defer ours.Close()
	remember(t, theirs, map[int]string{1: "one"})
	remember(t, ours, map[int]string{2: "two"})
	lost := Segments(listOf(t, ours))[0].Digest.Hex()
	if err := os.Remove(filepath.Join(ours.Dir(), "cas", lost[:2], lost)); err != nil {
		t.Fatal(err)
	}
	if err := Merge(ctx, ours, carry(t, theirs, ours)); err != nil {
		t.Fatal(err)
	}
	m := openMemo(t, ours, Options{})
	defer closeMemo(t, m)
	expect(t, m, map[Key]string{keyOf(1): "one"}, 5)
}

// Segments that the newer list overrides do not stay, so that a list that is
// only ever added to does not grow.
func TestWhatAnotherListOverridesGoes(t *testing.T) {
	theirs, ours := openStore(t, t.TempDir()), openStore(t, t.TempDir())
	defer theirs.Close()
	defer ours.Close()
	remember(t, ours, map[int]string{1: "old", 2: "old"})
	remember(t, theirs, map[int]string{1: "new", 2: "new", 3: "new"})
	if err := Merge(ctx, ours, carry(t, theirs, ours)); err != nil {
		t.Fatal(err)
	}
	if n := len(Segments(listOf(t, ours))); n != 1 {
		t.Errorf("the list has %d segments, want theirs alone", n)
	}
}

func TestWhatIsNoListIsNotTakenIn(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer s.Close()
	key, err := scope.Key()
	if err != nil {
		t.Fatal(err)
	}
	if err := Merge(ctx, s, artifacts.Manifest{Key: key, Request: scope}); err == nil {
		t.Error("a result was taken for a list of rows")
	}
}
