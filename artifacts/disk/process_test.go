package disk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// helperVar tells the test binary that it was started as one of the processes
// of a test, which one, and the store's directory.
const helperVar = "DISK_TEST_HELPER"

func TestMain(m *testing.M) {
	name, dir, ok := strings.Cut(os.Getenv(helperVar), " ")
	if !ok {
		os.Exit(m.Run())
	}
	if err := helpers[name](dir); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// helpers are what the other processes of tests do. They print a line when
// they are ready, and end when their input does.
var helpers = map[string]func(dir string) error{
	"lock": func(dir string) error {
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		unlock, err := s.Lock(ctx, storetest.Key("shared"))
		if err != nil {
			return err
		}
		readyUntilToldToEnd("locked")
		unlock()
		return nil
	},
	"count": func(dir string) error { // adds to a number without any lock but the store's
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		for range 25 {
			unlock, err := s.Lock(ctx, storetest.Key("shared"))
			if err != nil {
				return err
			}
			if err := increment(filepath.Join(dir, "number")); err != nil {
				return err
			}
			unlock()
		}
		return nil
	},
	"temp": func(dir string) error {
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		temp, err := s.TempDir("stage-*-x")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(temp, "half"), []byte("half"), 0o644); err != nil {
			return err
		}
		readyUntilToldToEnd(temp)
		return s.Close()
	},
	"lease": func(dir string) error {
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		lease, err := s.Lease(ctx, "a run with\na name")
		if err != nil {
			return err
		}
		if err := lease.Keep(ctx, artifacts.DigestOf([]byte("kept by digest"))); err != nil {
			return err
		}
		if _, err := artifacts.Lookup(ctx, s, storetest.Key("never")); err == nil {
			return errors.New("found what never was")
		}
		m := storetest.Manifest(quiet{}, s, 1, nil)
		if _, err := artifacts.Lookup(ctx, s, m.Key); err != nil {
			return err
		}
		if err := putBytes(s, []byte("stored and not yet published")); err != nil {
			return err
		}
		readyUntilToldToEnd("leased")
		return lease.Close()
	},
	"stamps": func(dir string) error {
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		for i := range 2000 {
			s.stamps.record(fmt.Sprintf("/file-%d-%d", os.Getpid(), i), Stamp{ID: FileID{Inode: uint64(i), Size: 1}})
		}
		return s.Close()
	},
	"leave": leaveToOthers,
	"find":  findOfOthers,
	"publish": func(dir string) error {
		syscall.Umask(0o022) // what is made is not for the group by itself
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		m := storetest.Manifest(quiet{}, s, 1, map[string][]byte{"table": []byte("rows")})
		if _, err := artifacts.Publish(ctx, s, m); err != nil {
			return err
		}
		readyUntilToldToEnd("published")
		_, err = s.GC(ctx, GCOptions{MaxBytes: 1})
		return errors.Join(err, s.Close())
	},
	"use": func(dir string) error {
		syscall.Umask(0o077)
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		lease, err := s.Lease(ctx, "of another user")
		if err != nil {
			return err
		}
		m := storetest.Manifest(quiet{}, lookupOnly{s}, 1, nil)
		if _, err := artifacts.Lookup(ctx, s, m.Key); err != nil {
			return err
		}
		readyUntilToldToEnd("in use")
		if m, err = artifacts.Lookup(ctx, s, m.Key); err != nil {
			return err
		}
		return errors.Join(lease.Close(), artifacts.Replace(ctx, s, m), s.Close())
	},
	"writer":   func(dir string) error { return write(dir, true) },
	"unleased": func(dir string) error { return write(dir, false) },
	"forever":  putForever,
}

// quiet lets helpers use what fails a test.
type quiet struct{ testing.TB }

