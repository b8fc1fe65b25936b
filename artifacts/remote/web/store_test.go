package web

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// A cacheServer is as bazel-remote's HTTP side is: no ranges, no conditions, zstd
// in chunks whether or not that gains anything, no PUT of unknown length, and
// HEAD of an action without its length.
type cacheServer struct {
	mu      sync.Mutex // guards objects
	objects map[string][]byte
}

func (s *cacheServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	b, ok := s.objects[r.URL.Path]
	s.mu.Unlock()
	isBlob := strings.HasPrefix(r.URL.Path, "/cas/")
	switch {
	case r.Method == http.MethodPut:
		s.put(w, r)
	case !ok:
		http.Error(w, "Not found", http.StatusNotFound)
	case r.Method == http.MethodHead && !isBlob:
		w.WriteHeader(http.StatusOK)
	case r.Method == http.MethodGet && isBlob && strings.Contains(r.Header.Get("Accept-Encoding"), "zstd"):
		w.Header().Set("Content-Encoding", "zstd")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, compressed(b))
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(b)
	}
}

func (s *cacheServer) put(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength < 0 || r.Header.Get("Content-Encoding") != "" {
		http.Error(w, "PUT without Content-Length", http.StatusBadRequest)
		return
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[r.URL.Path] = b
}

func TestCacheServer(t *testing.T) {
	serve := func(t testing.TB) (string, Options) { return plain(t, &cacheServer{objects: map[string][]byte{}}) }
	t.Run("Driver", func(t *testing.T) {
		address, opts := serve(t)
		remotetest.Run(t, func(t *testing.T) remote.Driver { return open(t, address, opts) })
	})
	t.Run("Store", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) artifacts.Store {
			address, opts := serve(t)
			return openStore(t, address, opts)
		})
	})
}

// What shrinks to a thousandth and less arrives all the same, from servers with
// and without ranges.
func TestTrueZerosArrive(t *testing.T) {
	content := make([]byte, 40<<20)
	d := artifacts.DigestOf(content)
	for name, handler := range map[string]http.Handler{
		"cache server":       &cacheServer{objects: map[string][]byte{"/cas/" + d.Hex(): content}},
		"server with ranges": zstdFirst(content),
	} {
		t.Run(name, func(t *testing.T) {
			address, opts := plain(t, handler)
			if got := storetest.Get(t, openStore(t, address, opts), d); !bytes.Equal(got, content) {
				t.Errorf("Get: %d bytes, other ones", len(got))
			}
			path := filepath.Join(t.TempDir(), "blob")
			if err := openStore(t, address, opts).Download(t.Context(), d, int64(len(content)), path, nil); err != nil {
				t.Fatalf("Download: %v", err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
				t.Errorf("Download: %d bytes, other ones (%v)", len(got), err)
			}
		})
	}
}

// zstdFirst is a server of one object, with ranges and zstd.
func zstdFirst(content []byte) http.HandlerFunc {
	small := compressed(content)
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept-Encoding"), "zstd") {
			w.Header().Set("Content-Encoding", "zstd")
			_, _ = io.WriteString(w, small)
			return
		}
		reference := reference{objects: map[string][]byte{r.URL.Path: content}}
		reference.ServeHTTP(w, r)
	}
}
