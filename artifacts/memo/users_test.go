package memo

import (
	"fmt"
	"strconv"
	"syscall"
	"testing"

	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/internal/peertest"
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
	ann, bob, cache := peertest.Users(t)
	for number := range 12 {
		who := []peertest.User{ann, bob}[number%2]
		who.Start(t, "member", cache, strconv.Itoa(number)).End()
		if t.Failed() {
			t.Fatalf("row %d", number)
		}
	}
}
