package images

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/picture"
)

// A fetcher makes visits.
type fetcher struct {
	transport    http.RoundTripper
	userAgent    string
	maxBytes     int64
	maxRedirects int
	limits       picture.Limits
	stall, total time.Duration       // for which a body may be silent; that it may take
	memory       *semaphore.Weighted // bytes of bodies under way, at least for one of the largest
}

// A reply is what came of a visit that did not fail: a picture, the news that
// the known one is still right, or another place to look.
type reply struct {
	elsewhere *url.URL
	unchanged bool
	record    record
	bytes     []byte
	weight    int64 // of the bytes in the memory for bodies, until they are let go
}

var (
	errStalled = passing(timedOut, "the server stopped sending")
	errTooSlow = passing(timedOut, "the server took too long to send the picture")
)

// visit makes one request. Whoever has no more use for the reply lets it go. The
// error is a *failure, unless ctx has ended.
func (f *fetcher) visit(ctx context.Context, v *visit) (reply, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	response, err := f.transport.RoundTrip(f.request(ctx, v))
	if err != nil {
		return reply{}, byError(err)
	}
	defer response.Body.Close()
	guardian := newWatch(cancel, f.stall, f.total)
	defer guardian.stop()
	response.Body = guardian.watched(response.Body)
	r, err := f.read(ctx, v, response, guardian)
	if cause := context.Cause(ctx); err != nil && (errors.Is(cause, errStalled) || errors.Is(cause, errTooSlow)) {
		err = cause
	}
	if err != nil {
		failed := byError(err)
		failed.status = response.StatusCode
		return reply{}, failed
	}
	return r, nil
}

const accept = "image/jpeg,image/png,image/webp,image/gif,*/*;q=0.1"

func (f *fetcher) request(ctx context.Context, v *visit) *http.Request {
	public := *v.url
	public.User = nil
	request := (&http.Request{Method: http.MethodGet, URL: &public, Host: public.Host, Header: http.Header{}}).WithContext(ctx)
	request.Header.Set("User-Agent", f.userAgent)
	request.Header.Set("Accept", accept)
	request.Header.Set("Accept-Encoding", "identity")
	if user := v.url.User; user != nil {
		password, _ := user.Password()
		request.SetBasicAuth(user.Username(), password)
	}
	etag, since := v.validators()
	if etag != "" {
		request.Header.Set("If-None-Match", etag)
	}
	if since != "" {
		request.Header.Set("If-Modified-Since", since)
	}
	return request
}

// validators are what lets a server say that the picture which is known is still
// right. They are of the URL that served it, and mean nothing to another, such
// as one that a redirect leads to since: an older picture there would pass for
// unchanged.
func (v *visit) validators() (etag, lastModified string) {
	known := v.target.known
	from := v.target.url
	if len(v.earlier) > 0 {
		from = stages.PublicURL(v.url.String())
	}
	if from != known.FinalURL {
		return "", ""
	}
	return known.ETag, known.LastModified
}

// read tells what an answer says, and reads the picture if it is one.
func (f *fetcher) read(ctx context.Context, v *visit, response *http.Response, guardian *watch) (reply, error) {
	switch response.StatusCode {
	case http.StatusOK:
		return f.picture(ctx, response, guardian)
	case http.StatusNotModified:
		if etag, since := v.validators(); etag != "" || since != "" {
			return reply{unchanged: true}, nil
		}
	}
	guardian.start()
	discard(response.Body)
	switch response.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		elsewhere, err := f.redirect(v, response)
		return reply{elsewhere: elsewhere}, err
	}
	return reply{}, byStatus(response, time.Now())
}

// discard reads what a short answer has, so that its connection can be used
// again, and not much of a long one.
func discard(body io.Reader) { _, _ = io.CopyN(io.Discard, body, 4<<10) }

// redirect is where a redirect leads.
func (f *fetcher) redirect(v *visit, response *http.Response) (*url.URL, error) {
	location := response.Header.Get("Location")
	if location == "" {
		return nil, permanent(badRedirect, "it redirects, and does not say where to")
	}
	relative, err := url.Parse(location)
	if err != nil {
		return nil, permanent(badRedirect, "it redirects to what is not a URL")
	}
	next, failed := parseURL(v.url.ResolveReference(relative).String())
	if failed != nil {
		return nil, permanent(badRedirect, "it redirects, and %s", failed.text)
	}
	switch {
	case next.Scheme == "file":
		return nil, permanent(badRedirect, "it redirects to a file")
	case next.String() == v.url.String(), slices.Contains(v.earlier, next.String()):
		return nil, permanent(badRedirect, "it redirects in a circle")
	case len(v.earlier) >= f.maxRedirects:
		failed := permanent(badRedirect, "it redirects more than %d times", f.maxRedirects)
		failed.limits = true
		return nil, failed
	}
	return next, nil
}

