package fileshare

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/internal/peertest"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

func TestMain(m *testing.M) {
	peertest.Main(m, func(task, dir string, _ []string) error {
		d, err := New("file://" + dir)
		if err != nil {
			return err
		}
		return helpers[task](d)
	})
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
		for i := 0; ; i++ {
			b := storetest.Random(rand.IntN(3<<20), uint64(i))
			name := "cas/" + artifacts.DigestOf(b).Hex()
			if err := d.Write(ctx, name, remotetest.Bytes(b), i%2 == 0); err != nil && !errors.Is(err, remote.ErrExists) {
				return err
			}
			if i == 0 {
				fmt.Println("ready") // however slow the share is, something is there
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

// TestOneWinnerOfManyProcesses: of sixteen that write one name, the one that is
// told so wrote what stands.
func TestOneWinnerOfManyProcesses(t *testing.T) {
	dir := t.TempDir()
	var all []*peertest.Process
	for range 16 {
		all = append(all, peertest.Start(t, "race", dir))
	}
	d := openDriver(t, dir)
	for round := range rounds {
		for _, p := range all {
			p.Tell()
		}
		winner := 0
		for _, p := range all {
			switch said := p.Line(); {
			case said == "won" && winner == 0:
				winner = p.PID()
			case said != "lost":
				t.Errorf("round %d: a process that was to lose says %q", round, said)
			}
		}
		wantObject(t, d, fmt.Sprintf("ac/round%d", round), []byte(strconv.Itoa(winner)))
	}
	for _, p := range all {
		p.End()
	}
	wantNoUploads(t, dir)
}

func TestKilledWritersLeaveNothingHalf(t *testing.T) {
	dir := t.TempDir()
	whole := 0
	for range 10 {
		all := []*peertest.Process{peertest.Start(t, "forever", dir), peertest.Start(t, "forever", dir)}
		for _, p := range all {
			p.Line()
		}
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // a random moment
		for _, p := range all {
			p.Kill()
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

// TestTwoUsers: members of a group read what the others wrote, write beside it,
// and replace it, whatever their umask is.
func TestTwoUsers(t *testing.T) {
	ann, bob, share := peertest.Users(t)
	ann.Start(t, "ann", share).End()
	bob.Start(t, "bob", share).End()
	d := openDriver(t, share)
	wantObject(t, d, "cas/abcd", []byte("ann's"))
	wantObject(t, d, "cas/abef", []byte("bob's"))
	wantObject(t, d, "ac/abcd", []byte("bob's"))
}

// TestPermissionLostHalfway: what may no longer be written, and then not even be
// read, is forbidden, which is neither a miss nor a crash.
func TestPermissionLostHalfway(t *testing.T) {
	ann, _, share := peertest.Users(t)
	p := ann.Start(t, "stranger", share)
	p.Line()
	for _, dir := range []string{"ac/11", "ac", "cas", uploads, ""} {
		must(t, os.Chmod(filepath.Join(share, dir), 0o750))
	}
	must(t, os.Chown(filepath.Join(share, "ac", "11"), 0, -1))
	must(t, os.Chown(filepath.Join(share, uploads), 0, -1))
	p.Tell()
	p.Line()
	must(t, os.Chmod(share, 0o700))
	p.Tell()
	p.End()
	if b, err := os.ReadFile(filepath.Join(share, "ac", "11", "1111")); err != nil || !bytes.Equal(b, []byte("before")) {
		t.Errorf("%q, %v", b, err)
	}
}
