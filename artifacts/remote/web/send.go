package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"
)

const maxRedirects = 5

// A request is what is asked of the server, perhaps in several steps.
type request struct {
	method string
	name   string // of the object
	header http.Header
	upload *upload // nil if there is no body
}

// String is the request as errors name it.
func (r request) String() string { return r.method + " " + shortName(r.name) }

// shortName is cas/ or ac/ and as many digits as people need.
func shortName(name string) string {
	const kind, digits = len("cas/"), 12
	if len(name) > kind+digits {
		return name[:kind+digits]
	}
	return name
}

// send asks, and asks where the server sends it. The caller closes the answer's
// body. Redirects are followed here and not by package http, which turns a PUT
// into a GET, takes credentials along to subdomains, and quotes in its errors
// the URLs that a server names, which may be signed.
func (d *Driver) send(ctx context.Context, r request) (*http.Response, error) {
	if !isName(r.name) {
		return nil, fmt.Errorf("%q is not the name of an object", r.name)
	}
	at := d.base.JoinPath(r.name)
	for range maxRedirects + 1 {
		resp, err := d.sendTo(ctx, at, r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r, d.shownError(err))
		}
		d.learn(resp, sameServer(at, d.base))
		if !isRedirect(resp.StatusCode) {
			return resp, nil
		}
		discard(resp)
		r.upload.end()
		if at, err = r.redirect(at, resp); err != nil {
			return nil, fmt.Errorf("%s: %w", r, d.shownError(err))
		}
	}
	return nil, fmt.Errorf("%s: the server redirects more than %d times", r, maxRedirects)
}

// isName says whether a name is one of remote.Driver: parts of letters, digits
// and dots, so that it is its own escaped form and leads nowhere else.
func isName(name string) bool {
	return fs.ValidPath(name) && name != "." && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '/'
	})
}

// sendTo asks one server, once more if the connection that had been kept for that
// turns out to be dead: package http does so for GET, but not for an upload of
// which something is on its way.
func (d *Driver) sendTo(ctx context.Context, at *url.URL, r request) (*http.Response, error) {
	resp, kept, err := d.sendOnce(ctx, at, r)
	if err == nil || !kept || ctx.Err() != nil || r.upload != nil && r.upload.failure() != nil {
		return resp, err
	}
	r.upload.end()
	d.transport.CloseIdleConnections() // as dead, perhaps
	resp, _, err = d.sendOnce(ctx, at, r)
	return resp, err
}

// sendOnce says also whether the connection had been used before.
func (d *Driver) sendOnce(ctx context.Context, at *url.URL, r request) (resp *http.Response, kept bool, err error) {
	trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { kept = got.Reused }}
	req := &http.Request{Method: r.method, URL: at, Host: at.Host, Header: r.header.Clone(), ProtoMajor: 1, ProtoMinor: 1}
	if d.authorization != "" && sameServer(at, d.base) {
		req.Header.Set("Authorization", d.authorization)
	}
	req.Header.Set("User-Agent", "prismflow")
	if r.upload != nil {
		if err := r.upload.attach(req); err != nil {
			return nil, false, err
		}
		trace.Got100Continue = r.upload.turn.want
	}
	resp, err = d.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return resp, kept, err
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirect is where an answer sends the request. What is uploaded goes to
// nobody but the remote, and what began encrypted stays so.
func (r request) redirect(from *url.URL, resp *http.Response) (*url.URL, error) {
	to, err := from.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return nil, fmt.Errorf("the server answered %s with a Location that is no web address", status(resp))
	}
	to.User, to.Fragment = nil, ""
	switch {
	case from.Scheme == "https" && to.Scheme != "https":
		return nil, fmt.Errorf("the server redirects from https to plain http://%s, which is not followed", to.Host)
	case r.method == http.MethodPut && !sameServer(from, to):
		return nil, fmt.Errorf("the server redirects uploads to %s://%s, which is not followed: if that is right, give it as the remote's URL", to.Scheme, to.Host)
	case r.method == http.MethodPut && resp.StatusCode < http.StatusTemporaryRedirect:
		return nil, fmt.Errorf("the server answered %s, which redirects no upload", status(resp))
	}
	return to, nil
}

// sameServer says whether two URLs are of one server: scheme, host and port.
func sameServer(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// What is read of a body that nobody wants, so that its connection can be used
// again; with more, or slower, a new one is cheaper.
const (
	maxDiscard  = 16 << 10
	discardTime = 2 * time.Second
)

// discard ends an answer whose body is of no interest.
func discard(resp *http.Response) {
	_, _ = readSome(resp, maxDiscard)
	resp.Body.Close()
}

var errSlow = errors.New("the body takes too long")

// readSome reads up to limit bytes of a body, as long as that takes no time.
func readSome(resp *http.Response, limit int64) ([]byte, error) {
	hurry := time.AfterFunc(discardTime, func() { resp.Body.Close() })
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if !hurry.Stop() {
		return b, errSlow
	}
	return b, err
}
