package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
)

// dial opens a connection to the server and sends text.
func (r *rig) dial(format string, args ...any) net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.http.Listener.Addr().String())
	must(r.t, err)
	r.t.Cleanup(func() { conn.Close() })
	must(r.t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = fmt.Fprintf(conn, format, args...)
	must(r.t, err)
	return conn
}

// ended waits until no request is being served.
func (r *rig) ended() {
	r.t.Helper()
	r.eventually("no request is being served", func() bool { return len(r.s.serving) == 0 })
}

// inMemory serves a store by pipes in memory, inside a bubble of package synctest:
// whoever waits for the other side waits by a clock that no load makes slower.
func inMemory(t *testing.T, opts Options) (r *rig, dial func(format string, args ...any) net.Conn) {
	t.Helper()
	store, err := disk.Open(filepath.Join(t.TempDir(), "cache"), disk.Options{})
	must(t, err)
	opts.Anonymous = ReadWrite
	s, err := New(store, opts)
	must(t, err)
	pipes := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	web := s.webServer(s)
	served := make(chan error, 1)
	go func() { served <- web.Serve(pipes) }()
	t.Cleanup(func() {
		must(t, web.Close())
		<-served
		must(t, s.Close())
		must(t, store.Close())
	})
	return &rig{t: t, store: store, s: s}, func(format string, args ...any) net.Conn {
		t.Helper()
		client, server := net.Pipe()
		t.Cleanup(func() { client.Close() })
		pipes.conns <- server
		_, err := fmt.Fprintf(client, format, args...)
		must(t, err)
		return client
	}
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// Who sends a byte now and then is cut off, although each byte comes in time.
func TestSlowSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, dial := inMemory(t, Options{Stall: 300 * time.Millisecond})
		content := random(1000, 1)
		conn := dial("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", cas(content))
		began := time.Now()
		answered := make(chan string, 1)
		go func() {
			got, _ := io.ReadAll(conn) // the server may hang up without an answer
			answered <- string(got)
		}()
		for i := range content {
			if _, err := conn.Write(content[i : i+1]); err != nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
			if len(r.s.serving) == 0 {
				break
			}
		}
		if took := time.Since(began); took < 300*time.Millisecond || took > 400*time.Millisecond {
			t.Errorf("cut off after %v, want 300 ms", took)
		}
		conn.Close()
		if got := <-answered; got != "" && !strings.HasPrefix(got, "HTTP/1.1 408") {
			t.Errorf("a slow client hears %q", got)
		}
		r.verify()
	})
}

// Who is slow and yet keeps the least pace is served.
func TestSteadySender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, dial := inMemory(t, Options{Stall: time.Second})
		content := random(3*slabBytes, 1)
		conn := dial("PUT %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", cas(content), len(content))
		for part := range 12 { // 960 ms for a slab; all of them would pass a deadline that stands still
			time.Sleep(240 * time.Millisecond)
			_, err := conn.Write(content[part*slabBytes/4 : (part+1)*slabBytes/4])
			must(t, err)
		}
		got, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 201") {
			t.Errorf("%q, %v", got, err)
		}
		r.verify()
	})
}

// Who asks and does not take the answer is cut off.
func TestSlowReceiver(t *testing.T) {
	for _, name := range []string{"file", "deflated"} {
		t.Run(name, func(t *testing.T) {
			var log lines
			r := newRig(t, Options{Stall: 300 * time.Millisecond, Log: log.logger()})
			content := random(64<<20, 1)
			header := ""
			if name == "deflated" {
				for i := range content { // gains, but not much
					content[i] &= 0x1f
				}
				header = "Accept-Encoding: zstd\r\n"
			}
			must(t, r.store.Put(ctx, digestOf(content), int64(len(content)), bytes.NewReader(content)))
			conn := r.dial("GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", cas(content), header)
			r.eventually("cut off", func() bool { return strings.Contains(log.String(), `"method":"GET"`) })
			n, err := io.Copy(io.Discard, conn)
			if n >= int64(len(content)) || err == nil && name == "deflated" && n == 0 {
				t.Errorf("%d bytes came, %v", n, err)
			}
		})
	}
}

