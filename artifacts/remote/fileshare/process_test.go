package fileshare

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// helperVar tells the test binary that it was started as one of the processes
// of a test, which one, and the share's directory.
const helperVar = "FILESHARE_TEST_HELPER"

func TestMain(m *testing.M) {
	name, dir, ok := strings.Cut(os.Getenv(helperVar), " ")
	if !ok {
		os.Exit(m.Run())
	}
	d, err := New("file://" + dir)
	if err == nil {
		err = helpers[name](d)
	}
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

const rounds = 20

// helpers are what the other processes of tests do. They wait for a line of their
// input where they have to do something at the same time.
var helpers = map[string]func(d *Driver) error{
	"race": func(d *Driver) error {
		told := bufio.NewReader(os.Stdin)
		for round := range rounds {
			if _, err := told.ReadString('\n'); err != nil {
				return err
			}
			err := put(d, fmt.Sprintf("ac/round%d", round), fmt.Append(nil, os.Getpid()))
			switch {
			case err == nil:
				fmt.Println("won")
			case errors.Is(err, remote.ErrExists):
				fmt.Println("lost")
			default:
				return err
			}
		}
		return nil
	},
	"forever": func(d *Driver) error {
		fmt.Println("ready")
		for i := 0; ; i++ {
			b := storetest.Random(rand.IntN(3<<20), uint64(i))
			name := "cas/" + artifacts.DigestOf(b).Hex()
			if err := d.Write(ctx, name, remotetest.Bytes(b), i%2 == 0); err != nil && !errors.Is(err, remote.ErrExists) {
				return err
			}
		}
	},
	"ann": func(d *Driver) error { // has a umask that lets nobody else write
		syscall.Umask(0o022)
		return errors.Join(put(d, "cas/abcd", []byte("ann's")), put(d, "ac/abcd", []byte("ann's")))
	},
	"bob": func(d *Driver) error {
		syscall.Umask(0o027)
		for _, name := range []string{"cas/abcd", "ac/abcd"} {
			if b, err := get(ctx, d, name); err != nil || string(b) != "ann's" {
				return fmt.Errorf("%s: %q, %v", name, b, err)
			}
		}
		if err := put(d, "cas/abcd", []byte("bob's")); !errors.Is(err, remote.ErrExists) {
			return fmt.Errorf("write of what is there: %w", err)
		}
		return errors.Join(put(d, "cas/abef", []byte("bob's")), d.Write(ctx, "ac/abcd", remotetest.Bytes([]byte("bob's")), false))
	},
	"stranger": func(d *Driver) error {
		told := bufio.NewReader(os.Stdin)
		if err := put(d, "ac/1111", []byte("before")); err != nil {
			return err
		}
		fmt.Println("ready")
		_, _ = told.ReadString('\n') // meanwhile it may no longer write
		if err := put(d, "ac/1122", nil); !errors.Is(err, remote.ErrForbidden) {
			return fmt.Errorf("write: %w, want ErrForbidden", err)
		}
		if b, err := get(ctx, d, "ac/1111"); err != nil || string(b) != "before" {
			return fmt.Errorf("read: %q, %w", b, err)
		}
		fmt.Println("ready")
		_, _ = told.ReadString('\n') // nor read
		if _, err := d.Stat(ctx, "ac/1111"); !errors.Is(err, remote.ErrForbidden) {
			return fmt.Errorf("stat: %w, want ErrForbidden", err)
		}
		return nil
	},
}

// A process is a helper that runs.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// start starts a helper from a copy of the test binary, as some user.
func start(t *testing.T, exe string, user *syscall.Credential, name, dir string) *process {
	t.Helper()
	cmd := exec.Command(exe)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	cmd.Env = append(os.Environ(), helperVar+"="+name+" "+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return &process{t, cmd, stdin, bufio.NewReader(stdout)}
}

func (p *process) tell() { _, _ = p.stdin.Write([]byte("go\n")) }

func (p *process) line() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("reading what a process says: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

// end waits for the process, and wants it to end well.
func (p *process) end() {
	p.t.Helper()
	p.stdin.Close()
	rest, _ := io.ReadAll(p.out)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("process: %v: %s", err, rest)
	}
}

func binary(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	return exe
}

// TestOneWinnerOfManyProcesses: of sixteen that write one name, the one that is
// told so wrote what stands.
func TestOneWinnerOfManyProcesses(t *testing.T) {
	dir := t.TempDir()
	var all []*process
	for range 16 {
		all = append(all, start(t, binary(t), nil, "race", dir))
	}
	d := openDriver(t, dir)
	for round := range rounds {
		for _, p := range all {
			p.tell()
		}
		winner := 0
		for _, p := range all {
			switch said := p.line(); {
			case said == "won" && winner == 0:
				winner = p.cmd.Process.Pid
			case said != "lost":
				t.Errorf("round %d: a process that was to lose says %q", round, said)
			}
		}
		wantObject(t, d, fmt.Sprintf("ac/round%d", round), []byte(strconv.Itoa(winner)))
	}
	for _, p := range all {
		p.end()
	}
	wantNoUploads(t, dir)
}

func TestKilledWritersLeaveNothingHalf(t *testing.T) {
	dir := t.TempDir()
	whole := 0
	for range 10 {
		all := []*process{start(t, binary(t), nil, "forever", dir), start(t, binary(t), nil, "forever", dir)}
		for _, p := range all {
			p.line()
		}
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // a random moment
		for _, p := range all {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		whole = wantWholeBlobs(t, dir)
	}
	if whole == 0 {
		t.Error("nothing was written: the test tested nothing")
	}
	left, err := os.ReadDir(filepath.Join(dir, uploads))
	must(t, err)
	t.Logf("%d objects, %d unfinished ones", whole, len(left))
	long := time.Now().Add(-deadAfter - time.Hour)
	for _, l := range left {
		must(t, os.Chtimes(filepath.Join(dir, uploads, l.Name()), long, long))
	}
	must(t, put(openDriver(t, dir), "cas/last", nil))
	wantNoUploads(t, dir)
}

// wantWholeBlobs checks that each blob is what its name says, and counts them.
func wantWholeBlobs(t *testing.T, dir string) (n int) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "cas", "??", "*"))
	must(t, err)
	for _, path := range paths {
		b, err := os.ReadFile(path)
		must(t, err)
		if artifacts.DigestOf(b).Hex() != filepath.Base(path) {
			t.Errorf("%s has other bytes, %d", path, len(b))
		}
	}
	return len(paths)
}

