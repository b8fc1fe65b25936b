package fileshare

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

var ctx = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openDriver(t testing.TB, dir string) *Driver {
	t.Helper()
	d, err := New("file://" + dir)
	must(t, err)
	return d
}

// object is the name of a blob, and the blob.
func object(text string) (name string, b []byte) {
	b = []byte(text)
	return "cas/" + artifacts.DigestOf(b).Hex(), b
}

func put(d *Driver, name string, b []byte) error {
	return d.Write(ctx, name, remotetest.Bytes(b), true)
}

func get(ctx context.Context, d *Driver, name string) ([]byte, error) {
	r, err := d.Read(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func wantObject(t *testing.T, d *Driver, name string, want []byte) {
	t.Helper()
	if got, err := get(ctx, d, name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
	}
}

// wantNoUploads checks that nothing unfinished is left.
func wantNoUploads(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(dir, uploads))
	if err != nil && !os.IsNotExist(err) || len(left) > 0 {
		t.Errorf("unfinished objects are left: %v, %v", left, err)
	}
}

func TestDriver(t *testing.T) {
	dir := t.TempDir()
	remotetest.Run(t, func(t *testing.T) remote.Driver { return openDriver(t, dir) })
	wantNoUploads(t, dir)
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) artifacts.Store {
		s, err := remote.New(openDriver(t, t.TempDir()), remote.Options{})
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		return s
	})
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"file:///mnt/share/prismflow":        "/mnt/share/prismflow",
		"file:///mnt/share/prismflow/":       "/mnt/share/prismflow",
		"file:///mnt//a/../b%20c":            "/mnt/b c",
		"file:///mnt/50%25%3f":               "/mnt/50%?",
		"file:/mnt/share":                    "/mnt/share",
		"":                                   "write file:///abs/path",
		"/mnt/share":                         "write file:///abs/path",
		"s3://bucket":                        "write file:///abs/path",
		"file://":                            "no absolute path",
		"file:share":                         "no absolute path",
		"file://share/prismflow":             "names a host",
		"file://ann:hush@/share":             "names a host",
		"file://localhost/share":             "names a host",
		"file:///mnt/share?password=hush":    "takes nothing after its path",
		"file:///mnt/share#x":                "takes nothing after its path",
		"file:///":                           "root directory",
		"file:///mnt/..":                     "root directory",
		"file:///a%00b":                      "zero byte",
		"file:///a%zz":                       "cannot be read",
		"file://ann:hush%zz@server/cache%zz": "cannot be read",
	} {
		d, err := New(url)
		switch {
		case err == nil:
			again, err := New(d.String())
			if d.dir != want || err != nil || again.dir != want {
				t.Errorf("New(%q) is %s, %q, want %q", url, d, d.dir, want)
			}
		case !strings.Contains(err.Error(), want) || strings.HasPrefix(want, "/"):
			t.Errorf("New(%q): %v, want %q", url, err, want)
		case strings.Contains(err.Error(), "hush"):
			t.Errorf("New(%q) tells a password: %v", url, err)
		}
	}
}

func TestLocations(t *testing.T) {
	for name, want := range map[string]string{
		"cas/0123": "cas/01/0123", "ac/ffee": "ac/ff/ffee", "ac/Xyz": "ac/Xy/Xyz",
		"": "", "cas": "", "cas/": "", "cas/01": "", "/0123": "", "cas/01/0123": "", "../0123": "", "cas/...": "", "cas/0123.zst": "",
		"tmp/0123": "", "cas/a b": "", "cas/ab\x00": "", "cas/äbc": "", "cas/" + strings.Repeat("a", 201): "",
	} {
		got, err := location(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("location(%q) is %q, %v, want %q", name, got, err, want)
		}
	}
	d := openDriver(t, t.TempDir())
	for what, err := range map[string]error{
		"Stat":  func() error { _, err := d.Stat(ctx, "../x"); return err }(),
		"Read":  func() error { _, err := d.Read(ctx, "../x", 0, -1); return err }(),
		"Write": put(d, "../x", nil),
	} {
		if err == nil || !strings.Contains(err.Error(), `"../x"`) {
			t.Errorf("%s outside: %v", what, err)
		}
	}
	if err := d.Write(ctx, "cas/abcd", remote.Content{Size: -1}, true); err == nil {
		t.Error("Write of a negative size: no error")
	}
}

