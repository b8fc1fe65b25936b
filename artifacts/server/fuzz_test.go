package server

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

// FuzzRequest gives the handler whatever can be sent. It must not panic, must
// answer nothing but what is stored, and must write nowhere but where a store
// does, nor there anything that is not what its name says.
func FuzzRequest(f *testing.F) {
	content := "the content"
	path := cas([]byte(content))
	action := string(artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{{Path: "x", Digest: digestOf([]byte(content)), Bytes: int64(len(content))}}}.Encode())
	for _, request := range []string{
		"GET " + path + " HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2,4-5\r\nAccept-Encoding: zstd\r\n\r\n",
		"HEAD " + path + " HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n",
		"PUT " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nIf-None-Match: *\r\n\r\n" + content,
		"PUT " + path + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nother\r\n0\r\n\r\n",
		"PUT " + path + " HTTP/1.1\r\nHost: x\r\nContent-Encoding: zstd\r\nContent-Length: 13\r\n\r\n\x28\xb5\x2f\xfd\x04\x00\x59\x00\x00the content",
		"PUT " + ac(1) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		"PUT " + ac(1) + " HTTP/1.0\r\nContent-Length: 85\r\n\r\n" + action,
		"PUT /../cas/..%2f..%2f..%2fetc/passwd HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx",
		"GET http://evil" + path + "?/../../ HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET //cas/" + strings.Repeat("A", 64) + " HTTP/1.1\r\nHost: \r\nAuthorization: Basic Og==\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\nAuthorization: bearer\r\n\r\n",
		"POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(request))
	}
	outside := filepath.Join(f.TempDir(), "outside")
	dir := filepath.Join(outside, "store")
	store, err := disk.Open(dir, disk.Options{})
	must(f, err)
	s, err := New(store, Options{Anonymous: ReadWrite, MaxBlob: 1 << 16})
	must(f, err)
	r := &rig{t: f, store: store, s: s}
	must(f, store.Put(ctx, digestOf([]byte(content)), int64(len(content)), strings.NewReader(content)))
	f.Fuzz(func(t *testing.T, sent []byte) {
		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent)))
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		if gone := abort(func() { s.ServeHTTP(w, request) }); gone {
			return // the client left in the middle of its body
		}
		if w.Code >= 500 && w.Code != http.StatusInsufficientStorage {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		if w.Code == 200 && request.Method == "GET" && strings.HasPrefix(request.URL.Path, "/cas/") && w.Header().Get("Content-Encoding") == "" {
			if got := digestOf(w.Body.Bytes()).Hex(); got != request.URL.Path[len("/cas/"):] {
				t.Errorf("%s has the bytes of %s", request.URL.Path, got)
			}
		}
		entries, err := os.ReadDir(outside)
		if err != nil || len(entries) != 1 {
			t.Errorf("beside the store: %v, %v", entries, err)
		}
		r.t = t
		r.verify()
	})
}

// abort says whether a handler broke off its connection.
func abort(handle func()) (aborted bool) {
	defer func() {
		if cause := recover(); cause != nil {
			if cause != http.ErrAbortHandler {
				panic(cause)
			}
			aborted = true
		}
	}()
	handle()
	return false
}
