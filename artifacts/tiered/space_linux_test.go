package tiered

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/prismflow/prismflow/artifacts/disk"
)

// Where the file system does not say how much room there is, what there is to fetch
// is fetched.
func TestFileSystemWithoutASize(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("ramfs", dir, "ramfs", 0, ""); err != nil {
		t.Skipf("a ramfs cannot be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	}()
	store, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	t.Cleanup(func() { _ = store.Close() })
	bob.store = store
	made := ann.compute("split", "train")
	ann.share(at(t, p), "split")
	if _, _, err := bob.cache(at(t, p)...).Fetch(ctx, made.Key, nil); err != nil || !bob.has("split") {
		t.Errorf("Fetch: %v", err)
	}
}
