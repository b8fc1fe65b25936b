package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/prismflow/prismflow/artifacts"
)

// maxAction is the size in bytes of the largest action that is read or written.
const maxAction = 4 << 20

func actionName(k artifacts.Key) string { return "ac/" + string(k) }

func checkKey(ctx context.Context, k artifacts.Key) error {
	if _, err := artifacts.ParseKey(string(k)); err != nil {
		return err
	}
	return ctx.Err()
}

// GetAction implements artifacts.Store. One of more than 4 MiB is ErrCorrupt.
func (s *Store) GetAction(ctx context.Context, k artifacts.Key) ([]byte, error) {
	if err := checkKey(ctx, k); err != nil {
		return nil, err
	}
	action, err := s.readAction(ctx, k)
	return action, s.failed(err, "reading action %s", k.Short())
}

// readAction reads an action in one piece: it may be replaced at any time, so
// that the rest of one that broke off may be another's.
func (s *Store) readAction(ctx context.Context, k artifacts.Key) (action []byte, err error) {
	err = s.ask(ctx, func(r *request) error {
		opened, err := s.driver.Read(r.ctx, actionName(k), 0, -1)
		if err != nil {
			return err
		}
		body := newBody(opened, r)
		defer body.Close()
		action, err = io.ReadAll(io.LimitReader(body, maxAction+1))
		if err == nil && len(action) > maxAction {
			err = fmt.Errorf("more than %d bytes: %w", maxAction, artifacts.ErrCorrupt)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return action, nil
}

// PutAction implements artifacts.Store. Where the place itself does not decide who is
// first, another process may replace an action that it did not see.
func (s *Store) PutAction(ctx context.Context, k artifacts.Key, action []byte, replace bool) error {
	if err := checkKey(ctx, k); err != nil {
		return err
	}
	if len(action) > maxAction {
		return fmt.Errorf("remote %s: action %s is %d bytes, more than %d", s.driver, k.Short(), len(action), maxAction)
	}
	release, err := s.names.take(ctx, actionName(k))
	if err != nil {
		return err
	}
	defer release()
	return s.failed(s.writeAction(ctx, k, action, replace), "writing action %s", k.Short())
}

func (s *Store) writeAction(ctx context.Context, k artifacts.Key, action []byte, replace bool) error {
	if !replace && !s.driver.Traits().Conditional {
		if _, err := s.objectSize(ctx, actionName(k)); !errors.Is(err, artifacts.ErrNotFound) {
			return err // nil: the first one stays
		}
	}
	object := outgoing{name: actionName(k), size: int64(len(action)), open: opener(action)}
	if !replace {
		object.there = func(ctx context.Context, err error) (bool, error) {
			if errors.Is(err, ErrExists) {
				return true, nil // any will do
			}
			return s.exists(ctx, actionName(k))
		}
	}
	_, err := s.send(ctx, object)
	return err
}

func (s *Store) exists(ctx context.Context, name string) (bool, error) {
	_, err := s.objectSize(ctx, name)
	if errors.Is(err, artifacts.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
