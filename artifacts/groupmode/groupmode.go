// Package groupmode lets the members of a group work in one directory whatever
// their umask is. A directory is shared when it hands its group down (setgid), or
// when its group may write to it. What is made in a shared directory is its
// group's, which may do with it what its owner may.
//
//	err := groupmode.MkdirAll(dir)           // os.MkdirAll(dir, 0o777), and shared as its parent is
//	f, err := os.CreateTemp(dir, "record-*") // 0600 by itself
//	groupmode.Share(f)                       // 0660 in a shared directory
//
// In any other directory all is as the umask says. The package makes no
// directory shared that is not made in a shared one: chgrp and chmod g+ws do.
package groupmode

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/prismflow/prismflow/artifacts/internal/claim"
)

// Shared says whether a directory is shared by its group. One like /tmp is not,
// in which strangers keep what is theirs (sticky).
func Shared(dir fs.FileInfo) bool {
	if !dir.IsDir() {
		return false
	}
	return dir.Mode()&fs.ModeSetgid != 0 || dir.Mode().Perm()&0o020 != 0 && dir.Mode()&fs.ModeSticky == 0
}

// MkdirAll makes a directory and those above it that are absent, as os.MkdirAll
// does with 0o777.
func MkdirAll(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	err = Mkdir(dir)
	if errors.Is(err, fs.ErrExist) {
		if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() {
			return nil // somebody else made it
		}
	}
	return err
}

// Mkdir makes a directory, as os.Mkdir does with 0o777.
func Mkdir(dir string) error {
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if errors.Is(err, fs.ErrPermission) {
		return os.Mkdir(dir, 0o777) // one that we may enter and not list
	}
	if err == nil {
		defer parent.Close()
		err = MkdirIn(parent, filepath.Base(dir))
	}
	var inner *fs.PathError // whose path is within parent
	if errors.As(err, &inner) {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: inner.Err}
	}
	return err
}

// MkdirIn makes the directory of a name in parent. In a shared parent it gets
// its final name last: else somebody could find it there and not be allowed to
// write to it yet.
func MkdirIn(parent *os.Root, name string) error {
	info, err := parent.Stat(".")
	if err != nil {
		return err
	}
	if !Shared(info) {
		return parent.Mkdir(name, 0o777)
	}
	made := "." + name + "-" + rand.Text()
	if err := parent.Mkdir(made, 0o777); err != nil {
		return err
	}
	shareDir(parent, made, info)
	if err := claim.Rename(parent, made, name); err != nil {
		_ = parent.Remove(made) // an empty directory: a nuisance at most
		return err
	}
	return nil
}

// shareDir shares a directory as its parent is. File systems that have modes of
// their own may refuse; whoever then may not write is told so.
func shareDir(root *os.Root, name string, parent fs.FileInfo) {
	made, err := root.Lstat(name)
	if err != nil {
		return
	}
	if group(made) != group(parent) && root.Lchown(name, -1, group(parent)) != nil {
		return // what is another group's is not opened to it
	}
	_ = root.Chmod(name, widened(made.Mode())|fs.ModeSetgid)
}

// widened is a mode in which the group may do what the owner may.
func widened(mode fs.FileMode) fs.FileMode {
	return mode&(fs.ModePerm|fs.ModeSetgid|fs.ModeSticky) | mode.Perm()&0o700>>3
}

func group(info fs.FileInfo) (gid int) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(st.Gid)
}

// Share shares an open file of ours, made just now, as its directory is. One of
// another user's, or one that the file system does not let us change, stays; so
// does one that has another name elsewhere: somebody else of the group may have put
// a link to a private file there.
func Share(f *os.File) {
	parent, err := os.Stat(filepath.Dir(f.Name()))
	if err == nil && liesAtItsName(f) {
		ShareIn(parent, f)
	}
}

// liesAtItsName says whether a file has the name by which it was opened and no
// other.
func liesAtItsName(f *os.File) bool {
	named, err := os.Lstat(f.Name())
	if err != nil {
		return false
	}
	made, err := f.Stat()
	if err != nil || !made.Mode().IsRegular() || !os.SameFile(named, made) {
		return false
	}
	st, ok := made.Sys().(*syscall.Stat_t)
	return !ok || st.Nlink == 1
}

// ShareIn is Share where the directory is known already.
func ShareIn(parent fs.FileInfo, f *os.File) {
	if !Shared(parent) {
		return
	}
	made, err := f.Stat()
	if err != nil || made.Mode() == widened(made.Mode()) && group(made) == group(parent) {
		return
	}
	if group(made) != group(parent) && f.Chown(-1, group(parent)) != nil {
		return
	}
	_ = f.Chmod(widened(made.Mode()))
}

// ShareExisting shares a directory of ours that was made before its parent was
// shared.
func ShareExisting(dir string) {
	root, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return
	}
	defer root.Close()
	parent, err := root.Stat(".")
	if err != nil || !Shared(parent) {
		return
	}
	made, err := root.Lstat(filepath.Base(dir))
	if err == nil && made.IsDir() && made.Mode().Perm() != widened(made.Mode()).Perm() {
		shareDir(root, filepath.Base(dir), parent)
	}
}