// TestDirectoryOfADiskStore: a share may be somebody's cache directory, whose
// housekeeping leaves alone what is on its way.
func TestDirectoryOfADiskStore(t *testing.T) {
	dir := t.TempDir()
	s, err := disk.Open(dir, disk.Options{})
	must(t, err)
	defer s.Close()
	d := openDriver(t, dir)
	name, b := object("stored by the disk store")
	storetest.Put(t, s, b)
	wantObject(t, d, name, b)

	over, err := remote.New(d, remote.Options{})
	must(t, err)
	m := storetest.Manifest(t, over, 1, map[string][]byte{"table": []byte("stored over the share"), "compressible": make([]byte, 1<<20)})
	_, err = artifacts.Publish(ctx, over, m)
	must(t, err)
	if _, err := artifacts.Lookup(ctx, s, m.Key); err != nil {
		t.Errorf("Lookup in the disk store: %v", err)
	}
	u, err := d.begin("cas/ab/abcd", true)
	must(t, err)
	if _, err := s.GC(ctx, disk.GCOptions{}); err != nil {
		t.Error(err)
	}
	must(t, u.finish())
	if report, err := s.Verify(ctx, disk.VerifyOptions{}); err != nil || len(report.Problems) > 0 || report.Actions != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestUseOfActions: who cleans up goes by when an action was last looked up.
func TestUseOfActions(t *testing.T) {
	dir := t.TempDir()
	d := openDriver(t, dir)
	must(t, put(d, "ac/1234", []byte("action")))
	must(t, put(d, "cas/1234", []byte("blob")))
	for _, test := range []struct {
		at      string
		age     time.Duration
		touched bool
	}{{"ac/12/1234", 2 * usedEvery, true}, {"ac/12/1234", -2 * usedEvery, true}, {"ac/12/1234", usedEvery / 2, false}, {"cas/12/1234", 2 * usedEvery, false}} {
		before := time.Now().Add(-test.age).Truncate(time.Second)
		must(t, os.Chtimes(filepath.Join(dir, test.at), before, before))
		_, err := get(ctx, d, strings.Replace(test.at, "/12/", "/", 1))
		must(t, err)
		info, err := os.Stat(filepath.Join(dir, test.at))
		must(t, err)
		if touched := !info.ModTime().Equal(before); touched != test.touched {
			t.Errorf("%s, %v old: touched %v", test.at, test.age, touched)
		}
	}
}

func TestAbsentShare(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mnt", "share")
	d := openDriver(t, dir)
	name, b := object("b")
	for what, err := range map[string]error{
		"Stat":  func() error { _, err := d.Stat(ctx, name); return err }(),
		"Read":  func() error { _, err := get(ctx, d, name); return err }(),
		"Write": put(d, name, b),
	} {
		if err == nil || errors.Is(err, artifacts.ErrNotFound) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "mount the share") {
			t.Errorf("%s on a share that is not there: %v", what, err)
		}
	}
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory was made: %v", err)
	}

	must(t, os.MkdirAll(filepath.Join(dir, "lost+found"), 0o777)) // an empty file system
	if _, err := d.Stat(ctx, name); !errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("Stat on an empty share: %v, want ErrNotFound", err)
	}
	must(t, put(d, name, b))
	wantObject(t, d, name, b)
}

func TestOtherDirectory(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o666))
	d := openDriver(t, dir)
	name, b := object("b")
	if err := put(d, name, b); err == nil || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("Write into somebody's directory: %v", err)
	}
	if _, err := d.Stat(ctx, name); err == nil || errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("Stat in somebody's directory: %v", err)
	}
	file := openDriver(t, filepath.Join(dir, "thesis.tex"))
	if _, err := file.Stat(ctx, name); err == nil || errors.Is(err, artifacts.ErrNotFound) {
		t.Errorf("Stat on a file: %v, want an error", err)
	}
}

// TestHostileShare: whoever else may write to the share can make us neither read
// nor write outside of it, nor wait.
func TestHostileShare(t *testing.T) {
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "abcd"), []byte("secret"), 0o666))
	pipe := func(path string) error { return syscall.Mkfifo(path, 0o666) }
	directory := func(path string) error { return os.Mkdir(path, 0o777) }
	link := func(to string) func(string) error { return func(path string) error { return os.Symlink(to, path) } }
	for what, test := range map[string]struct {
		at    string // what is in place of this
		plant func(path string) error
	}{
		"pipe as an object":        {"cas/ab/abcd", pipe},
		"directory as an object":   {"cas/ab/abcd", directory},
		"link as an object":        {"cas/ab/abcd", link(filepath.Join(outside, "abcd"))},
		"link to nothing":          {"cas/ab/abcd", link(filepath.Join(outside, "absent"))},
		"link within the share":    {"cas/ab/abcd", link("../cd/cdef")},
		"link as a directory":      {"cas/ab", link(outside)},
		"pipe as a directory":      {"cas/ab", pipe},
		"link as all of cas":       {"cas", link(outside)},
		"link where uploads begin": {uploads, link(outside)},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			d := openDriver(t, dir)
			must(t, put(d, "cas/cdef", []byte("another")))
			at := filepath.Join(dir, test.at)
			must(t, os.RemoveAll(at))
			must(t, os.MkdirAll(filepath.Dir(at), 0o777))
			must(t, test.plant(at))

			limited, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if test.at != uploads {
				if _, err := d.Stat(limited, "cas/abcd"); err == nil || errors.Is(err, artifacts.ErrNotFound) {
					t.Errorf("Stat: %v, want an error", err)
				}
				if b, err := get(limited, d, "cas/abcd"); err == nil || errors.Is(err, artifacts.ErrNotFound) {
					t.Errorf("Read: %q, %v, want an error", b, err)
				}
			}
			if err := d.Write(limited, "cas/abcd", remotetest.Bytes([]byte("ours")), true); err == nil || errors.Is(err, remote.ErrExists) {
				t.Errorf("Write: %v, want an error", err)
			}
			if limited.Err() != nil {
				t.Error("it hung")
			}
			names, err := os.ReadDir(outside)
			if b, rerr := os.ReadFile(filepath.Join(outside, "abcd")); err != nil || rerr != nil || len(names) != 1 || string(b) != "secret" {
				t.Errorf("outside there now is %v, with %q", names, b)
			}
		})
	}
}

