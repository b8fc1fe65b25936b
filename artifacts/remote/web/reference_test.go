package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
)

// A reference is a server that can all that a driver may hope for.
type reference struct {
	mu       sync.Mutex // guards the rest
	objects  map[string][]byte
	deflated int // PUTs whose bodies were compressed
}

func newReference() *reference { return &reference{objects: map[string][]byte{}} }

func (s *reference) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Accept-Encoding", "zstd")
	if r.Method == http.MethodPut {
		s.put(w, r)
		return
	}
	s.mu.Lock()
	b, ok := s.objects[r.URL.Path]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept-Encoding"), "zstd") && len(b) < 8<<20 { // more is slow
		w.Header().Set("Content-Encoding", "zstd")
		_, _ = io.WriteString(w, compressed(b))
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (s *reference) put(w http.ResponseWriter, r *http.Request) {
	ifAbsent := r.Header.Get("If-None-Match") == "*"
	if s.stands(r.URL.Path) && ifAbsent {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "zstd" {
		decoder, _ := zstd.NewReader(r.Body)
		defer decoder.Close()
		body = decoder
	}
	b, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if sum := sha256.Sum256(b); strings.HasPrefix(r.URL.Path, "/cas/") && !strings.HasSuffix(r.URL.Path, hex.EncodeToString(sum[:])) {
		http.Error(w, "other bytes", http.StatusUnprocessableEntity)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Content-Encoding") == "zstd" {
		s.deflated++
	}
	if _, ok := s.objects[r.URL.Path]; ok && ifAbsent {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	s.objects[r.URL.Path] = b
	w.WriteHeader(http.StatusCreated)
}

func (s *reference) stands(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.objects[path]
	return ok
}

func compressed(b []byte) string {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	defer encoder.Close()
	return string(encoder.EncodeAll(b, nil))
}

func TestReference(t *testing.T) {
	for name, start := range transports {
		t.Run(name, func(t *testing.T) {
			address, opts := start(t, newReference())
			remotetest.Run(t, func(t *testing.T) remote.Driver {
				d := acquainted(t, address, opts)
				if want := (remote.Traits{Ranges: true, Conditional: true}); d.Traits() != want {
					t.Fatalf("traits %+v, want %+v", d.Traits(), want)
				}
				return d
			})
		})
	}
}
