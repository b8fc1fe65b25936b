package server

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

var ctx = context.Background()

// A rig is a server of an empty store, and what tests ask it.
type rig struct {
	t     testing.TB
	store *disk.Store
	s     *Server
	http  *httptest.Server
	token string
}

func newRig(t testing.TB, opts Options) *rig {
	t.Helper()
	store, err := disk.Open(filepath.Join(t.TempDir(), "cache"), disk.Options{})
	must(t, err)
	if opts.Tokens == nil && opts.Anonymous == NoAccess {
		opts.Anonymous = ReadWrite
	}
	s, err := New(store, opts)
	must(t, err)
	r := &rig{t: t, store: store, s: s, http: httptest.NewServer(s)}
	t.Cleanup(func() {
		r.http.Close()
		must(t, s.Close())
		must(t, store.Close())
	})
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request with headers in pairs.
func (r *rig) ask(method, path string, body []byte, headers ...string) answer {
	r.t.Helper()
	req, err := http.NewRequest(method, r.http.URL+path, bytes.NewReader(body))
	must(r.t, err)
	for i := 0; i < len(headers) && headers[i] != ""; i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	transport := r.http.Client().Transport.(*http.Transport)
	transport.DisableCompression = true
	resp, err := transport.RoundTrip(req)
	must(r.t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	must(r.t, err)
	return answer{resp.StatusCode, resp.Header, got}
}

// want checks an answer's status, and its body where one is given.
func (r *rig) want(a answer, status int, body ...string) {
	r.t.Helper()
	if a.status != status {
		r.t.Errorf("status %d %q, want %d", a.status, cut(a.body), status)
	}
	for _, want := range body {
		if string(a.body) != want {
			r.t.Errorf("body %q, want %q", cut(a.body), cut([]byte(want)))
		}
	}
}

func cut(b []byte) []byte { return b[:min(len(b), 200)] }

func cas(content []byte) string { return "/cas/" + artifacts.DigestOf(content).Hex() }

func ac(n byte) string { return "/ac/" + strings.Repeat(hex.EncodeToString([]byte{n}), 32) }

func random(size int, seed uint64) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return b
}

// files are the names in the store's parts that a test counts.
func (r *rig) files(part string) []string {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(r.store.Dir(), part, "*", "*"))
	must(r.t, err)
	return found
}

// verify wants everything in the store to be right, and nothing half.
func (r *rig) verify() disk.VerifyReport {
	r.t.Helper()
	report, err := r.store.Verify(ctx, disk.VerifyOptions{})
	must(r.t, err)
	for _, problem := range report.Problems {
		r.t.Errorf("%s: %s", problem.Name, problem.Error)
	}
	left, err := os.ReadDir(r.s.temp)
	must(r.t, err)
	for _, file := range left {
		r.t.Errorf("%s was left", file.Name())
	}
	return report
}

func TestBlobs(t *testing.T) {
	r := newRig(t, Options{})
	content := []byte("the content of a blob")
	path := cas(content)
	r.want(r.ask("GET", path, nil), 404)
	r.want(r.ask("HEAD", path, nil), 404)
	r.want(r.ask("PUT", path, []byte("other bytes")), 400)
	r.want(r.ask("GET", path, nil), 404)
	r.want(r.ask("PUT", path, content), 201, "")
	r.want(r.ask("GET", path, nil), 200, string(content))
	head := r.ask("HEAD", path, nil)
	r.want(head, 200, "")
	if got := head.header.Get("Content-Length"); got != "21" {
		t.Errorf("HEAD has Content-Length %q", got)
	}
	if got := head.header.Get("ETag"); got != `"`+path[len("/cas/"):]+`"` {
		t.Errorf("HEAD has ETag %q", got)
	}
	r.want(r.ask("PUT", path, content), 201) // again
	r.want(r.ask("PUT", path, content, "If-None-Match", "*"), 412)
	r.want(r.ask("GET", path, nil, "Range", "bytes=4-10"), 206, "content")
	r.want(r.ask("GET", path, nil, "Range", "bytes=17-"), 206, "blob")
	r.want(r.ask("GET", path, nil, "Range", "bytes=21-"), 416)
	r.want(r.ask("GET", path, nil, "If-None-Match", head.header.Get("ETag")), 304, "")
	other := []byte("another")
	r.want(r.ask("PUT", cas(other), other, "If-None-Match", "*"), 201)
	r.want(r.ask("GET", cas(other), nil), 200, "another")
	r.verify()
}

func TestTheEmptyBlobIsAlwaysThere(t *testing.T) {
	r := newRig(t, Options{})
	r.want(r.ask("GET", cas(nil), nil), 200, "")
	r.want(r.ask("HEAD", cas(nil), nil), 200, "")
	r.want(r.ask("PUT", cas(nil), nil), 201)
	r.want(r.ask("PUT", cas(nil), nil, "If-None-Match", "*"), 412)
	r.verify()
}

func TestActions(t *testing.T) {
	r := newRig(t, Options{})
	opaque := random(100_000, 1)
	r.want(r.ask("GET", ac(1), nil), 404)
	r.want(r.ask("PUT", ac(1), opaque), 201)
	r.want(r.ask("GET", ac(1), nil), 200, string(opaque))
	r.want(r.ask("PUT", ac(1), []byte("second"), "If-None-Match", "*"), 412)
	r.want(r.ask("GET", ac(1), nil), 200, string(opaque))
	r.want(r.ask("PUT", ac(1), []byte("third")), 201)
	r.want(r.ask("GET", ac(1), nil), 200, "third")
	r.want(r.ask("PUT", ac(2), []byte("new"), "If-None-Match", "*"), 201)
	r.want(r.ask("HEAD", ac(2), nil), 200)
	r.want(r.ask("PUT", ac(3), random(maxAction+1, 2)), 413)
	r.want(r.ask("PUT", ac(3), random(maxAction, 2)), 201)
}

func digestOf(content []byte) artifacts.Digest { return artifacts.DigestOf(content) }

// direct asks the handler without a network.
func (r *rig) direct(method, path string, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.s.ServeHTTP(w, httptest.NewRequest(method, path, bytes.NewReader(body)))
	return w
}
