package stages

import (
	"net/url"
	"strings"
)

// PublicURL is a URL without what may be a credential: its user, its password,
// and the values in its query, in which signed URLs have theirs. It is what
// people see and what is recorded.
func PublicURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" { // http:me:secret@host has one
		scheme, _, _ := strings.Cut(text, ":")
		if strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz") != "" {
			return "…"
		}
		return scheme + "://…"
	}
	if u.User != nil {
		u.User = url.User("***")
	}
	if u.RawQuery != "" {
		u.RawQuery = "***"
	}
	u.Fragment, u.RawFragment = "", ""
	return strings.ReplaceAll(u.String(), "%2A%2A%2A", "***")
}
