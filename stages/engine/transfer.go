package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// A transfer is one download over several attempts.
type transfer struct {
	client  *http.Client
	stall   time.Duration
	url     string
	token   string                      // the bearer's; empty for none
	limit   func(own http.Header) int64 // see remoteFile
	partial partial
	known   urlRecord // what may still be right; zero when nothing is at hand
	progress

	header       http.Header // of the last answer that the URL's own host gave
	most         int64       // bytes that the file may have
	size         int64       // bytes that are in it
	etag         string
	lastModified string
	unchanged    bool // the server says that the known bytes are still right
}

// attempt asks once. retry says whether asking again may help. A server that
// sends nothing for too long is given up.
func (t *transfer) attempt(ctx context.Context) (retry bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(t.stall, func() {
		cancel(fmt.Errorf("the server sent nothing for %v", t.stall))
	})
	defer watchdog.Stop()
	retry, err = t.ask(ctx, func() { watchdog.Reset(t.stall) })
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err // who asked says which URL, without credentials
	}
	return retry, err
}

func (t *transfer) ask(ctx context.Context, alive func()) (retry bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return false, err
	}
	// Go would ask for gzip and inflate by itself; the file is wanted as it is.
	request.Header.Set("Accept-Encoding", "identity")
	if t.token != "" {
		request.Header.Set("Authorization", "Bearer "+t.token)
	}
	t.condition(request)
	response, err := t.client.Do(request)
	if err != nil {
		return true, err
	}
	defer response.Body.Close()
	t.header = ownAnswer(response, request.URL.Host).Header
	total := response.ContentLength
	switch response.StatusCode {
	case http.StatusNotModified:
		if t.known.Digest == "" {
			return false, errors.New("the server answered that the file did not change, and was not asked that")
		}
		t.unchanged = true
		return false, nil
	case http.StatusOK:
		t.size = 0
	case http.StatusPartialContent:
		if total, err = t.continued(response); err != nil {
			t.size, t.etag = 0, "" // the next attempt begins anew
			return true, err
		}
	case http.StatusRequestedRangeNotSatisfiable:
		t.size, t.etag = 0, "" // it has another file now, and begins anew
		return true, &statusError{response.StatusCode, response.Status}
	default:
		transient := response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests
		return transient, &statusError{response.StatusCode, response.Status}
	}
	t.most = math.MaxInt64
	if t.limit != nil {
		t.most = t.limit(t.header)
	}
	if total > t.most {
		return false, fmt.Errorf("it has %d bytes, and may have %d", total, t.most)
	}
	t.etag, t.lastModified = response.Header.Get("ETag"), response.Header.Get("Last-Modified")
	err = t.receive(response.Body, total, alive)
	return !errors.Is(err, errTooLong), err
}

// A statusError is an answer that has no file in it.
type statusError struct {
	code   int
	status string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %s; give a local copy instead if you have one", e.status)
}

// ownAnswer is the last answer of host on the way to response.
func ownAnswer(response *http.Response, host string) *http.Response {
	for response.Request.URL.Host != host && response.Request.Response != nil {
		response = response.Request.Response
	}
	return response
}

var errTooLong = errors.New("it has more than")

// continued checks that an answer is the rest of what is in the file, and
// returns the size of the whole; -1 if the server does not know it.
func (t *transfer) continued(response *http.Response) (total int64, err error) {
	header := response.Header.Get("Content-Range")
	var first, last int64
	var whole string
	if _, err := fmt.Sscanf(header, "bytes %d-%d/%s", &first, &last, &whole); err != nil || t.size == 0 || first != t.size {
		return 0, fmt.Errorf("the server sent another part than was asked for (%q)", header)
	}
	if etag := response.Header.Get("ETag"); etag != "" && etag != t.etag {
		return 0, errors.New("the server sent a part of another version of the file")
	}
	if whole == "*" {
		return -1, nil
	}
	if total, err = strconv.ParseInt(whole, 10, 64); err != nil || total <= last {
		return 0, fmt.Errorf("the server sent a part of a file of unlikely size (%q)", header)
	}
	return total, nil
}

// condition asks for the rest of a broken-off transfer, or for a known file
// only if it changed.
func (t *transfer) condition(request *http.Request) {
	switch {
	case t.size > 0 && t.etag != "" && !strings.HasPrefix(t.etag, "W/"):
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", t.size))
		request.Header.Set("If-Range", t.etag)
	case t.known.ETag != "":
		request.Header.Set("If-None-Match", t.known.ETag)
	case t.known.LastModified != "":
		request.Header.Set("If-Modified-Since", t.known.LastModified)
	}
}

// receive appends the body to the file. total is how large the file must be in
// the end; -1 if it is not known.
func (t *transfer) receive(body io.Reader, total int64, alive func()) error {
	f, err := os.OpenFile(t.partial.path, os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	groupmode.Share(f)
	if err := t.partial.restart(f, t.size); err != nil {
		return err
	}
	err = t.append(f, body, total, alive)
	switch {
	case err == nil:
		return f.Close()
	case !errors.Is(err, errTooLong):
		t.partial.mark(f, t.size, t.etag)
	}
	return err
}

func (t *transfer) append(f *os.File, body io.Reader, total int64, alive func()) error {
	marked := t.size
	buf := make([]byte, 1<<20)
	for {
		n, err := body.Read(buf)
		alive()
		if _, werr := f.Write(buf[:n]); werr != nil {
			return werr
		}
		t.size += int64(n)
		if t.size > t.most {
			return fmt.Errorf("%w %d bytes", errTooLong, t.most)
		}
		if t.size-marked >= markEvery {
			t.partial.mark(f, t.size, t.etag)
			marked = t.size
		}
		if t.progress != nil {
			t.progress(t.size, max(total, 0))
		}
		switch {
		case err == io.EOF && total >= 0 && t.size != total:
			return fmt.Errorf("the body ended after %d of %d bytes", t.size, total)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
