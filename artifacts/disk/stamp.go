package disk

import (
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/prismflow/prismflow/artifacts"
)

// A Stamp is what a file was when it was hashed: its content's digest, and
// what the file system said of it. While that stays the same and is not racy,
// so does the content.
//
// A file is racy when it was hashed so soon after its last change that another
// change could carry the same time: the clock of file times stands still for
// up to 10 ms, or two seconds on old file systems. Two writes of equal length
// within one tick, the hash taken between them, look the same from outside.
// So a racy stamp proves nothing, and the file is hashed again. (git does the
// same for files as new as its index.) The change time decides, for nobody
// can set it; the modification time is believed only in the past.
//
// Where the file system gives every change after a stat a new change time, as
// Linux does since 6.13, there is no such window and no stamp is racy.
type Stamp struct {
	Digest artifacts.Digest
	ID     FileID
	Hashed int64 // when hashing began, in ns since 1970
	exact  bool  // change times of the file system are exact: never racy
}

// A FileID is what lstat says of a file that changes when its content does.
// Times are in ns since 1970.
type FileID struct {
	Device, Inode uint64
	Size          int64
	Modified      int64
	Changed       int64
}

// same says whether a file that is now as other says may still be the one that was
// as id says. Devices do not count: a network mount has another number on each
// host, and after each start of one, so that hosts would each hash what all of them
// have. (git leaves them out likewise.)
func (id FileID) same(other FileID) bool {
	other.Device = id.Device
	return id == other
}

// How long after a file's last change a stamp is racy: more than two ticks of
// the slowest kernel clock (100 Hz), and more than the two seconds of a file
// system that keeps whole seconds only.
const (
	racyFine   = 25 * time.Millisecond
	racyCoarse = 3 * time.Second
)

func (s Stamp) racy() bool {
	if s.exact {
		return false
	}
	last := s.ID.Changed
	if s.ID.Modified < s.Hashed {
		last = max(last, s.ID.Modified)
	}
	window := racyFine
	if isWholeSecond(s.ID.Modified) && isWholeSecond(s.ID.Changed) {
		window = racyCoarse
	}
	return s.Hashed-last < int64(window)
}

func isWholeSecond(ns int64) bool { return ns%int64(time.Second) == 0 }

// proves says whether a file that is now as id says has the content that the
// stamp names.
func (s Stamp) proves(id FileID) bool { return s.ID.same(id) && !s.racy() }

func fileID(info fs.FileInfo) (FileID, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return FileID{}, fmt.Errorf("no inode known of %s", info.Name())
	}
	modified, changed := statTimes(st)
	return FileID{Device: uint64(st.Dev), Inode: uint64(st.Ino), Size: st.Size, Modified: modified, Changed: changed}, nil
}
