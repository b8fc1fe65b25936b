package remote

import (
	"context"
	"errors"
	"io"

	"github.com/prismflow/prismflow/artifacts"
)

// A Target is a store that blobs are copied to. Its Put is that of artifacts.Store:
// what it does not itself find to be what the digest names must not become visible.
type Target interface {
	Put(ctx context.Context, d artifacts.Digest, size int64, r io.Reader) error
}

// A TargetError is what a Target met that is no fault of the remote.
type TargetError struct{ Err error }

func (e *TargetError) Error() string { return e.Err.Error() }

func (e *TargetError) Unwrap() error { return e.Err }

// CopyTo moves a blob of a known size into another store, by one request and in one
// pass: for small blobs, of which nothing is to be taken up again. The bytes are not
// verified here but by the target, which has them from nobody else. An error is
// as one of Download, or has a *TargetError in it.
func (s *Store) CopyTo(ctx context.Context, d artifacts.Digest, size int64, to Target, progress Progress) error {
	return s.eachForm(ctx, d, size, progress, func(f form, m *meter) error { return s.copyTo(ctx, d, size, f, to, m) })
}

func (s *Store) copyTo(ctx context.Context, d artifacts.Digest, size int64, f form, to Target, m *meter) error {
	r, w, err := s.stream(ctx, d, size, f, m)
	if err != nil {
		return err
	}
	defer w.Close()
	src := &reader{r: r}
	err = to.Put(ctx, d, size, src)
	if err == nil || src.failed || errors.Is(err, artifacts.ErrCorrupt) || ctx.Err() != nil {
		return err
	}
	return &TargetError{err}
}

// A reader remembers whether reading from it failed.
type reader struct {
	r      io.Reader
	failed bool
}

func (s *reader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.failed = s.failed || err != nil && err != io.EOF
	return n, err
}
