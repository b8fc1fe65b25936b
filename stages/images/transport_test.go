package images

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/prismflow/prismflow/stages/stagetest"
)

// A proxy is trusted wherever it is, and is asked for nothing that can be seen
// to be private.
func TestProxy(t *testing.T) {
	s := newSite(t)
	s.serves("/a.png", aPNG(1))
	origin, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string // one request at a time
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		asked = append(asked, r.In.URL.String())
		r.SetURL(origin)
	}})
	defer proxy.Close()
	d := newDownload()
	d.Concurrency.Value = 1
	env := stagetest.Env(t)
	env.LookupEnv = func(name string) (string, bool) {
		value, ok := map[string]string{"http_proxy": proxy.URL, "NO_PROXY": "10.0.0.0/8"}[name]
		return value, ok
	}
	rows := download(t, d, env,
		itemURL{"a", "http://pictures.example/a.png"}, itemURL{"b", "http://192.168.0.7/a.png"}, itemURL{"c", "http://router.localhost/a.png"},
		itemURL{"e", "http://１２７。0.0.1/a.png"}, itemURL{"f", "http://ｌｏｃａｌ\u00adｈｏｓｔ:80/a.png"}, itemURL{"g", "http://192.168.0.%EF%BC%98/a.png"},
		itemURL{"d", "http://10.0.0.1/a.png"}) // past the proxy, to the guard
	if rows[0].Error != "" {
		t.Errorf("through the proxy: %s", rows[0].Error)
	}
	for i, want := range []string{"its address 192.168.0.7 is private", "its address 127.0.0.1 is loopback", "its address 127.0.0.1 is loopback", "its address 127.0.0.1 is loopback",
		"its address 192.168.0.8 is private", "its address 10.0.0.1 is private"} {
		if got := rows[i+1].Error; got != want+", and allow_private is not set" {
			t.Errorf("%s: %q, want %q", rows[i+1].URL, got, want)
		}
	}
	if len(asked) != 1 || asked[0] != "http://pictures.example/a.png" {
		t.Errorf("the proxy was asked for %v", asked)
	}
}

// What a proxy does wrong says nothing of a picture, and passes when the proxy is
// put right.
func TestProxyThatFails(t *testing.T) {
	refusing := newSite(t)
	refusing.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) })
	for proxy, want := range map[string]string{
		refusing.URL:                         "the proxy wants to know who asks: HTTP_PROXY and HTTPS_PROXY may have a user and a password",
		"http://me:secret@nowhere.invalid:1": "the proxy that HTTP_PROXY or HTTPS_PROXY names cannot be reached",
	} {
		d := newDownload()
		d.MaxAttempts.Value = 1
		d.world.resolver = nameServer(t)
		env := stagetest.Env(t)
		var log bytes.Buffer
		env.Log = zerolog.New(&log)
		env.LookupEnv = func(name string) (string, bool) { return proxy, name == "http_proxy" }
		_, err := tryDownload(t, d, env, itemURL{"a", "http://pictures.example/a.png"})
		if err == nil || !strings.HasSuffix(err.Error(), ": "+want) || strings.Contains(log.String(), "secret") {
			t.Errorf("%v, want %s; log %s", err, want, log.String())
		}
		memo, err := env.Memo(t.Context(), shelfScope(nil))
		if err != nil {
			t.Fatal(err)
		}
		if known, ok, err := (shelf{memo}).record("http://pictures.example/a.png"); !ok || err != nil || !known.Transient {
			t.Errorf("remembered as %+v (%v, %v)", known, ok, err)
		}
	}
}

// A crawl of many hosts keeps a few of their connections, not all.
func TestIdleConnections(t *testing.T) {
	var open, most atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(aPNG(1)) }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			most.Store(max(most.Load(), open.Add(1)))
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	n := newNetwork(world{}, guard{private: true}, nil, time.Minute, time.Minute, 8)
	defer n.close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	dial := n.direct.DialContext
	n.direct.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { // every host is the server
		return dial(ctx, network, fmt.Sprintf("127.0.0.1:%d", port))
	}
	for i := range maxIdle + 100 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://host%d.example/", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := n.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	if got := most.Load(); got < maxIdle/2 || got > maxIdle+50 {
		t.Errorf("%d connections were kept, want about %d", got, maxIdle)
	}
}

func TestHTTP2(t *testing.T) {
	protocols := make(chan string, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocols <- r.Proto
		_, _ = w.Write(aPNG(1))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	d := newDownload()
	d.AllowPrivate = true
	d.world.tls = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	rows := download(t, d, stagetest.Env(t), itemURL{"a", server.URL})
	if protocol := <-protocols; rows[0].Error != "" || protocol != "HTTP/2.0" {
		t.Errorf("%q over %s", rows[0].Error, protocol)
	}
	d = newDownload() // knows no certificate of the server
	d.AllowPrivate = true
	if _, err := tryDownload(t, d, stagetest.Env(t), itemURL{"a", server.URL}); err == nil {
		t.Error("a server that nobody vouches for was trusted")
	}
}

// A URL's user is who asks, and neither logged nor passed on by a redirect.
func TestCredentials(t *testing.T) {
	s, other := newSite(t), newSite(t)
	other.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			t.Error("the redirect took the password with it")
		}
		_, _ = w.Write(aPNG(1))
	})
	s.mux.HandleFunc("/a.png", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			t.Errorf("asked by %q with %q", user, password)
		}
		if agent := r.UserAgent(); agent != "prismflow test" {
			t.Errorf("asked by %q", agent)
		}
		http.Redirect(w, r, other.URL+"/x", http.StatusFound)
	})
	d := newDownload()
	d.AllowPrivate = true
	withUser, err := url.Parse(s.URL + "/a.png")
	if err != nil {
		t.Fatal(err)
	}
	withUser.User = url.UserPassword("me", "secret")
	rows := download(t, d, stagetest.Env(t), itemURL{"a", withUser.String()})
	if rows[0].Error != "" || rows[0].FinalURL != other.URL+"/x" {
		t.Errorf("%q from %s", rows[0].Error, rows[0].FinalURL)
	}
}