// A client that goes away midway leaves nothing.
func TestAbortedUpload(t *testing.T) {
	r := newRig(t, Options{})
	content := random(1<<20, 1)
	for _, sent := range []int{0, 1, 1 << 19, 1<<20 - 1} {
		conn := r.dial("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", cas(content), len(content))
		_, err := conn.Write(content[:sent])
		must(t, err)
		r.eventually("being served", func() bool { return len(r.s.serving) == 1 })
		conn.Close()
		r.ended()
		r.want(r.ask("GET", cas(content), nil), 404)
	}
	if report := r.verify(); report.Blobs > 0 {
		t.Errorf("the store has %+v", report)
	}
}

// One request more than are served at once, or than a client may have, is told to
// come back.
func TestTooManyClients(t *testing.T) {
	r := newRig(t, Options{MaxClients: 4})
	content := random(1000, 1)
	for range 2 {
		r.dial("PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", cas(content))
	}
	r.eventually("two are served", func() bool { return len(r.s.serving) == 2 })
	got := r.ask("GET", cas(content), nil)
	r.want(got, 503)
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	r.want(r.ask("GET", "/healthz", nil), 200)
	r.want(r.ask("GET", "/readyz", nil), 200)
	r.http.CloseClientConnections()
	r.ended()
	r.want(r.ask("GET", cas(content), nil), 404)
}

// The more places a client has, the more it leaves to others: somebody new gets
// one for as long as there are any.
func TestPlacesAreShared(t *testing.T) {
	r := newRig(t, Options{MaxClients: 16})
	many := func(client string) (n int) {
		for r.s.enter(client) == nil {
			n++
		}
		return n
	}
	var got []int
	for _, client := range []string{"a", "b", "c", "d", "e", "f"} {
		got = append(got, many(client))
	}
	if want := []int{8, 4, 2, 1, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("clients in turn got %v places, want %v", got, want)
	}
	r.s.leave("b")
	if got := []int{many("a"), many("b"), many("f")}; !slices.Equal(got, []int{0, 0, 1}) {
		t.Errorf("the place that one left went to %v", got)
	}
	for client, n := range map[string]int{"a": 8, "b": 3, "c": 2, "d": 1, "e": 1, "f": 1} {
		for range n {
			r.s.leave(client)
		}
	}
	if len(r.s.serving) != 0 || len(r.s.shares.held) != 0 {
		t.Errorf("when all left: %d places are taken, by %v", len(r.s.serving), r.s.shares.held)
	}
}

func TestWhoIsAClient(t *testing.T) {
	for _, tt := range []struct{ remote, token, want string }{
		{"192.0.2.1:1234", "", "192.0.2.1 "},
		{"192.0.2.1:4321", "ci", "192.0.2.1 ci"},
		{"[::ffff:192.0.2.1]:1", "", "::ffff:192.0.2.1 "},
		{"[2001:db8:1:2:3:4:5:6]:1", "", "2001:db8:1:2::/64 "},
		{"[fe80::1%eth0]:1", "", "fe80::/64 "},
		{"@", "", "@ "}, // a Unix socket
	} {
		x := &exchange{r: &http.Request{RemoteAddr: tt.remote}, who: tt.token}
		if got := x.client(); got != tt.want {
			t.Errorf("%s with token %q is %q, want %q", tt.remote, tt.token, got, tt.want)
		}
	}
}

// Whoever asks whether the server is ready, and how often, the disk hears of it
// once in a while.
func TestReadinessIsProbedOnceInAWhile(t *testing.T) {
	var log lines
	r := newRig(t, Options{Log: log.logger()})
	soon := func() { r.s.probe.at = time.Now().Add(time.Hour) } // however slowly it is asked
	later := func() { r.s.probe.at = time.Now().Add(-probeEvery) }
	ask := func(status int) {
		t.Helper()
		for range 10 {
			r.want(r.ask("GET", "/readyz", nil), status)
		}
	}
	ask(200)
	soon()
	away := r.s.temp + "-away"
	must(t, os.Rename(r.s.temp, away))
	ask(200)
	later()
	ask(503)
	soon()
	must(t, os.Rename(away, r.s.temp))
	ask(503)
	later()
	ask(200)
	if told := strings.Count(log.String(), "not ready"); told != 1 {
		t.Errorf("the log has it %d times: %s", told, &log)
	}
	r.verify()
}

