package memo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/prismflow/prismflow/artifacts/disk"
)

// addAsMember wants the rows before a number, which members of the group put, and
// adds that row. Two times of three it then dies.
func addAsMember(dir string, number int) error {
	syscall.Umask([]int{0o022, 0o077}[number%2])
	s, err := disk.Open(dir, disk.Options{})
	if err != nil {
		return err
	}
	m, err := Open(ctx, s, scope, Options{})
	if err != nil {
		return err
	}
	for i := range number {
		if value, known, err := m.Get(keyOf(i)); err != nil || !known || string(value) != string(valueFor(i)) {
			return fmt.Errorf("row %d of %d is not what it was (known %v, %w)", i, number, known, err)
		}
	}
	if err := m.Put(keyOf(number), valueFor(number)); err != nil || number%3 < 2 {
		return err
	}
	if err := m.Close(ctx); err != nil {
		return err
	}
	return s.Close()
}

// TestMembersOfAGroup: whose journal it was does not matter to whoever goes on.
func TestMembersOfAGroup(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be two users")
	}
	dir, err := os.MkdirTemp("", "members-") // unlike t.TempDir, for others to enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const group = 54320
	exe, cache := filepath.Join(dir, "test"), filepath.Join(dir, "cache")
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range []func() error{
		func() error { return os.Chmod(dir, 0o755) },
		func() error { return os.WriteFile(exe, b, 0o755) },
		func() error { return os.Mkdir(cache, 0o777) },
		func() error { return os.Chown(cache, 0, group) },
		func() error { return os.Chmod(cache, 0o770|os.ModeSetgid) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	for number := range 12 {
		uid := uint32(54321 + number%2)
		cmd := exec.Command(exe)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: []uint32{group}}}
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=member %s %d", helperVar, cache, number))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("user %d, row %d: %v: %s", uid, number, err, out)
		}
	}
}
