package main

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages/tables"
)

// A pictureSite serves a picture of its own under each path /N.png.
type pictureSite struct {
	*httptest.Server

	mu     sync.Mutex // guards what follows
	asked  int
	silent int           // from which request on it keeps silent; 0 for none
	fell   chan struct{} // closes with that request
}

func newPictureSite(t *testing.T) *pictureSite {
	s := &pictureSite{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *pictureSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var n int
	if _, err := fmt.Sscanf(r.URL.Path, "/%d.png", &n); err != nil {
		http.NotFound(w, r)
		return
	}
	if !s.answers() {
		<-r.Context().Done()
		return
	}
	picture := image.NewGray16(image.Rect(0, 0, 2, 2))
	picture.SetGray16(0, 0, color.Gray16{Y: uint16(n)})
	_ = png.Encode(w, picture)
}

// answers counts a request, and says whether it is answered.
func (s *pictureSite) answers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.asked == s.silent {
		close(s.fell)
	}
	return s.silent == 0 || s.asked < s.silent
}

// silentIn has the site keep silent from the n-th request on that is still to
// come, at which the channel closes; in 0, it answers again.
func (s *pictureSite) silentIn(n int) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent, s.fell = 0, make(chan struct{})
	if n > 0 {
		s.silent = s.asked + n
	}
	return s.fell
}

func (s *pictureSite) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// picturesPipeline writes a pipeline that downloads so many pictures.
func picturesPipeline(t *testing.T, dir, site string, pictures, concurrency int) {
	t.Helper()
	var meta strings.Builder
	for i := range pictures {
		fmt.Fprintf(&meta, "{\"asin\": \"B%05d\", \"title\": \"t\", \"imUrl\": \"%s/%d.png\"}\n", i, site, i)
	}
	pipeline := fmt.Sprintf(`
[params]
revalidate = false

[stages.metadata]
kind   = "amazon.metadata"
source = "meta.json"

[stages.images]
kind  = "images.download"
items = "metadata.items"
allow_private        = true
concurrency          = %d
concurrency_per_host = %d
requests_per_second  = 0
max_attempts         = 1
revalidate           = "${params.revalidate}"
`, concurrency, concurrency)
	for name, text := range map[string]string{"meta.json": meta.String(), "p.toml": pipeline} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKilledDownloads kills a run three times during 2,000 downloads. What was
// not in flight is not asked for again. The site keeps silent until the kill, lest
// the run goes on meanwhile.
func TestKilledDownloads(t *testing.T) {
	const pictures, concurrency, kills = 2000, 16, 3
	p := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	site := newPictureSite(t)
	picturesPipeline(t, p.dir, site.URL, pictures, concurrency)
	var moments []int
	for range kills {
		fell := site.silentIn(1 + random.IntN(pictures/(kills+1)))
		cmd := p.command("run", "p.toml")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-fell
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // "signal: killed"
		moments = append(moments, site.total())
	}
	site.silentIn(0)
	p.must(t, "run", "p.toml")
	repeated := site.total() - pictures
	t.Logf("killed after %v requests (seed %d): %d of %d pictures were asked for again", moments, seed, repeated, pictures)
	if repeated < 0 || repeated > kills*concurrency {
		t.Errorf("%d pictures were asked for again, at most %d were in flight", repeated, kills*concurrency)
	}
	if output := p.must(t, "logs", "p.toml", "images"); !strings.Contains(output, "2000 items: ") {
		t.Errorf("the log does not say what was known:\n%s", output)
	}
	rows, err := table.ReadAll[tables.Image](filepath.Join(p.dir, "out", "p", "images", "images.arrow"))
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		if row.Error != "" || row.URL != fmt.Sprintf("%s/%d.png", site.URL, i) || len(row.Bytes) == 0 {
			t.Fatalf("row %d: %s: %s", i, row.URL, row.Error)
		}
	}
	if len(rows) != pictures {
		t.Errorf("%d rows", len(rows))
	}
	p.must(t, "run", "p.toml")
	if site.total() != pictures+repeated {
		t.Error("a run that finds everything in the cache asks for pictures")
	}
}

// TestPicturesAgain: new items cost requests for them alone, what failed in a
// way that may pass is asked for by the next run, and a changed picture is found
// where revalidate asks.
func TestPicturesAgain(t *testing.T) {
	var asked, bodies atomic.Int64
	var busy, changed atomic.Bool
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		etag := `"` + r.URL.Path + `"`
		if r.URL.Path == "/3.png" {
			if busy.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			etag = fmt.Sprintf("\"%t\"", changed.Load())
		}
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		bodies.Add(1)
		_ = png.Encode(w, image.NewGray(image.Rect(0, 0, 1, 1)))
	}))
	defer site.Close()
	p := process{t.TempDir(), filepath.Join(t.TempDir(), "cache")}
	run := func(wantAsked, wantBodies int64, wantOutput string, args ...string) {
		t.Helper()
		asked.Store(0)
		bodies.Store(0)
		output := p.must(t, append([]string{"run", "p.toml"}, args...)...)
		if asked.Load() != wantAsked || bodies.Load() != wantBodies || !strings.Contains(output, wantOutput) {
			t.Errorf("%d requests, %d bodies, want %d, %d, and %q in\n%s", asked.Load(), bodies.Load(), wantAsked, wantBodies, wantOutput, output)
		}
	}
	busy.Store(true)
	picturesPipeline(t, p.dir, site.URL, 20, 4)
	run(20, 19, "1 failed: 1 server error")
	run(1, 0, "incomplete: 1 pictures failed in a way that may pass: 1 server error")
	busy.Store(false)
	run(1, 1, "start    images: incomplete")
	run(0, 0, "cached   images")
	picturesPipeline(t, p.dir, site.URL, 30, 4)
	run(10, 10, "start    images: input items: columns image_url, item changed")
	run(30, 0, "revalidate asks whether pictures changed", "-p", "revalidate=true")
	changed.Store(true)
	run(30, 1, "revalidate asks whether pictures changed", "-p", "revalidate=true")
	run(0, 0, "cached   images")
}
