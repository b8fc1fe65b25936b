package web

import (
	"bytes"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// plain starts a server and returns its address.
func plain(t testing.TB, handler http.Handler) (string, Options) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL, Options{}
}

// encrypted starts a server with TLS and HTTP/2, and has its certificate believed.
func encrypted(t testing.TB, handler http.Handler) (string, Options) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = silent()
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return server.URL, Options{CAFile: ca}
}

// answer is a server that always says the same: a status, headers in pairs, and
// at last the body.
func answer(code int, headersAndBody ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		body := ""
		for i := 0; i < len(headersAndBody); i += 2 {
			if i+1 == len(headersAndBody) {
				body = headersAndBody[i]
				break
			}
			w.Header().Set(headersAndBody[i], headersAndBody[i+1])
		}
		w.WriteHeader(code)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, body)
		}
	}
}

// raw is a server that sends bytes that need not be HTTP, and hangs up.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, out, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = out.WriteString(text)
		_ = out.Flush()
	}
}

// hanging is a server that sends text and then nothing more, until the client
// has gone.
func hanging(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, out, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = out.WriteString(text)
		_ = out.Flush()
		_, _ = io.Copy(io.Discard, conn)
	}
}

// byMethod answers HEAD in one way and the rest in another.
func byMethod(head, rest http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			head(w, r)
			return
		}
		rest(w, r)
	}
}

// serveBlob is a right answer with Ranges.
func serveBlob(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
}

// endless sends zeros until the client has had enough.
func endless(w http.ResponseWriter, r *http.Request) {
	for {
		if _, err := w.Write(make([]byte, 64<<10)); err != nil {
			return
		}
	}
}

// endlessPage is as endless, and calls itself a page for people.
func endlessPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	endless(w, r)
}

// bomb inflates to 8 GiB of zeros: frames may follow one another.
func bomb(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Encoding", "zstd")
	frame := zeros()
	for range 1024 {
		if _, err := io.WriteString(w, frame); err != nil {
			return
		}
	}
}

var zeros = sync.OnceValue(func() string { return compressed(make([]byte, 8<<20)) })

// wide is an empty frame that wants a window of 64 MiB: magic number, flags,
// window, last block.
const wide = "\x28\xb5\x2f\xfd" + "\x00" + "\x80" + "\x01\x00\x00"
