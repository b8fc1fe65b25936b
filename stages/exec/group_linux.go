package exec

import (
	"bytes"
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// runGroup runs cmd in a process group of its own (see waitGroup). It is killed
// as well when this process dies: the kernel sends that signal when the thread
// that started the command goes, so that thread is kept until the end.
func runGroup(ctx context.Context, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	inGroup(cmd, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL})
	// Of the descriptors that this process inherited, the command gets none.
	// Kernels before 5.11 cannot do that.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if err := cmd.Start(); err != nil {
		return err
	}
	return waitGroup(ctx, cmd)
}

// running says whether a group has a process that is more than a zombie: where
// nobody collects orphans, as in many containers, those stay for ever.
func running(group int) bool {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return true // it is not known
	}
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it ended just now
		}
		// The name before it, in parentheses, may hold anything.
		fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
		if len(fields) > 2 && string(fields[2]) == strconv.Itoa(group) && string(fields[0]) != "Z" {
			return true
		}
	}
	return false
}
