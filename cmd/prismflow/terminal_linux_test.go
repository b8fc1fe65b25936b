package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo-terminal: what is written to one end is read from
// the other.
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("unlocking a pseudo-terminal: %v", err)
	}
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skipf("naming a pseudo-terminal: %v", err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("opening a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { terminal.Close() })
	if err := unix.IoctlSetWinsize(int(keyboard.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 90}); err != nil {
		t.Fatal(err)
	}
	return keyboard, terminal
}

// A screen collects what is written to a terminal.
type screen struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screen) collect(from *os.File) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		s.mu.Lock()
		s.text.Write(buf[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// waitFor waits until something was written.
func (s *screen) waitFor(text string) {
	for !strings.Contains(s.String(), text) {
		time.Sleep(10 * time.Millisecond)
	}
}

// On a terminal the stages in flight are drawn, Ctrl-C stops the run cleanly,
// and the terminal is left as it was.
func TestLiveViewOnTerminal(t *testing.T) {
	keyboard, terminal := openTerminal(t)
	var seen screen
	go seen.collect(keyboard)
	p := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	begun := filepath.Join(t.TempDir(), "begun")
	pipeline := fmt.Sprintf(`
[stages.quick]
kind    = "exec"
command = ["sh", "-c", "echo 1 > {output.out}"]
outputs = { out = "file" }

[stages.slow]
kind    = "exec"
command = ["sh", "-c", "touch %s; sleep 1000; cat {input.x} > {output.out}"]
inputs  = { x = "quick.out" }
outputs = { out = "file" }
`, begun)
	if err := os.WriteFile(filepath.Join(p.dir, "p.toml"), []byte(pipeline), 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := p.command("run", "p.toml")
	cmd.Env = append(cmd.Env, "TERM=xterm-256color", "NO_COLOR=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen.waitFor("1 running") // and so the drawing has begun, perhaps with the first stage
	waitForFile(begun)
	if _, err := keyboard.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	_ = cmd.Wait() // it ends with an exit code
	seen.waitFor("interrupted, the next run goes on from here")
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	text := seen.String()
	for _, part := range []string{"ran\x1b[0m      quick in", "▸", "slow", "stopped  slow after"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q was not drawn in %q", part, text)
		}
	}
	if hidden, shown := strings.LastIndex(text, "\x1b[?25l"), strings.LastIndex(text, showCursor); hidden > shown {
		t.Errorf("the cursor stays hidden: %q", text)
	}
}
