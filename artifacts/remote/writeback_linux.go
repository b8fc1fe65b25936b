package remote

import (
	"os"

	"golang.org/x/sys/unix"
)

// beginWriteback has the system write a piece of a file to the disk now, and does not
// wait for it. Otherwise it would begin when somebody syncs the file, with all of it.
// That it could not is no error: who syncs will hear of it.
func beginWriteback(f *os.File, from, length int64) {
	_ = unix.SyncFileRange(int(f.Fd()), from, length, unix.SYNC_FILE_RANGE_WRITE)
}
