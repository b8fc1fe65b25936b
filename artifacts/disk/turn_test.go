package disk_test

import (
	"context"
	"testing"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// Who does not wait has the turn whenever nobody else has it, of this store or
// another process's, and however slow the machine is.
func TestTryLock(t *testing.T) {
	dir, ctx, key := t.TempDir(), context.Background(), storetest.Key("turn")
	one, other := openAt(t, dir), openAt(t, dir)
	unlock, err := one.Lock(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]*disk.Store{"the same store": one, "another": other} {
		if got, err := store.TryLock(ctx, key); got != nil || err != nil {
			t.Errorf("%s: the turn is somebody's: has it %v, %v", name, got != nil, err)
		}
	}
	unlock()
	for name, store := range map[string]*disk.Store{"the same store": one, "another": other} {
		got, err := store.TryLock(ctx, key)
		if got == nil || err != nil {
			t.Fatalf("%s: the turn is nobody's: has it %v, %v", name, got != nil, err)
		}
		if third, err := one.TryLock(ctx, key); third != nil || err != nil {
			t.Errorf("%s has the turn: another has it %v, %v", name, third != nil, err)
		}
		got()
		got() // a second time does nothing
	}
}

func openAt(t *testing.T, dir string) *disk.Store {
	t.Helper()
	store, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}
