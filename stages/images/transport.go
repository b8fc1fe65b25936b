package images

import (
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// A world is what is outside the process. Its zero value is the real one.
type world struct {
	transport http.RoundTripper // in place of the network
	resolver  *net.Resolver
	tls       *tls.Config
	guard     guard          // admits beyond what the parameters say
	random    func() float64 // in [0, 1); for back-offs
}

func (w world) jitter() func() float64 {
	if w.random != nil {
		return w.random
	}
	return rand.Float64
}

// maxHeaderBytes is far above what an honest server sends, and far below Go's
// ten megabytes, which every connection could cost.
const maxHeaderBytes = 64 << 10

// streamBuffer is what HTTP/2 receives of a body that nobody reads yet: enough
// for a picture as most are, and much less than Go's four megabytes.
const streamBuffer = 512 << 10

// maxIdle bounds the connections that are kept for a next request. Without it a
// crawl of many hosts, of which each has a few pictures, would run out of files.
const maxIdle = 512

// A network sends requests, through a proxy where the environment names one.
// Requests of their own go through the guard's dialer. A proxy is trusted, as
// the user's setting, wherever it is; it resolves the names itself, so that the
// guard sees no more than the URL's host.
type network struct {
	guard           guard
	proxy           func(*url.URL) (*url.URL, error)
	direct, proxied *http.Transport
}

func newNetwork(w world, g guard, lookupEnv func(string) (string, bool), connect, header time.Duration, perHost int) *network {
	n := &network{guard: g, proxy: proxyOf(lookupEnv)}
	transport := func(dialer *net.Dialer) *http.Transport {
		return &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        w.tls.Clone(),
			TLSHandshakeTimeout:    connect,
			ResponseHeaderTimeout:  header,
			MaxResponseHeaderBytes: maxHeaderBytes,
			MaxIdleConns:           maxIdle,
			MaxIdleConnsPerHost:    perHost,
			IdleConnTimeout:        30 * time.Second,
			DisableCompression:     true, // or a small answer could inflate without end
			ForceAttemptHTTP2:      true,
			HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: streamBuffer},
		}
	}
	n.direct = transport(&net.Dialer{Timeout: connect, Resolver: w.resolver, Control: g.control})
	n.proxied = transport(&net.Dialer{Timeout: connect, Resolver: w.resolver})
	n.proxied.Proxy = func(r *http.Request) (*url.URL, error) { return n.proxy(r.URL) }
	return n
}

// proxyOf reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case, as
// http.ProxyFromEnvironment does.
func proxyOf(lookupEnv func(string) (string, bool)) func(*url.URL) (*url.URL, error) {
	either := func(upper, lower string) string {
		if lookupEnv == nil {
			return ""
		}
		if value, ok := lookupEnv(upper); ok && value != "" {
			return value
		}
		value, _ := lookupEnv(lower)
		return value
	}
	config := httpproxy.Config{
		HTTPProxy:  either("HTTP_PROXY", "http_proxy"),
		HTTPSProxy: either("HTTPS_PROXY", "https_proxy"),
		NoProxy:    either("NO_PROXY", "no_proxy"),
	}
	return config.ProxyFunc()
}

// RoundTrip sends one request and follows no redirect.
func (n *network) RoundTrip(request *http.Request) (*http.Response, error) {
	proxy, err := n.proxy(request.URL)
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return n.direct.RoundTrip(request)
	}
	if err := n.guard.checkURL(request.URL); err != nil {
		return nil, err
	}
	return n.proxied.RoundTrip(request)
}

// close ends the connections that are kept for the next request.
func (n *network) close() {
	n.direct.CloseIdleConnections()
	n.proxied.CloseIdleConnections()
}
