// Package peertest gives a test peers: other processes, and other users of a
// group, at the directory that the test is about. A peer is the test binary itself,
// started again to do something else than test:
//
//	func TestMain(m *testing.M) {
//		peertest.Main(m, func(task, dir string, _ []string) error { return tasks[task](dir) })
//	}
//
//	func TestLockOfDeadProcessIsFree(t *testing.T) {
//		p := peertest.Start(t, "lock", dir)
//		p.Line() // it says that it has the lock
//		p.Kill()
//		…
//	}
//
// What peers do is the matter of the package whose test it is, and so is what
// they and the test tell each other, line by line.
package peertest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// taskVar tells the test binary that it is a peer, and its task: a name, a
// directory and arguments, a line each.
const taskVar = "PRISMFLOW_PEER_TASK"

// Main is what TestMain does: it runs the tests or, in a peer, do with what Start
// was given. An error of do is printed, and the process ends with 1. Main does not
// return.
func Main(m *testing.M, do func(task, dir string, args []string) error) {
	task, ok := os.LookupEnv(taskVar)
	if !ok {
		os.Exit(m.Run())
	}
	words := strings.Split(task, "\n")
	if err := do(words[0], words[1], words[2:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Wait prints a line for the test to read, and returns when the test calls Stop or
// End.
func Wait(line string) {
	fmt.Println(line)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// A Process is a peer that runs. It is killed at the end of the test at the latest.
type Process struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// Start starts a peer of the same user.
func Start(t testing.TB, task, dir string, args ...string) *Process {
	t.Helper()
	return User{exe: executable(t)}.Start(t, task, dir, args...)
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Tell sends the process a line; a task reads it from its standard input.
func (p *Process) Tell() { _, _ = p.stdin.Write([]byte("go\n")) }

// Next is the next line that the process prints.
func (p *Process) Next() (string, error) {
	line, err := p.out.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

// Line is Next, and fails the test where there is none; unlike Next it is for the
// test's own goroutine alone.
func (p *Process) Line() string {
	p.t.Helper()
	line, err := p.Next()
	if err != nil {
		p.t.Fatalf("reading what a process says: %v", err)
	}
	return line
}

// Stop ends the input of the process, which is for it to understand.
func (p *Process) Stop() { p.stdin.Close() }

// End stops the process, and wants it to end well.
func (p *Process) End() {
	p.t.Helper()
	p.Stop()
	rest, _ := io.ReadAll(p.out)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("process: %v: %s", err, rest)
	}
}

// Kill ends the process at once, and returns what it had printed since the last
// line that was read.
func (p *Process) Kill() (rest string) {
	_ = p.cmd.Process.Kill()
	printed, _ := io.ReadAll(p.out)
	_ = p.cmd.Wait() // it was killed
	return string(printed)
}

// A User is somebody who can start peers.
type User struct {
	exe        string
	credential *syscall.Credential // nil: who runs the test
}

// Start starts a peer that is the user's.
func (u User) Start(t testing.TB, task, dir string, args ...string) *Process {
	t.Helper()
	cmd := exec.Command(u.exe)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential}
	cmd.Env = append(os.Environ(), taskVar+"="+strings.Join(append([]string{task, dir}, args...), "\n"))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return &Process{t, cmd, stdin, bufio.NewReader(stdout)}
}

// Users are two members of a group, and a directory that the group shares: all of
// it may write there, and what is made there is the group's. The test is skipped
// where it is not run by root.
func Users(t testing.TB) (ann, bob User, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can be two users")
	}
	const group = 54320
	place, err := os.MkdirTemp("", "two-users-") // unlike t.TempDir, for others to enter
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(place) })
	must(t, os.Chmod(place, 0o755))
	binary, err := os.ReadFile(executable(t))
	must(t, err)
	exe, dir := filepath.Join(place, "test"), filepath.Join(place, "shared")
	must(t, os.WriteFile(exe, binary, 0o755))
	must(t, os.Mkdir(dir, 0o777))
	must(t, os.Chown(dir, 0, group))
	must(t, os.Chmod(dir, 0o770|os.ModeSetgid))
	member := func(uid uint32) User {
		return User{exe, &syscall.Credential{Uid: uid, Gid: uid, Groups: []uint32{group}}}
	}
	return member(54321), member(54322), dir
}

func executable(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	return exe
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
