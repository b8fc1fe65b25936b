package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A fault decides, in tests, whether a file operation fails. The operations
// are those by which a file becomes visible: create, write, chmod, times, sync,
// mkdir, link, rename, syncdir, copy.
type fault func(op, path string) error

func (f fault) at(op, path string) error {
	if f == nil {
		return nil
	}
	return f(op, path)
}

// A SpaceError says that the disk, or the user's share of it, is full.
type SpaceError struct {
	Path   string // what was being written
	Remedy string // what to do about it
	Err    error
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("no space left on device while writing %s: free space or %s", e.Path, e.Remedy)
}

func (e *SpaceError) Unwrap() error { return e.Err }

func spaceError(err error, path string) error {
	var told *SpaceError
	if errors.As(err, &told) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &SpaceError{Path: path, Remedy: "move the cache with --cache DIR", Err: err}
	}
	return err
}

// A tempFile is a file on its way into the store or to a person: written
// under a temporary name beside or on the same file system as its final one.
type tempFile struct {
	f       *os.File
	fault   fault
	renamed bool // it has left its temporary name
}

// createTemp makes a file with a new name. Its mode is what the user's umask
// leaves: others share a store, or are kept from it, by that.
func createTemp(dir, prefix string, flt fault) (*tempFile, error) {
	t := &tempFile{fault: flt}
	path := filepath.Join(dir, prefix+rand.Text())
	err := inOrder(step{"create", func() (err error) {
		t.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		return err
	}}).run(flt, path)
	return t, err
}

// Write implements io.Writer.
func (t *tempFile) Write(p []byte) (int, error) {
	if err := t.fault.at("write", t.f.Name()); err != nil {
		n, _ := t.f.Write(p[:len(p)/2]) // as a full disk does it
		return n, spaceError(err, t.f.Name())
	}
	n, err := t.f.Write(p)
	return n, spaceError(err, t.f.Name())
}

var _ io.Writer = (*tempFile)(nil)

// finish gives the file its time and makes its content durable.
func (t *tempFile) finish(modified time.Time) error {
	name := t.f.Name()
	return inOrder(
		step{"times", func() error { return os.Chtimes(name, modified, modified) }},
		step{"sync", t.f.Sync},
	).run(t.fault, name)
}

// finishBlob is finish for a blob, which becomes hard to change by mistake.
func (t *tempFile) finishBlob(modified time.Time) error {
	protect := inOrder(step{"chmod", func() error { return t.f.Chmod(0o444) }})
	if err := protect.run(t.fault, t.f.Name()); err != nil {
		return err
	}
	return t.finish(modified)
}

// discard closes and removes the file; after it was renamed, it just closes.
func (t *tempFile) discard() {
	name := t.f.Name()
	t.f.Close()
	if !t.renamed {
		os.Remove(name)
	}
}

// A step is one file operation, named as a fault knows it.
type step struct {
	op string
	do func() error
}

type steps []step

func inOrder(s ...step) steps { return s }

// run does the steps until one fails.
func (s steps) run(flt fault, path string) error {
	for _, one := range s {
		err := flt.at(one.op, path)
		if err == nil {
			err = one.do()
		}
		if err != nil {
			return spaceError(err, path)
		}
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(flt fault, dir string) error {
	return inOrder(step{"syncdir", func() error {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer d.Close()
		return d.Sync()
	}}).run(flt, dir)
}
