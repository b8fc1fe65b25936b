package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// A fileLock is a lock on a file (flock), held until unlock or until the
// process dies, whichever is first. Programs that the process starts do not
// inherit it.
type fileLock struct {
	f *os.File
}

type lockMode int

const (
	shared    lockMode = unix.LOCK_SH
	exclusive lockMode = unix.LOCK_EX
)

// tryLock locks the file at path, which is made where it is absent. It is nil
// when another holds a lock that this one cannot be beside.
func tryLock(path string, mode lockMode) (*fileLock, error) {
	for {
		f, err := openLock(path)
		if err != nil {
			return nil, spaceError(err, path)
		}
		err = flock(f, int(mode)|unix.LOCK_NB)
		if err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, nil
			}
			return nil, lockError(path, err)
		}
		if isAt(f, path) {
			return &fileLock{f}, nil
		}
		f.Close() // its holder removed it in between: that name is free again
	}
}

// openLock opens the file of a lock, which is made where it is absent. A link that
// somebody put there is not followed, and a pipe does not block.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o666)
	if errors.Is(err, os.ErrPermission) {
		return os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // another user's: a lock needs no more, but on NFS
	}
	if err == nil {
		groupmode.Share(f)
	}
	return f, err
}

// A LockError says that the file system of a store refuses locks.
type LockError struct {
	Path   string
	Remedy string // what to do about it
	Err    error
}

func (e *LockError) Error() string {
	return fmt.Sprintf("locking %s: %v: %s", e.Path, e.Err, e.Remedy)
}

func (e *LockError) Unwrap() error { return e.Err }

// lockError adds to an error of a lock what to do about it, if that is known.
func lockError(path string, err error) error {
	remedy := ""
	switch {
	case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		remedy = "its file system has no working locks; mount it with them (NFS: version 4, or version 3 with the server's lockd), or move the cache to another with --cache DIR"
	case errors.Is(err, unix.EBADF):
		remedy = "it is another user's, and locks on NFS need a file that one may write to: let its owner chmod g+rw it"
	default:
		return fmt.Errorf("locking %s: %w", path, err)
	}
	return &LockError{Path: path, Remedy: remedy, Err: err}
}

// HoldFile opens the file at path, which is made where it is absent, for one
// caller alone: until that caller closes it, or removes and closes it, or its
// process dies. It is nil when somebody else holds it. Another user's file may
// be open for reading only.
func HoldFile(path string) (*os.File, error) {
	l, err := tryLock(path, exclusive)
	if l == nil {
		return nil, err
	}
	return l.f, nil
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err != unix.EINTR {
			return err
		}
	}
}

func isAt(f *os.File, path string) bool {
	have, err := f.Stat()
	if err != nil {
		return false
	}
	want, err := os.Lstat(path)
	return err == nil && os.SameFile(have, want)
}

// waitLock locks the file at path, waiting for whoever holds it.
func waitLock(ctx context.Context, path string, mode lockMode, least, most time.Duration) (l *fileLock, err error) {
	err = poll(ctx, least, most, func() (bool, error) {
		l, err = tryLock(path, mode)
		return l != nil, err
	})
	return l, err
}

