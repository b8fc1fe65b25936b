//go:build unix && !linux

package exec

import (
	"context"
	"os/exec"
	"syscall"
)

// runGroup runs cmd in a process group of its own (see waitGroup).
func runGroup(ctx context.Context, cmd *exec.Cmd) error {
	inGroup(cmd, &syscall.SysProcAttr{})
	if err := cmd.Start(); err != nil {
		return err
	}
	return waitGroup(ctx, cmd)
}

// running says whether a group has a process, of which the caller is sure.
func running(int) bool { return true }
