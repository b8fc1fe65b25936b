package server

import (
	"errors"
	"net/http"
	"os"
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
			s.opts.Log.Error().Err(err).Msg("not ready")
			return refuse(http.StatusServiceUnavailable, "the store cannot be written to")
		}
	}
	x.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := x.Write([]byte("ok\n"))
	return err
}

// writable says whether the store takes files.
func (s *Server) writable() error {
	f, err := os.CreateTemp(s.temp, "ready-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
