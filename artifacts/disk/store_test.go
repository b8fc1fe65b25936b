package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

func TestAdopt(t *testing.T) {
	s := openTest(t)
	dir, err := s.TempDir("stage-")
	must(t, err)
	b := []byte("made by a stage")
	d := artifacts.DigestOf(b)
	for range 2 { // the second replaces the first by its equal
		path := filepath.Join(dir, "output")
		must(t, os.WriteFile(path, b, 0o644))
		must(t, s.Adopt(ctx, path, d))
		wantExists(t, path, false)
		info, err := os.Lstat(s.blobPath(d.Hex()))
		must(t, err)
		if info.Mode() != 0o444 {
			t.Errorf("mode is %v", info.Mode())
		}
		if !bytes.Equal(storetest.Get(t, s, d), b) {
			t.Error("other bytes")
		}
	}
	if st, ok := s.stamps.lookup(d.Hex()); !ok || st.Digest != d {
		t.Error("what was adopted would be read again")
	}
}

// TestAdoptOfTwoNames: a blob with a name outside could be changed there.
func TestAdoptOfTwoNames(t *testing.T) {
	s := openTest(t)
	dir, err := s.TempDir("stage-")
	must(t, err)
	path, second := filepath.Join(dir, "output"), filepath.Join(dir, "second")
	must(t, os.WriteFile(path, []byte("content"), 0o644))
	must(t, os.Link(path, second))
	d := artifacts.DigestOf([]byte("content"))
	must(t, s.Adopt(ctx, path, d))
	must(t, os.WriteFile(second, []byte("changed"), 0o644))
	if got := storetest.Get(t, s, d); string(got) != "content" {
		t.Errorf("blob is %q", got)
	}
	wantExists(t, path, false)
}

func TestAdoptRefuses(t *testing.T) {
	s := openTest(t)
	dir, err := s.TempDir("stage-")
	must(t, err)
	d := artifacts.DigestOf([]byte("content"))
	link := filepath.Join(dir, "link")
	must(t, os.Symlink("/etc/hostname", link))
	for _, path := range []string{link, dir, filepath.Join(dir, "absent")} {
		if err := s.Adopt(ctx, path, d); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Adopt of %s: %v", path, err)
		}
	}
	storetest.Absent(t, s, d)
	if elsewhere, err := os.MkdirTemp("/dev/shm", "adopt"); err == nil {
		defer os.RemoveAll(elsewhere)
		path := filepath.Join(elsewhere, "output")
		must(t, os.WriteFile(path, []byte("content"), 0o644))
		if err := s.Adopt(ctx, path, d); !errors.Is(err, syscall.EXDEV) || !strings.Contains(err.Error(), "TempDir") {
			t.Errorf("Adopt from another file system: %v", err)
		}
		storetest.Absent(t, s, d)
	}
}

func TestTempDirPatterns(t *testing.T) {
	s := openTest(t)
	if _, err := s.TempDir("a/b"); err == nil {
		t.Error("pattern with a separator: no error")
	}
	dir, err := s.TempDir("stage-*-out")
	must(t, err)
	if base := filepath.Base(dir); !strings.HasPrefix(base, "stage-") || !strings.HasSuffix(base, "-out") || filepath.Dir(dir) != s.path("tmp") {
		t.Errorf("TempDir is %s", dir)
	}
	must(t, os.WriteFile(filepath.Join(s.path("tmp"), "stray"), nil, 0o644))
	if n, err := s.CleanTemp(ctx); err != nil || n != 1 {
		t.Errorf("CleanTemp removed %d, %v, want the stray file", n, err)
	}
}

