package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/prismflow/prismflow/artifacts"
)

// An outgoing object is one that is to be written.
type outgoing struct {
	name  string
	size  int64
	open  func() (io.ReadCloser, error)
	want  artifacts.Digest // of the content; empty: it is not checked
	meter *meter

	// there says, after a write ended with err, whether the object is there as it
	// should be. Without it, what is there is replaced.
	there func(ctx context.Context, err error) (bool, error)
}

// opener opens bytes in memory.
func opener(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// send writes an object, as often as it takes, and returns how many bytes went
// over the wire. After any error it looks whether the object is there: the answer
// may have been lost, and who comes second in a conditional write of many bytes
// may be told so by a broken connection.
func (s *Store) send(ctx context.Context, o outgoing) (sent int64, err error) {
	var tries tries
	for {
		n, err := s.sendOnce(ctx, o)
		sent += n
		if err == nil {
			return sent, nil
		}
		asksForRest := retryAfter(err) > 0 // also from looking
		if o.there != nil && !isLocal(err) && !asksForRest && ctx.Err() == nil {
			there, lookErr := o.there(ctx, err)
			switch exists := errors.Is(err, ErrExists); {
			case there && lookErr == nil:
				return sent, nil
			case exists && (lookErr == nil || errors.Is(lookErr, artifacts.ErrNotFound)):
				o.there = nil // what is there is wrong, or was removed since
				continue
			case exists:
				err = lookErr
			}
		}
		if err := tries.again(ctx, s, err); err != nil {
			return sent, err
		}
	}
}

func (s *Store) sendOnce(ctx context.Context, o outgoing) (sent int64, err error) {
	r, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	o.meter.restart()
	source := &source{outgoing: o, request: r}
	r.watch.arm(0)
	err = s.driver.Write(r.ctx, o.name, Content{Size: o.size, Open: source.Open, Sample: source.Sample}, o.there != nil)
	if wrong := source.failure(); wrong != nil {
		err = local(wrong)
	}
	return source.sent.Load(), r.end(err)
}

// A source is the content of one write, which the driver may open again.
type source struct {
	outgoing
	request *request
	sent    atomic.Int64

	mu     sync.Mutex // guards failed: a driver may read on after its answer
	failed error      // of the content
}

// failure is what was wrong with the content, whatever the driver made of it.
func (s *source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *source) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	return err
}

// Open is the Open of the driver's Content.
func (s *source) Open() (io.ReadCloser, error) {
	s.request.watch.rest()
	defer s.request.watch.arm(0)
	r, err := s.open()
	if err != nil {
		return nil, s.fail(err)
	}
	return &sourceReading{source: s, r: r, left: s.size, hash: sha256.New()}, nil
}

// Sample is the Sample of the driver's Content.
func (s *source) Sample() (io.ReadCloser, error) {
	r, err := s.Open()
	if err == nil {
		r.(*sourceReading).sample = true
	}
	return r, err
}

// A sourceReading is one reading of a source. The last bytes are handed out when
// all of them are known to be right, so that no driver has a whole wrong object.
type sourceReading struct {
	*source
	r      io.ReadCloser
	left   int64
	handed int64
	hash   hash.Hash
	sample bool // nothing of it is sent
	closed atomic.Bool
}

func (s *sourceReading) Read(p []byte) (int, error) {
	if s.sample {
		return s.next(p)
	}
	s.request.watch.rest()
	n, err := s.next(p)
	s.handed += int64(n)
	s.sent.Add(int64(n))
	s.request.store.stats.sent.Add(int64(n))
	s.meter.add(int64(n))
	if perr := s.request.store.pace.moved(s.request.ctx, n); perr != nil && err == nil {
		err = perr
	}
	s.request.watch.moved(n, grace(s.handed))
	s.request.watch.arm(grace(s.handed))
	return n, err
}

func (s *sourceReading) next(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if s.want != "" {
		s.hash.Write(p[:n])
	}
	switch {
	case err == io.EOF && s.left > 0:
		err = fmt.Errorf("its content is %d bytes and not %d: %w", s.size-s.left, s.size, artifacts.ErrCorrupt)
	case err == nil && s.left > 0:
		return n, nil
	case err == nil || err == io.EOF:
		if err = s.verdict(err == io.EOF); err == nil {
			return n, nil
		}
	}
	if s.closed.Load() { // under the reading, by a driver that gave up
		return 0, err
	}
	return 0, s.fail(err)
}

// verdict is what is wrong with a content of which all bytes were read.
func (s *sourceReading) verdict(ended bool) error {
	if !ended {
		switch n, err := io.ReadFull(s.r, make([]byte, 1)); {
		case n > 0:
			return fmt.Errorf("its content is more than %d bytes: %w", s.size, artifacts.ErrCorrupt)
		case err != io.EOF:
			return err
		}
	}
	if got := artifacts.DigestOfHash(s.hash); s.want != "" && got != s.want {
		return fmt.Errorf("its content has digest %s: %w", got.Short(), artifacts.ErrCorrupt)
	}
	return nil
}

func (s *sourceReading) Close() error {
	s.closed.Store(true)
	return s.r.Close()
}
