package fileshare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// A Driver is the remote.Driver of a share. New makes one. Its methods may be
// called by several goroutines at once.
type Driver struct {
	dir   string
	calls chan struct{} // has an element for each file operation that goes on
	fault fault         // nil but in tests

	found   atomic.Bool // the share's directories were there once: nobody makes them again
	cleaned atomic.Bool // somebody looks, or has looked, for what dead writers left
}

var _ remote.Driver = (*Driver)(nil)

// New is the driver of file:///abs/path. It does not look at the share: a mount
// that is absent is an error of each call, and may come.
func New(rawURL string) (*Driver, error) {
	dir, err := directory(rawURL)
	if err != nil {
		return nil, err
	}
	return &Driver{dir: dir, calls: make(chan struct{}, maxCalls)}, nil
}

// Traits implements remote.Driver. Other names than a disk store's are not taken, so
// that blobs are kept as they are: nobody's housekeeping would know others.
func (d *Driver) Traits() remote.Traits {
	return remote.Traits{Ranges: true, Conditional: true}
}

// String implements remote.Driver.
func (d *Driver) String() string { return (&url.URL{Scheme: "file", Path: d.dir}).String() }

// Close implements remote.Driver. There is nothing to end.
func (d *Driver) Close() error { return nil }

// A fault decides, in tests, whether a file operation fails. The operations are
// open, stat, read, create, write, chmod, sync, mkdir, link, rename, syncdir and
// remove.
type fault func(op, path string) error

func (f fault) at(op, path string) error {
	if f == nil {
		return nil
	}
	return f(op, path)
}

// do does one file operation, named as a fault knows it.
func (d *Driver) do(op, path string, operation func() error) error {
	if err := d.fault.at(op, path); err != nil {
		return err
	}
	return operation()
}

// Stat implements remote.Driver.
func (d *Driver) Stat(ctx context.Context, name string) (int64, error) {
	at, err := location(name)
	if err != nil {
		return 0, err
	}
	size, err := call(ctx, d, func() (int64, error) { return d.stat(at) }, func(int64) {})
	return size, d.explain(at, err)
}

func (d *Driver) stat(at string) (int64, error) {
	share, err := d.open()
	if err != nil {
		return 0, err
	}
	defer share.Close()
	info, err := d.lstat(share, at)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// lstat looks at an object, which must be a regular file.
func (d *Driver) lstat(share *os.Root, at string) (info fs.FileInfo, err error) {
	err = d.do("stat", at, func() (err error) {
		info, err = share.Lstat(at)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, d.absent(share)
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil, irregular(info)
	}
	return info, err
}

func irregular(info fs.FileInfo) error {
	return fmt.Errorf("is no regular file (%s): somebody put it there", info.Mode().Type())
}

// open opens the share's directory: anew each time, since a mount may go and come.
func (d *Driver) open() (share *os.Root, err error) {
	err = d.do("open", d.dir, func() (err error) {
		share, err = os.OpenRoot(d.dir)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoDirectory
	}
	return share, err
}

var errNoDirectory = errors.New("there is no such directory: mount the share, or make the directory for a new one")

// absent is the error of an object that is not there: that of an ordinary miss
// only if the share is there.
func (d *Driver) absent(share *os.Root) error {
	made, err := d.made(share)
	if err != nil {
		return err
	}
	if !made && d.found.Load() {
		return errUnmounted
	}
	return artifacts.ErrNotFound
}

var errUnmounted = errors.New("the directory is empty and was not before: the share is no longer mounted")

// made says whether the share's directories are there, of which cas is made last. Where they are not, the
// directory must be empty: one that holds other things was not meant.
func (d *Driver) made(share *os.Root) (bool, error) {
	_, err := share.Lstat("cas")
	if errors.Is(err, fs.ErrNotExist) {
		return d.madeMeanwhile(share)
	}
	d.found.Store(d.found.Load() || err == nil)
	return err == nil, err
}

func (d *Driver) madeMeanwhile(share *os.Root) (bool, error) {
	listing, err := share.Open(".")
	if err != nil {
		return false, err
	}
	defer listing.Close()
	names, _ := listing.Readdirnames(16)
	for _, name := range names {
		if name == "lost+found" || name[0] == '.' || name == "ac" || name == uploads { // somebody is making it
			continue
		}
		if _, err := share.Lstat("cas"); err == nil {
			return true, nil
		}
		return false, fmt.Errorf("the directory holds other things (%s) and no share: name an empty one", name)
	}
	return false, nil
}

// explain makes an error one of the contract's and says where it was.
func (d *Driver) explain(at string, err error) error {
	if err == nil {
		return nil
	}
	where := path.Join(d.dir, at)
	if errors.Is(err, errNoDirectory) || errors.Is(err, errUnmounted) {
		where = d.dir
	}
	var inner *fs.PathError
	if errors.As(err, &inner) && error(inner) == err {
		err = fmt.Errorf("%s: %w", inner.Op, inner.Err) // its path is the one said here, or a part of it
	}
	if kind := kindOf(err); kind != nil {
		return fmt.Errorf("%s: %w: %w", where, kind, err)
	}
	return fmt.Errorf("%s: %w", where, err)
}

// kindOf is the error of the contract that an error is one of, or nil.
func kindOf(err error) error {
	for errno, kind := range map[syscall.Errno]error{
		syscall.ENOSPC: remote.ErrFull, syscall.EDQUOT: remote.ErrFull, syscall.EFBIG: remote.ErrFull,
		syscall.EACCES: remote.ErrForbidden, syscall.EPERM: remote.ErrForbidden, syscall.EROFS: remote.ErrForbidden,
	} {
		if errors.Is(err, errno) {
			return kind
		}
	}
	return nil
}

// usedEvery is how exact the time of an action's last use is, by which somebody
// who cleans the share up may go. More would cost a write for every look-up.
const usedEvery = time.Hour

// touch records that an action is used, if we may. The share sets the time by its
// own clock.
func touch(share *os.Root, at string, info fs.FileInfo) {
	if age := time.Since(info.ModTime()); age > -usedEvery && age < usedEvery {
		return
	}
	dir, err := share.Open(path.Dir(at))
	if err != nil {
		return
	}
	defer dir.Close()
	_ = unix.UtimesNanoAt(int(dir.Fd()), path.Base(at), nil, unix.AT_SYMLINK_NOFOLLOW)
}
