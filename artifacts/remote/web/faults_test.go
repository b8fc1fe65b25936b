package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// plain starts a server and returns its address.
func plain(t testing.TB, handler http.Handler) (string, Options) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL, Options{}
}

// encrypted starts a server with TLS and HTTP/2, and has its certificate believed.
func encrypted(t testing.TB, handler http.Handler) (string, Options) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = silent()
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return server.URL, Options{CAFile: ca}
}

var (
	blob     = storetest.Random(1000, 1)
	blobName = "cas/" + artifacts.DigestOf(blob).Hex()
	page     = []byte("<html><body>Welcome to the conference hotel! Room number, please.</body></html>")
	pageName = "cas/" + artifacts.DigestOf(page).Hex()
	acName   = "ac/" + artifacts.DigestOf([]byte("a key")).Hex()
	token    = "s3cr3t-t0ken"
)

// What is asked of a driver.
type call func(ctx context.Context, d *Driver) error

func get(name string, offset, length int64, want []byte) call {
	return func(ctx context.Context, d *Driver) error {
		r, err := d.Read(ctx, name, offset, length)
		if err != nil {
			return err
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("read %d bytes, %.40q, and not the %d that are wanted", len(got), got, len(want))
		}
		return err
	}
}

func stat(name string, want int64) call {
	return func(ctx context.Context, d *Driver) error {
		size, err := d.Stat(ctx, name)
		if err == nil && size != want {
			err = fmt.Errorf("%d bytes and not %d", size, want)
		}
		return err
	}
}

func put(b []byte, ifAbsent bool) call {
	return func(ctx context.Context, d *Driver) error {
		return d.Write(ctx, "cas/"+artifacts.DigestOf(b).Hex(), remotetest.Bytes(b), ifAbsent)
	}
}

// discardRest reads until an error, and returns no error if there is none.
func discardRest(name string) call {
	return func(ctx context.Context, d *Driver) error {
		r, err := d.Read(ctx, name, 0, -1)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return err
	}
}

var whole, part5to9 = get(blobName, 0, -1, blob), get(blobName, 5, 5, blob[5:10])

// answer is a server that always says the same: a status, headers in pairs, and
// at last the body.
func answer(code int, headersAndBody ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		body := ""
		for i := 0; i < len(headersAndBody); i += 2 {
			if i+1 == len(headersAndBody) {
				body = headersAndBody[i]
				break
			}
			w.Header().Set(headersAndBody[i], headersAndBody[i+1])
		}
		w.WriteHeader(code)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, body)
		}
	}
}

// raw is a server that sends bytes that need not be HTTP, and hangs up.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, out, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = out.WriteString(text)
		_ = out.Flush()
	}
}

// hanging is a server that sends text and then nothing more, until the client
// has gone.
func hanging(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, out, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = out.WriteString(text)
		_ = out.Flush()
		_, _ = io.Copy(io.Discard, conn)
	}
}

// byMethod answers HEAD in one way and the rest in another.
func byMethod(head, rest http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			head(w, r)
			return
		}
		rest(w, r)
	}
}

// serveBlob is a right answer with Ranges.
func serveBlob(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
}

// endless sends zeros until the client has had enough.
func endless(w http.ResponseWriter, r *http.Request) {
	for {
		if _, err := w.Write(make([]byte, 64<<10)); err != nil {
			return
		}
	}
}

// bomb inflates to 8 GiB of zeros: frames may follow one another.
func bomb(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Encoding", "zstd")
	frame := zeros()
	for range 1024 {
		if _, err := io.WriteString(w, frame); err != nil {
			return
		}
	}
}

var zeros = sync.OnceValue(func() string { return compressed(make([]byte, 8<<20)) })

// wide is an empty frame that wants a window of 64 MiB: magic number, flags,
// window, last block.
const wide = "\x28\xb5\x2f\xfd" + "\x00" + "\x80" + "\x01\x00\x00"

