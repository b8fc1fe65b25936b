//go:build unix

package exec

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"time"
)

// graceful is how long a command has to end after it was asked to, and what it
// started after it ended.
const graceful = 5 * time.Second

var errLeftBehind = errors.New("it ended and left processes running that it had started; a stage must wait for what it starts")

// waitGroup waits for a started command and then for whatever else is in its
// process group. When its context ends the group is asked to end, and killed if
// it does not. A process that put itself into another group is not found, unless
// it keeps the command's output open.
func waitGroup(ctx context.Context, cmd *exec.Cmd) error {
	err := cmd.Wait()
	group := cmd.Process.Pid
	left := !ended(ctx, group)
	_ = syscall.Kill(-group, syscall.SIGKILL)
	switch {
	case errors.Is(err, exec.ErrWaitDelay), err == nil && left:
		// What they still had to write would be missing in the outputs.
		return errLeftBehind
	}
	return err
}

// ended waits a little for a group to end.
func ended(ctx context.Context, group int) bool {
	deadline := time.NewTimer(graceful)
	defer deadline.Stop()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if syscall.Kill(-group, 0) != nil || !running(group) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-deadline.C:
			return false
		case <-time.After(pause):
		}
	}
}

// inGroup prepares a command to have a process group of its own.
func inGroup(cmd *exec.Cmd, attributes *syscall.SysProcAttr) {
	attributes.Setpgid = true
	cmd.SysProcAttr = attributes
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = graceful
}
