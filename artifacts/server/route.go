package server

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
)

// A kind is what a path names, as logs and metrics say it.
type kind string

const (
	blobs   kind = "cas"
	actions kind = "ac"
	health  kind = "health"
	metered kind = "metrics"
	other   kind = "other"
)

// A target is what a request is about.
type target struct {
	kind   kind
	digest artifacts.Digest // of a blob
	key    artifacts.Key    // of an action
}

// targetOf reads a path. It knows four forms and nothing else, neither
// escapes nor dots nor a trailing slash: so no path can lead anywhere but to a
// name of 64 hex digits.
func targetOf(u *url.URL) (target, error) {
	if u.RawPath != "" { // there are escapes that a name has no need of
		return target{kind: other}, refuse(http.StatusNotFound, "there is nothing at this path")
	}
	switch u.Path {
	case "/healthz", "/readyz":
		return target{kind: health}, nil
	case "/metrics":
		return target{kind: metered}, nil
	}
	if name, ok := strings.CutPrefix(u.Path, "/cas/"); ok {
		d, err := artifacts.ParseDigest("sha256:" + name)
		if err != nil {
			return target{kind: other}, refuse(http.StatusBadRequest, "a blob's path is /cas/ and the 64 lower-case hex digits of its SHA-256")
		}
		return target{kind: blobs, digest: d}, nil
	}
	if name, ok := strings.CutPrefix(u.Path, "/ac/"); ok {
		k, err := artifacts.ParseKey(name)
		if err != nil {
			return target{kind: other}, refuse(http.StatusBadRequest, "an action's path is /ac/ and 64 lower-case hex digits")
		}
		return target{kind: actions, key: k}, nil
	}
	return target{kind: other}, refuse(http.StatusNotFound, "there is nothing at this path: this is a cache, with /cas/<sha256> and /ac/<key>")
}

// short is the name for logs.
func (t target) short() string {
	if t.kind == blobs {
		return t.digest.Short()
	}
	return t.key.Short()
}
