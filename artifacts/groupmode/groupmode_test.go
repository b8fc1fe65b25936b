package groupmode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// strangerVar tells the test binary that it was started by TestStranger, and the
// directory.
const strangerVar = "GROUPMODE_TEST_STRANGER"

func TestMain(m *testing.M) {
	dir := os.Getenv(strangerVar)
	if dir == "" {
		os.Exit(m.Run())
	}
	syscall.Umask(0o027)
	f, err := os.Create(filepath.Join(dir, "file"))
	if err == nil {
		Share(f)
		err = errors.Join(f.Close(), Mkdir(filepath.Join(dir, "dir")))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// withUmask sets the process's umask for one test; none of this package is parallel.
func withUmask(t *testing.T, mask int) {
	t.Helper()
	old := syscall.Umask(mask)
	t.Cleanup(func() { syscall.Umask(old) })
}

func dirWith(t *testing.T, mode fs.FileMode) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode() & (fs.ModePerm | fs.ModeSetgid)
}

func TestModes(t *testing.T) {
	const setgid = fs.ModeSetgid
	for _, test := range []struct {
		what      string
		parent    fs.FileMode
		umask     int
		dir, file fs.FileMode
	}{
		{"private", 0o755, 0o022, 0o755, 0o644},
		{"private, closed umask", 0o700, 0o077, 0o700, 0o600},
		{"setgid", 0o775 | setgid, 0o022, 0o775 | setgid, 0o664},
		{"setgid, group may only read so far", 0o755 | setgid, 0o022, 0o775 | setgid, 0o664},
		{"setgid, open umask", 0o775 | setgid, 0o002, 0o775 | setgid, 0o664},
		{"setgid, closed umask", 0o770 | setgid, 0o077, 0o770 | setgid, 0o660},
		{"writable", 0o775, 0o022, 0o775 | setgid, 0o664},
		{"like /tmp", 0o777 | fs.ModeSticky, 0o022, 0o755, 0o644},
	} {
		t.Run(test.what, func(t *testing.T) {
			parent := dirWith(t, test.parent)
			withUmask(t, test.umask)
			dir := filepath.Join(parent, "a", "b")
			if err := MkdirAll(dir); err != nil {
				t.Fatal(err)
			}
			for _, made := range []string{dir, filepath.Dir(dir)} {
				if got := modeOf(t, made); got != test.dir {
					t.Errorf("%s has %v, want %v", made, got, test.dir)
				}
			}
			f, err := os.OpenFile(filepath.Join(dir, "f"), os.O_CREATE|os.O_WRONLY, 0o666)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			Share(f)
			if got := modeOf(t, f.Name()); got != test.file {
				t.Errorf("file has %v, want %v", got, test.file)
			}
		})
	}
}

// A link that somebody of the group put where a file is to be does not open what
// it leads to.
func TestLinksAreNotShared(t *testing.T) {
	for name, link := range map[string]func(from, to string) error{"symbolic": os.Symlink, "hard": os.Link} {
		top := t.TempDir()
		shared, private := filepath.Join(top, "shared"), filepath.Join(top, "key")
		if err := os.Mkdir(shared, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(shared, 0o775|fs.ModeSetgid); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(private, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(shared, "lock")
		if err := link(private, at); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(at, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		Share(f)
		f.Close()
		if got := modeOf(t, private); got != 0o600 {
			t.Errorf("%s link: the private file has %v", name, got)
		}
	}
}

// TestManyMakeOneDirectory: nobody ever sees one that is not as it will stay.
func TestManyMakeOneDirectory(t *testing.T) {
	parent := dirWith(t, 0o775|fs.ModeSetgid)
	withUmask(t, 0o022)
	dir := filepath.Join(parent, "a", "b")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := MkdirAll(dir); err != nil {
				t.Error(err)
			}
			if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o775 {
				t.Errorf("seen as %v, %v", info.Mode(), err)
			}
		})
	}
	wg.Wait()
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if err := Mkdir(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Mkdir of what is there: %v", err)
	}
}

func TestMkdirAllErrors(t *testing.T) {
	parent := dirWith(t, 0o775|fs.ModeSetgid)
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if err := MkdirAll(dir); err == nil {
			t.Errorf("MkdirAll(%s): no error", dir)
		}
	}
}

func TestShareExisting(t *testing.T) {
	parent := dirWith(t, 0o775|fs.ModeSetgid)
	old := filepath.Join(parent, "old")
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	ShareExisting(old)
	if got := modeOf(t, old); got != 0o770|fs.ModeSetgid {
		t.Errorf("%v", got)
	}
	ShareExisting(filepath.Join(parent, "absent")) // does nothing
	private := filepath.Join(dirWith(t, 0o755), "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	ShareExisting(private)
	if got := modeOf(t, private); got != 0o700 {
		t.Errorf("private: %v", got)
	}
}

// TestStranger: whoever may write to a directory and is not of its group opens
// nothing to a group of his own.
func TestStranger(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	dir, err := os.MkdirTemp("", "stranger-") // unlike t.TempDir, for others to enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	open, exe := filepath.Join(dir, "open"), filepath.Join(dir, "test")
	binary, err := os.ReadFile(os.Args[0])
	if err := errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(exe, binary, 0o755), os.Mkdir(open, 0o777), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}}
	cmd.Env = append(os.Environ(), strangerVar+"="+open)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]fs.FileMode{"file": 0o640, "dir": 0o750} {
		if got := modeOf(t, filepath.Join(open, name)); got != want {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
	}
}
