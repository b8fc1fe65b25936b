package server

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/prismflow/prismflow/artifacts/disk"
)

// On a disk that is full a PUT is refused as such, and leaves nothing; GET goes on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a tmpfs cannot be mounted here: %v", err)
	}
	defer func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) }()
	store, err := disk.Open(dir, disk.Options{})
	must(t, err)
	s, err := New(store, Options{Anonymous: ReadWrite})
	must(t, err)
	r := &rig{t: t, store: store, s: s}
	small, large := random(1<<20, 1), random(3<<20, 2)
	for _, tt := range []struct {
		method, path string
		body         []byte
		want         int
	}{
		{"PUT", cas(small), small, 201},
		{"PUT", cas(large), large, 507},
		{"PUT", ac(1), large, 507},
		{"GET", cas(small), nil, 200},
		{"GET", cas(large), nil, 404},
		{"GET", ac(1), nil, 404},
		{"PUT", ac(1), small[:1000], 201},
	} {
		if got := r.direct(tt.method, tt.path, tt.body); got.Code != tt.want {
			t.Errorf("%s %s: %d %s, want %d", tt.method, tt.path, got.Code, cut(got.Body.Bytes()), tt.want)
		}
	}
	r.verify()
	must(t, s.Close())
	must(t, store.Close())
}
