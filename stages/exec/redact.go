package exec

import (
	"bytes"
	"cmp"
	"io"
	"slices"
)

// redactor passes on what is written to it with every secret replaced. It keeps
// back only what may be the beginning of a secret, until it knows. A secret that
// the command prints in another form, say encoded, is not found.
type redactor struct {
	w       io.Writer
	secrets [][]byte // longest first, since one may begin with another
	held    []byte
}

const redacted = "***"

func newRedactor(w io.Writer, secrets map[string]string) *redactor {
	if w == nil {
		w = io.Discard
	}
	r := &redactor{w: w}
	for _, value := range secrets {
		if value != "" {
			r.secrets = append(r.secrets, []byte(value))
		}
	}
	slices.SortFunc(r.secrets, func(a, b []byte) int { return cmp.Compare(len(b), len(a)) })
	return r
}

// Write passes on all of p but an end that may be the beginning of a secret.
func (r *redactor) Write(p []byte) (int, error) {
	if len(r.secrets) == 0 {
		return r.w.Write(p)
	}
	return len(p), r.pass(p, false)
}

// Flush passes on what is left. The writer does not close.
func (r *redactor) Flush() {
	_ = r.pass(nil, true) // a log that cannot be written stops no stage
}

func (r *redactor) pass(p []byte, last bool) error {
	r.held = append(r.held, p...)
	clean := make([]byte, 0, len(r.held))
	rest := r.held
	for len(rest) > 0 {
		secret, more := r.secretAt(rest)
		if more && !last {
			break
		}
		if secret > 0 {
			clean = append(clean, redacted...)
			rest = rest[secret:]
			continue
		}
		clean = append(clean, rest[0])
		rest = rest[1:]
	}
	r.held = append(r.held[:0], rest...)
	if len(clean) == 0 {
		return nil
	}
	_, err := r.w.Write(clean)
	return err
}

// secretAt is the length of the longest secret that text begins with, 0 for
// none, and whether it may be the beginning of a longer one.
func (r *redactor) secretAt(text []byte) (length int, more bool) {
	for _, secret := range r.secrets {
		switch {
		case secret[0] != text[0]:
		case bytes.HasPrefix(text, secret):
			return len(secret), false
		case len(text) < len(secret) && bytes.HasPrefix(secret, text):
			return 0, true
		}
	}
	return 0, false
}