// poll tries until it is done: a flock that blocks could not be called off.
// The pauses grow from least to most.
func poll(ctx context.Context, least, most time.Duration, try func() (done bool, err error)) error {
	for pause := least; ; pause = min(2*pause, most) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if done, err := try(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// unlock gives the lock up.
func (l *fileLock) unlock() { l.f.Close() }

// removeAndUnlock gives an exclusive lock up and its file with it. Whoever
// waits for that file sees that it is gone and makes a new one.
func (l *fileLock) removeAndUnlock() {
	os.Remove(l.f.Name())
	l.f.Close()
}

// Lock gives the caller the turn to compute the result of a key: one
// goroutine of one process has it at a time. It waits for whoever has it, as
// long as ctx lasts. A process that dies loses its turn. unlock may be called
// more than once.
//
// Having waited, look the key up again: whoever was first may have published.
func (s *Store) Lock(ctx context.Context, k artifacts.Key) (unlock func(), err error) {
	if err := checkKey(ctx, k); err != nil {
		return nil, err
	}
	done, err := s.locking.take(ctx, string(k))
	if err != nil {
		return nil, err
	}
	l, err := waitLock(ctx, s.turnPath(k), exclusive, 10*time.Millisecond, 100*time.Millisecond)
	if err != nil {
		done()
		return nil, fmt.Errorf("waiting for the turn to compute %s: %w", k.Short(), err)
	}
	return endTurn(l, done), nil
}

// TryLock is Lock for who does not wait: unlock is nil while somebody else has
// the turn.
func (s *Store) TryLock(ctx context.Context, k artifacts.Key) (unlock func(), err error) {
	if err := checkKey(ctx, k); err != nil {
		return nil, err
	}
	done, _ := s.locking.try(string(k))
	if done == nil {
		return nil, nil
	}
	l, err := tryLock(s.turnPath(k), exclusive)
	if l == nil {
		done()
		return nil, err
	}
	return endTurn(l, done), nil
}

func (s *Store) turnPath(k artifacts.Key) string { return s.path("state", "locks", string(k)) }

// endTurn gives back what makes a turn, once.
func endTurn(l *fileLock, done func()) (unlock func()) {
	var once sync.Once
	return func() { once.Do(func() { l.removeAndUnlock(); done() }) }
}

// A sweepLock keeps uses and sweeps apart. Whoever records that something is
// in use (by its time, or in a lease) holds it shared while doing so. Whoever
// removes something holds it exclusively from the moment of looking at those
// records until it is gone. So what is removed is not in use, whatever else
// goes on. Both hold it for milliseconds.
//
// The holders of one process share one flock, because a run in which nothing
// changed records a use for each of its stages and does little else.
type sweepLock struct {
	path string
	gate chan struct{} // has one element; taking it guards what follows
	file *os.File      // once open
	uses int           // that hold the lock shared

	marks markLock
}

func newSweepLock(path, marks string) *sweepLock {
	l := &sweepLock{path: path, gate: make(chan struct{}, 1), marks: markLock{path: marks}}
	l.gate <- struct{}{}
	return l
}

// A markLock lets one process and goroutine at a time set a time of last use.
// Without it a time that was taken first may be set last, and a file that was
// just used looks as if it had not been since.
type markLock struct {
	path string
	mu   sync.Mutex // guards file, and is held with the lock
	file *os.File   // once open
}

// hold waits for the lock, which others hold for a few system calls.
func (l *markLock) hold() (release func(), err error) {
	l.mu.Lock()
	if l.file == nil {
		l.file, err = openLock(l.path)
	}
	if err == nil {
		err = flock(l.file, unix.LOCK_EX)
	}
	if err != nil {
		l.mu.Unlock()
		return nil, lockError(l.path, err)
	}
	return func() {
		_ = flock(l.file, unix.LOCK_UN) // cannot fail for an open file
		l.mu.Unlock()
	}, nil
}

func (l *markLock) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// Pauses between tries for the sweep lock.
const sweepLeast, sweepMost = time.Millisecond, 20 * time.Millisecond

// inUse does what marks something as in use, while no sweep goes on.
func (l *sweepLock) inUse(ctx context.Context, mark func() error) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	return mark()
}

// marked is inUse for a mark that is a time, which has to be taken in mark: one
// mark is made after the other, so that of two the later one stays.
func (l *sweepLock) marked(ctx context.Context, mark func() error) error {
	return l.inUse(ctx, func() error {
		release, err := l.marks.hold()
		if err != nil {
			return err
		}
		defer release()
		return mark()
	})
}

func (l *sweepLock) enter(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.gate:
	}
	defer func() { l.gate <- struct{}{} }()
	if l.uses == 0 {
		if err := l.share(ctx); err != nil {
			return err
		}
	}
	l.uses++
	return nil
}

// share locks the file, which is never removed.
func (l *sweepLock) share(ctx context.Context) error {
	if l.file == nil {
		held, err := waitLock(ctx, l.path, shared, sweepLeast, sweepMost)
		if err == nil {
			l.file = held.f
		}
		return err
	}
	return poll(ctx, sweepLeast, sweepMost, func() (bool, error) {
		err := flock(l.file, unix.LOCK_SH|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, nil
		}
		if err != nil {
			return false, lockError(l.path, err)
		}
		return true, nil
	})
}

func (l *sweepLock) leave() {
	<-l.gate
	defer func() { l.gate <- struct{}{} }()
	if l.uses--; l.uses == 0 {
		_ = flock(l.file, unix.LOCK_UN) // cannot fail for an open file
	}
}

// swept does what removes something, after a look at whether it may, while
// nobody marks anything as in use.
func (l *sweepLock) swept(ctx context.Context, remove func() error) error {
	held, err := waitLock(ctx, l.path, exclusive, sweepLeast, sweepMost)
	if err != nil {
		return err
	}
	defer held.unlock()
	return remove()
}

func (l *sweepLock) close() {
	l.marks.close()
	<-l.gate
	defer func() { l.gate <- struct{}{} }()
	if l.file != nil && l.uses == 0 {
		l.file.Close()
		l.file = nil
	}
}

// turns lets one goroutine at a time have each name. The zero value is ready.
type turns struct {
	mu    sync.Mutex // guards taken
	taken map[string]chan struct{}
}

// take waits for the turn at a name. done gives it back.
func (t *turns) take(ctx context.Context, name string) (done func(), err error) {
	for {
		done, busy := t.try(name)
		if done != nil {
			return done, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-busy:
		}
	}
}

// try takes the turn at a name if nobody has it; else busy closes when it is given
// back.
func (t *turns) try(name string) (done func(), busy <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if busy, taken := t.taken[name]; taken {
		return nil, busy
	}
	mine := make(chan struct{})
	if t.taken == nil {
		t.taken = map[string]chan struct{}{}
	}
	t.taken[name] = mine
	return func() {
		t.mu.Lock()
		delete(t.taken, name)
		t.mu.Unlock()
		close(mine)
	}, nil
}