// users are two members of a group and a share of theirs; the binary can be run by both.
func users(t *testing.T) (ann, bob *syscall.Credential, exe, share string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can be two users")
	}
	dir, err := os.MkdirTemp("", "two-users-") // unlike t.TempDir, for others to enter
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	b, err := os.ReadFile(binary(t))
	must(t, err)
	exe, share = filepath.Join(dir, "test"), filepath.Join(dir, "share")
	must(t, os.WriteFile(exe, b, 0o755))
	const group = 54320
	must(t, os.Mkdir(share, 0o777))
	must(t, os.Chown(share, 0, group))
	must(t, os.Chmod(share, 0o770|os.ModeSetgid))
	credential := func(uid uint32) *syscall.Credential {
		return &syscall.Credential{Uid: uid, Gid: uid, Groups: []uint32{group}}
	}
	return credential(54321), credential(54322), exe, share
}

// TestTwoUsers: members of a group read what the others wrote, write beside it,
// and replace it, whatever their umask is.
func TestTwoUsers(t *testing.T) {
	ann, bob, exe, share := users(t)
	start(t, exe, ann, "ann", share).end()
	start(t, exe, bob, "bob", share).end()
	d := openDriver(t, share)
	wantObject(t, d, "cas/abcd", []byte("ann's"))
	wantObject(t, d, "cas/abef", []byte("bob's"))
	wantObject(t, d, "ac/abcd", []byte("bob's"))
}

// TestPermissionLostHalfway: what may no longer be written, and then not even be
// read, is forbidden, which is neither a miss nor a crash.
func TestPermissionLostHalfway(t *testing.T) {
	ann, _, exe, share := users(t)
	p := start(t, exe, ann, "stranger", share)
	p.line()
	for _, dir := range []string{"ac/11", "ac", "cas", uploads, ""} {
		must(t, os.Chmod(filepath.Join(share, dir), 0o750))
	}
	must(t, os.Chown(filepath.Join(share, "ac", "11"), 0, -1))
	must(t, os.Chown(filepath.Join(share, uploads), 0, -1))
	p.tell()
	p.line()
	must(t, os.Chmod(share, 0o700))
	p.tell()
	p.end()
	if b, err := os.ReadFile(filepath.Join(share, "ac", "11", "1111")); err != nil || !bytes.Equal(b, []byte("before")) {
		t.Errorf("%q, %v", b, err)
	}
}
