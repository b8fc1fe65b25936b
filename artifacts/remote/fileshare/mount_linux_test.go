package fileshare

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
)

func mountTmpfs(t *testing.T, dir, options string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("a tmpfs cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

func unmount(t *testing.T, dir string) {
	t.Helper()
	must(t, unix.Unmount(dir, unix.MNT_DETACH))
}

// TestUnmounted: what lies below a mount is not filled, and its emptiness no miss.
func TestUnmounted(t *testing.T) {
	dir := t.TempDir()
	d := openDriver(t, dir)
	mountTmpfs(t, dir, "size=1m")
	name, b := object("b")
	other, more := object("more")
	must(t, put(d, name, b))
	unmount(t, dir)
	for what, err := range map[string]error{
		"Stat":  func() error { _, err := d.Stat(ctx, name); return err }(),
		"Read":  func() error { _, err := get(ctx, d, name); return err }(),
		"Write": put(d, other, more),
	} {
		if !errors.Is(err, errUnmounted) || errors.Is(err, artifacts.ErrNotFound) {
			t.Errorf("%s after the mount went: %v", what, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("below the mount there now is %v, %v", left, err)
	}
	mountTmpfs(t, dir, "size=1m")
	must(t, os.Mkdir(filepath.Join(dir, "cas"), 0o777)) // it is the share again
	must(t, put(d, other, more))
}

// TestFullShare: a share that is full says so, keeps what it took, takes no half
// object, and goes on where there is room again.
func TestFullShare(t *testing.T) {
	dir := t.TempDir()
	mountTmpfs(t, dir, "size=300k")
	d := openDriver(t, dir)
	taken := map[string][]byte{}
	var err error
	for i := 0; err == nil && i < 100; i++ {
		name, b := object(fmt.Sprintf("%d%s", i, bytes.Repeat([]byte{'x'}, 30_000)))
		if err = put(d, name, b); err == nil {
			taken[name] = b
		}
	}
	if !errors.Is(err, remote.ErrFull) || !errors.Is(err, unix.ENOSPC) || len(taken) < 3 {
		t.Errorf("after %d objects: %v, want ErrFull", len(taken), err)
	}
	wantNoUploads(t, dir)
	for name, b := range taken {
		wantObject(t, d, name, b)
	}
	must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=4m"))
	name, b := object("there is room")
	must(t, put(d, name, b))
}

// TestReadOnlyShare can be read.
func TestReadOnlyShare(t *testing.T) {
	dir := t.TempDir()
	mountTmpfs(t, dir, "size=1m")
	d := openDriver(t, dir)
	must(t, put(d, "ac/abcd", []byte("action")))
	must(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for _, name := range []string{"ac/ffff", "cas/abcd"} {
		if err := put(d, name, nil); !errors.Is(err, remote.ErrForbidden) || !errors.Is(err, unix.EROFS) {
			t.Errorf("Write of %s: %v, want ErrForbidden", name, err)
		}
	}
	if err := put(d, "ac/abcd", nil); !errors.Is(err, remote.ErrExists) {
		t.Errorf("Write of what is there: %v, want ErrExists", err)
	}
	wantObject(t, d, "ac/abcd", []byte("action"))
	if _, err := d.Stat(ctx, "ac/ffff"); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("Stat of what is absent: %v", err)
	}
}

// TestDriverOnTmpfs: the suite on another file system than the tests' own.
func TestDriverOnTmpfs(t *testing.T) {
	dir := t.TempDir()
	mountTmpfs(t, dir, "size=1g")
	remotetest.Run(t, func(t *testing.T) remote.Driver { return openDriver(t, dir) })
}