func TestReadOfMissingBytes(t *testing.T) {
	d := openDriver(t, t.TempDir())
	name, b := object("ten bytes!")
	must(t, put(d, name, b))
	for _, r := range [][2]int64{{0, 11}, {5, 6}, {10, 1}} {
		body, err := d.Read(ctx, name, r[0], r[1])
		must(t, err)
		got, err := io.ReadAll(body)
		if !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != string(b[r[0]:]) {
			t.Errorf("%d bytes from %d on: %q, %v", r[1], r[0], got, err)
		}
		must(t, body.Close())
		if _, err := body.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("Read after Close: %v", err)
		}
	}
	for _, offset := range []int64{-1, 11} {
		if _, err := d.Read(ctx, name, offset, -1); err == nil {
			t.Errorf("Read from %d on: no error", offset)
		}
	}
}

// TestClean: what dead writers left goes by the share's clock, whatever ours says.
func TestClean(t *testing.T) {
	dir := t.TempDir()
	must(t, put(openDriver(t, dir), "cas/first", nil))
	leave := func(name string, age time.Duration) string {
		at := filepath.Join(dir, uploads, name)
		must(t, os.WriteFile(at, []byte("half"), 0o666))
		must(t, os.Chtimes(at, time.Now().Add(-age), time.Now().Add(-age)))
		return at
	}
	dead, living := leave("dead", deadAfter+time.Hour), leave("living", deadAfter-time.Hour)
	ahead := leave("ahead", -deadAfter*2) // by a host that sets times of its own
	must(t, os.Mkdir(filepath.Join(dir, uploads, "directory"), 0o777))
	must(t, put(openDriver(t, dir), "cas/second", nil))
	for path, want := range map[string]bool{dead: false, living: true, ahead: true, filepath.Join(dir, uploads, "directory"): true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", path, err == nil, want)
		}
	}
}

// TestWriterTakenForDead hears that its file is gone, and may begin anew.
func TestWriterTakenForDead(t *testing.T) {
	dir := t.TempDir()
	for _, ifAbsent := range []bool{true, false} {
		d := openDriver(t, dir)
		u, err := d.begin("cas/ab/abcd", ifAbsent)
		must(t, err)
		must(t, os.Remove(filepath.Join(dir, u.temp)))
		if err := u.finish(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("if absent %v: %v", ifAbsent, err)
		}
		u.drop()
		if _, err := d.Stat(ctx, "cas/abcd"); !errors.Is(err, artifacts.ErrNotFound) {
			t.Errorf("Stat: %v", err)
		}
	}
}

func TestModes(t *testing.T) {
	for _, test := range []struct {
		what            string
		share           fs.FileMode
		umask           int
		dir, blob, acts fs.FileMode
	}{
		{"private", 0o700, 0o077, 0o700, 0o400, 0o600},
		{"for all to read", 0o755, 0o022, 0o755, 0o444, 0o644},
		{"shared", 0o775 | fs.ModeSetgid, 0o022, 0o775 | fs.ModeSetgid, 0o444, 0o664},
		{"shared, closed to others", 0o770 | fs.ModeSetgid, 0o077, 0o770 | fs.ModeSetgid, 0o440, 0o660},
	} {
		t.Run(test.what, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.Chmod(dir, test.share))
			old := syscall.Umask(test.umask)
			defer syscall.Umask(old)
			d := openDriver(t, dir)
			must(t, put(d, "cas/abcd", []byte("blob")))
			must(t, put(d, "ac/abcd", []byte("action")))
			for at, want := range map[string]fs.FileMode{"cas": test.dir, "cas/ab": test.dir, uploads: test.dir, "cas/ab/abcd": test.blob, "ac/ab/abcd": test.acts} {
				info, err := os.Stat(filepath.Join(dir, at))
				must(t, err)
				if got := info.Mode() & (fs.ModePerm | fs.ModeSetgid); got != want {
					t.Errorf("%s has %v, want %v", at, got, want)
				}
			}
		})
	}
}

// TestAnswerLost: what an NFS server did and, asked again, cannot do is done.
func TestAnswerLost(t *testing.T) {
	d := openDriver(t, t.TempDir())
	must(t, put(d, "cas/ab00", nil)) // its directory is there
	for _, ifAbsent := range []bool{true, false} {
		u, err := d.begin("cas/ab/abcd", ifAbsent)
		must(t, err)
		if ifAbsent {
			must(t, u.share.Link(u.temp, u.at))
		} else {
			must(t, u.share.Rename(u.temp, u.at))
		}
		if err := u.place(); err != nil {
			t.Errorf("if absent %v: %v", ifAbsent, err)
		}
		u.drop()
	}
}
