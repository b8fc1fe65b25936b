package site

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Host is where the pictures are, a name that never resolves (RFC 2606).
const Host = "images.invalid"

// URL is the address of a picture.
func URL(name string) string { return "http://" + Host + "/" + name }

// Delays are long enough to be seen and short enough for a demonstration.
const (
	lateness   = 150 * time.Millisecond // of a slow picture's first bytes
	retryAfter = 1                      // seconds, the least that Retry-After can ask for beside none
)

// Redirects lead below these.
const (
	movedTo = "moved/"
	goneTo  = "gone/"
)

// Start serves the archive at a path on a loopback port that the system
// chooses. Clients that use proxy get the pictures at their URLs, and 403 for
// everything else. The caller calls stop, which ends what is being sent and waits
// for it; it may be called twice. When ctx ends, serving ends too.
func Start(ctx context.Context, archivePath string) (proxy *url.URL, stop func(), err error) {
	pictures, err := openArchive(archivePath)
	if err != nil {
		return nil, nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		_ = pictures.close() // it was only read
		return nil, nil, fmt.Errorf("serving %s: %w", archivePath, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	h := &handler{pictures: pictures.pictures, failed: map[string]bool{}}
	server := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // until it is closed
	}()
	forget := context.AfterFunc(ctx, func() { _ = server.Close() })
	stop = sync.OnceFunc(func() {
		forget()
		cancel()
		_ = server.Close()
		<-served
		h.drain()
		_ = pictures.close() // it was only read
	})
	return &url.URL{Scheme: "http", Host: listener.Addr().String()}, stop, nil
}

// A handler behaves as the archive says.
type handler struct {
	pictures map[string]stored

	running sync.WaitGroup // requests that were let in

	mu       sync.Mutex
	failed   map[string]bool // pictures that have failed as often as they do; guarded by mu
	draining bool            // guarded by mu
}

// enter lets a request in, unless the site is being stopped.
func (h *handler) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.draining {
		h.running.Add(1)
	}
	return !h.draining
}

// drain waits for the requests, which http.Server.Close does not.
func (h *handler) drain() {
	h.mu.Lock()
	h.draining = true
	h.mu.Unlock()
	h.running.Wait()
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.enter() {
		return
	}
	defer h.running.Done()
	switch {
	case r.URL.Scheme != "http" || r.URL.Host != Host:
		http.Error(w, "this is a proxy for http://"+Host+"/ alone", http.StatusForbidden)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "pictures can only be read", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if gone, ok := strings.CutPrefix(name, goneTo); ok && h.behaves(gone, Gone) {
		http.Error(w, "the shop no longer sells this", http.StatusGone)
		return
	}
	if moved, ok := strings.CutPrefix(name, movedTo); ok && h.behaves(moved, Moved) {
		h.send(w, r, moved)
		return
	}
	h.behave(w, r, name)
}

func (h *handler) behaves(name string, b Behaviour) bool {
	picture, ok := h.pictures[name]
	return ok && picture.behaviour == b
}

func (h *handler) behave(w http.ResponseWriter, r *http.Request, name string) {
	picture, ok := h.pictures[name]
	if !ok {
		picture.behaviour = Missing
	}
	switch picture.behaviour {
	case Missing:
		http.NotFound(w, r)
		return
	case Gone:
		http.Redirect(w, r, "/"+goneTo+name, http.StatusFound)
		return
	case Moved:
		http.Redirect(w, r, "/"+movedTo+name, http.StatusMovedPermanently)
		return
	case HTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!DOCTYPE html><title>Our shop</title><p>Please accept our cookies to go on.</p>")
		return
	case Slow:
		if !sleep(r.Context(), lateness) {
			return
		}
	case Failing, Busy, CutShort:
		if h.first(name) {
			h.fail(w, picture)
			return
		}
	}
	h.send(w, r, name)
}

// first says whether the picture has not failed yet.
func (h *handler) first(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.failed[name]
	h.failed[name] = true
	return first
}

// fail answers the first request for a picture that is sent from the second on.
func (h *handler) fail(w http.ResponseWriter, picture stored) {
	switch picture.behaviour {
	case Busy:
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
		http.Error(w, "too many visitors", http.StatusServiceUnavailable)
	case CutShort:
		data, err := read(picture.file)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		_ = http.NewResponseController(w).Flush() // else the client sees nothing of it
		panic(http.ErrAbortHandler)               // how a handler ends a connection
	default:
		http.Error(w, "something went wrong", http.StatusInternalServerError)
	}
}

// send sends a picture, or 304 to who has it.
func (h *handler) send(w http.ResponseWriter, r *http.Request, name string) {
	picture := h.pictures[name]
	data, err := read(picture.file)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if picture.behaviour == Truncated {
		data = data[:len(data)/2]
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%08x-%d"`, crc32.ChecksumIEEE(data), len(data)))
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}

// sleep waits and says whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
