package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prismflow/prismflow/artifacts/disk"
)

// A Server answers the requests of clients from a disk store. New makes one;
// Close ends it. It is an http.Handler, and Serve gives that a listener. All
// methods may be called by several goroutines at once.
type Server struct {
	store *disk.Store
	opts  Options
	temp  string // of bodies on their way in

	holds    *holds
	quota    *quota
	metrics  *metrics
	coders   *coders
	serving  chan struct{}  // one for each request that is served
	changing [64]sync.Mutex // of those who write an action, by its key
	draining atomic.Bool

	stop      context.CancelFunc
	upkeeping sync.WaitGroup
	inUse     sync.RWMutex // held shared by requests, and so guards what Close ends
	closed    bool
}

var _ http.Handler = (*Server)(nil)

// New is a server of a store, which stays the caller's. From here until Close it
// holds leases on the store, so that gc beside it is safe.
func New(store *disk.Store, opts Options) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("cache server: %w", err)
	}
	s := &Server{store: store, opts: opts.withDefaults()}
	s.serving = make(chan struct{}, s.opts.MaxClients)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	if err := s.prepare(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("cache server of %s: %w", store.Dir(), err)
	}
	s.upkeeping.Go(func() { s.upkeep(ctx) })
	return s, nil
}

func (s *Server) prepare(ctx context.Context) error {
	if _, err := s.store.CleanTemp(ctx); err != nil {
		return err
	}
	used, err := usedBytes(ctx, s.store)
	if err != nil {
		return err
	}
	s.quota = newQuota(s.opts.MaxBytes, used)
	s.metrics = newMetrics(s.quota, s.serving)
	if s.coders, err = newCoders(); err != nil {
		return err
	}
	if s.temp, err = s.store.TempDir("serve-*"); err != nil {
		return err
	}
	s.holds, err = newHolds(ctx, s.store)
	return err
}

// Close ends the server's use of the store, once the requests that are being
// served have ended. Later ones are refused.
func (s *Server) Close() error {
	s.inUse.Lock()
	defer s.inUse.Unlock()
	s.closed = true
	s.stop()
	s.upkeeping.Wait()
	return errors.Join(s.holds.close(), s.store.RemoveTemp(s.temp))
}

// upkeep renews the leases and keeps to the quota.
func (s *Server) upkeep(ctx context.Context) {
	renew := time.NewTicker(holdFor)
	defer renew.Stop()
	recount := time.NewTicker(recountEvery)
	defer recount.Stop()
	over, rested := s.quota.over, (<-chan time.Time)(nil)
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-renew.C:
			err = s.holds.renew(ctx)
		case <-recount.C:
			err = s.recount(ctx)
		case <-over:
			err = s.collect(ctx)
			over, rested = nil, time.After(collectEvery)
		case <-rested:
			over, rested = s.quota.over, nil
		}
		if err != nil && ctx.Err() == nil {
			s.opts.Log.Error().Err(err).Msg("looking after the store")
		}
	}
}

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
	select {
	case s.serving <- struct{}{}:
		defer func() { <-s.serving }()
	default:
		return refuse(http.StatusServiceUnavailable, "%d requests are being served, which is all that this server takes at once", s.opts.MaxClients)
	}
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

// admit lets those in who may do what they ask for.
func (s *Server) admit(x *exchange, needed Role) error {
	secret := credential(x.r)
	if secret == "" && s.opts.Anonymous >= needed {
		return nil
	}
	role := NoAccess
	if s.opts.Tokens != nil && secret != "" {
		x.who, role = s.opts.Tokens.find(secret)
	}
	if role = max(role, s.opts.Anonymous); role >= needed {
		return nil
	}
	if x.who != "" {
		return refuse(http.StatusForbidden, "the token %s may only %s", x.who, role)
	}
	x.Header().Add("WWW-Authenticate", `Bearer realm="prismflow cache"`)
	x.Header().Add("WWW-Authenticate", `Basic realm="prismflow cache"`)
	if secret != "" {
		return refuse(http.StatusUnauthorized, "this token is not known here")
	}
	return refuse(http.StatusUnauthorized, "a token is needed: as a bearer token, or as the password of basic authentication")
}

// credential is the token that a request carries: as a bearer token, or as the
// password of whatever user, for clients that know nothing else.
func credential(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(secret)
	}
	return ""
}

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
	host, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err != nil {
		host = x.r.RemoteAddr
	}
	event.Str("client", host).Str("method", methodLabel(x.r.Method)).Str("kind", string(x.target.kind)).Int("status", x.status).
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
