package images

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// A fault is something that servers do.
type fault struct {
	path   string
	handle http.HandlerFunc
	error  string // what the row says
	status int32
	asked  int // how often the URL is asked for; 0 where Go asks again by itself over connections that were kept
}

func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		connection, stream, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer connection.Close()
		fmt.Fprint(stream, answer)
		stream.Flush()
	}
}

// header is the first part of a PNG that claims a size.
func header(width, height uint32) []byte {
	chunk := binary.BigEndian.AppendUint32([]byte("IHDR"), width)
	chunk = binary.BigEndian.AppendUint32(chunk, height)
	chunk = append(chunk, 8, 2, 0, 0, 0)
	data := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	return binary.BigEndian.AppendUint32(append(data, chunk...), crc32.ChecksumIEEE(chunk))
}

func gzipped(data []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

func send(data []byte, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		_, _ = w.Write(data)
	}
}

func answer(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// hang sends something and then nothing more, until the other side leaves.
func hang(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if len(data) > 0 {
			_, _ = w.Write(data)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}
}

// failFirst fails some requests and then serves a picture.
func failFirst(n int32, fail http.HandlerFunc) http.HandlerFunc {
	var asked atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) <= n {
			fail(w, r)
			return
		}
		_, _ = w.Write(aPNG(1))
	}
}

