package tiered

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/prismflow/prismflow/artifacts"
)

var errNoRoom = errors.New("too little space")

// checkRoom says whether blobs that are to be fetched fit on the local disk. Their
// sizes are the remote's word: one that lies must not fill the disk, which would
// end the run. So it is a miss, and the run goes on.
func (r *member) checkRoom(key artifacts.Key, files []artifacts.OutputFile) error {
	room, known := r.cache.room()
	if !known {
		return nil
	}
	left := room
	for _, f := range files {
		if left -= f.Bytes - r.cache.downloaded(f.Digest); left < 0 {
			r.complain("room", "the result %s is said to be larger than the %d bytes that are free here; it is not fetched, nor are others of which that is so", key.Short(), room)
			return &artifacts.Miss{Key: key, Reason: "its outputs do not fit here", Err: fmt.Errorf("%d bytes are free: %w", room, errNoRoom)}
		}
	}
	return nil
}

// room is how many bytes the local store's file system has left for this user. One
// that has no bytes at all does not say, as some in memory or in user space.
func (c *Cache) room() (bytes int64, known bool) {
	var info unix.Statfs_t
	if unix.Statfs(c.local.Dir(), &info) != nil || info.Blocks == 0 {
		return 0, false
	}
	return int64(info.Bavail) * int64(info.Bsize), true
}

// downloaded is how much disk an earlier download of a blob has already: not how
// long its file is, which may have holes.
func (c *Cache) downloaded(d artifacts.Digest) int64 {
	path, err := c.downloadPath(d)
	if err != nil {
		return 0
	}
	info, err := os.Lstat(path)
	if err != nil {
		return 0
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return stat.Blocks * 512 // whatever the file system's own are, says stat(2)
}
