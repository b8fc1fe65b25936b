//go:build linux || darwin

package engine

import "golang.org/x/sys/unix"

// leastSpace is the free space, in bytes, below which a disk counts as full:
// what one page more of any file may need, many times over.
const leastSpace = 256 << 10

// full says whether the file system of dir has no room left for this user.
func full(dir string) bool {
	var info unix.Statfs_t
	if unix.Statfs(dir, &info) != nil {
		return false
	}
	return uint64(info.Bavail)*uint64(info.Bsize) < leastSpace
}
