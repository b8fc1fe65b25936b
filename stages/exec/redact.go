package exec

import (
	"bytes"
	"io"
)

// redactor passes lines on with every secret replaced. It keeps what may be
// the beginning of a secret until it knows.
type redactor struct {
	w       io.Writer
	secrets [][]byte
	longest int
	held    []byte
}

const redacted = "***"

// maxHeld bounds what is kept of a line that does not end.
const maxHeld = 64 << 10

func newRedactor(w io.Writer, secrets map[string]string) *redactor {
	if w == nil {
		w = io.Discard
	}
	r := &redactor{w: w}
	for _, value := range secrets {
		if value != "" {
			r.secrets = append(r.secrets, []byte(value))
			r.longest = max(r.longest, len(value))
		}
	}
	return r
}

// Write passes on all whole lines. A secret with a line break in it is replaced
// as well, as long as it comes in one piece.
func (r *redactor) Write(p []byte) (int, error) {
	r.held = r.replace(append(r.held, p...))
	end := bytes.LastIndexByte(r.held, '\n') + 1
	if len(r.held)-end > maxHeld {
		end = len(r.held) - r.longest
	}
	if end <= 0 {
		return len(p), nil
	}
	_, err := r.w.Write(r.held[:end])
	r.held = append(r.held[:0], r.held[end:]...)
	return len(p), err
}

// Flush passes on what is left. The writer does not close.
func (r *redactor) Flush() {
	r.w.Write(r.replace(r.held)) //nolint:errcheck // a log that cannot be written stops no stage
	r.held = nil
}

func (r *redactor) replace(b []byte) []byte {
	for _, secret := range r.secrets {
		b = bytes.ReplaceAll(b, secret, []byte(redacted))
	}
	return b
}
