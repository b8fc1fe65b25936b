// Package claim gives a finished file, or directory, its name unless something
// has that name already. Of several processes that try at once, also on several
// hosts, one wins.
//
//	err := claim.Link(root, "tmp/x", "ac/12/1234") // fs.ErrExist: somebody was first
//
// It takes paths within an os.Root and syncs nothing.
package claim

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// Link gives the file at from the name to as well, unless something has that
// name: then the error is fs.ErrExist. The caller removes from, which may be gone.
//
// link(2) does so in one step on every file system that has it. An error of it
// does not always mean that it was not done: where the answer of an NFS server
// is lost, the client asks again and hears that the name is taken. So whether to
// is our file decides. File systems without links rename (see Rename).
func Link(root *os.Root, from, to string) error {
	err := root.Link(from, to)
	if err == nil || sameFile(root, from, to) {
		return nil
	}
	if noLinks(err) {
		return Rename(root, from, to)
	}
	return err
}

func sameFile(root *os.Root, a, b string) bool {
	have, err := root.Lstat(a)
	if err != nil {
		return false
	}
	want, err := root.Lstat(b)
	return err == nil && os.SameFile(have, want)
}

// noLinks says whether a file system refuses links as such: those of Windows'
// kind do, and AFS does from one directory to another.
func noLinks(err error) bool {
	for _, refusal := range []error{syscall.EPERM, syscall.ENOTSUP, syscall.ENOSYS, syscall.EXDEV, syscall.EMLINK} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// Rename gives what is at from the name to instead, unless something has that
// name: then the error is fs.ErrExist. Where neither the system nor the file
// system can do that in one step, it looks first, and two who do so at the same
// moment may both believe that they won.
func Rename(root *os.Root, from, to string) error {
	err := renameNew(root, from, to)
	if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	if _, err := root.Lstat(to); err == nil {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	}
	return root.Rename(from, to)
}

// inParents opens the directories of two paths for system calls that go by
// descriptors, as those do that package os lacks.
func inParents(root *os.Root, from, to string, call func(fromDir int, from string, toDir int, to string) error) error {
	fromDir, err := root.Open(path.Dir(from))
	if err != nil {
		return err
	}
	defer fromDir.Close()
	toDir, err := root.Open(path.Dir(to))
	if err != nil {
		return err
	}
	defer toDir.Close()
	if err := call(int(fromDir.Fd()), path.Base(from), int(toDir.Fd()), path.Base(to)); err != nil {
		return &fs.PathError{Op: "rename", Path: to, Err: err}
	}
	return nil
}
