package web

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// piped is a driver whose every connection is a pipe to serve, so that time may be
// fake. Serve has the connection until it returns.
func piped(t *testing.T, scheme string, serve func(net.Conn)) *Driver {
	t.Helper()
	d, err := New(scheme+"://cache.example.org", Options{})
	if err != nil {
		t.Fatal(err)
	}
	d.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			serve(theirs)
		}()
		return ours, nil
	}
	d.transport.Proxy = nil
	return d
}

// heard reads a request to the end of its header.
func heard(conn net.Conn) (*http.Request, error) {
	return http.ReadRequest(bufio.NewReader(conn))
}

// drip sends text a byte at a time, and goes on with filler for ever.
func drip(conn net.Conn, every time.Duration, text, filler string) {
	for i := 0; ; i++ {
		next := filler
		if i < len(text) {
			next = text[i : i+1]
		}
		if _, err := io.WriteString(conn, next); err != nil || next == "" {
			return
		}
		time.Sleep(every)
	}
}

// saying is a server that hears a request, says something at once, and drips the
// rest.
func saying(at string, every time.Duration, text, filler string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := heard(conn); err != nil {
			return
		}
		go func() { _, _ = io.Copy(io.Discard, conn) }() // a body, perhaps
		if _, err := io.WriteString(conn, at); err == nil {
			drip(conn, every, text, filler)
		}
	}
}

// mute is a server that takes everything and says nothing.
func mute(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// What is asked of a store.
type storeCall func(t *testing.T, s *remote.Store) error

func getAction(t *testing.T, s *remote.Store) error {
	_, err := s.GetAction(t.Context(), storetest.Key("slow"))
	return err
}

func fetch(t *testing.T, s *remote.Store) error {
	return s.Download(t.Context(), artifacts.DigestOf(blob), int64(len(blob)), filepath.Join(t.TempDir(), "blob"), nil)
}

func size(t *testing.T, s *remote.Store) error {
	_, err := s.Stat(t.Context(), artifacts.DigestOf(blob))
	return err
}

func send(n int) storeCall {
	return func(t *testing.T, s *remote.Store) error {
		return s.PutAction(t.Context(), storetest.Key("slow"), storetest.Random(n, 60), true)
	}
}

// TestSlowServers: whatever a server finds to keep a request for ever, it ends
// within the stated times: silence, and a minute of hardly anything.
func TestSlowServers(t *testing.T) {
	const limit = 10 * time.Second
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, row := range []struct {
		what   string
		scheme string
		serve  func(net.Conn)
		call   storeCall
		want   time.Duration // at most
		says   string
	}{
		{"no handshake", "https", mute, getAction, limit, "silent"},
		{"a handshake by bytes", "https", func(c net.Conn) {
			go mute(c)
			drip(c, 5*time.Second, "\x16\x03\x03\xff", "\x02")
		}, getAction, limit, "silent"},
		{"no answer", "http", mute, getAction, limit, "silent"},
		{"a header by bytes", "http", saying("", 5*time.Second, ok, "x"), getAction, limit, "silent"},
		{"1xx for ever", "http", saying("", 5*time.Second, "", "HTTP/1.1 102 Processing\r\n\r\n"), getAction, limit, "silent"},
		{"a body by bytes", "http", saying(ok+"Content-Length: 1000\r\n\r\n", 9*time.Second, "", "x"), getAction, time.Minute, "too slow"},
		{"a blob by bytes", "http", saying(ok+"Content-Length: 1000\r\n\r\n", 9*time.Second, "", "x"), fetch, time.Minute, "too slow"},
		{"chunks by bytes", "http", saying(ok+"Transfer-Encoding: chunked\r\n\r\n", 9*time.Second, "", "1\r\nx\r\n"), fetch, time.Minute, "too slow"},
		{"a chunk's length by bytes", "http", saying(ok+"Transfer-Encoding: chunked\r\n\r\n", 5*time.Second, "", "0"), fetch, limit, "silent"},
		{"zstd of nothing, for ever", "http", saying(ok+"Content-Encoding: zstd\r\n\r\n", 5*time.Second, "", emptyFrame), fetch, limit, "silent"},
		{"a page by bytes", "http", saying(ok+"Content-Type: text/html\r\n\r\n", 5*time.Second, "", "<br>"), fetch, limit, "silent"},
		{"a size by counting", "http", saying(ok+"\r\n", 5*time.Second, "", "x"), size, limit, "silent"},
		{"words of a refusal", "http", saying("HTTP/1.1 500 No\r\nContent-Type: text/plain\r\n\r\n", time.Second, "", "x"), getAction, discardTime, "500"},
		{"the rest of a redirect", "http", saying("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nConnection: close\r\n\r\n", time.Second, "", "x"), getAction, limit, "silent"},
		{"an upload that nobody takes", "http", func(c net.Conn) { _, _ = heard(c); time.Sleep(time.Hour) }, send(100_000), limit + time.Second, "silent"},
		{"an upload that nobody wants", "http", mute, send(2 << 20), limit + 10*time.Second, "silent"},
		{"100 Continue for ever", "http", saying("", 5*time.Second, "", "HTTP/1.1 100 Continue\r\n\r\n"), send(2 << 20), limit + 10*time.Second, "silent"},
		{"the answer to an upload by bytes", "http", saying("", 5*time.Second, "HTTP/1.1 201", "x"), send(1000), limit + time.Second, "silent"},
	} {
		t.Run(row.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := piped(t, row.scheme, row.serve)
				s, err := remote.New(d, remote.Options{Timeout: limit, Attempts: 1})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = row.call(t, s)
				took := time.Since(began)
				if err == nil || !strings.Contains(err.Error(), row.says) {
					t.Errorf("%v, want %q", err, row.says)
				}
				if took > row.want+time.Second {
					t.Errorf("it took %v, want %v at most", took, row.want)
				}
				s.Close()
				time.Sleep(2 * time.Hour) // until the last goroutine of the server has noticed
			})
		})
	}
}

