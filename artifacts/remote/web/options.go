package web

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/prismflow/prismflow/artifacts/remote"
)

// Options are the choices of a Driver. The zero value is right for a server that
// asks for no credentials, or whose credentials are in the URL.
type Options struct {
	// Token is sent as the bearer's. Empty: the user and the password of the URL
	// are sent, if it has any.
	Token string

	// AllowPlain lets credentials go to another machine over http://, where
	// everybody on the way can read them.
	AllowPlain bool

	// CAFile is a PEM file with certificates of authorities that are believed
	// beside those of the system. Empty: those alone.
	CAFile string

	// Parallel is how many connections are kept open for the next request. 0
	// means remote.DefaultParallel.
	Parallel int

	// Proxy says through which proxy a request goes. nil: as the environment says
	// (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), never to this machine itself.
	Proxy func(*http.Request) (*url.URL, error)
}

// ErrPlain says that credentials were not sent, since everybody on the way to
// the server could have read them.
var ErrPlain = errors.New("credentials do not go over plain http to another machine: use https://")

var errMalformed = errors.New("the URL is malformed: want http(s)://HOST[:PORT]/PREFIX, each of / : @ % in a password as %2F %3A %40 %25")

// parse splits an address into the URL of the place and the user in it. Its
// errors quote nothing, since a password may be anywhere in what is malformed.
func parse(address string) (*url.URL, *url.Userinfo, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return nil, nil, errMalformed
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, nil, errors.New("the URL's scheme is neither http nor https")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, nil, errors.New("the URL has a ? or a #, behind which no object can be named")
	}
	user := u.User
	u.User = nil
	return u.JoinPath("/"), user, nil
}

// credentials are the value of the Authorization header, empty for none, and
// the texts that must not be shown to anybody.
func (o Options) credentials(base *url.URL, user *url.Userinfo) (authorization string, secrets []string, err error) {
	switch {
	case o.Token != "" && user != nil:
		return "", nil, errors.New("there are a token and a user in the URL: only one of them can be sent")
	case o.Token != "":
		if strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return "", nil, errors.New("the token has a space, a line break or another character that no token has")
		}
		authorization, secrets = "Bearer "+o.Token, []string{o.Token}
	case user != nil:
		password, _ := user.Password()
		encoded := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		authorization, secrets = "Basic "+encoded, []string{encoded, password}
	default:
		return "", nil, nil
	}
	if base.Scheme == "http" && !o.AllowPlain && !isLoopback(base.Hostname()) {
		return "", nil, ErrPlain
	}
	return authorization, secrets, nil
}

func isLoopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// roots are the certificates that are believed; nil for the system's.
func (o Options) roots() (*x509.CertPool, error) {
	if o.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the authorities' certificates: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM form", o.CAFile)
	}
	return pool, nil
}

// proxy is o.Proxy, without its errors' words: those of package http quote the
// environment, in which a proxy's password may be.
func (o Options) proxy(req *http.Request) (*url.URL, error) {
	choose := o.Proxy
	if choose == nil {
		choose = http.ProxyFromEnvironment
	}
	proxy, err := choose(req)
	if err != nil {
		return nil, errors.New("the proxy's URL in HTTPS_PROXY or HTTP_PROXY is malformed")
	}
	return proxy, nil
}

func (o Options) parallel() int {
	if o.Parallel == 0 {
		return remote.DefaultParallel
	}
	return o.Parallel
}
