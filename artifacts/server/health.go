package server

import (
	"errors"
	"net/http"
	"os"
	"sync"
	"time"
)

// answerHealth says whether the process is there (/healthz) and whether it can
// do its work (/readyz).
func (s *Server) answerHealth(x *exchange) error {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.Header().Set("Allow", allowed(health))
		return refuse(http.StatusMethodNotAllowed, "this can be done: %s", allowed(health))
	}
	if x.r.URL.Path == "/readyz" {
		if s.draining.Load() {
			return refuse(http.StatusServiceUnavailable, "shutting down")
		}
		if err := s.writable(); err != nil {
			return refuse(http.StatusServiceUnavailable, "the store cannot be written to")
		}
	}
	x.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := x.Write([]byte("ok\n"))
	return err
}

// probeEvery is for how long it is believed that the store takes files, or does
// not: anybody may ask, and each probe is a file.
const probeEvery = 5 * time.Second

// A probe is the last look whether the store takes files.
type probe struct {
	mu  sync.Mutex // guards the rest, and has those who ask at once share a look
	at  time.Time
	err error
}

// writable says whether the store takes files, or did just now.
func (s *Server) writable() error {
	s.probe.mu.Lock()
	defer s.probe.mu.Unlock()
	if time.Since(s.probe.at) >= probeEvery {
		s.probe.err = s.writeFile()
		s.probe.at = time.Now() // from when it is known: a slow disk makes no queue
		if s.probe.err != nil {
			s.opts.Log.Error().Err(s.probe.err).Msg("not ready")
		}
	}
	return s.probe.err
}

// writeFile makes a file in the store and takes it away.
func (s *Server) writeFile() error {
	f, err := os.CreateTemp(s.temp, "ready-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
