package web

import (
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

func TestNew(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	writeFile(t, empty, "no certificate")
	for _, row := range []struct {
		address string
		opts    Options
		says    string // a part of the error; empty: there is none
	}{
		{"http://cache", Options{}, ""},
		{"https://cache:8443/a/b/", Options{Token: token}, ""},
		{"https://me:s3cr3t@cache", Options{}, ""},
		{"http://me:s3cr3t@localhost:1", Options{}, ""},
		{"http://127.7.7.7", Options{Token: token}, ""},
		{"http://[::1]:80", Options{Token: token}, ""},
		{"http://cache", Options{Token: token, AllowPlain: true}, ""},

		{"http://cache", Options{Token: token}, "use https://"},
		{"http://me:s3cr3t@cache", Options{}, "use https://"},
		{"http://localhost.example.org", Options{Token: token}, "use https://"},
		{"http://127.0.0.1.example.org", Options{Token: token}, "use https://"},
		{"https://me:s3cr3t@cache", Options{Token: token}, "only one of them"},
		{"https://cache", Options{Token: "s3cr3t\nX: y"}, "line break"},
		{"https://cache", Options{Token: "s3cr3t "}, "space"},
		{"ftp://me:s3cr3t@cache", Options{}, "neither http nor https"},
		{"cache:8080", Options{}, "malformed"},
		{"http:me:s3cr3t@cache", Options{}, "malformed"},
		{"http://me:s3cr3t/x@cache", Options{}, "malformed"},
		{"http://me:s3cr3t%zz@cache", Options{}, "malformed"},
		{"http://:80", Options{}, "malformed"},
		{"", Options{}, "malformed"},
		{"https://cache/?key=s3cr3t", Options{}, "?"},
		{"https://cache/?", Options{}, "?"},
		{"https://cache/#s3cr3t", Options{}, "#"},
		{"https://cache", Options{Parallel: -1}, "-1"},
		{"https://cache", Options{CAFile: filepath.Join(dir, "absent.pem")}, "absent.pem"},
		{"https://cache", Options{CAFile: empty}, "no certificate"},
	} {
		d, err := New(row.address, row.opts)
		switch {
		case row.says == "" && err != nil:
			t.Errorf("New(%q): %v", row.address, err)
		case row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)):
			t.Errorf("New(%q): %v, want an error with %q", row.address, err, row.says)
		case err != nil && (strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), token)):
			t.Errorf("New(%q): %v shows a secret", row.address, err)
		case err == nil && strings.Contains(d.String(), "s3cr3t"):
			t.Errorf("New(%q) is %s, which shows a secret", row.address, d)
		}
	}
	if _, err := New("http://cache", Options{Token: token}); !errors.Is(err, ErrPlain) {
		t.Errorf("%v, want ErrPlain", err)
	}
}

func TestString(t *testing.T) {
	for address, want := range map[string]string{
		"http://cache":                   "http://cache",
		"http://cache/":                  "http://cache",
		"https://me:pw@cache:8443/a//b/": "https://cache:8443/a/b",
		"https://cache/with%20space":     "https://cache/with%20space",
	} {
		if got := open(t, address, Options{}).String(); got != want {
			t.Errorf("%s is %s, want %s", address, got, want)
		}
	}
}

// A witness is a server that remembers what it was asked, and with which
// credentials.
type witness struct {
	mu    sync.Mutex // guards heard
	heard []string
	serve http.HandlerFunc
}

func (w *witness) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.heard = append(w.heard, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
	w.mu.Unlock()
	w.serve(to, r)
}

func (w *witness) want(t *testing.T, heard ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got, want := strings.Join(w.heard, "\n"), strings.Join(heard, "\n"); got != want {
		t.Errorf("heard\n%s\nwant\n%s", got, want)
	}
}