func TestMaterialise(t *testing.T) {
	s, err := Open(t.TempDir(), Options{LinkAbove: 1000})
	must(t, err)
	defer s.Close()
	small, large := storetest.Random(1000, 1), storetest.Random(1001, 2)
	must(t, putBytes(s, small))
	must(t, putBytes(s, large))
	out := filepath.Join(t.TempDir(), "out", "pipeline", "stage")
	make := func(b []byte, name string, want bool) {
		t.Helper()
		dest := filepath.Join(out, name)
		changed, err := s.Materialise(ctx, artifacts.DigestOf(b), dest)
		if err != nil || changed != want {
			t.Errorf("Materialise of %s: %v, %v, want %v", name, changed, err, want)
		}
		if got, err := os.ReadFile(dest); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s has other content, %v", name, err)
		}
	}
	tamper := func(b []byte, name string, f func(path string)) {
		t.Helper()
		f(filepath.Join(out, name))
		make(b, name, true)
		make(b, name, false)
	}
	for name, b := range map[string][]byte{"small.arrow": small, "large.arrow": large} {
		make(b, name, true)
		make(b, name, false)
		tamper(b, name, func(path string) { must(t, os.Remove(path)) })
		tamper(b, name, func(path string) {
			must(t, os.Remove(path))
			must(t, os.WriteFile(path, b[:500], 0o644))
		})
		tamper(b, name, func(path string) {
			must(t, os.Remove(path))
			must(t, os.Symlink("/nowhere", path))
		})
	}
	tamper(small, "small.arrow", func(path string) { flip(t, path) })
	tamper(small, "small.arrow", func(path string) {
		must(t, os.Remove(path))
		must(t, os.Link(s.blobPath(artifacts.DigestOf(small).Hex()), path))
	})
	make(large, "small.arrow", true) // the result is another one now
	make(small, "small.arrow", true)

	if info, err := os.Lstat(filepath.Join(out, "large.arrow")); err != nil || info.Mode()&os.ModeSymlink == 0 && !canClone(t, s, out) {
		t.Errorf("the large one is %v, %v, want a symbolic link", info.Mode(), err)
	}
	info, err := os.Lstat(filepath.Join(out, "small.arrow"))
	must(t, err)
	if st := info.Sys().(*syscall.Stat_t); st.Nlink != 1 || info.Mode()&0o600 != 0o600 {
		t.Errorf("the small one has %d names and mode %v", st.Nlink, info.Mode())
	}
	if left, err := os.ReadDir(out); err != nil || len(left) != 2 {
		t.Errorf("left beside them: %v, %v", left, err)
	}

	// What an editor does to the file does not reach the store.
	must(t, os.WriteFile(filepath.Join(out, "small.arrow"), []byte("edited"), 0o644))
	storetest.Get(t, s, artifacts.DigestOf(small))

	if _, err := s.Materialise(ctx, artifacts.DigestOf([]byte("absent")), filepath.Join(out, "x")); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("of an absent blob: %v", err)
	}
	if _, err := s.Materialise(ctx, artifacts.DigestOf(small), out); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("onto a directory: %v", err)
	}
}

func canClone(t *testing.T, s *Store, dir string) bool {
	t.Helper()
	dst, err := os.Create(filepath.Join(t.TempDir(), "clone"))
	must(t, err)
	defer dst.Close()
	src, err := os.Open(s.blobPath(artifacts.DigestOf(storetest.Random(1000, 1)).Hex()))
	must(t, err)
	defer src.Close()
	return cloneFile(src, dst) == nil
}

// TestMaterialiseInexact: the copy made within a tick is read once more, and
// then no more.
func TestMaterialiseInexact(t *testing.T) {
	s := inexact(openTest(t))
	must(t, putBytes(s, []byte("blob")))
	d := artifacts.DigestOf([]byte("blob"))
	dest := filepath.Join(t.TempDir(), "file")
	for i := range 2 {
		if changed, err := s.Materialise(ctx, d, dest); err != nil || changed != (i == 0) {
			t.Errorf("time %d: changed %v, %v", i, changed, err)
		}
	}
	must(t, os.WriteFile(dest, []byte("Blob"), 0o644))
	if changed, err := s.Materialise(ctx, d, dest); err != nil || !changed {
		t.Errorf("tampered with: changed %v, %v", changed, err)
	}
}

