package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/internal/peertest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// TestTwoUsers: one may not set the times of the other's files, and yet what
// one uses is safe from the other's GC.
func TestTwoUsers(t *testing.T) {
	ann, bob, shared := peertest.Users(t)
	store := filepath.Join(shared, "cache")
	collecting := ann.Start(t, "publish", store)
	collecting.Line()
	s, err := Open(store, Options{})
	must(t, err)
	key := storetest.Manifest(t, lookupOnly{s}, 1, nil).Key
	recent := time.Now().Add(-10 * time.Second)
	must(t, os.Chtimes(s.actionPath(key), recent, recent))
	using := bob.Start(t, "use", store)
	using.Line()
	collecting.End()
	using.End()
	if _, err := artifacts.Lookup(ctx, s, key); err != nil {
		t.Error(err)
	}
	ann.Start(t, "publish", store).End() // over what is now the other's
}

// TestTwoUsersState: what one leaves in state/ and tmp/, also by dying, the other
// goes on with or takes away.
func TestTwoUsersState(t *testing.T) {
	ann, bob, shared := peertest.Users(t)
	store := filepath.Join(shared, "cache")
	for range 2 { // bob then finds what was his
		ann.Start(t, "leave", store).End()
		bob.Start(t, "find", store).End()
		must(t, os.RemoveAll(filepath.Join(store, "tmp")))
		must(t, os.WriteFile(filepath.Join(store, "state", "stat.new"), []byte("half"), 0o600)) // of a third, killed
	}
	ann, bob = bob, ann
	ann.Start(t, "leave", store).End()
	bob.Start(t, "find", store).End()
}

// TestActionOfAnother: an action that one of two users may not read may be a sound
// result. Nothing that it may need is taken, and it is not taken to be broken.
func TestActionOfAnother(t *testing.T) {
	_, bob, shared := peertest.Users(t)
	store := filepath.Join(shared, "cache")
	s, err := Open(store, Options{})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	key := fill(t, s, 1)[0]
	must(t, os.Chmod(s.actionPath(key), 0o600))
	bob.Start(t, "collect-unread", store).End()
	if _, err := artifacts.Lookup(ctx, s, key); err != nil {
		t.Error(err)
	}
}

// TestSharing: a directory that was in use before it was shared is the group's in
// what Open can mend at once; the rest is named.
func TestSharing(t *testing.T) {
	dir := t.TempDir()
	old := syscall.Umask(0o022)
	defer syscall.Umask(old)
	must(t, os.Chmod(dir, 0o755))
	open := func() *Store {
		s, err := Open(dir, Options{})
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		return s
	}
	s := open()
	must(t, putBytes(s, []byte("before")))
	if shared, closed, err := s.Sharing(); shared || len(closed) > 0 || err != nil {
		t.Errorf("private: %v, %v, %v", shared, closed, err)
	}
	must(t, os.Chmod(dir, 0o775|os.ModeSetgid))
	s = open()
	before := filepath.Join(dir, "cas", artifacts.DigestOf([]byte("before")).Hex()[:2])
	if shared, closed, err := s.Sharing(); !shared || !slices.Equal(closed, []string{before}) || err != nil {
		t.Errorf("shared since: %v, %v, %v, want %s alone", shared, closed, err, before)
	}
	must(t, os.Chmod(before, 0o775))
	must(t, putBytes(s, []byte("since")))
	if shared, closed, err := s.Sharing(); !shared || len(closed) > 0 || err != nil {
		t.Errorf("mended: %v, %v, %v", shared, closed, err)
	}
}

