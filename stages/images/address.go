package images

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// parseURL reads the URL of a picture, and says in words for the table what is
// wrong with one that cannot be asked for.
func parseURL(text string) (*url.URL, *failure) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil {
		var cause *url.Error
		if errors.As(err, &cause) {
			err = cause.Err // without the URL, which is in the column beside
		}
		return nil, permanent(badURL, "it is not a URL: %v", err)
	}
	u.Fragment, u.RawFragment = "", ""
	switch u.Scheme {
	case "file":
		return u, wrongFile(u)
	case "http", "https":
	case "":
		return nil, permanent(badURL, "the URL has no scheme, such as https")
	default:
		return nil, permanent(badURL, "pictures are not fetched by %.20s", u.Scheme)
	}
	if u.Host, err = asciiHost(u); err != nil {
		return nil, permanent(badURL, "%.50q is not a host's name", u.Hostname())
	}
	switch name := u.Hostname(); {
	case name == "":
		return nil, permanent(badURL, "the URL names no host")
	case oddNumber(name):
		return nil, permanent(badURL, "%.50q is neither a host's name nor an IP address", name)
	}
	return u, nil
}

// asciiHost is the host as it is going to be asked for, with the port if there
// is one. Go's client, and so a proxy, gets a name in other letters through the
// same conversion, which makes plain digits of wide ones and dots of "。": what is
// checked has to be what comes out of it.
func asciiHost(u *url.URL) (string, error) {
	host := strings.ToLower(u.Host)
	if strings.IndexFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
		return host, nil
	}
	name, err := idna.Lookup.ToASCII(u.Hostname())
	if err == nil && u.Port() != "" {
		name = net.JoinHostPort(name, u.Port())
	}
	return name, err
}

// wrongFile says what is wrong with a file's URL.
func wrongFile(u *url.URL) *failure {
	switch {
	case u.Host != "" && u.Host != "localhost":
		return permanent(badURL, "it is a file of another machine, %.50q", u.Host)
	case u.Path == "":
		return permanent(badURL, "the URL names no file")
	}
	return nil
}

// oddNumber says whether a host's name looks like a number and is no address as
// it is written today, such as 0x7f.1 or 2130706433. Some programs, proxies
// among them, read those as addresses.
func oddNumber(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	last := strings.ToLower(labels[len(labels)-1])
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}