// TestEveryOperationFailsOnce: whichever file operation fails, nothing half is
// visible, nothing is left in tmp/, and a second attempt succeeds.
func TestEveryOperationFailsOnce(t *testing.T) {
	big := storetest.Random(256<<10+1, 1) // two writes
	broken := errors.New("injected")
	work := map[string]func(*Store, string) error{
		"put": func(s *Store, _ string) error { return putBytes(s, big) },
		"adopt": func(s *Store, dir string) error {
			path := filepath.Join(dir, "output")
			if err := os.WriteFile(path, big, 0o644); err != nil {
				return err
			}
			return s.Adopt(ctx, path, artifacts.DigestOf(big))
		},
		"publish": func(s *Store, _ string) error {
			m := artifacts.Manifest{Format: artifacts.ManifestFormat, Request: artifacts.Request{Kind: "test"}}
			m.Key, _ = m.Request.Key()
			m.Outputs = map[string]artifacts.Output{"table": {Digest: artifacts.DigestOf(big), Bytes: int64(len(big))}}
			if err := putBytes(s, big); err != nil {
				return err
			}
			_, err := artifacts.Publish(ctx, s, m)
			return err
		},
		"replace": func(s *Store, _ string) error {
			return s.PutAction(ctx, storetest.Key("replace"), artifacts.ActionResult{ExitCode: 1}.Encode(), true)
		},
		"materialise": func(s *Store, dir string) error {
			if err := putBytes(s, big); err != nil {
				return err
			}
			_, err := s.Materialise(ctx, artifacts.DigestOf(big), filepath.Join(dir, "out", "file"))
			return err
		},
		"lease": func(s *Store, _ string) error {
			l, err := s.Lease(ctx, "run")
			if err != nil {
				return err
			}
			defer l.Close()
			return l.Keep(ctx, artifacts.DigestOf(big))
		},
	}
	for name, do := range work {
		t.Run(name, func(t *testing.T) {
			seen := map[string]bool{}
			for n := 1; ; n++ {
				count := 0
				var failed string
				s, err := open(t.TempDir(), Options{}, func(op, path string) error {
					if count++; count == n {
						failed = op
						return fmt.Errorf("%s: %w", op, broken)
					}
					return nil
				})
				must(t, err)
				dir := t.TempDir()
				err = do(s, dir)
				if failed == "" { // fewer than n operations
					must(t, err)
					break
				}
				seen[failed] = true
				if !errors.Is(err, broken) {
					t.Errorf("operation %d, %s, fails: %v", n, failed, err)
				}
				checkWhole(t, s, dir, len(big))
				if err := do(s, dir); err != nil {
					t.Errorf("after operation %d, %s, failed, a second attempt: %v", n, failed, err)
				}
				checkWhole(t, s, dir, len(big))
				must(t, s.Close())
				if left, err := os.ReadDir(s.path("tmp")); err != nil || len(left) > 0 {
					t.Errorf("operation %d, %s, fails: left %v, %v", n, failed, left, err)
				}
			}
			t.Logf("each failed once: %v", seen)
		})
	}
}

// checkWhole checks that all that is visible is whole.
func checkWhole(t *testing.T, s *Store, dir string, size int) {
	t.Helper()
	report, err := s.Verify(ctx, VerifyOptions{})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("the store: %+v, %v", report.Problems, err)
	}
	if u, err := s.Usage(ctx); err != nil || u.Quarantine.Files > 0 {
		t.Errorf("usage: %+v, %v", u, err)
	}
	left, err := os.ReadDir(s.path("tmp"))
	must(t, err)
	for _, e := range left {
		if inside, _ := os.ReadDir(filepath.Join(s.path("tmp"), e.Name())); len(inside) > 0 {
			t.Errorf("left in tmp: %v", inside)
		}
	}
	outs, _ := os.ReadDir(filepath.Join(dir, "out"))
	for _, e := range outs {
		info, err := e.Info()
		if err != nil || e.Name() != "file" || info.Size() != int64(size) {
			t.Errorf("in out: %s of %d bytes, %v", e.Name(), info.Size(), err)
		}
	}
}

