package web

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prismflow/prismflow/artifacts/remote"
)

// A Driver is the remote.Driver of one HTTP server. New makes one.
type Driver struct {
	base          *url.URL // of the place, without credentials
	authorization string   // header that goes to base's host alone; empty for none
	secrets       []string // what no error may show
	transport     *http.Transport
	coding        coding
	learnt        learnt
	continueTime  time.Duration // see turn
}

var _ remote.Driver = (*Driver)(nil)

// learnt is what the answers of the server have shown of it.
type learnt struct {
	ranges      atomic.Bool // it says that it answers with the part that was asked for
	entire      atomic.Bool // it has answered with all of an object all the same
	conditional atomic.Bool // it has refused to replace an object
	inflates    atomic.Bool // it says that it takes bodies that are compressed with zstd
	literal     atomic.Bool // it has refused one all the same
	excessive   atomic.Bool // something inflated to more than is believed: zstd is asked for no more
	headless    atomic.Bool // it does not know HEAD
	impatient   atomic.Bool // Expect is of no use: it refuses it, or speaks HTTP/2
}

// Limits of what is sent and believed.
const (
	maxHeader = 64 << 10 // bytes of an answer's header
	dialTime  = 30 * time.Second
	// pingTime of silence is how a dead connection of HTTP/2, which all requests
	// share, is found: ending one of them does not end it.
	pingTime = 15 * time.Second
	// socketBuffer is that of large bodies: with the 4 KiB of package http, half
	// of the time goes into system calls.
	socketBuffer = 128 << 10
)

// New is the driver of the place at address, http(s)://[USER:PASSWORD@]HOST[:PORT]/PREFIX.
// It asks the server nothing yet. No error has a credential in it.
func New(address string, opts Options) (*Driver, error) {
	base, user, err := parse(address)
	if err != nil {
		return nil, fmt.Errorf("remote over http: %w", err)
	}
	d := &Driver{base: base, continueTime: continueTime}
	if opts.Parallel < 0 {
		return nil, fmt.Errorf("remote %s: option Parallel is %d, must not be negative", d, opts.Parallel)
	}
	if d.authorization, d.secrets, err = opts.credentials(base, user); err != nil {
		return nil, fmt.Errorf("remote %s: %w", d, err)
	}
	roots, err := opts.roots()
	if err != nil {
		return nil, fmt.Errorf("remote %s: %w", d, err)
	}
	d.transport = &http.Transport{
		Proxy:                  opts.proxy,
		DialContext:            (&net.Dialer{Timeout: dialTime}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTime,
		ForceAttemptHTTP2:      true, // a TLS configuration of one's own turns it off
		MaxIdleConnsPerHost:    opts.parallel(),
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  0, // a turn waits
		MaxResponseHeaderBytes: maxHeader,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingTime, PingTimeout: pingTime},
		DisableCompression:     true, // package http would ask for gzip and inflate it without a limit
		ReadBufferSize:         socketBuffer,
		WriteBufferSize:        socketBuffer,
	}
	return d, nil
}

// String implements remote.Driver.
func (d *Driver) String() string { return strings.TrimSuffix(d.base.String(), "/") }

// Close implements remote.Driver.
func (d *Driver) Close() error {
	d.transport.CloseIdleConnections()
	return nil
}

// Traits implements remote.Driver. It says of an ability that the server has it
// once an answer has shown that: by "Accept-Ranges: bytes" or a 206; by a 412 to a
// write that was to replace nothing; or both by "Accept-Encoding: zstd", which is
// how `prismflow cache serve` is known.
func (d *Driver) Traits() remote.Traits {
	return remote.Traits{
		Ranges:      d.learnt.ranges.Load() && !d.learnt.entire.Load(),
		Conditional: d.learnt.conditional.Load(),
	}
}

// learn takes from an answer what it shows of the server.
func (d *Driver) learn(resp *http.Response, ours bool) {
	if lists(resp.Header, "Accept-Ranges", "bytes") {
		d.learnt.ranges.Store(true)
	}
	if ours && lists(resp.Header, "Accept-Encoding", zstdCoding) { // RFC 9110, 12.5.3
		d.learnt.inflates.Store(true)
		d.learnt.ranges.Store(true)
		d.learnt.conditional.Store(true)
	}
	if resp.ProtoMajor >= 2 {
		// An answer stops an upload there without costing the connection, and
		// nginx does not answer Expect there, so that it would cost continueTime.
		d.learnt.impatient.Store(true)
	}
}

// lists says whether a header's list of words has one.
func lists(h http.Header, name, word string) bool {
	return slices.ContainsFunc(h.Values(name), func(line string) bool {
		return slices.ContainsFunc(strings.Split(line, ","), func(item string) bool {
			item, _, _ = strings.Cut(item, ";")
			return strings.EqualFold(strings.TrimSpace(item), word)
		})
	})
}
