package remote_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// On a disk that is full a download says so, blames nobody for it, and goes on
// when there is room again; what is sent and finds no room to wait says so too.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a tmpfs cannot be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	}()
	blob := storetest.Random(2<<20, 1)
	d, path := artifacts.DigestOf(blob), filepath.Join(dir, "file")
	for what, traits := range map[string]remote.Traits{"parts": {Ranges: true}, "whole": {}} {
		s := newStore(t, remotetest.NewMemory(traits), remote.Options{PartBytes: 128 << 10, Parallel: 1})
		upload(t, s, blob)
		if err := s.Download(ctx, d, int64(len(blob)), path, nil); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: Download: %v, want ENOSPC", what, err)
		}
		if got := s.Stats(); got.Retries != 0 || got.Breaker != "closed" {
			t.Errorf("%s: %+v, want no word on the remote", what, got)
		}
		room(t, dir, "size=8m")
		before := s.Stats().Received
		if err := download(t, s, path, blob); err != nil {
			t.Errorf("%s: Download with room: %v", what, err)
		}
		if again := s.Stats().Received - before; what == "parts" && again > 5*int64(len(blob))/8 {
			t.Errorf("%s: %d bytes fetched again of %d", what, again, len(blob))
		}
		if err := unix.Unlink(path); err != nil {
			t.Fatal(err)
		}
		room(t, dir, "size=1m")
	}
	large := storetest.Random(9<<20, 2)
	m := remotetest.NewMemory(remotetest.AllTraits)
	s := newStore(t, m, remote.Options{TempDir: dir})
	if err := s.Put(ctx, artifacts.DigestOf(large), int64(len(large)), bytes.NewReader(large)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Put: %v, want ENOSPC", err)
	}
	upload(t, s, []byte(hex.EncodeToString(large))) // 9 MiB when packed
	for _, name := range m.Names() {
		if b := m.Object(name); name != "cas/"+artifacts.DigestOf(b).Hex() {
			t.Errorf("object %s: not sent as it is", name)
		}
	}
}

func room(t *testing.T, dir, size string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, size); err != nil {
		t.Fatal(err)
	}
}