func endless(w http.ResponseWriter, _ *http.Request) {
	for piece := make([]byte, 64<<10); ; {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

// loris sends a header that does not end.
func loris(w http.ResponseWriter, _ *http.Request) {
	connection, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer connection.Close()
	for text := "HTTP/1.1 200 OK\r\nX: "; ; text = "y" {
		if _, err := io.WriteString(connection, text); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func busyOnce(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusTooManyRequests)
}

// faults are what a row must survive. internal is a server that the guard keeps
// away from.
func faults(internal string) []fault {
	whole := aPNG(1)
	half := string(whole[:len(whole)/2])
	lengths := func(claimed int) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", claimed, whole)
	}
	redirect := func(to string) http.HandlerFunc { return http.RedirectHandler(to, http.StatusFound).ServeHTTP }
	return []fault{
		{"/drop", raw(""), "the server closed the connection without an answer", 0, 0},
		{"/nonsense", raw("220 mail.example.org ESMTP\r\n"), "the connection broke", 0, 3},
		{"/cut", raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + half), fmt.Sprintf("the server sent %d of the 1000 bytes that it announced", len(half)), 200, 3},
		{"/cut-chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), "the server broke off in the middle", 200, 3},
		{"/cut-unframed", raw("HTTP/1.0 200 OK\r\n\r\n" + half), "the server broke off in the middle", 200, 3},
		{"/longer", raw(lengths(len(whole) + 7)), fmt.Sprintf("the server sent %d of the %d bytes that it announced", len(whole), len(whole)+7), 200, 3},
		{"/shorter", raw(lengths(20)), "the picture is cut short", 200, 1},
		{"/half", send([]byte(half)), "the picture is cut short", 200, 1},
		{"/500", answer(500), "the server answered 500 Internal Server Error", 500, 3},
		{"/503", answer(503), "the server answered 503 Service Unavailable", 503, 3},
		{"/once-500", failFirst(1, answer(500)), "", 200, 2},
		{"/once-429", failFirst(1, busyOnce), "", 200, 2},
		{"/429", answer(429), "the server answered 429 Too Many Requests", 429, 3},
		{"/403", answer(403), "the server answered 403 Forbidden", 403, 1},
		{"/404", answer(404), "the server answered 404 Not Found", 404, 1},
		{"/204", answer(204), "the server answered 204 No Content", 204, 1},
		{"/304", answer(304), "the server answered 304 Not Modified", 304, 1},
		{"/endless", endless, "it has more than the 1048576 bytes that max_bytes allows", 200, 1},
		{"/announced", raw("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"), "it has more than the 1048576 bytes that max_bytes allows", 200, 1},
		{"/headers", raw("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 1000)), "the connection broke", 0, 3},
		{"/html", send([]byte("<!DOCTYPE html><p>Buy this domain"), "Content-Type", "image/jpeg"), "not a readable JPEG, PNG, GIF or WebP picture: it seems to be an HTML page", 200, 1},
		{"/empty", send(nil), "not a readable JPEG, PNG, GIF or WebP picture: it seems to be empty", 200, 1},
		{"/bomb", send(header(50_000, 50_000)), "the picture is too large: 50000×50000 pixels, and at most 67108864 are decoded", 200, 1},
		{"/gzip", send(gzipped(make([]byte, 64<<20)), "Content-Encoding", "gzip"), `the server sent it as "gzip", which it was not asked for`, 200, 1},
		{"/circle", redirect("/circle"), "it redirects in a circle", 302, 1},
		{"/ring", redirect("/gnir"), "it redirects in a circle", 301, 1},
		{"/far/", func(w http.ResponseWriter, r *http.Request) { redirect(r.URL.Path+"x")(w, r) }, "it redirects more than 5 times", 302, 1},
		{"/inside", redirect(internal), "its address 127.0.0.1 is loopback, and allow_private is not set", 0, 1},
		{"/inside-mapped", redirect(strings.Replace(internal, "127.0.0.1", "[::ffff:127.0.0.1]", 1)), "its address 127.0.0.1 is loopback, and allow_private is not set", 0, 1},
		{"/to-a-file", redirect("file:///etc/passwd"), "it redirects to a file", 302, 1},
		{"/to-ftp", redirect("ftp://example.org/a.png"), "it redirects, and pictures are not fetched by ftp", 302, 1},
		{"/nowhere", raw("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), "it redirects, and does not say where to", 302, 1},
	}
}

// TestSilence: a server that says nothing, stops in the middle, or sends a
// header without end costs no more than its time.
func TestSilence(t *testing.T) {
	s, env := newSite(t), stagetest.Env(t)
	s.serves("/good.png", aPNG(1))
	good := itemURL{"good", s.URL + "/good.png"}
	d := newDownload()
	d.AllowPrivate = true
	download(t, d, env, good) // from here on it is known: the hurry below is not about it
	for _, impatient := range []struct {
		with  func(*Download)
		cases []fault
	}{
		{func(d *Download) { d.HeaderTimeout.Value = 1 }, []fault{
			{"/silent", hang(nil), "the server did not answer in time", 0, 2},
			{"/loris", loris, "the server did not answer in time", 0, 2},
		}},
		{func(d *Download) { d.StallTimeout.Value = 1 }, []fault{
			{"/stall", hang(aPNG(1)[:10]), "the server stopped sending", 200, 2},
		}},
	} {
		items := []itemURL{good}
		for _, fault := range impatient.cases {
			s.mux.HandleFunc(fault.path, fault.handle)
			items = append(items, itemURL{fault.path, s.URL + fault.path})
		}
		d := newDownload()
		d.AllowPrivate, d.MaxAttempts.Value = true, 2
		impatient.with(d)
		rows := download(t, d, env, items...)
		checkFaults(t, s, impatient.cases, rows[1:])
	}
}

// checkFaults checks that each row says what happened.
func checkFaults(t *testing.T, s *site, cases []fault, rows []tables.Image) {
	t.Helper()
	for i, fault := range cases {
		row := rows[i]
		wantPicture := fault.error == ""
		if !strings.HasPrefix(row.Error, fault.error) || (row.Error == "") != wantPicture || (len(row.Bytes) > 0) != wantPicture || row.Status != fault.status {
			t.Errorf("%s: %q (%d, %d bytes), want %q (%d)", fault.path, row.Error, row.Status, len(row.Bytes), fault.error, fault.status)
		}
		if fault.asked == 0 {
			continue
		}
		if got := s.timesAtLeast(fault.path, fault.asked); got != fault.asked {
			t.Errorf("%s was asked for %d times, want %d", fault.path, got, fault.asked)
		}
	}
}

func TestFaults(t *testing.T) {
	s, internal := newSite(t), newSite(t)
	internal.serves("/", aPNG(2))
	cases := faults(internal.URL)
	s.mux.Handle("/gnir", http.RedirectHandler("/ring", http.StatusMovedPermanently))
	var items []itemURL
	for _, fault := range cases {
		s.mux.HandleFunc(fault.path, fault.handle)
		items = append(items, itemURL{"../" + fault.path, s.URL + fault.path})
	}
	others := map[string]string{
		"http://127.0.0.1:1/a.png":      "its address 127.0.0.1 is loopback, and allow_private is not set",
		"http://169.254.169.254/latest": "its address 169.254.169.254 is link-local, and allow_private is not set",
		"http://[::1]/a.png":            "its address ::1 is loopback, and allow_private is not set",
		"http://2130706433/a.png":       `"2130706433" is neither a host's name nor an IP address`,
		"http://0x7f.1/a.png":           `"0x7f.1" is neither a host's name nor an IP address`,
		"ftp://example.org/a.png":       "pictures are not fetched by ftp",
		"//example.org/a.png":           "the URL has no scheme, such as https",
		"http:///a.png":                 "the URL names no host",
		"http://a b/":                   `it is not a URL: invalid character " " in host name`,
		"file:///etc/passwd":            "it is a file, and allow_files is not set",
		" \t\n":                         "the URL has no scheme, such as https",
	}
	for url := range others {
		items = append(items, itemURL{url, url})
	}
	d := newDownload()
	d.MaxWait.Value = 2
	d.world.guard.except = []netip.AddrPort{s.address()}
	env := stagetest.Env(t)
	began := time.Now()
	rows := download(t, d, env, items...)
	t.Logf("%d rows in %s: %v", len(rows), time.Since(began), counts(env))
	checkFaults(t, s, cases, rows)
	for _, row := range rows[len(cases):] {
		if row.Error != others[row.URL] {
			t.Errorf("%s: %q, want %q", row.URL, row.Error, others[row.URL])
		}
	}
	if n := internal.total(); n != 0 {
		t.Errorf("%d requests to a loopback address", n)
	}
	if got := counts(env)["pictures"]; got != 2 || env.IncompleteReason() == "" {
		t.Errorf("%d pictures; incomplete: %q", got, env.IncompleteReason())
	}
}

// Bodies without end or announced size take no more memory than is allowed.
func TestMemoryIsBounded(t *testing.T) {
	s := newSite(t)
	s.mux.HandleFunc("/endless/", endless)
	s.serves("/good.png", aPNG(1))
	items := []itemURL{{"good", s.URL + "/good.png"}}
	for i := range 100 {
		items = append(items, itemURL{fmt.Sprint(i), fmt.Sprintf("%s/endless/%d", s.URL, i)})
	}
	d := newDownload()
	d.AllowPrivate, d.MaxBytes, d.Memory.Value = true, 8<<20, 64<<20
	peak, stop := heapPeak()
	rows := download(t, d, stagetest.Env(t), items...)
	stop()
	const most = 400 << 20 // garbage that is not collected yet included; the bodies have 800 MiB
	t.Logf("at most %d MiB of heap for %d bodies of %d MiB each", peak()>>20, len(rows)-1, d.MaxBytes>>20)
	if peak() > most {
		t.Errorf("%d MiB of heap, want at most %d", peak()>>20, most>>20)
	}
}

// The bytes of a reply count as long as they are not let go: a slow disk must
// not let them gather.
func TestMemoryIsHeldWhileThereAreBytes(t *testing.T) {
	s := newSite(t)
	s.serves("/a.png", aPNG(1))
	const memory = 1 << 20
	f := &fetcher{
		transport: http.DefaultTransport, maxBytes: memory / 4, stall: time.Minute, total: time.Minute,
		memory: semaphore.NewWeighted(memory),
	}
	at, failed := parseURL(s.URL + "/a.png")
	if failed != nil {
		t.Fatal(failed)
	}
	r, err := f.visit(t.Context(), &visit{target: &target{url: s.URL}, url: at})
	if err != nil {
		t.Fatal(err)
	}
	if f.memory.TryAcquire(memory) {
		t.Error("the memory of a reply that is in use is free")
	}
	f.letGo(r)
	if !f.memory.TryAcquire(memory) {
		t.Error("the memory of a reply that was let go is taken")
	}
}

// heapPeak watches the heap until it is stopped.
func heapPeak() (peak func() uint64, stop func()) {
	var most atomic.Uint64
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		var stats runtime.MemStats
		for {
			runtime.ReadMemStats(&stats)
			most.Store(max(most.Load(), stats.HeapInuse))
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return most.Load, func() { close(done); <-stopped }
}

// The time for a whole body ends one that trickles.
func TestTrickle(t *testing.T) {
	s := newSite(t)
	s.mux.HandleFunc("/trickle", func(w http.ResponseWriter, r *http.Request) {
		buf := bufio.NewWriterSize(w, 1)
		for r.Context().Err() == nil {
			_, _ = buf.Write([]byte("xy"))
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	s.serves("/good.png", aPNG(1))
	d := newDownload()
	d.AllowPrivate, d.BodyTimeout.Value, d.MaxAttempts.Value = true, 1, 1
	rows := download(t, d, stagetest.Env(t), itemURL{"a", s.URL + "/trickle"}, itemURL{"b", s.URL + "/good.png"})
	if want := "the server took too long to send the picture"; rows[0].Error != want {
		t.Errorf("%q, want %q", rows[0].Error, want)
	}
}