func TestCredentials(t *testing.T) {
	for what, row := range map[string]struct {
		user *url.Userinfo
		opts Options
		want string
	}{
		"none":             {nil, Options{}, ""},
		"token":            {nil, Options{Token: token}, "Bearer " + token},
		"user":             {url.UserPassword("me", "s3cr3t/@:"), Options{}, "Basic bWU6czNjcjN0L0A6"},
		"without password": {url.User("me"), Options{}, "Basic bWU6"},
	} {
		w := &witness{serve: serveBlob}
		address, _ := plain(t, w)
		place, err := url.Parse(address + "/team")
		if err != nil {
			t.Fatal(err)
		}
		place.User = row.user
		if err := whole(t.Context(), open(t, place.String(), row.opts)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		w.want(t, "GET /team/"+blobName+" "+row.want)
	}
}

// Credentials are for the remote alone: another host, even another port of the
// same one, gets the request without them.
func TestRedirectsTakeNoCredentials(t *testing.T) {
	elsewhere := &witness{serve: serveBlob}
	other, _ := plain(t, elsewhere)
	here := &witness{serve: func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/near"):
			http.Redirect(w, r, "/far"+strings.TrimPrefix(r.URL.Path, "/near"), http.StatusMovedPermanently)
		default:
			http.Redirect(w, r, strings.Replace(other, "http://", "http://you:pass@", 1)+r.URL.Path+"?signature=abc", http.StatusTemporaryRedirect)
		}
	}}
	address, _ := plain(t, here)
	d := open(t, address+"/near", Options{Token: token})
	if err := whole(t.Context(), d); err != nil {
		t.Error(err)
	}
	here.want(t, "GET /near/"+blobName+" Bearer "+token, "GET /far/"+blobName+" Bearer "+token)
	elsewhere.want(t, "GET /far/"+blobName+" ")

	elsewhere.serve = answer(http.StatusForbidden)
	err := whole(t.Context(), d)
	if !errors.Is(err, remote.ErrForbidden) || !strings.Contains(err.Error(), "redirected to "+other) || strings.Contains(err.Error(), "signature") {
		t.Errorf("%v, want one that says where it was redirected to, without the signature", err)
	}
}

func TestUploadsFollowRedirectsAtHome(t *testing.T) {
	reference := newReference()
	w := &witness{}
	w.serve = func(to http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/old/") {
			http.Redirect(to, r, strings.TrimPrefix(r.URL.Path, "/old"), http.StatusPermanentRedirect)
			return
		}
		reference.ServeHTTP(to, r)
	}
	address, _ := plain(t, w)
	d := open(t, address+"/old", Options{Token: token})
	for _, size := range []int{1000, 5 << 20} {
		b := storetest.Random(size, 30)
		if err := put(b, true)(t.Context(), d); err != nil {
			t.Error(err)
		}
	}
	if len(reference.objects) != 2 {
		t.Errorf("%d objects came, want 2", len(reference.objects))
	}
}

func TestNeverFromHTTPSToHTTP(t *testing.T) {
	elsewhere := &witness{serve: serveBlob}
	other, _ := plain(t, elsewhere)
	address, opts := encrypted(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other+r.URL.Path, http.StatusFound)
	}))
	d := open(t, address, opts)
	for name, call := range map[string]call{"GET": whole, "part": part5to9, "HEAD": stat(blobName, 1000), "PUT": put(blob, true)} {
		if err := call(t.Context(), d); err == nil || !strings.Contains(err.Error(), "from https to plain http") {
			t.Errorf("%s: %v, want that it is not followed", name, err)
		}
	}
	elsewhere.want(t)
}

func TestUnknownAuthority(t *testing.T) {
	address, opts := encrypted(t, http.HandlerFunc(serveBlob))
	if err := whole(t.Context(), open(t, address, opts)); err != nil {
		t.Errorf("with its certificate: %v", err)
	}
	if err := whole(t.Context(), open(t, address, Options{})); err == nil || !strings.Contains(err.Error(), "x509") {
		t.Errorf("without: %v, want an error of x509", err)
	}
}

func TestProxy(t *testing.T) {
	w := &witness{serve: serveBlob}
	proxy, _ := plain(t, w)
	opts := Options{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }}
	if err := whole(t.Context(), open(t, "http://cache.example.org", opts)); err != nil {
		t.Error(err)
	}
	w.want(t, "GET /"+blobName+" ")

	t.Setenv("HTTPS_PROXY", proxy)
	t.Setenv("HTTP_PROXY", "http://me:s3cr3t%zz@proxy")
	if err := whole(t.Context(), open(t, "http://cache.example.org", Options{})); err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("%v, want an error without the proxy's password", err)
	}
}

// Names from above cannot leave the place.
func TestStrangeNames(t *testing.T) {
	w := &witness{serve: serveBlob}
	address, opts := plain(t, w)
	d := open(t, address+"/team", opts)
	for _, name := range []string{"", "..", "../secret", "cas/../../secret", "/cas/x", "cas//x", "cas/x/", ".", "cas/%2e%2e", "cas/x?y", "cas/x#y", "cas/x y"} {
		if _, err := d.Stat(t.Context(), name); err == nil {
			t.Errorf("Stat(%q): no error", name)
		}
	}
	w.want(t)
}