// leaveToOthers dies with what another user then finds, and may use or take away.
func leaveToOthers(dir string) error {
	syscall.Umask(0o022)
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	s.stamps.record("/ann", Stamp{ID: FileID{Size: 1}})
	if err := s.stamps.flush(); err != nil {
		return err
	}
	held, err := HoldFile(s.path("state", "journal"))
	if err != nil {
		return err
	}
	if _, err := held.WriteString("ann's"); err != nil {
		return err
	}
	for _, closed := range []bool{false, true} {
		temp, err := s.TempDir("left-")
		if err != nil {
			return err
		}
		if closed { // as a program that a stage starts does it
			err = errors.Join(os.Mkdir(filepath.Join(temp, "closed"), 0o755), os.WriteFile(filepath.Join(temp, "closed", "file"), nil, 0o644))
		} else {
			err = os.WriteFile(filepath.Join(temp, "file"), nil, 0o644)
		}
		if err != nil {
			return err
		}
	}
	_, err = s.Lock(ctx, storetest.Key("shared"))
	return err // and dies, holding all that
}

// findOfOthers goes on with what leaveToOthers left.
func findOfOthers(dir string) error {
	syscall.Umask(0o022)
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	if _, ok := s.stamps.lookup("/ann"); !ok {
		return errors.New("what the other user remembered is not to be read")
	}
	s.stamps.record("/bob", Stamp{ID: FileID{Size: 1}})
	if err := s.stamps.compact(func(string) bool { return true }); err != nil {
		return err
	}
	unlock, err := s.Lock(ctx, storetest.Key("shared"))
	if err != nil {
		return err
	}
	unlock()
	held, err := HoldFile(s.path("state", "journal"))
	if err != nil {
		return err
	}
	if _, err := held.WriteAt([]byte("bob's"), 0); err != nil {
		return err
	}
	if n, err := s.CleanTemp(ctx); n != 1 || err != nil {
		return fmt.Errorf("removed %d, %w, want the one that others may remove", n, err)
	}
	return s.Close()
}

// collectUnread collects and repairs where it may not read the one action.
func collectUnread(dir string) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	if report, err := s.GC(ctx, GCOptions{}); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "chmod g=u") {
		return fmt.Errorf("gc: %+v, %w, want that it may not read and what to do", report, err)
	}
	report, err := s.Verify(ctx, VerifyOptions{Repair: true})
	if err != nil || len(report.Problems) != 1 || report.Problems[0].Repaired {
		return fmt.Errorf("verify: %+v, %w, want one problem that stays", report, err)
	}
	return s.Close()
}

// TestLockErrors: who has no locks hears what to do about it.
func TestLockErrors(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		unix.ENOLCK: "NFS: version 4", unix.EOPNOTSUPP: "--cache DIR", unix.ENOSYS: "no working locks", unix.EBADF: "chmod g+rw",
	} {
		err := lockError("/c/state/gc.lock", errno)
		if told := new(LockError); !errors.As(err, &told) || !errors.Is(err, errno) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "/c/state/gc.lock") {
			t.Errorf("%v: %v, want %q", errno, err, want)
		}
	}
	if err := lockError("/c", unix.EIO); errors.As(err, new(*LockError)) || !errors.Is(err, unix.EIO) {
		t.Errorf("another error: %v", err)
	}
}

// TestStampOfAnotherHost: what one host hashed another knows, to whom the mount has
// another number.
func TestStampOfAnotherHost(t *testing.T) {
	s := openTest(t)
	b := []byte("hashed on another host")
	must(t, putBytes(s, b))
	d := artifacts.DigestOf(b)
	id, err := statFile(s.blobPath(d.Hex()))
	must(t, err)
	other := id
	other.Device++
	long := id.Changed + int64(time.Hour) // hashed long after it was written: not racy
	for _, test := range []struct {
		stamp  Stamp
		proves bool
	}{
		{Stamp{Digest: d, ID: other, Hashed: long}, true},
		{Stamp{Digest: d, ID: FileID{other.Device, id.Inode + 1, id.Size, id.Modified, id.Changed}, Hashed: long}, false},
		{Stamp{Digest: d, ID: FileID{other.Device, id.Inode, id.Size, id.Modified, id.Changed - 1}, Hashed: long}, false},
	} {
		s.stamps.record(d.Hex(), test.stamp)
		if _, known := s.remembered(d.Hex(), s.blobPath(d.Hex())); known != test.proves {
			t.Errorf("%+v: known %v", test.stamp, known)
		}
	}
}
