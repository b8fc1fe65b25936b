package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

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
		{"a chunk's extension without an end", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("x", 1<<20)), whole, nil, "too long"},
		{"more around chunks than in them", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\nx\r\n", 1000)), whole, nil, "too much non-data"},
		{"a trailer without an end", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5\r\nhello\r\n0\r\nX: " + strings.Repeat("x", 1<<20)), whole, nil, "trailer"},
		{"longer than its length", raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!!!"), get(blobName, 0, -1, []byte("hello")), nil, ""},
		{"endless action", endless, discardRest(acName), nil, "more than"},
		{"206 unasked", answer(206, "Content-Range", "bytes 0-999/1000", string(blob)), whole, nil, "206"},

		// Codings.
		{"zstd", answer(200, "Content-Encoding", "zstd", compressed(blob)), whole, nil, ""},
		{"zstd of nothing", answer(200, "Content-Encoding", "zstd", ""), get(blobName, 0, -1, nil), nil, ""},
		{"identity by name", answer(200, "Content-Encoding", "Identity", string(blob)), whole, nil, ""},
		{"gzip by surprise", answer(200, "Content-Encoding", "gzip", string(blob)), whole, nil, `"gzip", which was not asked for`},
		{"coding that is the token", answer(200, "Content-Encoding", token, string(blob)), whole, nil, `"***", which was not asked for`},
		{"coding without an end", answer(200, "Content-Encoding", strings.Repeat("x", 60_000), string(blob)), whole, nil, `xxx", which was not asked for`},
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
		{"no HEAD, no lengths, no end", byMethod(answer(405), endless), stat(blobName, 0), nil, "more than 67108864 bytes came"},
		{"HEAD without a length, bomb", byMethod(answer(200), bomb), stat(blobName, 0), nil, "more"},
		{"HEAD that is a page, page without an end", byMethod(answer(200, "Content-Type", "text/html", ""), endlessPage), stat(blobName, 0), nil, "more than 67108864 bytes came"},
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
		{"PUT redirected to the token", answer(307, "Location", "http://"+token+".example/x", ""), put(blob, true), nil, "redirects uploads to http://***.example, which"},
		{"PUT redirected to a novel", answer(307, "Location", "http://"+strings.Repeat("x", 60_000)+".example/x", ""), put(blob, true), nil, strings.Repeat("x", 200) + "…"},
		{"PUT redirected to GET", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, put(blob, true), nil, "redirects no upload"},
		{"PUT redirected elsewhere", answer(307, "Location", "http://127.0.0.2:1/x?signature=abc", ""), put(blob, true), nil, "redirects uploads to http://127.0.0.2:1, which"},
	} {
		t.Run(row.what, func(t *testing.T) {
			address, _ := plain(t, row.serve)
			d := open(t, address, Options{Token: token})
			defer d.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
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
			if took := time.Since(began); took > time.Minute {
				t.Errorf("%s, silent %s: %v", name, what, took)
			}
			if err == nil && name != "put" { // which has its 200
				t.Errorf("%s, silent %s: no error", name, what)
			}
			cancel()
		}
	}
}
