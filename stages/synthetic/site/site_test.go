package site

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var content = bytes.Repeat([]byte("a picture "), 100)

// served is a client of a site with one picture, x.png, of that behaviour.
func served(t *testing.T, b Behaviour) *http.Client {
	t.Helper()
	proxy, stop, err := Start(t.Context(), archiveOf(t, b))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return clientOf(t, proxy)
}

func clientOf(t *testing.T, proxy *url.URL) *http.Client {
	transport := &http.Transport{Proxy: http.ProxyURL(proxy)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func archiveOf(t *testing.T, b Behaviour) string {
	t.Helper()
	var buf bytes.Buffer
	w := NewWriter(&buf)
	if err := w.Add("x.png", b, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return saved(t, buf.Bytes())
}

func saved(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pictures.zip")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// An answer is what a client got for a request.
type answer struct {
	status   int
	path     string // where redirects ended
	body     string
	cutShort bool
	header   http.Header
}

func get(t *testing.T, client *http.Client, address string) answer {
	t.Helper()
	response, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	cut := errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !cut {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Request.URL.Path, string(body), cut, response.Header}
}

func TestBehaviours(t *testing.T) {
	whole, half := string(content), string(content[:len(content)/2])
	for _, test := range []struct {
		behaviour     Behaviour
		first, second answer // header and the bodies of failures are looked at elsewhere
	}{
		{Sent, answer{status: 200, body: whole}, answer{status: 200, body: whole}},
		{Slow, answer{status: 200, body: whole}, answer{status: 200, body: whole}},
		{Moved, answer{status: 200, path: "/moved/x.png", body: whole}, answer{status: 200, path: "/moved/x.png", body: whole}},
		{Failing, answer{status: 500}, answer{status: 200, body: whole}},
		{Busy, answer{status: 503}, answer{status: 200, body: whole}},
		{CutShort, answer{status: 200, body: half, cutShort: true}, answer{status: 200, body: whole}},
		{Missing, answer{status: 404}, answer{status: 404}},
		{Gone, answer{status: 410, path: "/gone/x.png"}, answer{status: 410, path: "/gone/x.png"}},
		{Truncated, answer{status: 200, body: half}, answer{status: 200, body: half}},
	} {
		client := served(t, test.behaviour)
		for i, want := range []answer{test.first, test.second} {
			if want.path == "" {
				want.path = "/x.png"
			}
			got := get(t, client, URL("x.png"))
			if got.status >= 400 {
				got.body = ""
			}
			if got.status != want.status || got.path != want.path || got.body != want.body || got.cutShort != want.cutShort {
				t.Errorf("%q, request %d: %+v, want %+v", test.behaviour, i+1, got, want)
			}
		}
		if arrives := get(t, client, URL("x.png")).body == whole; arrives != test.behaviour.Arrives() {
			t.Errorf("%q: arrives %v", test.behaviour, arrives)
		}
	}
}

func TestHTMLComesInPlaceOfAPicture(t *testing.T) {
	got := get(t, served(t, HTML), URL("x.png"))
	if sniffed := http.DetectContentType([]byte(got.body)); got.status != 200 || !strings.HasPrefix(sniffed, "text/html") || HTML.Arrives() {
		t.Errorf("status %d, content %s", got.status, sniffed)
	}
}

func TestBusySaysWhenToComeAgain(t *testing.T) {
	if got := get(t, served(t, Busy), URL("x.png")).header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After %q", got)
	}
}

func TestSlowFirstByte(t *testing.T) {
	var first time.Time
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotFirstResponseByte: func() { first = time.Now() }})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, URL("x.png"), nil)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	response, err := served(t, Slow).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if late := first.Sub(begun); late < lateness {
		t.Errorf("first byte after %v, want at least %v", late, lateness)
	}
}

// A client that says what it has is not sent it again.
func TestUnchangedPicturesAreNotSentAgain(t *testing.T) {
	client := served(t, Sent)
	etag := get(t, client, URL("x.png")).header.Get("ETag")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, URL("x.png"), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("If-None-Match", etag)
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if etag == "" || response.StatusCode != http.StatusNotModified {
		t.Errorf("status %d for %q", response.StatusCode, etag)
	}
}

func TestOnlyPicturesAreServed(t *testing.T) {
	client := served(t, Sent)
	for address, want := range map[string]int{
		URL("y.png"):                           http.StatusNotFound,
		URL("moved/x.png"):                     http.StatusNotFound, // it has not moved
		URL("gone/x.png"):                      http.StatusNotFound,
		URL("manifest.json"):                   http.StatusNotFound,
		"http://example.invalid/x.png":         http.StatusForbidden,
		"http://images.invalid:8080/x.png":     http.StatusForbidden,
		URL("%2e%2e/%2e%2e/etc/passwd"):        http.StatusNotFound,
		"http://169.254.169.254/latest/secret": http.StatusForbidden,
	} {
		if got := get(t, client, address).status; got != want {
			t.Errorf("%s: status %d, want %d", address, got, want)
		}
	}
	response, err := client.Post(URL("x.png"), "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a POST is answered with %s", response.Status)
	}
	if _, err := client.Get("https://" + Host + "/x.png"); err == nil {
		t.Error("the proxy tunnels, and so could reach anything")
	}
}

func TestServingIsOnLoopback(t *testing.T) {
	proxy, stop, err := Start(t.Context(), archiveOf(t, Sent))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if proxy.Scheme != "http" || proxy.Hostname() != "127.0.0.1" {
		t.Errorf("serves at %s", proxy)
	}
}

func TestServingEnds(t *testing.T) {
	for name, end := range map[string]func(stop, cancel func()){
		"stop":   func(stop, _ func()) { stop(); stop() },
		"cancel": func(_, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			proxy, stop, err := Start(ctx, archiveOf(t, Slow))
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			defer cancel()
			client := clientOf(t, proxy)
			get(t, client, URL("x.png"))
			client.CloseIdleConnections()
			end(stop, cancel)
			deadline := time.Now().Add(time.Minute)
			for time.Now().Before(deadline) {
				response, err := client.Get(URL("x.png"))
				if err != nil {
					return
				}
				response.Body.Close()
			}
			t.Error("it still answers")
		})
	}
}
