package images

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// newDownload is a stage with its defaults but for patience: tests run against
// servers beside them, in a moment and a hurry.
func newDownload() *Download {
	d := &Download{MaxBytes: 1 << 20, MaxPixels: 64 << 20, MaxRedirects: 5, MaxFailed: 1}
	d.Concurrency.Value, d.PerHost.Value = 32, 32
	d.ConnectTimeout.Value, d.HeaderTimeout.Value, d.StallTimeout.Value, d.BodyTimeout.Value = 20, 20, 20, 60
	d.MaxAttempts.Value, d.Backoff.Value, d.MaxWait.Value = 3, 0.005, 5
	d.Memory.Value = 64 << 20
	d.UserAgent.Value, d.RetryFailed.Value = "prismflow test", "transient"
	return d
}

// download runs the stage over items and returns the rows.
func download(t *testing.T, d *Download, env *stages.Env, items ...itemURL) []tables.Image {
	t.Helper()
	rows, err := tryDownload(t, d, env, items...)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func tryDownload(t *testing.T, d *Download, env *stages.Env, items ...itemURL) ([]tables.Image, error) {
	t.Helper()
	d.Items = stagetest.Table[itemURL](t, items)
	result := stagetest.Result(t, &d.Images)
	if err := d.Run(t.Context(), env); err != nil {
		return nil, err
	}
	return result(), nil
}

// counts are what the stage reported.
func counts(env *stages.Env) map[string]int {
	all := map[string]int{}
	for _, c := range env.Report() {
		all[c.Name] = int(c.Value)
	}
	return all
}

// A site is a server that counts what it is asked for.
type site struct {
	*httptest.Server
	mux *http.ServeMux

	mu    sync.Mutex
	asked map[string]int // guarded by mu
}

func newSite(t *testing.T) *site {
	s := &site{mux: http.NewServeMux(), asked: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked[r.URL.Path]++
	s.mu.Unlock()
	s.mux.ServeHTTP(w, r)
}

func (s *site) times(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}

// timesAtLeast waits until a path was asked for so often: the server may hear of a
// request only when the client has given it up.
func (s *site) timesAtLeast(path string, want int) int {
	got := s.times(path)
	for end := time.Now().Add(time.Minute); got < want && time.Now().Before(end); got = s.times(path) {
		time.Sleep(time.Millisecond)
	}
	return got
}

func (s *site) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, times := range s.asked {
		n += times
	}
	return n
}

// address is the one that the guard must be told to admit.
func (s *site) address() netip.AddrPort {
	return netip.MustParseAddrPort(strings.TrimPrefix(s.URL, "http://"))
}

// serves lets the site serve data under a path, with an ETag.
func (s *site) serves(path string, data []byte) {
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprint(len(data), data[len(data)-20])))
		if r.Header.Get("If-None-Match") == w.Header().Get("ETag") {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(data)
	})
}

// aPNG is a small picture; n makes it another one.
func aPNG(n int) []byte {
	picture := image.NewRGBA(image.Rect(0, 0, 8+n%8, 6))
	picture.Set(0, 0, color.RGBA{uint8(n), uint8(n >> 8), 3, 255})
	var buf bytes.Buffer
	if err := png.Encode(&buf, picture); err != nil {
		panic(err)
	}
	return buf.Bytes()
}
