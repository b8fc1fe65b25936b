package web

import (
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// An answerError is an answer that is not the one that was hoped for.
type answerError struct {
	request string
	status  string        // code and its name
	from    string        // the server that gave it, if that is not the remote
	words   string        // of the server
	advice  string        // for people
	kind    error         // what callers branch on; nil if it may pass
	after   time.Duration // when to try again, if the server said so
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("%s: the server answered %s", e.request, e.status)
	if e.from != "" {
		text += ", redirected to " + e.from
	}
	if e.words != "" {
		text += fmt.Sprintf(" (%s)", e.words)
	}
	if e.after > 0 {
		text += fmt.Sprintf(", to be asked again in %v", e.after)
	}
	if e.advice != "" {
		text += ": " + e.advice
	}
	if e.kind != nil {
		text += ": " + e.kind.Error()
	}
	return text
}

func (e *answerError) Unwrap() error { return e.kind }

// RetryAfter is how long the server asks to be left alone, 0 if it does not.
func (e *answerError) RetryAfter() time.Duration { return e.after }

// refused makes an error of an answer, whose body it ends.
func (d *Driver) refused(r request, resp *http.Response) error {
	e := &answerError{
		request: r.String(),
		status:  status(resp),
		words:   d.words(resp),
		after:   remote.ParseRetryAfter(resp.Header),
	}
	if !sameServer(resp.Request.URL, d.base) {
		e.from = d.shown(resp.Request.URL.Scheme + "://" + resp.Request.URL.Host)
	}
	e.advice, e.kind = meaning(r.method, resp.StatusCode)
	return e
}

// meaning is what people and callers are to know of a status.
func meaning(method string, code int) (advice string, kind error) {
	upload := method == http.MethodPut
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "", remote.ErrForbidden
	case http.StatusProxyAuthRequired:
		return "the proxy on the way wants credentials", remote.ErrForbidden
	case http.StatusRequestEntityTooLarge, http.StatusInsufficientStorage:
		return "", remote.ErrFull
	case http.StatusNotFound, http.StatusGone:
		if upload {
			return "nothing can be written there; is the path of the URL right?", remote.ErrForbidden
		}
		return "", artifacts.ErrNotFound
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		if upload {
			return "it takes no uploads (nginx: dav_methods PUT)", remote.ErrForbidden
		}
	case http.StatusConflict:
		if upload {
			return "it makes no directories (nginx: create_full_put_path on)", remote.ErrForbidden
		}
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		if upload {
			return "it takes the body for damaged, or for something else than its name says", nil
		}
	}
	return "", nil
}

// status is an answer's code with the name that the code has, which is not
// always the one that the server gives it.
func status(resp *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
}

const (
	maxWords  = 300 // characters of what a server says that are shown
	wordsRead = 4 << 10
)

// words is the first line of a plain text that a server gives as its reason. It
// ends the body.
func (d *Driver) words(resp *http.Response) string {
	defer resp.Body.Close()
	b, err := readSome(resp, wordsRead)
	if err != nil || mediaType(resp.Header) != "text/plain" || resp.Header.Get("Content-Encoding") != "" {
		return ""
	}
	return d.shown(string(b))
}

// shown is a server's text as people may see it: one short line without control
// characters and without what was confided to the server.
func (d *Driver) shown(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, text)
	for _, secret := range d.secrets { // in what is left: it may have stood there in pieces
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	if line := []rune(text); len(line) > maxWords {
		return string(line[:maxWords]) + "…"
	}
	return text
}

// shownError is err with a text that people may see: those of package http quote
// what a server sent that was no HTTP.
func (d *Driver) shownError(err error) error {
	if text := d.shown(err.Error()); text != err.Error() {
		return &otherText{text, err}
	}
	return err
}

type otherText struct {
	text string
	err  error
}

func (o *otherText) Error() string { return o.text }

func (o *otherText) Unwrap() error { return o.err }

// mediaType is an answer's Content-Type without its parameters.
func mediaType(h http.Header) string {
	text, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(text))
}
