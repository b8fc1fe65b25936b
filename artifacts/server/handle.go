package server

import "net/http"

// handle answers a request, or says why not.
func (s *Server) handle(x *exchange) error {
	if s.closed {
		return refuse(http.StatusServiceUnavailable, "shutting down")
	}
	var err error
	if x.target, err = targetOf(x.r.URL); err != nil {
		return err
	}
	if x.target.kind == health {
		return s.answerHealth(x)
	}
	role, err := needed(x.target.kind, x.r.Method)
	if err != nil {
		x.Header().Set("Allow", allowed(x.target.kind))
		return err
	}
	if err := s.admit(x, role); err != nil {
		return err
	}
	if x.target.kind == metered {
		s.metrics.handler.ServeHTTP(x, x.r)
		return nil
	}
	client := x.client()
	if err := s.enter(client); err != nil {
		return err
	}
	defer s.leave(client)
	if !s.opts.NoZstd {
		x.Header().Set("Accept-Encoding", "zstd") // of bodies of PUT, as RFC 7694 has it
	}
	return s.serve(x)
}

func (s *Server) serve(x *exchange) error {
	put := x.r.Method == http.MethodPut
	switch {
	case put:
		if err := checkPut(x.r); err != nil {
			return err
		}
		if x.target.kind == blobs {
			return s.putBlob(x, x.target.digest)
		}
		return s.putAction(x, x.target.key)
	case x.target.kind == blobs:
		return s.getBlob(x, x.target.digest)
	}
	return s.getAction(x, x.target.key)
}

// needed is the role that a request takes.
func needed(k kind, method string) (Role, error) {
	switch {
	case method == http.MethodGet || method == http.MethodHead:
		return Read, nil
	case method == http.MethodPut && (k == blobs || k == actions):
		return ReadWrite, nil
	}
	return NoAccess, refuse(http.StatusMethodNotAllowed, "this can be done: %s", allowed(k))
}

func allowed(k kind) string {
	if k == blobs || k == actions {
		return "GET, HEAD, PUT"
	}
	return "GET, HEAD"
}
