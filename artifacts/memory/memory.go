// Package memory is a store that lives in the process: for tests, and for
// runs whose results nobody wants to keep.
//
//	s := memory.New()
//	err := s.Put(ctx, artifacts.DigestOf(b), int64(len(b)), bytes.NewReader(b))
//	r, err := s.Get(ctx, artifacts.DigestOf(b))
//
// It has no bound and no eviction, and gives no file's path: stages that need
// their inputs as files need a disk store.
package memory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/prismflow/prismflow/artifacts"
)

// Store is an artifacts.Store in memory. New makes one.
type Store struct {
	mu      sync.RWMutex // guards what follows; the slices are never changed
	blobs   map[artifacts.Digest][]byte
	actions map[artifacts.Key][]byte
}

var _ artifacts.Store = (*Store)(nil)

// New is an empty store.
func New() *Store {
	return &Store{blobs: map[artifacts.Digest][]byte{}, actions: map[artifacts.Key][]byte{}}
}

// Stat implements artifacts.Store.
func (s *Store) Stat(ctx context.Context, d artifacts.Digest) (int64, error) {
	b, err := s.blob(ctx, d)
	return int64(len(b)), err
}

// Get implements artifacts.Store.
func (s *Store) Get(ctx context.Context, d artifacts.Digest) (io.ReadCloser, error) {
	b, err := s.blob(ctx, d)
	if err != nil {
		return nil, err
	}
	return artifacts.VerifyReader(io.NopCloser(bytes.NewReader(b)), d), nil
}

func (s *Store) blob(ctx context.Context, d artifacts.Digest) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := artifacts.ParseDigest(string(d)); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.blobs[d]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w", d.Short(), artifacts.ErrNotFound)
	}
	return b, nil
}

// Put implements artifacts.Store.
func (s *Store) Put(ctx context.Context, d artifacts.Digest, size int64, r io.Reader) error {
	if _, err := artifacts.ParseDigest(string(d)); err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := artifacts.CopyVerified(ctx, &buf, r, d, size); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[d] = buf.Bytes()
	return nil
}

// GetAction implements artifacts.Store.
func (s *Store) GetAction(ctx context.Context, k artifacts.Key) ([]byte, error) {
	if err := check(ctx, k); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	a, ok := s.actions[k]
	if !ok {
		return nil, fmt.Errorf("action %s: %w", k.Short(), artifacts.ErrNotFound)
	}
	return bytes.Clone(a), nil
}

// PutAction implements artifacts.Store.
func (s *Store) PutAction(ctx context.Context, k artifacts.Key, action []byte, replace bool) error {
	if err := check(ctx, k); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, stands := s.actions[k]; !stands || replace {
		s.actions[k] = append([]byte{}, action...)
	}
	return nil
}

func check(ctx context.Context, k artifacts.Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := artifacts.ParseKey(string(k))
	return err
}
