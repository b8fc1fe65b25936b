package cloud

import (
	"fmt"
	"io"
	"net/http"
)

// maxSaid is how many bytes are read of an answer that is no object: an error, a
// listing, what an object is. The SDKs read them into memory, to their end.
const maxSaid = 1 << 20

// tune sets up a transport for a bucket: as many connections as a Store asks at
// once stay open, and bodies come as they are.
func tune(t *http.Transport) {
	t.MaxIdleConnsPerHost = 64
	t.DisableCompression = true
}

// newClient asks for a bucket over a transport. It goes nowhere else: package http
// would tell the server that it is sent to the URL that it was sent from, in which
// Azure's access signature is, and Google's token is added to whatever is asked.
// Amazon's redirects, which are for another region, end in an error either way,
// since the signature is for the server that was asked first.
func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     bounded{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A bounded transport ends answers that are no object with an error after maxSaid
// bytes.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil && !isObject(r, answer) {
		answer.Body = &saying{answer.Body, maxSaid}
	}
	return answer, err
}

// isObject says whether the body of an answer is that of an object. Whatever else is
// asked for by GET says so in its query: list-type at Amazon, comp at Azure, alt at
// Google.
func isObject(r *http.Request, answer *http.Response) bool {
	query := r.URL.Query()
	return r.Method == http.MethodGet && answer.StatusCode < http.StatusMultipleChoices &&
		!query.Has("list-type") && !query.Has("comp") && query.Get("alt") != "json"
}

// A saying is the body of an answer that is no object.
type saying struct {
	io.ReadCloser
	left int64
}

func (s *saying) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if s.left -= int64(n); s.left < 0 {
		return 0, fmt.Errorf("the server said more than %d bytes where few were to be expected", maxSaid)
	}
	return n, err
}
