package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/prismflow/prismflow/artifacts"
)

// A Store is an artifacts.Store in a remote place. New makes one; Close ends it.
// Its methods may be called by several goroutines at once.
//
// Errors that may pass were met Attempts times; ErrUnavailable costs no request.
// ErrCorrupt of a method that reads says that the remote has wrong bytes, which
// Repair replaces; of one that writes, that the content to be written is wrong.
type Store struct {
	driver  Driver
	opts    Options
	turns   chan struct{} // as many as requests may go on
	pace    *pace
	breaker *breaker
	names   names // that are being written
	stats   counters

	encoders sync.Pool // of *zstd.Encoder

	// packedFirst says that the last blob that may be packed was, so that the next
	// one is looked for so first.
	packedFirst atomic.Bool
}

var _ artifacts.Store = (*Store)(nil)

// Progress hears how many bytes of a blob have moved so far, however few of them
// go over the wire: never less than before, and by one call at a time. It may be nil.
type Progress func(bytes int64)

// New is the store in the place of a driver, which is then the store's to close.
func New(driver Driver, opts Options) (*Store, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("remote %s: %w", driver, err)
	}
	opts = opts.withDefaults()
	return &Store{
		driver:  driver,
		opts:    opts,
		turns:   make(chan struct{}, opts.Parallel),
		pace:    newPace(opts.Bandwidth),
		breaker: &breaker{limit: opts.Breaker, cooldown: opts.Cooldown, now: opts.Now},
	}, nil
}

// String is the remote's URL without credentials.
func (s *Store) String() string { return s.driver.String() }

// Close ends the use of the remote.
func (s *Store) Close() error { return s.driver.Close() }

// failed says what was being done when err was met. nil stays nil.
func (s *Store) failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("remote %s: %s: %w", s.driver, fmt.Sprintf(format, args...), err)
}

// Stat implements artifacts.Store.
func (s *Store) Stat(ctx context.Context, d artifacts.Digest) (int64, error) {
	if err := checkDigest(ctx, d); err != nil {
		return 0, err
	}
	size, err := int64(0), error(nil)
	for _, form := range s.forms(-1) {
		if size, err = s.blobSize(ctx, d, form); !errors.Is(err, artifacts.ErrNotFound) {
			break
		}
	}
	return size, s.failed(err, "asking for blob %s", d.Short())
}

// blobSize is the size of a blob that is there in a form.
func (s *Store) blobSize(ctx context.Context, d artifacts.Digest, f form) (int64, error) {
	if f == packed {
		return s.packedSize(ctx, d)
	}
	return s.objectSize(ctx, f.name(d))
}

func (s *Store) objectSize(ctx context.Context, name string) (size int64, err error) {
	err = s.ask(ctx, func(r *request) (err error) {
		size, err = s.driver.Stat(r.ctx, name)
		return err
	})
	return size, err
}

// Get implements artifacts.Store. The reader counts among the requests that go
// on at once until it has ended or is closed.
func (s *Store) Get(ctx context.Context, d artifacts.Digest) (io.ReadCloser, error) {
	if err := checkDigest(ctx, d); err != nil {
		return nil, err
	}
	err := error(nil)
	for _, form := range []form{plain, packed} { // what is read without its size is mostly small
		if form == packed && !s.driver.Traits().AnyName {
			break
		}
		r, w, openErr := s.stream(ctx, d, -1, form, nil)
		if openErr == nil {
			return newVerified(s, d, r, w), nil
		}
		if err = openErr; !errors.Is(err, artifacts.ErrNotFound) {
			break
		}
	}
	return nil, s.failed(err, "reading blob %s", d.Short())
}

// stream opens the bytes of a blob in a form, which are not verified yet. A
// negative size is not known. The wire is the caller's to close.
func (s *Store) stream(ctx context.Context, d artifacts.Digest, size int64, f form, m *meter) (io.Reader, *wire, error) {
	w := &wire{store: s, ctx: ctx, name: f.name(d), meter: m, end: size, whole: true}
	if f == packed { // without its object's size, one that is cut off could not be told from one that ends
		bytes, err := s.objectSize(ctx, w.name)
		if err != nil {
			return nil, nil, err
		}
		m.sized(bytes)
		w.end = bytes
	}
	if err := w.open(); err != nil {
		return nil, nil, err
	}
	if f == packed {
		return &unpacked{src: w, size: size}, w, nil
	}
	return w, w, nil
}

func checkDigest(ctx context.Context, d artifacts.Digest) error {
	if _, err := artifacts.ParseDigest(string(d)); err != nil {
		return err
	}
	return ctx.Err()
}
