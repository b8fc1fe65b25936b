package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/prismflow/prismflow/artifacts"
)

// A Store is an artifacts.Store in a remote place. New makes one; Close ends it.
// Its methods may be called by several goroutines at once.
type Store struct {
	driver Driver
	opts   Options
}

var _ artifacts.Store = (*Store)(nil)

// Progress hears how many bytes of a transfer have moved so far. It may be nil.
type Progress func(bytes int64)

// New is the store in the place of a driver, which is then the store's to close.
func New(driver Driver, opts Options) (*Store, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("remote %s: %w", driver, err)
	}
	return &Store{driver: driver, opts: opts}, nil
}

// String is the remote's URL without credentials.
func (s *Store) String() string { return s.driver.String() }

// Close ends the use of the remote.
func (s *Store) Close() error { return s.driver.Close() }

func blobName(d artifacts.Digest) string { return "cas/" + d.Hex() }

func actionName(k artifacts.Key) string { return "ac/" + string(k) }

// Stat implements artifacts.Store.
func (s *Store) Stat(ctx context.Context, d artifacts.Digest) (int64, error) {
	return s.driver.Stat(ctx, blobName(d))
}

// Get implements artifacts.Store.
func (s *Store) Get(ctx context.Context, d artifacts.Digest) (io.ReadCloser, error) {
	r, err := s.driver.Read(ctx, blobName(d), 0, -1)
	if err != nil {
		return nil, err
	}
	return artifacts.VerifyReader(r, d), nil
}

// Put implements artifacts.Store.
func (s *Store) Put(ctx context.Context, d artifacts.Digest, size int64, r io.Reader) error {
	var buf bytes.Buffer
	if err := artifacts.CopyVerified(ctx, &buf, r, d, size); err != nil {
		return err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	_, err := s.Upload(ctx, d, Content{size, open}, nil)
	return err
}

// Upload sends a blob unless it is there, and returns how many bytes went over
// the wire: 0 if it was. The content's bytes are checked against the digest.
func (s *Store) Upload(ctx context.Context, d artifacts.Digest, content Content, progress Progress) (sent int64, err error) {
	err = s.driver.Write(ctx, blobName(d), content, true)
	if errors.Is(err, ErrExists) {
		return 0, nil
	}
	return content.Size, err
}

// Download fetches a blob of a known size into the file at path, in parts side
// by side where the place can, and verifies it: after an error nobody may use
// the file, but a later Download to the same path goes on with what is right of
// it. A wrong byte is ErrCorrupt.
func (s *Store) Download(ctx context.Context, d artifacts.Digest, size int64, path string, progress Progress) error {
	r, err := s.Get(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := artifacts.CopyVerified(ctx, f, r, d, size); err != nil {
		return err
	}
	return f.Close()
}

// GetAction implements artifacts.Store.
func (s *Store) GetAction(ctx context.Context, k artifacts.Key) ([]byte, error) {
	r, err := s.driver.Read(ctx, actionName(k), 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// PutAction implements artifacts.Store.
func (s *Store) PutAction(ctx context.Context, k artifacts.Key, action []byte, replace bool) error {
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(action)), nil }
	err := s.driver.Write(ctx, actionName(k), Content{int64(len(action)), open}, !replace)
	if errors.Is(err, ErrExists) {
		return nil
	}
	return err
}
