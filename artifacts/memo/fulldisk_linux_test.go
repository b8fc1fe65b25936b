package memo

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// On a disk that is full Put says so; what it took before is there when there
// is room again, whether it could be sealed or not.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=400k"); err != nil {
		t.Skipf("a tmpfs cannot be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	}()
	s := openStore(t, dir)
	m := openMemo(t, s, Options{})
	want := map[Key]string{}
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		value := bytes.Repeat([]byte{byte(i)}, 1<<12)
		if err = m.Put(keyOf(i), value); err == nil {
			want[keyOf(i)] = string(value)
		}
	}
	if !errors.Is(err, unix.ENOSPC) || len(want) < 10 {
		t.Errorf("after %d rows: %v", len(want), err)
	}
	expect(t, m, want, 1000)
	if err := m.Close(ctx); err != nil && !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Close: %v", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m = openMemo(t, s, Options{})
		expect(t, m, want, 1000)
		closeMemo(t, m)
	}
	s.Close()
}
