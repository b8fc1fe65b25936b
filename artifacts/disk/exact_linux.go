package disk

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// probeExactTimes tells, for the file system of dir, whether each change that
// follows a stat gives a file a new change time (see Stamp). Linux does so
// since 6.13 on those file systems that ask for it; whether this kernel is
// one of those is tried, once, when it first matters.
func probeExactTimes(dir string) func(device uint64) bool {
	probe := sync.OnceValues(func() (device uint64, exact bool) {
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) != nil || !exactKinds(int64(fs.Type)) {
			return 0, false
		}
		return tryExactTimes(dir)
	})
	return func(device uint64) bool {
		d, exact := probe()
		return exact && d == device
	}
}

// exactKinds are the file systems that have such times. Others may look as
// if they had, seen from one client.
func exactKinds(kind int64) bool {
	switch kind {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return true
	}
	return false
}

// tryExactTimes changes a file many times within one tick of the clock and
// sees whether all the change times differ.
func tryExactTimes(dir string) (device uint64, exact bool) {
	f, err := os.CreateTemp(dir, "clock-")
	if err != nil {
		return 0, false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	seen := map[int64]bool{}
	start := time.Now()
	for range 16 {
		if _, err := f.Write([]byte{0}); err != nil {
			return 0, false
		}
		var st syscall.Stat_t
		if syscall.Fstat(int(f.Fd()), &st) != nil {
			return 0, false
		}
		seen[st.Ctim.Nano()] = true
		device = uint64(st.Dev)
	}
	// In 10 ms a clock that ticks once in 4 ms, or 10, shows at most four times.
	return device, len(seen) == 16 && time.Since(start) < 10*time.Millisecond
}
