package web

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// Connections that were kept and died meanwhile cost neither an upload nor a
// read.
func TestDeadConnections(t *testing.T) {
	reference := newReference()
	server := httptest.NewServer(reference)
	t.Cleanup(server.Close)
	d := acquainted(t, server.URL, Options{})
	for seed := range uint64(20) {
		server.CloseClientConnections() // the client may notice or not
		b := storetest.Random(5000, 20+seed)
		if err := put(b, true)(t.Context(), d); err != nil {
			t.Errorf("PUT over a dead connection: %v", err)
		}
		server.CloseClientConnections()
		if err := get("cas/"+artifacts.DigestOf(b).Hex(), 0, -1, b)(t.Context(), d); err != nil {
			t.Errorf("GET over a dead connection: %v", err)
		}
	}
}

// A server that closes a connection just when the next request comes over it.
func TestConnectionDiesUnderARequest(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	var bodies atomic.Int32
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { // answers one request, and hangs up on the next when it has read it
				defer conn.Close()
				in := bufio.NewReader(conn)
				for answers := range 2 {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if n, _ := io.Copy(io.Discard, req.Body); n == int64(len(blob)) {
						bodies.Add(1)
					}
					if answers == 0 {
						_, _ = io.WriteString(conn, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
					}
				}
			}()
		}
	}()
	d := open(t, "http://"+listener.Addr().String(), Options{})
	for range 3 {
		if err := put(blob, true)(t.Context(), d); err != nil {
			t.Errorf("PUT: %v", err)
		}
	}
	if bodies.Load() != 5 { // 1, and twice one that is lost and one that arrives
		t.Errorf("%d bodies came whole, want 5", bodies.Load())
	}
}

func TestConnectionsAreReused(t *testing.T) {
	var connections atomic.Int32
	reference := newReference()
	server := httptest.NewUnstartedServer(reference)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	d := open(t, server.URL, Options{Parallel: 4})
	done := make(chan error)
	for worker := range 4 {
		go func() {
			var errs []error
			for i := range 50 {
				b := []byte(strconv.Itoa(worker*1000 + i))
				name := "cas/" + artifacts.DigestOf(b).Hex()
				errs = append(errs, put(b, true)(t.Context(), d), get(name, 0, -1, b)(t.Context(), d), stat(name, int64(len(b)))(t.Context(), d))
				if _, err := d.Stat(t.Context(), acName); !errors.Is(err, artifacts.ErrNotFound) {
					errs = append(errs, err)
				}
				if err := put(b, true)(t.Context(), d); !errors.Is(err, remote.ErrExists) {
					errs = append(errs, err)
				}
			}
			done <- errors.Join(errs...)
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := connections.Load(); n > 8 {
		t.Errorf("%d connections for 1,000 requests, 4 at once", n)
	}
}