// picture reads a body that should be a picture.
func (f *fetcher) picture(ctx context.Context, response *http.Response, guardian *watch) (reply, error) {
	if encoding := response.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return reply{}, permanent(oddAnswer, "the server sent it as %.20q, which it was not asked for", encoding)
	}
	size := response.ContentLength // -1 when it is not known
	if size > f.maxBytes {
		return reply{}, f.tooLarge()
	}
	weight := f.weight(size)
	if err := f.memory.Acquire(ctx, weight); err != nil {
		return reply{}, err
	}
	guardian.start()
	r, err := f.receive(response, size)
	if err != nil {
		f.memory.Release(weight)
		return reply{}, err
	}
	r.weight = weight
	return r, nil
}

// letGo gives back the memory of a reply's bytes.
func (f *fetcher) letGo(r reply) { f.memory.Release(r.weight) }

// receive reads a picture whose size is known, or -1.
func (f *fetcher) receive(response *http.Response, size int64) (reply, error) {
	data, err := f.body(response.Body, size)
	if err != nil {
		return reply{}, err
	}
	r, err := examine(data, f.limits)
	if err != nil {
		return reply{}, unlessUnframed(err, response)
	}
	r.Status = int32(response.StatusCode)
	r.ETag, r.LastModified = headerText(response, "ETag"), headerText(response, "Last-Modified")
	return reply{record: r, bytes: data}, nil
}

// weight is the memory that a body takes: twice its size, for the bytes are
// copied as they gather. One of unknown size counts as the largest.
func (f *fetcher) weight(size int64) int64 {
	if size < 0 {
		size = f.maxBytes
	}
	return 2*size + bytes.MinRead
}

// body reads a body up to the limit. It must have the size that was announced.
func (f *fetcher) body(body io.Reader, size int64) ([]byte, error) {
	var buf bytes.Buffer
	if size > 0 {
		buf.Grow(int(size) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(body, f.maxBytes+1))
	switch {
	case int64(buf.Len()) > f.maxBytes:
		return nil, f.tooLarge()
	case errors.Is(err, io.ErrUnexpectedEOF) && size >= 0:
		return nil, passing(cutShort, "the server sent %d of the %d bytes that it announced", buf.Len(), size)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, passing(cutShort, "the server broke off in the middle")
	case err != nil:
		return nil, err
	}
	return buf.Bytes(), nil
}

func (f *fetcher) tooLarge() *failure {
	failed := permanent(tooLarge, "it has more than the %d bytes that max_bytes allows", f.maxBytes)
	failed.limits = true
	return failed
}

// unlessUnframed lets a cut-off picture be asked for again if its end was no more
// than the end of the connection, which tells nobody whether it was whole.
func unlessUnframed(err error, response *http.Response) error {
	var failed *failure
	unframed := response.ContentLength < 0 && response.ProtoMajor == 1 && !slices.Contains(response.TransferEncoding, "chunked")
	if unframed && errors.As(err, &failed) && failed.cause == damaged {
		return passing(cutShort, "the server broke off in the middle")
	}
	return err
}

// maxValidator bounds what is remembered of a server's ETag.
const maxValidator = 1 << 10

// headerText is a header that is sent back one day; empty if that is not wise.
func headerText(response *http.Response, name string) string {
	if value := response.Header.Get(name); len(value) <= maxValidator {
		return strings.ToValidUTF8(value, "")
	}
	return ""
}

// examine looks at a file that should be a picture.
func examine(data []byte, limits picture.Limits) (record, error) {
	info, err := picture.Inspect(data, limits)
	switch {
	case errors.Is(err, picture.ErrTooLarge):
		failed := permanent(tooLarge, "%v", err)
		failed.limits = true
		return record{}, failed
	case errors.Is(err, picture.ErrTruncated):
		return record{}, permanent(damaged, "%v", err)
	case err != nil:
		return record{}, permanent(notAPicture, "%v", err)
	}
	return recordOf(data, info), nil
}