// emptyFrame is a frame of zstd that stands for nothing.
const emptyFrame = "\x28\xb5\x2f\xfd\x00\x58\x01\x00\x00"

// What a server wants by Retry-After, it gets: a date by its own clock as well.
func TestRetryAfterInTime(t *testing.T) {
	const busy = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n"
	for what, row := range map[string]struct {
		header string
		want   time.Duration
		asked  int32
		is     error
	}{
		"seconds":     {"Retry-After: 7\r\n", 7 * time.Second, 2, artifacts.ErrNotFound},
		"a date":      {"Retry-After: Sat, 01 Jan 2000 00:00:07 GMT\r\n", 7 * time.Second, 2, artifacts.ErrNotFound},
		"skewed":      {"Date: Thu, 26 Nov 2026 12:00:00 GMT\r\nRetry-After: Thu, 26 Nov 2026 12:00:07 GMT\r\n", 7 * time.Second, 2, artifacts.ErrNotFound},
		"not at all":  {"", 0, 2, artifacts.ErrNotFound},
		"half a year": {"Retry-After: 15768000\r\n", 0, 1, remote.ErrUnavailable},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				s, err := remote.New(piped(t, "http", func(conn net.Conn) {
					if _, err := heard(conn); err != nil {
						return
					}
					answer := busy + row.header + "\r\n"
					if asked.Add(1) > 1 {
						answer = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
					}
					_, _ = io.WriteString(conn, answer)
				}), remote.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				began := time.Now()
				err = getAction(t, s)
				if row.is == remote.ErrUnavailable {
					if err == nil || !strings.Contains(err.Error(), "503 Service Unavailable, to be asked again in 10m0s") {
						t.Errorf("%v, want one that says when", err)
					}
					err = getAction(t, s)
				}
				if !errors.Is(err, row.is) {
					t.Errorf("%v, want %v", err, row.is)
				}
				if took := time.Since(began); took < row.want || took > row.want+time.Second {
					t.Errorf("it took %v, want %v and a pause", took, row.want)
				}
				if asked.Load() != row.asked {
					t.Errorf("%d requests, want %d", asked.Load(), row.asked)
				}
			})
		})
	}
}
