package fileshare

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/prismflow/prismflow/artifacts/groupmode"
	"github.com/prismflow/prismflow/artifacts/internal/claim"
	"github.com/prismflow/prismflow/artifacts/remote"
)

const (
	// uploads is where unfinished objects are. A disk store knows nothing of it,
	// and so leaves it alone where the share is its directory too.
	uploads = "uploads"

	// deadAfter is for how long nobody has written to an unfinished object whose
	// writer is taken for dead. One that lives after all is told that its file is
	// gone, and begins anew.
	deadAfter = 24 * time.Hour

	// writeBuffer is the size of the pieces in which objects are written: that of
	// artifacts.CopyVerified, and for its reasons.
	writeBuffer = 256 << 10
)

// Write implements remote.Driver.
func (d *Driver) Write(ctx context.Context, name string, content remote.Content, ifAbsent bool) error {
	at, err := location(name)
	if err != nil {
		return err
	}
	if content.Size < 0 {
		return fmt.Errorf("writing %s: its size is said to be %d", at, content.Size)
	}
	u, err := call(ctx, d, func() (*upload, error) { return d.begin(at, ifAbsent) }, (*upload).drop)
	if err != nil {
		return d.explain(at, err)
	}
	if err = u.copy(ctx, content); err == nil {
		err = u.do(ctx, u.finish)
	}
	if err != nil {
		u.abort(ctx)
	}
	return err
}

// An upload is an object on its way.
type upload struct {
	d        *Driver
	share    *os.Root
	file     *os.File
	temp, at string // where it is and where it goes, relative to the share
	ifAbsent bool
	lost     bool // an operation that was abandoned has it, and drops it
}

// begin opens the temporary file of an object, on a share that is there.
func (d *Driver) begin(at string, ifAbsent bool) (*upload, error) {
	share, err := d.open()
	if err != nil {
		return nil, err
	}
	u := &upload{d: d, share: share, at: at, ifAbsent: ifAbsent, temp: path.Join(uploads, rand.Text())}
	if err := u.begin(); err != nil {
		u.drop()
		return nil, err
	}
	return u, nil
}

func (u *upload) begin() error {
	made, err := u.d.made(u.share)
	if err != nil {
		return err
	}
	if !made {
		if err := u.d.make(u.share); err != nil {
			return err
		}
	}
	if u.ifAbsent {
		if err := u.wantAbsent(); err != nil {
			return err
		}
	}
	err = u.create()
	if errors.Is(err, fs.ErrNotExist) { // a disk store's directory, so far
		if err := u.d.mkdir(u.share, uploads); err != nil {
			return err
		}
		err = u.create()
	}
	if err == nil && !u.d.cleaned.Swap(true) {
		clean(u.share, u.file)
	}
	return err
}

// wantAbsent is ErrExists for an object that is there.
func (u *upload) wantAbsent() error {
	info, err := u.share.Lstat(u.at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return irregular(info)
	}
	return remote.ErrExists
}