func TestFaults(t *testing.T) {
	for _, row := range []struct {
		what  string
		serve http.HandlerFunc
		call  call
		is    error  // nil: any
		says  string // a part of the error; empty: there is none
	}{
		// Refusals.
		{"404", answer(404), whole, artifacts.ErrNotFound, "404"},
		{"410", answer(410), whole, artifacts.ErrNotFound, "410"},
		{"404 to HEAD", answer(404), stat(blobName, 0), artifacts.ErrNotFound, "404"},
		{"404 to a range", answer(404), part5to9, artifacts.ErrNotFound, "404"},
		{"401", answer(401, "Content-Type", "text/plain", "who are you?\nand more"), whole, remote.ErrForbidden, "(who are you?)"},
		{"403", answer(403, "not you"), stat(blobName, 0), remote.ErrForbidden, "403 Forbidden"},
		{"407", answer(407), whole, remote.ErrForbidden, "proxy"},
		{"400", answer(400, "Content-Type", "text/plain", "\x1b[31mgo\x00 away\xff"), whole, nil, "([31mgo away)"},
		{"500 with the token in its text", answer(500, "Content-Type", "text/plain", "do not send me "+token), whole, nil, "(do not send me ***)"},
		{"500 with a novel", answer(500, "Content-Type", "text/plain", strings.Repeat("ä", 2000)), whole, nil, strings.Repeat("ä", maxWords) + "…"},
		{"500 with a page", answer(500, "Content-Type", "text/html", "<html>"), whole, nil, "500 Internal Server Error"},
		{"500 whose text never comes", hanging("HTTP/1.1 500 No\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n"), whole, nil, "500 Internal Server Error"},
		{"304", answer(304), whole, nil, "304"},
		{"a status of its own", raw("HTTP/1.1 799 " + token + "\r\nContent-Length: 0\r\n\r\n"), whole, nil, "answered 799"},

		// What is no HTTP, or too much of it.
		{"no HTTP", raw("SSH-2.0-OpenSSH_9.2 " + token + "\r\n\r\n"), whole, nil, "***"},
		{"nothing", raw(""), whole, nil, "EOF"},
		{"endless header", raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), whole, nil, "headers exceeded"},
		{"endless 1xx", raw(strings.Repeat("HTTP/1.1 102 Processing\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n", 1000)), whole, nil, "headers exceeded"},
		{"two lengths", raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), whole, nil, "Content-Length"},
		{"negative length", raw("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello!"), whole, nil, "Content-Length"},
		{"101", raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"), whole, nil, "101"},

		// Bodies.
		{"right", serveBlob, whole, nil, ""},
		{"shorter than its length", answer(200, "Content-Length", "1001", string(blob)), whole, nil, "unexpected EOF"},
		{"broken chunks", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), whole, nil, "unexpected EOF"},
		{"chunks of nonsense", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffffff\r\nhello"), whole, nil, "chunk"},
		{"longer than its length", raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!!!"), get(blobName, 0, -1, []byte("hello")), nil, ""},
		{"endless action", endless, discardRest(acName), nil, "more than"},
		{"206 unasked", answer(206, "Content-Range", "bytes 0-999/1000", string(blob)), whole, nil, "206"},

		// Codings.
		{"zstd", answer(200, "Content-Encoding", "zstd", compressed(blob)), whole, nil, ""},
		{"zstd of nothing", answer(200, "Content-Encoding", "zstd", ""), get(blobName, 0, -1, nil), nil, ""},
		{"identity by name", answer(200, "Content-Encoding", "Identity", string(blob)), whole, nil, ""},
		{"gzip by surprise", answer(200, "Content-Encoding", "gzip", string(blob)), whole, nil, `"gzip", which was not asked for`},
		{"two codings", answer(200, "Content-Encoding", "zstd, gzip", string(blob)), whole, nil, "not asked for"},
		{"zstd in a part", answer(206, "Content-Encoding", "zstd", "Content-Range", "bytes 5-9/1000", string(blob)), part5to9, nil, "not asked for"},
		{"zstd in place of a part", answer(200, "Content-Encoding", "zstd", string(blob)), part5to9, nil, "not asked for"},
		{"no zstd at all", answer(200, "Content-Encoding", "zstd", string(blob)), whole, nil, "inflating"},
		{"zstd cut off", answer(200, "Content-Encoding", "zstd", compressed(blob)[:500]), whole, nil, "unexpected EOF"},
		{"zstd bomb", bomb, discardRest(blobName), nil, "inflates to more"},
		{"zstd bomb as an action", bomb, discardRest(acName), nil, "more than"},
		{"zstd with a wide window", answer(200, "Content-Encoding", "zstd", wide), discardRest(blobName), nil, "window size"},

		// Pages for people.
		{"log-in page", answer(200, "Content-Type", "text/html; charset=utf-8", string(page)), whole, nil, "not what was asked for: the server answered text/html"},
		{"log-in page as an action", answer(200, "Content-Type", "text/html", string(page)), discardRest(acName), nil, "not what was asked for"},
		{"log-in page to HEAD", answer(200, "Content-Type", "text/html", string(page)), stat(blobName, 0), nil, "not what was asked for"},
		{"log-in page to PUT", answer(200, "Content-Type", "text/html", string(page)), put(blob, true), nil, "not what was asked for"},
		{"log-in page for a part", answer(200, "Content-Type", "text/html", string(page)), part5to9, nil, "not what was asked for"},
		{"blob that is a page", answer(200, "Content-Type", "text/html", string(page)), get(pageName, 0, -1, page), nil, ""},
		{"size of a blob that is a page", answer(200, "Content-Type", "text/html", string(page)), stat(pageName, int64(len(page))), nil, ""},
		{"part of a blob that is a page", answer(200, "Content-Type", "text/html", string(page)), get(pageName, 1, 4, page[1:5]), nil, ""},
		{"blob that calls itself a page and is none", answer(200, "Content-Type", "text/html", string(make([]byte, maxPage+5))), get(blobName, 0, -1, make([]byte, maxPage+5)), nil, ""},

		// Parts.
		{"part", serveBlob, part5to9, nil, ""},
		{"part to the end", serveBlob, get(blobName, 990, -1, blob[990:]), nil, ""},
		{"part beyond the end", serveBlob, get(blobName, 990, 50, blob[990:]), nil, ""},
		{"part of unknown whole", answer(206, "Content-Range", "bytes 5-9/*", string(blob[5:10])), part5to9, nil, ""},
		{"rest of unknown whole", answer(206, "Content-Range", "bytes 990-999/*", string(blob[990:])), get(blobName, 990, -1, blob[990:]), nil, ""},
		{"part from the very end", serveBlob, get(blobName, 1000, -1, nil), nil, ""},
		{"part from behind the end", serveBlob, get(blobName, 1001, -1, nil), nil, "416"},
		{"part of no length", serveBlob, get(blobName, 5, 0, nil), nil, ""},
		{"part of no length of nothing", answer(404), get(blobName, 5, 0, nil), artifacts.ErrNotFound, "404"},
		{"the whole in place of a part", answer(200, string(blob)), part5to9, nil, ""},
		{"the whole in place of the rest", answer(200, string(blob)), get(blobName, 990, -1, blob[990:]), nil, ""},
		{"another whole in place of a part", answer(200, "abc"), part5to9, nil, "only 3 bytes"},
		{"another part", answer(206, "Content-Range", "bytes 6-10/1000", string(blob[6:11])), part5to9, nil, "another part"},
		{"a longer part", answer(206, "Content-Range", "bytes 5-10/1000", string(blob[5:11])), part5to9, nil, "another part"},
		{"a shorter part", answer(206, "Content-Range", "bytes 5-8/1000", string(blob[5:9])), part5to9, nil, "another part"},
		{"a shorter rest", answer(206, "Content-Range", "bytes 990-995/1000", string(blob[990:996])), get(blobName, 990, -1, blob[990:]), nil, "another part"},
		{"a part without saying which", answer(206, string(blob[5:10])), part5to9, nil, "without saying which"},
		{"parts", answer(206, "Content-Type", "multipart/byteranges; boundary=x", "--x"), part5to9, nil, "without saying which"},
		{"a part that is too large for itself", answer(206, "Content-Range", "bytes 5-9/1000", string(blob[5:12])), part5to9, nil, "a part of 5 bytes with 7 bytes in it"},
		{"a part in chunks that is too large", raw("HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/1000\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n" + string(blob[5:12]) + "\r\n0\r\n\r\n"), part5to9, nil, ""},
		{"a part in chunks that is too small", raw("HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/1000\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n" + string(blob[5:7]) + "\r\n0\r\n\r\n"), part5to9, nil, "unexpected EOF"},

		// Sizes.
		{"HEAD", serveBlob, stat(blobName, 1000), nil, ""},
		{"no HEAD", byMethod(answer(405), serveBlob), stat(blobName, 1000), nil, ""},
		{"HEAD not implemented", byMethod(answer(501), serveBlob), stat(blobName, 1000), nil, ""},
		{"HEAD without a length", byMethod(answer(200), serveBlob), stat(blobName, 1000), nil, ""},
		{"HEAD of a compressed length", byMethod(answer(200, "Content-Encoding", "zstd", "Content-Length", "7"), serveBlob), stat(blobName, 1000), nil, ""},
		{"no HEAD and no ranges", byMethod(answer(405), answer(200, "Content-Length", "1000", string(blob))), stat(blobName, 1000), nil, ""},
		{"no HEAD, ranges, or lengths", byMethod(answer(405), raw("HTTP/1.1 200 OK\r\n\r\n"+string(blob))), stat(blobName, 1000), nil, ""},
		{"no HEAD, nothing there", byMethod(answer(405), answer(416, "Content-Range", "bytes */0", "")), stat(blobName, 0), nil, ""},
		{"no HEAD, no object", byMethod(answer(405), answer(404)), stat(blobName, 0), artifacts.ErrNotFound, "404"},
		{"no HEAD, secretive", byMethod(answer(405), answer(206, "Content-Range", "bytes 0-0/*", "x")), stat(blobName, 0), nil, "does not say the object's size"},
		{"no HEAD, mad", byMethod(answer(405), answer(206, "Content-Range", "bytes 3-3/1000", "x")), stat(blobName, 0), nil, "does not say the object's size"},

		// Uploads.
		{"201", answer(201), put(blob, true), nil, ""},
		{"200", answer(200), put(blob, true), nil, ""},
		{"204", answer(204), put(blob, true), nil, ""},
		{"201 with a page", answer(201, "Content-Type", "text/html", "<html>"), put(blob, true), nil, ""},
		{"412", answer(412), put(blob, true), remote.ErrExists, "there already"},
		{"412 unasked", answer(412), put(blob, false), nil, "412"},
		{"413", answer(413, "Content-Type", "text/plain", "at most 5 bytes"), put(blob, true), remote.ErrFull, "(at most 5 bytes)"},
		{"507", answer(507), put(blob, true), remote.ErrFull, "507"},
		{"422", answer(422), put(blob, true), nil, "damaged"},
		{"404 to PUT", answer(404), put(blob, true), remote.ErrForbidden, "path"},
		{"405 to PUT", answer(405), put(blob, true), remote.ErrForbidden, "dav_methods"},
		{"409 to PUT", answer(409), put(blob, true), remote.ErrForbidden, "create_full_put_path"},
		{"401 to PUT", answer(401), put(blob, true), remote.ErrForbidden, "401"},
		{"415 unasked", answer(415), put(blob, true), nil, "415"},
		{"417 unasked", answer(417), put(blob, true), nil, "417"},
		{"hang-up", raw(""), put(storetest.Random(4<<20, 3), true), nil, ": "},

		// Redirects.
		{"loop", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}, whole, nil, "more than 5 times"},
		{"loop of PUT", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusPermanentRedirect)
		}, put(blob, true), nil, "more than 5 times"},
		{"redirect to nowhere", answer(302), whole, nil, "no web address"},
		{"redirect to a file", answer(302, "Location", "file:///etc/passwd", ""), whole, nil, "no web address"},
		{"redirect to nonsense", answer(302, "Location", "http://%zz?signature="+token, ""), whole, nil, "no web address"},
		{"PUT redirected to GET", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, put(blob, true), nil, "redirects no upload"},
		{"PUT redirected elsewhere", answer(307, "Location", "http://127.0.0.2:1/x?signature=abc", ""), put(blob, true), nil, "redirects uploads to http://127.0.0.2:1, which"},
	} {
		t.Run(row.what, func(t *testing.T) {
			address, _ := plain(t, row.serve)
			d := open(t, address, Options{Token: token})
			defer d.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := row.call(ctx, d)
			switch {
			case row.says == "" && err != nil:
				t.Fatalf("%v, want no error", err)
			case row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)):
				t.Fatalf("%v, want one with %q", err, row.says)
			case row.is != nil && !errors.Is(err, row.is):
				t.Fatalf("%v, want one that is %v", err, row.is)
			case row.is == nil && err != nil && (errors.Is(err, artifacts.ErrNotFound) || errors.Is(err, remote.ErrForbidden) || errors.Is(err, remote.ErrFull) || errors.Is(err, remote.ErrExists)):
				t.Fatalf("%v, want one that may pass", err)
			case err != nil && (strings.Contains(err.Error(), token) || strings.ContainsAny(err.Error(), "\n\x1b")):
				t.Fatalf("%q shows the token, or is more than a line", err)
			}
		})
	}
}

