package server

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/prismflow/prismflow/artifacts"
)

// checkPut refuses what a PUT could ask for and does not get here. Ignored, it
// would do something else than the client believes.
func checkPut(r *http.Request) error {
	for _, name := range []string{"Content-Range", "If-Match", "If-Unmodified-Since"} {
		if r.Header.Get(name) != "" {
			return refuse(http.StatusBadRequest, "PUT with %s is not possible here", name)
		}
	}
	if condition := r.Header.Get("If-None-Match"); condition != "" && condition != "*" {
		return refuse(http.StatusBadRequest, "PUT takes no other condition than If-None-Match: *")
	}
	return nil
}

func onlyIfAbsent(r *http.Request) bool { return r.Header.Get("If-None-Match") == "*" }

// putBlob takes a blob. What can be refused is refused before the body is read:
// a client that sent Expect: 100-continue has not sent it then.
func (s *Server) putBlob(x *exchange, d artifacts.Digest) error {
	if onlyIfAbsent(x.r) {
		here, err := s.hasBlob(x, d)
		if err != nil {
			return err
		}
		if here {
			return refuse(http.StatusPreconditionFailed, "blob %s is here already", d.Short())
		}
	}
	room, err := s.roomFor(x, s.opts.MaxBlob)
	if err != nil {
		return err
	}
	defer room.leave()
	body, done, err := s.plainBody(x, room)
	if err != nil {
		return err
	}
	defer done()
	path, size, err := s.receive(body, d)
	if err != nil {
		return s.notReceived(err)
	}
	if err := s.store.Adopt(x.r.Context(), path, d); err != nil {
		_ = os.Remove(path) // may be gone
		return err
	}
	room.fill(size)
	x.WriteHeader(http.StatusCreated)
	return nil
}

// roomFor is the room for a body: for all of it where the client says how long it
// is, else it grows. What is too large, as far as it says, or has no room, is
// refused.
func (s *Server) roomFor(x *exchange, limit int64) (*room, error) {
	announced := x.r.ContentLength
	if announced > limit {
		return nil, refuse(http.StatusRequestEntityTooLarge, "%d bytes, and at most %d are taken", announced, limit)
	}
	if announced < 0 || x.r.Header.Get("Content-Encoding") != "" {
		announced = 0 // in chunks, or deflated to who knows what
	}
	return s.quota.reserve(announced)
}

// A roomyBody is a body for which there is room, as far as it was read.
type roomyBody struct {
	r    io.Reader
	room *room
	read int64
}

// Read implements io.Reader.
func (b *roomyBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.read += int64(n)
	if full := b.room.widen(b.read); full != nil {
		return 0, full
	}
	return n, err
}

// buffers are for copying. Larger ones gain nothing against a network.
var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// receive writes a blob to a file of its own, if its bytes are those that d
// names.
func (s *Server) receive(body io.Reader, d artifacts.Digest) (path string, size int64, err error) {
	path = filepath.Join(s.temp, "body-"+rand.Text())
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return "", 0, err
	}
	hash := sha256.New()
	buffer := buffers.Get().(*[256 << 10]byte)
	size, err = io.CopyBuffer(io.MultiWriter(f, hash), io.LimitReader(body, s.opts.MaxBlob+1), buffer[:])
	buffers.Put(buffer)
	if err == nil && size > s.opts.MaxBlob {
		err = refuse(http.StatusRequestEntityTooLarge, "more than %d bytes, which is the most that is taken", s.opts.MaxBlob)
	}
	if got := artifacts.DigestOfHash(hash); err == nil && got != d {
		err = fmt.Errorf("%d bytes of digest %s, where %s should be: %w", size, got.Short(), d.Short(), artifacts.ErrCorrupt)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
		return "", 0, err
	}
	return path, size, nil
}

// notReceived is the error that a client gets for a body that was not taken.
func (s *Server) notReceived(err error) error {
	if errors.Is(err, artifacts.ErrCorrupt) {
		s.metrics.refused.Inc()
		return refuse(http.StatusBadRequest, "refused: %v", err)
	}
	return err
}

// plainBody is the body, inflated where it comes deflated, as far as there is room.
// done must be called when it was read.
func (s *Server) plainBody(x *exchange, room *room) (body io.Reader, done func(), err error) {
	encoding := strings.ToLower(strings.TrimSpace(x.r.Header.Get("Content-Encoding")))
	switch {
	case encoding == "" || encoding == "identity":
		return &roomyBody{r: x.body, room: room}, func() {}, nil
	case encoding == "zstd" && !s.opts.NoZstd:
		body, done, err = s.coders.inflate(x)
		return &roomyBody{r: body, room: room}, done, err
	}
	return nil, nil, refuse(http.StatusUnsupportedMediaType, "a body is taken as it is%s", map[bool]string{false: " or with Content-Encoding: zstd"}[s.opts.NoZstd])
}
