//go:build unix

package engine

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// peakRSS is the most memory that this process has held so far, in bytes; 0 if
// the system does not say.
func peakRSS() int64 {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(usage.Maxrss) // bytes there, kilobytes elsewhere
	}
	return int64(usage.Maxrss) * 1024
}