// A bomb costs neither memory nor time.
func TestBombIsCheap(t *testing.T) {
	address, opts := plain(t, http.HandlerFunc(bomb))
	d := open(t, address, opts)
	defer d.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := discardRest(blobName)(t.Context(), d)
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Fatal("8 GiB of zeros were inflated")
	}
	if grown := int64(after.Sys) - int64(before.Sys); grown > 256<<20 {
		t.Errorf("%d MiB of memory were taken", grown>>20)
	}
}

// Cut at any tenth, and compressed or not, a body ends with an error.
func TestCutBodies(t *testing.T) {
	small := compressed(bytes.Repeat([]byte("not so random "), 3000))
	for _, body := range []string{string(blob), small} {
		for tenth := range 10 {
			cut := body[:len(body)*tenth/10]
			for what, head := range map[string]string{
				"of known length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), cut),
				"in chunks":       fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s", len(body), cut),
			} {
				coding := ""
				if body == small {
					coding = "Content-Encoding: zstd\r\n"
				}
				address, opts := plain(t, raw("HTTP/1.1 200 OK\r\n"+coding+head))
				if err := discardRest(blobName)(t.Context(), open(t, address, opts)); err == nil {
					t.Errorf("cut after %d of %d bytes, %s: no error", len(cut), len(body), what)
				}
			}
		}
	}
}