// TestFullDisk runs on a file system of one megabyte.
func TestFullDisk(t *testing.T) {
	mnt := t.TempDir()
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=300", "tmpfs", mnt).Run(); err != nil {
		t.Skipf("no small file system to fill, mounting is not permitted: %v", err)
	}
	defer func() { must(t, exec.Command("umount", "-l", mnt).Run()) }()
	s, err := Open(filepath.Join(mnt, "cache"), Options{})
	must(t, err)
	defer s.Close()
	before := storetest.Random(100_000, 1)
	must(t, putBytes(s, before))

	const move = "move the cache with --cache DIR"
	check := func(what, remedy string, err error) {
		t.Helper()
		var full *SpaceError
		if !errors.As(err, &full) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%s on a full disk: %v", what, err)
		}
		if !strings.Contains(err.Error(), "free space or "+remedy) || !strings.Contains(err.Error(), mnt) {
			t.Errorf("%s: error without place and remedy: %v", what, err)
		}
		checkWhole(t, s, mnt, 0)
	}
	check("Put", move, putBytes(s, storetest.Random(2<<20, 2)))
	_, err = s.Materialise(ctx, artifacts.DigestOf(before), filepath.Join(mnt, "fits"))
	must(t, err) // the failed Put gave its space back

	filler := filepath.Join(mnt, "filler")
	f, err := os.Create(filler)
	must(t, err)
	_, err = io.Copy(f, zeros{})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	f.Close()
	check("Put of little", move, putBytes(s, storetest.Random(5000, 3)))
	check("PutAction", move, s.PutAction(ctx, storetest.Key("x"), storetest.Random(5000, 4), false))
	_, err = s.Materialise(ctx, artifacts.DigestOf(before), filepath.Join(mnt, "out", "copy"))
	check("Materialise", "write the results elsewhere with --out DIR", err)
	if _, err := s.Verified(ctx, artifacts.DigestOf(before)); err != nil {
		t.Errorf("reading from a full disk: %v", err)
	}
	must(t, os.Remove(filler))
	must(t, putBytes(s, storetest.Random(5000, 3)))

	// Another way to be full: no more inodes.
	for i := 0; err == nil || i == 0; i++ {
		var f *os.File
		if f, err = os.Create(filepath.Join(mnt, fmt.Sprint("inode", i))); err == nil {
			f.Close()
		}
	}
	check("Put without inodes", move, putBytes(s, []byte("new")))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(t.TempDir(), Options{LinkAbove: -1}); err == nil {
		t.Error("negative LinkAbove: no error")
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o644))
	if _, err := Open(file, Options{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file as the directory: %v", err)
	}
}

// TestReadOnlyStore: who may not write can still use what is there.
func TestReadOnlyStore(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write anywhere")
	}
	s := openTest(t)
	keys := fill(t, s, 1)
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(s.actionPath(keys[0]), old, old))
	must(t, os.Chmod(filepath.Dir(s.actionPath(keys[0])), 0o555))
	defer func() { must(t, os.Chmod(filepath.Dir(s.actionPath(keys[0])), 0o777)) }()
	if _, err := artifacts.Lookup(ctx, s, keys[0]); err != nil {
		t.Error(err)
	}
}

// TestCancelledWait: nothing waits longer than its context.
func TestCancelledWait(t *testing.T) {
	s := openTest(t)
	held, err := tryLock(s.path("state", "gc.lock"), exclusive)
	must(t, err)
	defer held.unlock()
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := s.Lease(short, "run")
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Lease: %v", err)
	}
}

// A link in the place of a lock leads nowhere: whoever put it there could else have
// another user's file opened to the group, or the user wait for ever.
func TestLockThatIsALink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "lock")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if l, err := tryLock(link, exclusive); err == nil {
		t.Errorf("locked: %v", l)
	}
	if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link was followed: %v", err)
	}
}
