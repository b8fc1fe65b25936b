package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

// fileServer serves content with an ETag and byte ranges, and hangs up after
// cut bytes of a body while breaks is positive.
type fileServer struct {
	content  string
	cut      int
	breaks   atomic.Int64
	requests atomic.Int64
	bytes    atomic.Int64
	start    atomic.Int64 // of what the last request was sent
}

func (s *fileServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	etag := strconv.Quote(string(artifacts.DigestOf([]byte(s.content)).Short()))
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body, start := s.content, 0
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &start); err == nil && r.Header.Get("If-Range") == etag {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(body)-1, len(body)))
		body = body[start:]
	} else {
		start = 0
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	s.start.Store(int64(start))
	if start > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	if s.breaks.Add(-1) >= 0 {
		body = body[:s.cut]
	}
	n, _ := w.Write([]byte(body))
	s.bytes.Add(int64(n))
}

func urlTest(t *testing.T, server *fileServer) (*urlCache, string) {
	t.Helper()
	store, err := disk.Open(t.TempDir(), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	return &urlCache{store: store, dir: t.TempDir(), client: listener.Client(), stall: time.Minute, pause: time.Millisecond}, listener.URL + "/file.gz"
}

func fetch(t *testing.T, c *urlCache, url, pin string) string {
	t.Helper()
	file, err := c.file(context.Background(), url, pin, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file.Path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestURLIsAskedOnce(t *testing.T) {
	server := &fileServer{content: strings.Repeat("some bytes ", 1000)}
	c, url := urlTest(t, server)
	for range 2 {
		if got := fetch(t, c, url, ""); got != server.content {
			t.Fatalf("got %d bytes, want %d", len(got), len(server.content))
		}
	}
	if n := server.requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestRefreshAsksWithTheETag(t *testing.T) {
	server := &fileServer{content: "first"}
	c, url := urlTest(t, server)
	fetch(t, c, url, "")
	c.refresh = true
	fetch(t, c, url, "")
	if n, sent := server.requests.Load(), server.bytes.Load(); n != 2 || sent != int64(len("first")) {
		t.Errorf("%d requests sent %d bytes; an unchanged file is not sent again", n, sent)
	}
	server.content = "second"
	if got := fetch(t, c, url, ""); got != "second" {
		t.Errorf("got %q after a change", got)
	}
}

func TestBrokenTransferGoesOn(t *testing.T) {
	server := &fileServer{content: strings.Repeat("0123456789", 50_000), cut: 200_000}
	server.breaks.Store(2)
	c, url := urlTest(t, server)
	if got := fetch(t, c, url, ""); got != server.content {
		t.Fatalf("got %d bytes, want %d", len(got), len(server.content))
	}
	// The server may have written a little more than arrived before it hung up.
	if sent := server.bytes.Load(); sent > int64(len(server.content))+server.requests.Load()*100_000 {
		t.Errorf("%d bytes were sent for a file of %d: it did not go on where it stopped", sent, len(server.content))
	}
}

// A line that breaks again and again is enough for a large file, as long as it
// carries something, and not for one that never gets further.
func TestTransferThatMakesHeadway(t *testing.T) {
	server := &fileServer{content: strings.Repeat("0123456789abcdef", 10*headway/16), cut: headway * 3 / 2}
	server.breaks.Store(6)
	c, url := urlTest(t, server)
	if got := fetch(t, c, url, ""); got != server.content {
		t.Errorf("got %d bytes, want %d", len(got), len(server.content))
	}
	server = &fileServer{content: server.content, cut: headway / 8}
	server.breaks.Store(1000)
	c, url = urlTest(t, server)
	if _, err := c.file(context.Background(), url, "", nil); err == nil || server.requests.Load() != downloadAttempts {
		t.Errorf("%d attempts, which got nowhere, and then %v", server.requests.Load(), err)
	}
}

// A run that was given up, or killed, leaves what arrived to the next.
func TestALaterRunGoesOn(t *testing.T) {
	server := &fileServer{content: strings.Repeat("0123456789", 500_000), cut: 2_000_000}
	server.breaks.Store(1)
	c, url := urlTest(t, server)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := c.file(ctx, url, "", func(done, _ int64) {
		if done >= 1_500_000 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	part, err := c.partial(url)
	if err != nil {
		t.Fatal(err)
	}
	arrived, _ := part.begun()
	if arrived < worthMark {
		t.Fatalf("%d bytes are kept", arrived)
	}
	server.breaks.Store(0)
	if got := fetch(t, c, url, ""); got != server.content {
		t.Fatalf("got %d bytes, want %d", len(got), len(server.content))
	}
	if start := server.start.Load(); start != arrived {
		t.Errorf("a run that had %d bytes was sent what begins at %d", arrived, start)
	}
	if arrived, _ := part.begun(); arrived != 0 {
		t.Errorf("%d bytes are kept of a file that is there", arrived)
	}
}

// What was kept is of no use for another version, and none when the file is
// shorter now.
func TestALaterRunBeginsAnew(t *testing.T) {
	for name, content := range map[string]string{"another version": strings.Repeat("abcdefghij", 400_000), "a shorter one": "short"} {
		server := &fileServer{content: content}
		c, url := urlTest(t, server)
		part, err := c.partial(url)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(part.path, make([]byte, 2*worthMark), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(part.markPath(), fmt.Appendf(nil, `{"bytes":%d,"etag":"\"old\""}`, 2*worthMark), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := fetch(t, c, url, ""); got != content {
			t.Errorf("%s: got %d bytes, want %d", name, len(got), len(content))
		}
	}
}

func TestOldPartialsAreForgotten(t *testing.T) {
	c, url := urlTest(t, &fileServer{})
	part, err := c.partial(url)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(part.path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * forgetAfter)
	if err := os.Chtimes(part.path, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := c.partial("http://other"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(part.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a download of two weeks ago is still there: %v", err)
	}
}

func TestPinnedURL(t *testing.T) {
	server := &fileServer{content: "pinned"}
	c, url := urlTest(t, server)
	pin := artifacts.DigestOf([]byte("pinned")).Hex()
	c.refresh = true // a pin needs no refreshing
	fetch(t, c, url, pin)
	fetch(t, c, url, pin)
	if n := server.requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestURLThatCannotBeHad(t *testing.T) {
	c, url := urlTest(t, &fileServer{content: "x"})
	c.offline = true
	if _, err := c.file(context.Background(), url, "", nil); err == nil || !strings.Contains(err.Error(), "--offline") {
		t.Errorf("offline: %v", err)
	}
	c.offline, c.noFetch = false, true
	if _, err := c.file(context.Background(), url, "", nil); !errors.Is(err, errNotFetched) {
		t.Errorf("status: %v", err)
	}
	missing := httptest.NewServer(http.NotFoundHandler())
	defer missing.Close()
	c.noFetch = false
	if _, err := c.file(context.Background(), missing.URL, "", nil); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("missing: %v", err)
	}
}

// A server that hangs, cuts a file short in ways that HTTP allows, or answers
// what was not asked, is found out.
func TestServersThatAreNotBelieved(t *testing.T) {
	tests := []struct {
		name, want string
		stall      time.Duration // short where that is what is waited for: any other answer may take its time
		serve      http.HandlerFunc
	}{
		{"part of a file that was asked for as a whole", "another part", time.Minute, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-4/10")
			w.WriteHeader(http.StatusPartialContent)
			w.Write([]byte("01234"))
		}},
		{"rest that is not all of the rest", "EOF", time.Minute, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"e"`)
			if r.Header.Get("Range") == "" {
				w.Header().Set("Content-Length", "10")
				w.Write([]byte("01234"))
				return
			}
			w.Header().Set("Content-Range", "bytes 5-5/10")
			w.WriteHeader(http.StatusPartialContent)
			w.Write([]byte("5"))
		}},
		{"unchanged without having been asked", "was not asked that", time.Minute, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotModified)
		}},
		{"silence", "sent nothing for", 50 * time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("01234"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
		{"redirect to a local file", "unsupported protocol", time.Minute, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _ := urlTest(t, &fileServer{})
			c.stall = test.stall
			server := httptest.NewServer(test.serve)
			defer server.Close()
			_, err := c.file(context.Background(), server.URL+"/f", "", nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestRedirectThatLosesEncryption(t *testing.T) {
	c, plain := urlTest(t, &fileServer{content: "x"})
	secure := httptest.NewTLSServer(http.RedirectHandler(plain, http.StatusFound))
	defer secure.Close()
	c.client = secure.Client()
	if _, err := c.file(context.Background(), secure.URL, "", nil); err == nil || !strings.Contains(err.Error(), "not encrypted") {
		t.Errorf("error %v", err)
	}
	if got := fetch(t, c, secure.URL, artifacts.DigestOf([]byte("x")).Hex()); got != "x" {
		t.Errorf("got %q with a pin", got)
	}
}

// Credentials in a URL reach the server and nobody else.
func TestCredentialsInURLs(t *testing.T) {
	server := &fileServer{content: "x"}
	c, plain := urlTest(t, server)
	url := strings.Replace(plain, "http://", "http://someone:hunter2@", 1) + "?token=hunter2"
	file, err := c.file(context.Background(), url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(plain, "http://", "http://***@", 1) + "?***"; file.Name != want {
		t.Errorf("name %q, want %q", file.Name, want)
	}
	record, err := os.ReadFile(c.recordPath(url))
	if err != nil || strings.Contains(string(record), "hunter2") {
		t.Errorf("record %s, %v", record, err)
	}
	fetch(t, c, url, "")
	if n := server.requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1: the record is found again", n)
	}
	for _, bad := range []string{"http://someone:hunter2@127.0.0.1:1/x", "http://someone:hunter2@\x7f/", plain + "/%zz?hunter2"} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		if _, err := c.file(ctx, bad, "", nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v", err)
		}
		cancel()
	}
}

// A redirect's host is not told where it was led from, in which a signature may be.
func TestRedirectsTellNoReferer(t *testing.T) {
	c, target := urlTest(t, &fileServer{content: "text"})
	referers := make(chan string, 1)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		referers <- r.Header.Get("Referer")
		http.Redirect(w, r, target, http.StatusFound)
	}))
	t.Cleanup(other.Close)
	first := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	t.Cleanup(first.Close)
	fetch(t, c, first.URL+"/a?signature=secret", "")
	if referer := <-referers; referer != "" {
		t.Errorf("another host was told of %s", referer)
	}
}

func TestManyWantOneURL(t *testing.T) {
	server := &fileServer{content: "x"}
	c, url := urlTest(t, server)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { fetch(t, c, url, "") })
	}
	group.Wait()
	if n := server.requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// A gc that is told of the downloads leaves those that are in use.
func TestDownloadsOutliveGC(t *testing.T) {
	server := &fileServer{content: "x"}
	c, url := urlTest(t, server)
	c.dir = urlRecords(c.store.StateDir())
	fetch(t, c, url, "")
	longAgo := time.Now().Add(-100 * time.Hour)
	if err := os.Chtimes(c.recordPath(url), longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
	since := time.Now().Add(-time.Hour)
	if used, err := Downloads(c.store.StateDir(), since); len(used) != 0 || err != nil {
		t.Errorf("used lately: %v, %v", used, err)
	}
	fetch(t, c, url, "")
	used, err := Downloads(c.store.StateDir(), since)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.store.GC(context.Background(), disk.GCOptions{Keep: func(context.Context) ([]disk.Keep, error) { return []disk.Keep{{Blobs: used}}, nil }}); err != nil {
		t.Fatal(err)
	}
	fetch(t, c, url, "")
	if n := server.requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}