// A server that is silent, before or in the middle of an answer, holds nobody
// longer than the context.
func TestSilence(t *testing.T) {
	for what, text := range map[string]string{
		"at once":        "",
		"in the header":  "HTTP/1.1 200 OK\r\nContent-",
		"in the body":    "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc",
		"in a zstd body": "HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 1000\r\n\r\n" + compressed(blob)[:100],
	} {
		address, opts := plain(t, hanging(text))
		d := open(t, address, opts)
		for name, call := range map[string]call{"get": whole, "part": part5to9, "put": put(storetest.Random(4<<20, 4), true)} {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			began := time.Now()
			err := call(ctx, d)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s, silent %s: %v", name, what, took)
			}
			if err == nil && name != "put" { // which has its 200
				t.Errorf("%s, silent %s: no error", name, what)
			}
			cancel()
		}
	}
}

// An upload that the server refuses by its header is not sent, whether or not
// the server would keep the connection.
func TestEarlyRefusalSavesTheUpload(t *testing.T) {
	for code, want := range map[int]error{412: remote.ErrExists, 413: remote.ErrFull, 401: remote.ErrForbidden, 507: remote.ErrFull} {
		for what, serve := range map[string]http.HandlerFunc{
			"closing":  func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) },
			"keeping":  hanging(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", code)),
			"redirect": redirected(hanging(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", code))),
		} {
			var came atomic.Int64
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: serve}
			go func() { _ = server.Serve(countingListener{listener, &came}) }()
			t.Cleanup(func() { server.Close() })
			d := open(t, "http://"+listener.Addr().String(), Options{})
			if err := put(storetest.Random(32<<20, 5), true)(t.Context(), d); !errors.Is(err, want) {
				t.Errorf("%d, %s: %v, want %v", code, what, err, want)
			}
			if came.Load() > 4<<10 {
				t.Errorf("%d, %s: %d bytes were sent for nothing", code, what, came.Load())
			}
		}
	}
}

