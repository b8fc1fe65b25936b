package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/prismflow/prismflow/artifacts"
)

// The store counts, verifies and collects by the files that an action names. An
// action that names more, as Bazel's do, or that is none, as what ccache keeps
// under a key, is therefore kept as a blob, and in its place stands an action
// that names this blob, as contentsPath, and all that it names itself.
const (
	contentsPath = "prismflow:contents"
	namedPath    = "prismflow:named/"
)

// usableAction is the action under a key, when every blob that it names is here.
// Otherwise the error is artifacts.ErrNotFound.
func (s *Server) usableAction(ctx context.Context, k artifacts.Key) ([]byte, error) {
	action, err := s.store.GetAction(ctx, k)
	if err != nil {
		return nil, err
	}
	files, _ := filesOf(action)
	if err := s.allHere(ctx, files); err != nil {
		return nil, fmt.Errorf("action %s: %w", k.Short(), err)
	}
	if len(files) == 0 || files[0].Path != contentsPath {
		return action, nil
	}
	action, err = s.readBlob(ctx, files[0])
	if err != nil {
		return nil, fmt.Errorf("action %s: %w", k.Short(), err)
	}
	return action, nil
}

// readBlob is the whole of a small blob.
func (s *Server) readBlob(ctx context.Context, blob artifacts.OutputFile) ([]byte, error) {
	if blob.Digest == emptyBlob {
		return nil, nil
	}
	path, err := s.verified(ctx, blob.Digest)
	if err != nil {
		return nil, err
	}
	return readFile(path, maxAction)
}

// getAction answers GET and HEAD of an action. One that names blobs which are
// not all here is no use to anybody, and is not here either.
func (s *Server) getAction(x *exchange, k artifacts.Key) error {
	action, err := s.usableAction(x.r.Context(), k)
	if err != nil {
		return err
	}
	return s.send(x, bytes.NewReader(action), int64(len(action)), artifacts.DigestOf(action).Hex())
}

// putAction takes an action, whatever its bytes are.
func (s *Server) putAction(x *exchange, k artifacts.Key) error {
	ctx := x.r.Context()
	if onlyIfAbsent(x.r) {
		if err := s.absent(ctx, k); err != nil {
			return err
		}
	}
	room, err := s.roomFor(x, maxAction)
	if err != nil {
		return err
	}
	defer room.leave()
	body, done, err := s.plainBody(x, room)
	if err != nil {
		return err
	}
	defer done()
	action, err := io.ReadAll(io.LimitReader(body, maxAction+1))
	if err != nil {
		return err
	}
	if len(action) > maxAction {
		return refuse(http.StatusRequestEntityTooLarge, "more than %d bytes, which is the most that an action may have", maxAction)
	}
	kept, err := s.keepable(ctx, room, action)
	if err != nil {
		return err
	}
	if err := room.widen(int64(len(kept))); err != nil {
		return err
	}
	if err := s.publish(ctx, k, kept, onlyIfAbsent(x.r)); err != nil {
		return err
	}
	room.fill(int64(len(kept)))
	x.WriteHeader(http.StatusCreated)
	return nil
}

// keepable is the action that stands for one in the store: itself, if it names
// files and nothing else. What it takes beside itself is stored in the room.
func (s *Server) keepable(ctx context.Context, room *room, action []byte) ([]byte, error) {
	files, isAction := filesOf(action)
	if len(files) > 0 && files[0].Path != contentsPath && !namesMore(action) {
		return action, s.storeEmpty(ctx, files)
	}
	contents := artifacts.OutputFile{Path: contentsPath, Digest: artifacts.DigestOf(action), Bytes: int64(len(action))}
	n := newNaming(contents)
	if isAction {
		if err := s.gather(ctx, n, files, action); err != nil {
			return nil, err
		}
	}
	kept := artifacts.ActionResult{OutputFiles: n.blobs}.Encode()
	if _, err := artifacts.DecodeActionResult(kept); err != nil {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the action names blobs as none may: %v", err)
	}
	if err := room.widen(contents.Bytes + int64(len(kept))); err != nil {
		return nil, err
	}
	if err := s.store.Put(ctx, contents.Digest, contents.Bytes, bytes.NewReader(action)); err != nil {
		return nil, err
	}
	room.fill(contents.Bytes)
	return kept, nil
}

// storeEmpty stores the empty blob for an action that names it: to whoever looks
// into the directory it has to be there, too.
func (s *Server) storeEmpty(ctx context.Context, named []artifacts.OutputFile) error {
	isEmpty := func(blob artifacts.OutputFile) bool { return blob.Digest == emptyBlob }
	if !slices.ContainsFunc(named, isEmpty) {
		return nil
	}
	return s.store.Put(ctx, emptyBlob, 0, bytes.NewReader(nil))
}

// absent refuses to replace an action that is of use.
func (s *Server) absent(ctx context.Context, k artifacts.Key) error {
	_, err := s.usableAction(ctx, k)
	if err == nil {
		return refuse(http.StatusPreconditionFailed, "action %s is here already", k.Short())
	}
	if errors.Is(err, artifacts.ErrNotFound) {
		return nil
	}
	return err
}

// publish gives an action its place. Of two conditional ones the first stays,
// unless it lacks a blob: kept, it would be in the way of a result for ever.
func (s *Server) publish(ctx context.Context, k artifacts.Key, kept []byte, ifAbsent bool) error {
	if !ifAbsent {
		return s.store.PutAction(ctx, k, kept, true)
	}
	turn := s.turn(k)
	turn.Lock()
	defer turn.Unlock()
	if err := s.absent(ctx, k); err != nil {
		return err
	}
	_, err := s.store.GetAction(ctx, k)
	unusable := err == nil
	if err := s.store.PutAction(ctx, k, kept, unusable); err != nil {
		return err
	}
	// Another process on the same directory may have been first.
	standing, err := s.store.GetAction(ctx, k)
	if err == nil && !bytes.Equal(standing, kept) {
		return refuse(http.StatusPreconditionFailed, "action %s is here already", k.Short())
	}
	return err
}

// turn is the lock of those who write the action under a key, and of some others.
func (s *Server) turn(k artifacts.Key) *sync.Mutex {
	first, _ := strconv.ParseUint(string(k[:2]), 16, 8) // a key is hex digits
	return &s.changing[first%uint64(len(s.changing))]
}