// A header that is too large is refused before anything else.
func TestLargeHeader(t *testing.T) {
	r := newRig(t, Options{})
	server := r.serve(nil)
	for size, want := range map[int]int{headerBytes / 2: 404, 2 * headerBytes: 431} {
		req := must1(http.NewRequest("GET", server.url+ac(1), nil))
		req.Header.Set("X-Large", strings.Repeat("x", size))
		resp, err := http.DefaultTransport.RoundTrip(req)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a header of %d bytes: %d, want %d", size, resp.StatusCode, want)
		}
	}
}

// A panic is an answer, a line in the log, and the end of one request only.
func TestPanic(t *testing.T) {
	var log lines
	r := newRig(t, Options{Log: log.logger()})
	r.want(r.ask("PUT", cas([]byte("x")), []byte("x")), 201)
	holds := r.s.holds
	r.s.holds = nil // what HEAD needs
	r.want(r.ask("HEAD", cas([]byte("x")), nil), 500)
	r.s.holds = holds
	r.want(r.ask("HEAD", cas([]byte("x")), nil), 200)
	if !strings.Contains(log.String(), "nil pointer") || !strings.Contains(log.String(), "getBlob") {
		t.Errorf("the log: %s", &log)
	}
}

// serving runs Serve until the test ends it.
type serving struct {
	url  string
	stop context.CancelFunc
	done chan error
}

func (r *rig) serve(certificate *Certificate) serving {
	r.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(r.t, err)
	ctx, stop := context.WithCancel(r.t.Context())
	s := serving{"http://" + listener.Addr().String(), stop, make(chan error, 1)}
	if certificate != nil {
		s.url = "https" + s.url[4:]
	}
	go func() { s.done <- r.s.Serve(ctx, listener, certificate) }()
	r.t.Cleanup(stop)
	return s
}

// A reader that ends when it is told to.
type gated struct {
	first io.Reader
	gate  chan struct{}
	rest  io.Reader
}

func (g *gated) Read(p []byte) (int, error) {
	if n, err := g.first.Read(p); err == nil {
		return n, nil
	}
	<-g.gate
	return g.rest.Read(p)
}

// Transfers finish after the server was told to end, within the grace.
func TestShutdown(t *testing.T) {
	for _, finishes := range []bool{true, false} {
		t.Run(fmt.Sprint("finishes ", finishes), func(t *testing.T) {
			r := newRig(t, Options{Grace: map[bool]time.Duration{true: patience, false: 200 * time.Millisecond}[finishes]})
			server := r.serve(nil)
			content := random(1<<20, 1)
			body := &gated{bytes.NewReader(content[:1000]), make(chan struct{}), bytes.NewReader(content[1000:])}
			status := make(chan int, 1)
			go func() {
				req, _ := http.NewRequest("PUT", server.url+cas(content), body)
				req.ContentLength = int64(len(content))
				resp, err := http.DefaultTransport.RoundTrip(req)
				if err != nil {
					status <- 0
					return
				}
				resp.Body.Close()
				status <- resp.StatusCode
			}()
			r.eventually("being served", func() bool { return len(r.s.serving) == 1 })
			server.stop()
			r.eventually("draining", r.s.draining.Load)
			r.want(r.ask("GET", "/readyz", nil), 503)
			r.want(r.ask("GET", "/healthz", nil), 200)
			want := 0
			if finishes {
				r.eventually("no connection is taken", func() bool {
					conn, err := net.Dial("tcp", server.url[len("http://"):])
					if err == nil {
						conn.Close()
					}
					return err != nil
				})
				close(body.gate)
				want = 201
			}
			must(t, <-server.done)
			if !finishes {
				close(body.gate)
			}
			if got := <-status; got != want {
				t.Errorf("the upload got %d, want %d", got, want)
			}
			r.ended()
			if report := r.verify(); report.Blobs != want/201 {
				t.Errorf("the store has %+v", report)
			}
		})
	}
}

