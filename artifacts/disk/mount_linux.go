package disk

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// LocalLocks is the option of the store's mount by which locks are this host's
// alone, so that other hosts that use the directory are not excluded; empty if
// there is none. It cannot be seen from a lock, which such a mount grants.
func (s *Store) LocalLocks() string {
	var st unix.Stat_t
	if unix.Stat(s.dir, &st) != nil {
		return ""
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return localLocks(string(mounts), fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev))))
}

// localLocks looks through the lines of mountinfo (proc(5)) for that of a device.
func localLocks(mountinfo, device string) string {
	for line := range strings.Lines(mountinfo) {
		mount, fs, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(mount); len(fields) < 3 || fields[2] != device {
			continue
		}
		fields := strings.Fields(fs) // type, source, options
		if len(fields) < 3 {
			continue
		}
		for option := range strings.SplitSeq(fields[2], ",") {
			if slices.Contains([]string{"nolock", "local_lock=flock", "local_lock=all", "localflock"}, option) {
				return option
			}
		}
	}
	return ""
}
