package server

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"time"
)

// An exchange is one request and its answer.
type exchange struct {
	*reply
	r      *http.Request
	target target
	who    string // a token's name
	began  time.Time
	err    error // why it was refused
	body   *pacedBody
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	x := &exchange{reply: newReply(to, s.opts.Stall), r: r, began: time.Now()}
	x.body = newPacedBody(r, to, s.opts.Stall)
	defer s.finish(x)
	s.inUse.RLock()
	defer s.inUse.RUnlock()
	if err := s.handle(x); err != nil {
		s.refuse(x, err)
	}
}

// finish answers a panic, and tells of the request.
func (s *Server) finish(x *exchange) {
	cause := recover()
	if cause != nil && cause != http.ErrAbortHandler {
		x.err = fmt.Errorf("panic: %v", cause)
		s.opts.Log.Error().Str("stack", string(debug.Stack())).Msg(x.err.Error())
		if x.status == 0 {
			s.answer(x, &refusal{http.StatusInternalServerError, "the server has an error of its own; its log has it"})
			cause = nil
		}
	}
	if x.r.Method == http.MethodHead {
		x.sent = 0 // whatever was written
	}
	x.end()
	s.metrics.observe(x)
	s.logAccess(x)
	if cause != nil {
		panic(http.ErrAbortHandler) // midway: the client must not take what it has for the whole
	}
}

// refuse answers a request that failed. When its answer has begun, all that is
// left is to break it off.
func (s *Server) refuse(x *exchange, err error) {
	x.err = err
	told := refusalOf(x.r.Context(), err)
	if x.status != 0 {
		panic(http.ErrAbortHandler)
	}
	s.answer(x, told)
}

func (s *Server) answer(x *exchange, told *refusal) {
	if told.status == statusGone {
		x.status = statusGone
		panic(http.ErrAbortHandler)
	}
	header := x.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "ETag", "Vary"} {
		header.Del(name)
	}
	if told.status == http.StatusServiceUnavailable {
		header.Set("Retry-After", "2")
	}
	if told.status == http.StatusRequestTimeout {
		header.Set("Connection", "close")
	}
	http.Error(x, told.why, told.status)
}

// logAccess writes a line for each request. It has a token's name and never the
// token, and of a path no more than what it names.
func (s *Server) logAccess(x *exchange) {
	event := s.opts.Log.Info()
	if x.status >= 500 && x.status != http.StatusServiceUnavailable {
		event = s.opts.Log.Error()
	}
	if x.target.kind == health || x.target.kind == metered {
		event = s.opts.Log.Debug()
	}
	event.Str("client", x.host()).Str("method", methodLabel(x.r.Method)).Str("kind", string(x.target.kind)).Int("status", x.status).
		Int64("in", x.body.read).Int64("out", x.sent).Float64("seconds", time.Since(x.began).Seconds())
	if x.who != "" {
		event.Str("token", x.who)
	}
	if x.target.kind == blobs || x.target.kind == actions {
		event.Str("name", x.target.short())
	}
	if x.err != nil {
		event.Str("why", x.err.Error())
	}
	event.Msg("request")
}