// redirected is a server that sends everybody to another place of its own.
func redirected(then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/cas/") {
			raw("HTTP/1.1 307 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")(w, r)
			return
		}
		then(w, r)
	}
}

type countingListener struct {
	net.Listener
	came *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return countingConn{conn, l.came}, err
}

type countingConn struct {
	net.Conn
	came *atomic.Int64
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.came.Add(int64(n))
	return n, err
}

// A server that was never told of 100-continue answers 417, or nothing: the
// upload goes on all the same.
func TestExpectRefused(t *testing.T) {
	var requests atomic.Int32
	reference := newReference()
	address, opts := plain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.Header.Get("Expect") != "" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		reference.ServeHTTP(w, r)
	}))
	d := open(t, address, opts)
	for seed := range uint64(2) {
		b := storetest.Random(2<<20, 6+seed)
		if err := put(b, true)(t.Context(), d); err != nil || !reference.stands("/cas/"+artifacts.DigestOf(b).Hex()) {
			t.Errorf("PUT %d: %v", seed, err)
		}
	}
	if requests.Load() != 3 {
		t.Errorf("%d requests, want 3: the server is not asked again what it does not know", requests.Load())
	}
}

func TestDeflatedUploads(t *testing.T) {
	text := bytes.Repeat([]byte("user,item,rating\n"), 100_000)
	reference := newReference()
	address, opts := plain(t, reference)
	d := acquainted(t, address, opts)
	for _, row := range []struct {
		what     string
		content  []byte
		deflated int
	}{
		{"tiny", text[:minDeflate-1], 0}, {"small", text[:10_000], 1}, {"large", text, 1},
		{"random", storetest.Random(1<<20, 8), 0}, {"random at its beginning", append(storetest.Random(sampleSize, 9), text...), 0},
		{"random at its end", append(bytes.Clone(text), storetest.Random(sampleSize, 10)...), 1},
	} {
		before := reference.deflated
		if err := put(row.content, true)(t.Context(), d); err != nil {
			t.Errorf("%s: %v", row.what, err)
		}
		if got := reference.deflated - before; got != row.deflated {
			t.Errorf("%s: %d bodies were compressed, want %d", row.what, got, row.deflated)
		}
		if err := get("cas/"+artifacts.DigestOf(row.content).Hex(), 0, -1, row.content)(t.Context(), d); err != nil {
			t.Errorf("%s: %v", row.what, err)
		}
	}
}