// writeCertificate makes a certificate for 127.0.0.1 with a name to tell it by.
func writeCertificate(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

// The certificate can be renewed while the server runs, and half a renewal does
// no harm.
func TestTLS(t *testing.T) {
	certFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	writeCertificate(t, certFile, keyFile, "first")
	var log lines
	certificate, err := OpenCertificate(certFile, keyFile, log.warn)
	must(t, err)
	r := newRig(t, Options{})
	server := r.serve(certificate)
	content := random(3<<20, 1)
	for _, tt := range []struct {
		change func()
		want   string
	}{
		{func() {}, "first"},
		{func() { writeCertificate(t, certFile, keyFile, "second") }, "second"},
		{func() { must(t, os.WriteFile(keyFile, []byte("half"), 0o600)) }, "second"},
	} {
		tt.change()
		certificate.Reload()
		for _, version := range []int{1, 2} {
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: version == 2}
			req, err := http.NewRequest("PUT", server.url+cas(content), bytes.NewReader(content))
			must(t, err)
			resp, err := transport.RoundTrip(req)
			must(t, err)
			resp.Body.Close()
			if got := resp.TLS.PeerCertificates[0].DNSNames[0]; resp.StatusCode != 201 || got != tt.want || resp.ProtoMajor != version {
				t.Errorf("HTTP/%d: status %d, certificate %s, want %s", resp.ProtoMajor, resp.StatusCode, got, tt.want)
			}
			resp, err = transport.RoundTrip(must1(http.NewRequest("GET", server.url+cas(content), nil)))
			must(t, err)
			got, err := io.ReadAll(resp.Body)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("HTTP/%d: %d bytes, %v", version, len(got), err)
			}
			resp.Body.Close()
			transport.CloseIdleConnections()
		}
	}
	if !strings.Contains(log.String(), "still holds") {
		t.Errorf("warned: %s", &log)
	}
	if _, err := OpenCertificate(certFile, keyFile, log.warn); err == nil {
		t.Error("a broken key opens")
	}
	server.stop()
	must(t, <-server.done)
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The monitor asks for no token, and serves nothing else.
func TestMonitor(t *testing.T) {
	path, _, _ := tokenFile(t)
	tokens, err := OpenTokens(path, func(string) {})
	must(t, err)
	r := newRig(t, Options{Tokens: tokens})
	r.want(r.ask("GET", "/metrics", nil), 401)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.s.ServeMonitor(ctx, listener) }()
	for path, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, cas([]byte("x")): 404, "/": 404} {
		resp, err := http.Get("http://" + listener.Addr().String() + path)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	stop()
	must(t, <-done)
}

// A server that was closed refuses, and what a dead one left is gone after the
// next one began.
func TestCloseAndBeginAgain(t *testing.T) {
	dir := t.TempDir()
	store, err := disk.Open(dir, disk.Options{})
	must(t, err)
	left := filepath.Join(dir, "tmp", "serve-dead")
	must(t, os.MkdirAll(left, 0o700))
	must(t, os.WriteFile(filepath.Join(left, "body-x"), []byte("half"), 0o600))
	s, err := New(store, Options{Anonymous: ReadWrite})
	must(t, err)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what was left: %v", err)
	}
	must(t, s.Close())
	r := &rig{t: t, store: store, s: s}
	if got := r.direct("GET", "/healthz", nil); got.Code != 503 {
		t.Errorf("a closed server answers %d", got.Code)
	}
	if leases, err := store.Leases(); err != nil || len(leases) > 0 {
		t.Errorf("leases %v, %v", leases, err)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(entries) > 0 {
		t.Errorf("tmp has %v, %v", entries, err)
	}
	must(t, store.Close())
}

func TestOptions(t *testing.T) {
	err := Options{MaxBlob: -1, MaxClients: -2, Anonymous: 7}.Validate()
	for _, want := range []string{"MaxBlob is -1", "MaxClients is -2", "Anonymous is 7"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
