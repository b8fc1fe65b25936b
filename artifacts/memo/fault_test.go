package memo

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

// faults let one operation fail, by its place in the order of all.
type faults struct {
	failAt int
	done   int
	failed string // what did
}

var errFault = syscall.EIO

func (f *faults) next(op string) error {
	f.done++
	if f.done == f.failAt {
		f.failed = op
		return errFault
	}
	return nil
}

// A faultyStore is a store whose operations may fail.
type faultyStore struct {
	*disk.Store
	faults *faults
}

func (s faultyStore) Put(ctx context.Context, d artifacts.Digest, size int64, r io.Reader) error {
	if err := s.faults.next("put"); err != nil {
		return err
	}
	return s.Store.Put(ctx, d, size, r)
}

func (s faultyStore) PutAction(ctx context.Context, k artifacts.Key, action []byte, replace bool) error {
	if err := s.faults.next("put action"); err != nil {
		return err
	}
	return s.Store.PutAction(ctx, k, action, replace)
}

func (s faultyStore) Adopt(ctx context.Context, path string, d artifacts.Digest) error {
	if err := s.faults.next("adopt"); err != nil {
		return err
	}
	return s.Store.Adopt(ctx, path, d)
}

func (s faultyStore) Lock(ctx context.Context, k artifacts.Key) (func(), error) {
	if err := s.faults.next("lock"); err != nil {
		return nil, err
	}
	return s.Store.Lock(ctx, k)
}

func (s faultyStore) TempDir(pattern string) (string, error) {
	if err := s.faults.next("temp dir"); err != nil {
		return "", err
	}
	return s.Store.TempDir(pattern)
}

// A faultyFile writes half of what it is given when it fails.
type faultyFile struct {
	file
	faults *faults
}

func (f faultyFile) WriteAt(p []byte, at int64) (int, error) {
	if err := f.faults.next("write"); err != nil {
		n, _ := f.file.WriteAt(p[:len(p)/2], at)
		return n, err
	}
	return f.file.WriteAt(p, at)
}

func (f faultyFile) ReadAt(p []byte, at int64) (int, error) {
	if err := f.faults.next("read"); err != nil {
		return 0, err
	}
	return f.file.ReadAt(p, at)
}

func (f faultyFile) Truncate(size int64) error {
	if err := f.faults.next("truncate"); err != nil {
		return err
	}
	return f.file.Truncate(size)
}

// Whichever operation fails, no row is lost of which Put said that it is kept,
// none is wrong, and the next memo works.
func TestEachOperationFailsOnce(t *testing.T) {
	met := map[string]bool{}
	for failAt := 1; ; failAt++ {
		s := openStore(t, t.TempDir())
		want := map[Key]string{}
		for i := range maxSmall { // one more is merged
			m := openMemo(t, s, Options{})
			want[keyOf(i)] = "old"
			put(t, m, keyOf(i), "old")
			closeMemo(t, m)
		}
		orphan := openMemo(t, s, Options{})
		want[keyOf(50)] = "orphaned"
		put(t, orphan, keyOf(50), "orphaned")
		orphan.release()

		f := &faults{failAt: failAt}
		failures := work(t, s, f, want)
		if f.failed == "" {
			break
		}
		met[f.failed] = true
		if f.failed != "read" && f.failed != "temp dir" && f.failed != "truncate" && f.failed != "adopt" && failures == 0 {
			t.Errorf("operation %d, %s, failed and nobody said so", failAt, f.failed)
		}
		for range 2 { // taken over, and sealed
			m := openMemo(t, s, Options{})
			expect(t, m, want, 100)
			closeMemo(t, m)
		}
		s.Close()
	}
	for _, op := range []string{"put", "put action", "adopt", "lock", "temp dir", "write", "read"} {
		if !met[op] {
			t.Errorf("no %s was among the operations", op)
		}
	}
}

// work puts rows while operations fail, and counts the errors.
func work(t *testing.T, s *disk.Store, f *faults, want map[Key]string) (failures int) {
	t.Helper()
	hold := func(path string) (file, error) {
		held, err := holdFile(path)
		if held == nil {
			return nil, err
		}
		return faultyFile{held, f}, nil
	}
	m, err := open(ctx, faultyStore{s, f}, scope, Options{}, hold)
	if err != nil {
		return 1
	}
	for i, value := range []string{"first", "second", strings.Repeat("third", 100)} {
		key := keyOf(90 + i)
		if err := m.Put(key, []byte(value)); err != nil {
			failures++
			continue
		}
		want[key] = value
		if got, known, err := m.Get(key); err != nil || known && string(got) != value {
			t.Errorf("row %d: %.20q, %v, %v", i, got, known, err)
		}
	}
	if err := m.Close(ctx); err != nil {
		failures++
	}
	return failures
}

// A write that fails twice, since what it left cannot be cut off either, gets no
// row behind it: that row would be lost with the damage.
func TestWriteThatCannotBeUndone(t *testing.T) {
	s := openStore(t, t.TempDir())
	f := &faults{}
	hold := func(path string) (file, error) {
		held, err := holdFile(path)
		return faultyFile{held, f}, err
	}
	m, err := open(ctx, s, scope, Options{}, hold)
	if err != nil {
		t.Fatal(err)
	}
	put(t, m, keyOf(1), "one")
	broken := m.journals[0]
	broken.file = alwaysFails{broken.file}
	if err := m.Put(keyOf(2), []byte("two")); !errors.Is(err, errFault) {
		t.Errorf("error %v", err)
	}
	put(t, m, keyOf(3), "three")
	want := map[Key]string{keyOf(1): "one", keyOf(3): "three"}
	expect(t, m, want, 5)
	closeMemo(t, m)
	expect(t, openMemo(t, s, Options{}), want, 5)
}

type alwaysFails struct{ file }

func (f alwaysFails) WriteAt(p []byte, at int64) (int, error) {
	n, _ := f.file.WriteAt(p[:len(p)/2], at)
	return n, errFault
}
func (f alwaysFails) Truncate(int64) error { return errFault }

// When Close is called off, the rows stay for the next memo.
func TestCloseCalledOff(t *testing.T) {
	s := openStore(t, t.TempDir())
	m := openMemo(t, s, Options{})
	put(t, m, keyOf(1), "one")
	called, off := context.WithCancel(ctx)
	off()
	if err := m.Close(called); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	expect(t, openMemo(t, s, Options{}), map[Key]string{keyOf(1): "one"}, 5)
	if _, err := Open(called, s, scope, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
}
