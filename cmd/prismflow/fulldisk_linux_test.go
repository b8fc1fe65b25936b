package main

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDisk runs into the end of a small file system: a clear error, exit
// code 3, and nothing half-written. With room it goes on from there.
func TestFullDisk(t *testing.T) {
	undisturbed := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	chain(t, filepath.Join(undisturbed.dir, "p.toml"), 8, 1024)
	undisturbed.must(t, "run", "p.toml")
	want := undisturbed.digests(t, "p.toml")
	for _, test := range []struct {
		name string
		size string
	}{
		{"in the first stages", "size=600k"},
		{"later", "size=5m"},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk := t.TempDir()
			if err := unix.Mount("tmpfs", disk, "tmpfs", 0, test.size); err != nil {
				t.Skipf("a tmpfs cannot be mounted here: %v", err)
			}
			defer func() {
				if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
					t.Errorf("unmounting: %v", err)
				}
			}()
			p := process{undisturbed.dir, filepath.Join(disk, "cache")}
			output, code := p.run("run", "p.toml")
			if code != exitCache || !strings.Contains(output, "no space left on device") {
				t.Errorf("exit code %d, want %d, and the reason in\n%s", code, exitCache, output)
			}
			if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
				t.Fatal(err)
			}
			p.must(t, "cache", "verify")
			p.must(t, "run", "p.toml")
			if got := p.digests(t, "p.toml"); !maps.Equal(got, want) {
				t.Errorf("digests %v, want %v", got, want)
			}
			p.must(t, "cache", "verify")
		})
	}
}