// A server that announces zstd and refuses it gets it no more.
func TestDeflatedUploadRefused(t *testing.T) {
	reference := newReference()
	var refused atomic.Int32
	address, opts := plain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Encoding") != "" {
			refused.Add(1)
			w.Header().Set("Accept-Encoding", "zstd")
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		}
		reference.ServeHTTP(w, r)
	}))
	d := acquainted(t, address, opts)
	for n := range 3 {
		if err := put(make([]byte, 10_000+n), true)(t.Context(), d); err != nil {
			t.Error(err)
		}
	}
	if refused.Load() != 1 {
		t.Errorf("%d uploads were compressed, want 1", refused.Load())
	}
}

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

// An upload that finds no server ends, and its content is closed.
func TestUploadsEndWithoutServer(t *testing.T) {
	address, _ := encrypted(t, newReference())
	for what, row := range map[string]struct {
		address string
		opts    Options
	}{
		"nobody listens":    {fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), Options{}},
		"no such host":      {"http://cache.invalid", Options{Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}},
		"malformed proxy":   {"http://cache.invalid", Options{Proxy: func(*http.Request) (*url.URL, error) { return nil, errors.New("no") }}},
		"unknown authority": {address, Options{}},
		"no TLS":            {strings.Replace(address, "https", "http", 1), Options{}},
	} {
		d := open(t, row.address, row.opts)
		for _, b := range [][]byte{blob, storetest.Random(4<<20, 40)} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if err := put(b, true)(ctx, d); err == nil || ctx.Err() != nil {
				t.Errorf("%s: %v, want an error in time", what, err)
			}
			cancel()
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

func TestRetryAfterIsTold(t *testing.T) {
	address, opts := plain(t, answer(503, "Retry-After", "7"))
	err := whole(t.Context(), open(t, address, opts))
	var after interface{ RetryAfter() time.Duration }
	if !errors.As(err, &after) || after.RetryAfter() != 7*time.Second {
		t.Errorf("%v, want one that says 7s", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "3": 3 * time.Second, "-3": 0, "1.5": 0, "soon": 0,
		"99999999999999999999": 0, "999999999": maxRetryAfter,
		"Thu, 26 Nov 2026 12:00:05 GMT": 5 * time.Second, "Thu, 26 Nov 2026 11:00:00 GMT": 0, "Thu, 26 Nov 2099 12:00:00 GMT": maxRetryAfter,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