func (quiet) Helper()           {}
func (quiet) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func readyUntilToldToEnd(line string) {
	fmt.Println(line)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func increment(path string) error {
	var n int
	b, err := os.ReadFile(path)
	if err == nil {
		_, err = fmt.Sscan(string(b), &n)
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(path, fmt.Append(nil, n+1), 0o644)
}

// A process is a helper that runs.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

func start(t *testing.T, name, dir string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startAs(t, exe, nil, name, dir)
}

// startAs starts a helper from a copy of the test binary, as some user.
func startAs(t *testing.T, exe string, user *syscall.Credential, name, dir string) *process {
	t.Helper()
	cmd := exec.Command(exe)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	cmd.Env = append(os.Environ(), helperVar+"="+name+" "+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t, cmd, stdin, bufio.NewReader(stdout)}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return p
}

// line is the next line that the process prints.
func (p *process) line() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("reading what a process says: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

// end tells the process to end, and wants it to end well.
func (p *process) end() {
	p.t.Helper()
	p.stdin.Close()
	rest, _ := io.ReadAll(p.out)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("process: %v: %s", err, rest)
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func TestLockExcludesProcesses(t *testing.T) {
	s := openTest(t)
	var all []*process
	for range 3 {
		all = append(all, start(t, "count", s.Dir()))
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 25 {
				unlock, err := s.Lock(ctx, storetest.Key("shared"))
				if err != nil {
					t.Error(err)
					return
				}
				if err := increment(filepath.Join(s.Dir(), "number")); err != nil {
					t.Error(err)
				}
				unlock()
				unlock() // a second time does nothing
			}
		})
	}
	wg.Wait()
	for _, p := range all {
		p.end()
	}
	if b, err := os.ReadFile(filepath.Join(s.Dir(), "number")); err != nil || string(b) != "150" {
		t.Errorf("six counted to %s, %v, want 150", b, err)
	}
	if left, err := os.ReadDir(s.path("state", "locks")); err != nil || len(left) > 0 {
		t.Errorf("lock files left: %v, %v", left, err)
	}
}

func TestLockOfDeadProcessIsFree(t *testing.T) {
	s := openTest(t)
	p := start(t, "lock", s.Dir())
	p.line()
	waiting, cancel := context.WithCancel(ctx)
	waited := make(chan error)
	go func() {
		_, err := s.Lock(waiting, storetest.Key("shared"))
		waited <- err
	}()
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("Lock that was called off: %v", err)
	}
	p.kill()
	unlock, err := s.Lock(ctx, storetest.Key("shared"))
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestTempDirLivesAsLongAsItsProcess(t *testing.T) {
	s := openTest(t)
	living, dying := start(t, "temp", s.Dir()), start(t, "temp", s.Dir())
	kept, lost := living.line(), dying.line()
	own, err := s.TempDir("own-")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.CleanTemp(ctx); err != nil || n != 0 {
		t.Errorf("CleanTemp removed %d, %v, while all live", n, err)
	}
	dying.kill()
	if n, err := s.CleanTemp(ctx); err != nil || n != 1 {
		t.Errorf("CleanTemp removed %d, %v, want that of the dead one", n, err)
	}
	wantExists(t, kept, true)
	wantExists(t, own, true)
	wantExists(t, lost, false)
	wantExists(t, lost+lockSuffix, false)
	living.end()
	wantExists(t, kept, false)
	if err := s.RemoveTemp(own); err != nil {
		t.Error(err)
	}
	wantExists(t, own, false)
	wantExists(t, own+lockSuffix, false)
	if err := s.RemoveTemp(own); err == nil {
		t.Error("RemoveTemp twice: no error")
	}
}

func wantExists(t *testing.T, path string, want bool) {
	t.Helper()
	_, err := os.Lstat(path)
	if exists := err == nil; exists != want {
		t.Errorf("%s exists: %v, want %v", path, exists, want)
	}
}

func TestStampsOfManyProcesses(t *testing.T) {
	s := openTest(t)
	var all []*process
	for range 4 {
		all = append(all, start(t, "stamps", s.Dir()))
	}
	for _, p := range all {
		p.end()
	}
	for _, p := range all {
		for i := range 2000 {
			if _, ok := s.stamps.lookup(fmt.Sprintf("/file-%d-%d", p.cmd.Process.Pid, i)); !ok {
				t.Fatalf("stamp %d of process %d is lost", i, p.cmd.Process.Pid)
			}
		}
	}
}

// lookupOnly keeps storetest.Manifest from storing anything.
type lookupOnly struct{ artifacts.Store }

// putForever publishes results until it is killed.
func putForever(dir string) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for i := 0; ; i++ {
		m := storetest.Manifest(quiet{}, s, i%50, map[string][]byte{"table": storetest.Random(1<<20, uint64(i%50)), "small": fmt.Append(nil, i)})
		if err := artifacts.Replace(ctx, s, m); err != nil {
			return err
		}
	}
}

func TestKilledWritersLeaveNothingHalf(t *testing.T) {
	s := openTest(t)
	for round := range 10 {
		p := start(t, "forever", s.Dir())
		p.line()
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond) // a random moment
		p.kill()
		report, err := s.Verify(ctx, VerifyOptions{})
		if err != nil || len(report.Problems) > 0 {
			t.Errorf("round %d: %v, %v", round, report.Problems, err)
		}
	}
	if _, err := s.CleanTemp(ctx); err != nil {
		t.Error(err)
	}
	if u, err := s.Usage(ctx); err != nil || u.Temp.Files > 0 || u.Blobs.Files == 0 {
		t.Errorf("%+v, %v, want blobs and no temporary files", u, err)
	}
}
