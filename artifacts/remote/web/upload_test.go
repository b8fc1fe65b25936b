package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// An upload that the server refuses by its header is not sent, whether or not
// the server would keep the connection.
func TestEarlyRefusalSavesTheUpload(t *testing.T) {
	for code, want := range map[int]error{412: remote.ErrExists, 413: remote.ErrFull, 401: remote.ErrForbidden, 507: remote.ErrFull} {
		for what, serve := range map[string]http.HandlerFunc{
			"closing":  func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) },
			"keeping":  hanging(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", code)),
			"redirect": redirected(hanging(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", code))),
		} {
			var came atomic.Int64
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: serve}
			go func() { _ = server.Serve(countingListener{listener, &came}) }()
			t.Cleanup(func() { server.Close() })
			d := open(t, "http://"+listener.Addr().String(), Options{})
			d.continueTime = time.Hour // the server answers, when it gets to it
			if err := put(storetest.Random(32<<20, 5), true)(t.Context(), d); !errors.Is(err, want) {
				t.Errorf("%d, %s: %v, want %v", code, what, err, want)
			}
			if came.Load() > 4<<10 {
				t.Errorf("%d, %s: %d bytes were sent for nothing", code, what, came.Load())
			}
		}
	}
}

// redirected is a server that sends everybody to another place of its own.
func redirected(then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/cas/") {
			raw("HTTP/1.1 307 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")(w, r)
			return
		}
		then(w, r)
	}
}

type countingListener struct {
	net.Listener
	came *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return countingConn{conn, l.came}, err
}

type countingConn struct {
	net.Conn
	came *atomic.Int64
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.came.Add(int64(n))
	return n, err
}

// A server that was never told of 100-continue answers 417, or nothing: the
// upload goes on all the same.
func TestExpectRefused(t *testing.T) {
	var requests atomic.Int32
	reference := newReference()
	address, opts := plain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.Header.Get("Expect") != "" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		reference.ServeHTTP(w, r)
	}))
	d := open(t, address, opts)
	d.continueTime = time.Hour // the server answers, when it gets to it
	for seed := range uint64(2) {
		b := storetest.Random(2<<20, 6+seed)
		if err := put(b, true)(t.Context(), d); err != nil || !reference.stands("/cas/"+artifacts.DigestOf(b).Hex()) {
			t.Errorf("PUT %d: %v", seed, err)
		}
	}
	if requests.Load() != 3 {
		t.Errorf("%d requests, want 3: the server is not asked again what it does not know", requests.Load())
	}
}

func TestDeflatedUploads(t *testing.T) {
	text := bytes.Repeat([]byte("user,item,rating\n"), 100_000)
	reference := newReference()
	address, opts := plain(t, reference)
	d := acquainted(t, address, opts)
	for _, row := range []struct {
		what     string
		content  []byte
		deflated int
	}{
		{"tiny", text[:minDeflate-1], 0}, {"small", text[:10_000], 1}, {"large", text, 1},
		{"random", storetest.Random(1<<20, 8), 0}, {"random at its beginning", append(storetest.Random(sampleSize, 9), text...), 0},
		{"random at its end", append(bytes.Clone(text), storetest.Random(sampleSize, 10)...), 1},
	} {
		before := reference.deflated
		if err := put(row.content, true)(t.Context(), d); err != nil {
			t.Errorf("%s: %v", row.what, err)
		}
		if got := reference.deflated - before; got != row.deflated {
			t.Errorf("%s: %d bodies were compressed, want %d", row.what, got, row.deflated)
		}
		if err := get("cas/"+artifacts.DigestOf(row.content).Hex(), 0, -1, row.content)(t.Context(), d); err != nil {
			t.Errorf("%s: %v", row.what, err)
		}
	}
}

// A server that announces zstd and refuses it gets it no more.
func TestDeflatedUploadRefused(t *testing.T) {
	reference := newReference()
	var refused atomic.Int32
	address, opts := plain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Encoding") != "" {
			refused.Add(1)
			w.Header().Set("Accept-Encoding", "zstd")
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		}
		reference.ServeHTTP(w, r)
	}))
	d := acquainted(t, address, opts)
	for n := range 3 {
		if err := put(make([]byte, 10_000+n), true)(t.Context(), d); err != nil {
			t.Error(err)
		}
	}
	if refused.Load() != 1 {
		t.Errorf("%d uploads were compressed, want 1", refused.Load())
	}
}

// An upload that finds no server ends, and its content is closed.
func TestUploadsEndWithoutServer(t *testing.T) {
	address, _ := encrypted(t, newReference())
	for what, row := range map[string]struct {
		address string
		opts    Options
	}{
		"nobody listens":    {"http://127.0.0.1:1", Options{}}, // no test gets that port
		"no such host":      {"http://cache.invalid", Options{Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}},
		"malformed proxy":   {"http://cache.invalid", Options{Proxy: func(*http.Request) (*url.URL, error) { return nil, errors.New("no") }}},
		"unknown authority": {address, Options{}},
		"no TLS":            {strings.Replace(address, "https", "http", 1), Options{}},
	} {
		d := open(t, row.address, row.opts)
		for _, b := range [][]byte{blob, storetest.Random(4<<20, 40)} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			if err := put(b, true)(ctx, d); err == nil || ctx.Err() != nil {
				t.Errorf("%s: %v, want an error in time", what, err)
			}
			cancel()
		}
	}
}