func (u *upload) create() error {
	return u.d.do("create", u.temp, func() (err error) {
		u.file, err = u.share.OpenFile(u.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		return err
	})
}

// make makes the directories of a new share. One that was there is no longer
// mounted: what we made then would fill the disk below the mount.
func (d *Driver) make(share *os.Root) error {
	if d.found.Load() {
		return errUnmounted
	}
	for _, dir := range []string{"ac", uploads, "cas"} { // the last one says that all are there, see made
		if err := d.mkdir(share, dir); err != nil {
			return err
		}
	}
	return d.syncDir(share, ".")
}

// mkdir makes a directory in one that is there, unless somebody else did.
func (d *Driver) mkdir(share *os.Root, dir string) error {
	err := d.do("mkdir", dir, func() error {
		parent, err := share.OpenRoot(path.Dir(dir))
		if err != nil {
			return err
		}
		defer parent.Close()
		return groupmode.MkdirIn(parent, path.Base(dir))
	})
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// syncDir makes the names in a directory durable, where that is a thing to do:
// some file systems refuse, as theirs always are.
func (d *Driver) syncDir(share *os.Root, dir string) error {
	err := d.do("syncdir", dir, func() error {
		f, err := share.Open(dir)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

// copy writes the content, which must be as long as it says.
func (u *upload) copy(ctx context.Context, content remote.Content) error {
	r, err := content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]byte, min(content.Size+1, writeBuffer)) // one more, to see that r ends
	var total int64
	for {
		n, err := io.ReadFull(r, buf)
		total += int64(n)
		if ended := err == io.EOF || err == io.ErrUnexpectedEOF; err != nil && !ended {
			return fmt.Errorf("reading what %s is to be: %w", u.at, err)
		} else if total > content.Size || ended && total < content.Size {
			return fmt.Errorf("what %s is to be is not of the %d bytes that it was said to have", u.at, content.Size)
		} else if werr := u.do(ctx, func() error { return u.write(buf[:n]) }); werr != nil || ended {
			return werr
		}
	}
}

func (u *upload) write(b []byte) error {
	if err := u.d.fault.at("write", u.temp); err != nil {
		_, _ = u.file.Write(b[:len(b)/2]) // as a full disk does it
		return err
	}
	_, err := u.file.Write(b)
	return err
}

// do does an operation on the upload, which belongs to it from then on if ctx ends.
func (u *upload) do(ctx context.Context, op func() error) error {
	_, err := call(ctx, u.d, func() (struct{}, error) { return struct{}{}, op() }, func(struct{}) { u.drop() })
	u.lost = u.lost || abandoned(err)
	return u.d.explain(u.at, err)
}

// finish makes the object durable and gives it its name.
func (u *upload) finish() error {
	if err := u.d.do("chmod", u.temp, u.setMode); err != nil {
		return err
	}
	if err := u.d.do("sync", u.temp, u.file.Sync); err != nil {
		return err
	}
	err := u.place()
	if errors.Is(err, fs.ErrNotExist) {
		if err := u.makeParent(); err != nil {
			return err
		}
		err = u.place()
	}
	if errors.Is(err, fs.ErrExist) {
		err = u.wantAbsent()
		if err == nil { // and was removed since
			err = remote.ErrExists
		}
	}
	if err == nil {
		err = u.d.syncDir(u.share, path.Dir(u.at))
	}
	if err == nil {
		u.drop()
	}
	return err
}

// setMode lets the members of a share's group read the object, and nobody change
// it by mistake. Actions stay writable: that is what lets others note their use.
func (u *upload) setMode() error {
	share, err := u.share.Stat(".")
	if err != nil {
		return err
	}
	groupmode.ShareIn(share, u.file)
	if strings.HasPrefix(u.at, "ac/") {
		return nil
	}
	info, err := u.file.Stat()
	if err != nil {
		return err
	}
	return u.file.Chmod(info.Mode().Perm() &^ 0o222)
}

// place gives the object its name.
func (u *upload) place() error {
	if u.ifAbsent {
		return u.d.do("link", u.at, func() error { return claim.Link(u.share, u.temp, u.at) })
	}
	return u.d.do("rename", u.at, func() error {
		err := u.share.Rename(u.temp, u.at)
		if err != nil && u.placed() {
			return nil // an NFS server did it, and its answer was lost
		}
		return err
	})
}

// placed says whether the object's name is that of our file.
func (u *upload) placed() bool {
	ours, err := u.file.Stat()
	if err != nil {
		return false
	}
	there, err := u.share.Lstat(u.at)
	return err == nil && os.SameFile(ours, there)
}

// makeParent makes the directory that an object is to lie in. The share's own
// were there a moment ago; where they are not, it is no longer mounted.
func (u *upload) makeParent() error {
	if made, err := u.d.made(u.share); err != nil || !made {
		return errors.Join(errUnmounted, err)
	}
	parent := path.Dir(u.at)
	if err := u.d.mkdir(u.share, parent); err != nil {
		return err
	}
	return u.d.syncDir(u.share, path.Dir(parent))
}

// abort drops an upload that came to nothing, unless somebody else has it.
func (u *upload) abort(ctx context.Context) {
	if !u.lost {
		u.d.tidy(ctx, u.drop)
	}
}

// drop ends the upload: its temporary name goes, whether the object has another
// or not. What cannot be removed is found by clean.
func (u *upload) drop() {
	if u == nil {
		return
	}
	if u.file != nil {
		u.file.Close()
		_ = u.d.do("remove", u.temp, func() error { return u.share.Remove(u.temp) })
	}
	u.share.Close()
}

// clean removes unfinished objects that nobody has written to for long. What time
// it is says a file that was made just now: the share's clock made its time, as it
// did theirs.
func clean(share *os.Root, justMade *os.File) {
	info, err := justMade.Stat()
	if err != nil {
		return
	}
	now := info.ModTime()
	dir, err := share.Open(uploads)
	if err != nil {
		return
	}
	defer dir.Close()
	entries, _ := dir.ReadDir(-1)
	for _, entry := range entries {
		at := path.Join(uploads, entry.Name())
		left, err := share.Lstat(at)
		if err == nil && left.Mode().IsRegular() && now.Sub(left.ModTime()) > deadAfter {
			_ = share.Remove(at) // what we may not remove, its owner will
		}
	}
}
