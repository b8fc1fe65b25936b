package exec

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// graceful is how long a command has to end after it was asked to.
const graceful = 5 * time.Second

// runGroup runs cmd in a process group of its own. When its context ends the
// group is asked to end, and killed if it does not. It is killed as well when
// this process dies: the kernel sends that signal when the thread that started
// the command goes, so that thread is kept until the end.
func runGroup(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = graceful
	if err := cmd.Start(); err != nil {
		return err
	}
	err := cmd.Wait()
	killErr := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, exec.ErrWaitDelay) && killErr == nil {
		return errors.New("it ended, but processes that it started kept its output open; they were killed")
	}
	return err
}
