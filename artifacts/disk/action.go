package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/groupmode"
	"github.com/prismflow/prismflow/artifacts/internal/claim"
)

// maxAction is the most bytes that are read of an action.
const maxAction = 4 << 20

// usedEvery is how exact the time of last use is that GC goes by. More would
// cost a write for every look-up.
const usedEvery = time.Minute

// GetAction implements artifacts.Store. It records the use: see GC.
func (s *Store) GetAction(ctx context.Context, k artifacts.Key) ([]byte, error) {
	if err := checkKey(ctx, k); err != nil {
		return nil, err
	}
	path := s.actionPath(k)
	action, modified, err := readAction(path)
	if err != nil {
		return nil, notFound("action", k.Short(), err)
	}
	if err := s.touch(ctx, path, modified); err != nil {
		return nil, notFound("action", k.Short(), err)
	}
	return action, nil
}

// Onlooker is the store for those who ask about results without using them:
// GetAction, and so a look-up, records no use.
func (s *Store) Onlooker() artifacts.Store { return onlooker{s} }

type onlooker struct{ *Store }

func (o onlooker) GetAction(ctx context.Context, k artifacts.Key) ([]byte, error) {
	if err := checkKey(ctx, k); err != nil {
		return nil, err
	}
	action, _, err := readAction(o.actionPath(k))
	if err != nil {
		return nil, notFound("action", k.Short(), err)
	}
	return action, nil
}

func readAction(path string) (action []byte, modified time.Time, err error) {
	f, err := openOwn(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	if info.Size() > maxAction {
		return nil, time.Time{}, fmt.Errorf("%d bytes where at most %d are believed: %w", info.Size(), maxAction, artifacts.ErrCorrupt)
	}
	action = make([]byte, info.Size())
	_, err = io.ReadFull(f, action)
	return action, info.ModTime(), err
}

// unread says whether an error of readAction is of this moment or this user, and
// not of what is in the file: there may be a sound result.
func unread(err error) bool {
	var failure *fs.PathError
	return errors.As(err, &failure) && !errors.Is(err, fs.ErrNotExist)
}

// touch records the use of an action by its modification time: at most once
// in usedEvery, but at least once in the time of a lease, so that GC sees what
// the lease's holder looked up. The error is one of absence, when GC was first.
func (s *Store) touch(ctx context.Context, path string, modified time.Time) error {
	now := s.opts.Now()
	if now.Sub(modified) < usedEvery && modified.UnixNano() >= s.leaseStart.Load() {
		return nil
	}
	return s.sweep.marked(ctx, func() error {
		now := s.opts.Now()
		err := os.Chtimes(path, time.Time{}, now)
		if errors.Is(err, os.ErrPermission) {
			err = touchOthers(ctx, path, now)
		}
		if errors.Is(err, os.ErrNotExist) || ctx.Err() != nil {
			return err
		}
		return nil // a store that may only be read: nobody collects there for us
	})
}

// touchOthers sets the modification time of a file of another user's, whom we
// share the store with. The system allows that for its own time only, and its
// clock of file times is up to a tick behind.
func touchOthers(ctx context.Context, path string, notBefore time.Time) error {
	tries := 0
	return poll(ctx, 4*time.Millisecond, 20*time.Millisecond, func() (done bool, err error) {
		tries++
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, nil, 0); err != nil {
			return false, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return false, err
		}
		return !info.ModTime().Before(notBefore) || tries == 5, nil
	})
}

// PutAction implements artifacts.Store.
func (s *Store) PutAction(ctx context.Context, k artifacts.Key, action []byte, replace bool) error {
	if err := checkKey(ctx, k); err != nil {
		return err
	}
	if len(action) > maxAction {
		return fmt.Errorf("publishing action %s: %d bytes, at most %d can be read back", k.Short(), len(action), maxAction)
	}
	if err := s.putAction(ctx, k, action, replace); err != nil {
		return fmt.Errorf("publishing action %s: %w", k.Short(), err)
	}
	return nil
}

func (s *Store) putAction(ctx context.Context, k artifacts.Key, action []byte, replace bool) error {
	dir, err := s.ownTemp()
	if err != nil {
		return err
	}
	tmp, err := createTemp(dir, "action-", s.fault)
	if err != nil {
		return err
	}
	defer tmp.discard()
	groupmode.Share(tmp.f)
	if _, err := tmp.Write(action); err != nil {
		return err
	}
	if err := tmp.finish(s.opts.Now()); err != nil {
		return err
	}
	path := s.actionPath(k)
	if replace {
		err = s.install(ctx, "rename", path, func() error { return s.rename(tmp, path) })
	} else {
		err = s.install(ctx, "link", path, func() error { return s.linkNew(tmp.f.Name(), path) })
	}
	if err != nil {
		return err
	}
	return syncDir(s.fault, path[:len(path)-len(k)-1])
}

// linkNew gives a file a second name, marked as in use, unless something has that
// name, which then stays.
func (s *Store) linkNew(from, to string) error {
	if err := s.mark(from); err != nil {
		return err
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	inside := func(path string) string { return strings.TrimPrefix(path, s.dir+"/") }
	err = claim.Link(root, inside(from), inside(to))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
