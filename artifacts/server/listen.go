package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
)

// What a client gets before it has shown that it means it.
const (
	headerTime  = 10 * time.Second // for the header of a request, and for a TLS handshake
	idleTime    = 2 * time.Minute  // between two requests on a connection
	headerBytes = 16 << 10

	// connectionsPerClient bounds the connections that wait for a request, and so
	// the descriptors that are open.
	connectionsPerClient = 16
)

// A Certificate is a TLS certificate and its key, in PEM files. When they change,
// as they do when a certificate is renewed, new connections use the new ones; a
// pair that does not fit changes nothing and is told of.
type Certificate struct{ pair *watched[*tls.Certificate] }

// OpenCertificate reads a certificate, with those of its issuers behind it, and
// its key. warn hears, for people, of a later version that cannot be used.
func OpenCertificate(certFile, keyFile string, warn func(message string)) (*Certificate, error) {
	read := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		return &pair, err
	}
	pair, err := watch("the certificate "+certFile, []string{certFile, keyFile}, read, warn)
	if err != nil {
		return nil, err
	}
	return &Certificate{pair}, nil
}

// Reload reads the files again, changed or not.
func (c *Certificate) Reload() { c.pair.reload() }

func (c *Certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.get(), nil },
	}
}

// Serve answers requests on a listener, by TLS if there is a certificate, until
// ctx ends. Then it takes no more, lets those that are being served go on for
// Options.Grace, cuts off what is left, and returns nil.
func (s *Server) Serve(ctx context.Context, listener net.Listener, certificate *Certificate) error {
	limited := netutil.LimitListener(listener, connectionsPerClient*s.opts.MaxClients)
	web := s.webServer(s)
	if certificate != nil {
		web.TLSConfig = certificate.config()
	}
	return s.serveUntil(ctx, web, limited)
}

// ServeMonitor answers /metrics, /healthz and /readyz on a listener of its own,
// without asking for a token, until ctx ends.
func (s *Server) ServeMonitor(ctx context.Context, listener net.Listener) error {
	monitor := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz", "/readyz":
			s.ServeHTTP(w, r)
		case "/metrics":
			s.metrics.handler.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
	web := s.webServer(monitor)
	web.WriteTimeout = s.opts.Stall
	return s.serveUntil(ctx, web, netutil.LimitListener(listener, connectionsPerClient))
}

func (s *Server) webServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:                      handler,
		ReadHeaderTimeout:            headerTime,
		IdleTimeout:                  idleTime,
		MaxHeaderBytes:               headerBytes,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(logWriter{s.opts.Log}, "", 0),
		HTTP2:                        &http.HTTP2Config{SendPingTimeout: s.opts.Stall, WriteByteTimeout: s.opts.Stall},
	}
}

func (s *Server) serveUntil(ctx context.Context, web *http.Server, listener net.Listener) error {
	ended := make(chan error, 1)
	go func() {
		if web.TLSConfig != nil {
			ended <- web.ServeTLS(listener, "", "")
			return
		}
		ended <- web.Serve(listener)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Grace)
	defer cancel()
	err := web.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		s.opts.Log.Warn().Msgf("what was not done after %v is cut off", s.opts.Grace)
		err = web.Close()
	}
	<-ended
	return err
}

// logWriter takes what net/http has to say: of clients that break off, mostly.
type logWriter struct{ log *zerolog.Logger }

var _ io.Writer = logWriter{}

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Debug().Msg(strings.TrimSpace(string(p)))
	return len(p), nil
}
