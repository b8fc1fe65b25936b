package groupmode

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

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
