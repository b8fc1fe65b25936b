package cloud

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
)

// eachCall asks a bucket for everything that a driver can.
func eachCall(d remote.Driver) map[string]error {
	_, stat := d.Stat(ctx, "ac/1")
	_, read := readAll(d, "ac/1")
	return map[string]error{"Stat": stat, "Read": read, "Write": d.Write(ctx, "ac/1", remotetest.Bytes([]byte("x")), true)}
}

// No redirect is followed: what is a credential in a header, in the URL, or in a
// Referer that quotes the URL would go along.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var heard atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer elsewhere.Close()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		for name, s := range servedBy(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", elsewhere.URL+r.URL.Path)
			w.WriteHeader(status)
		}) {
			heard.Store(0)
			for what, err := range eachCall(open(t, s, "team-cache/a")) {
				if err == nil {
					t.Errorf("%s, %s, %d: no error", name, what, status)
				}
				quietError(t, err)
			}
			if heard.Load() > 0 {
				t.Errorf("%s, %d: %d requests were made elsewhere", name, status, heard.Load())
			}
		}
	}
}

// Errors and listings without an end are not read to their end, which the SDKs do
// in memory.
func TestEndlessAnswers(t *testing.T) {
	for what, isEndless := range map[string]func(r *http.Request) bool{
		"errors": func(r *http.Request) bool { return true },
		"listings": func(r *http.Request) bool {
			return r.URL.Query().Has("list-type") || r.URL.Query().Has("comp") || strings.HasSuffix(r.URL.Path, "/o")
		},
	} {
		var sent atomic.Int64
		for name, s := range servedBy(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case !isEndless(r):
				w.WriteHeader(http.StatusNotFound)
				return
			case what == "errors":
				w.WriteHeader(http.StatusInternalServerError)
			}
			piece := []byte(strings.Repeat(" ", 64<<10))
			for {
				n, err := w.Write(piece)
				sent.Add(int64(n))
				if err != nil || r.Method == http.MethodHead || sent.Load() > 200<<20 {
					return
				}
			}
		}) {
			sent.Store(0)
			for call, err := range eachCall(open(t, s, "team-cache/a")) {
				if err == nil {
					t.Errorf("%s, %s of %s: no error", name, call, what)
				}
			}
			if got := sent.Load(); got > 100<<20 {
				t.Errorf("%s: %d MiB of %s were read", name, got>>20, what)
			}
		}
	}
}
