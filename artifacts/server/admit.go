package server

import (
	"net/http"
	"strings"
)

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
