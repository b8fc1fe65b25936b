package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Stat implements remote.Driver. A server that knows no HEAD, or answers it
// without a length, is asked for the first byte.
func (d *Driver) Stat(ctx context.Context, name string) (int64, error) {
	if d.learnt.headless.Load() {
		return d.sizeByRange(ctx, name)
	}
	r := request{method: http.MethodHead, name: name, header: http.Header{"Accept-Encoding": {"identity"}}}
	resp, err := d.send(ctx, r)
	if err != nil {
		return 0, err
	}
	switch {
	case resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusNotImplemented:
		d.learnt.headless.Store(true)
	case resp.StatusCode != http.StatusOK:
		return 0, d.refused(r, resp)
	case isPage(resp):
		resp.Body.Close()
		return d.sizeByReading(ctx, name)
	case resp.ContentLength >= 0 && resp.Header.Get("Content-Encoding") == "":
		resp.Body.Close()
		return resp.ContentLength, nil
	}
	resp.Body.Close()
	return d.sizeByRange(ctx, name)
}

// sizeByRange is the size that a server says when it is asked for one byte.
func (d *Driver) sizeByRange(ctx context.Context, name string) (int64, error) {
	r := ranged(name, 0, 1)
	resp, err := d.send(ctx, r)
	if err != nil {
		return 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		resp.Body.Close() // perhaps of many bytes: cheaper closed than read
		if resp.ContentLength < 0 || isPage(resp) || resp.Header.Get("Content-Encoding") != "" {
			return d.sizeByReading(ctx, name)
		}
		return resp.ContentLength, nil
	case http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		discard(resp)
		part, err := parseContentRange(resp.Header.Get("Content-Range"))
		if err != nil || part.size < 0 || part.first > 0 {
			return 0, fmt.Errorf("%s: the server does not say the object's size", r)
		}
		return part.size, nil
	}
	return 0, d.refused(r, resp)
}

// maxCounted is how many bytes of an object are read to count them. Servers that
// make it necessary send small ones so; of more, the answer would cost what the
// object does, and of a body without an end it would never come.
const maxCounted = 64 << 20

// sizeByReading is the size of an object that a server keeps to itself, or that
// may be something else.
func (d *Driver) sizeByReading(ctx context.Context, name string) (int64, error) {
	body, err := d.Read(ctx, name, 0, -1)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	size, err := io.Copy(io.Discard, io.LimitReader(body, maxCounted+1))
	switch {
	case err != nil:
		return 0, fmt.Errorf("reading %s for its size: %w", shortName(name), err)
	case size > maxCounted:
		return 0, fmt.Errorf("reading %s for its size, which the server does not say: more than %d bytes came", shortName(name), int64(maxCounted))
	}
	return size, nil
}

// Read implements remote.Driver. What is read whole may come compressed.
func (d *Driver) Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	switch {
	case offset < 0:
		return nil, fmt.Errorf("reading %s: negative offset %d", shortName(name), offset)
	case length == 0: // which no Range header can say
		_, err := d.Stat(ctx, name)
		return http.NoBody, err
	case offset == 0 && length < 0:
		return d.readWhole(ctx, name)
	}
	return d.readPart(ctx, name, offset, length)
}

func (d *Driver) readWhole(ctx context.Context, name string) (io.ReadCloser, error) {
	r := request{method: http.MethodGet, name: name, header: http.Header{"Accept-Encoding": {"identity"}}}
	if !d.learnt.excessive.Load() {
		r.header.Set("Accept-Encoding", zstdCoding+", identity;q=0.5")
	}
	resp, err := d.send(ctx, r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, d.refused(r, resp)
	}
	return d.opened(r, resp)
}

// opened is the object in an answer of status 200.
func (d *Driver) opened(r request, resp *http.Response) (io.ReadCloser, error) {
	body, err := d.object(r, resp)
	if err != nil {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %w", r, d.shownError(err))
	}
	return named{body, r, d}, nil
}

func (d *Driver) object(r request, resp *http.Response) (io.ReadCloser, error) {
	coding, err := contentCoding(resp, lists(r.header, "Accept-Encoding", zstdCoding))
	if err != nil {
		return nil, err
	}
	body := resp.Body
	if coding != "" {
		if body, err = d.coding.inflate(body, &d.learnt.excessive); err != nil {
			return nil, err
		}
	}
	switch isAction := strings.HasPrefix(r.name, "ac/"); {
	case isPage(resp) && isAction:
		return nil, errPage
	case isPage(resp):
		return checkPage(r.name, body)
	case isAction:
		return reading{&bounded{body, maxAction}, body}, nil
	}
	return body, nil
}

// A named reader says in its errors what was being read.
type named struct {
	io.ReadCloser
	what request
	d    *Driver
}

func (n named) Read(p []byte) (int, error) {
	got, err := n.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%s: %w", n.what, n.d.shownError(err))
	}
	return got, err
}

// reading reads from one thing and closes another.
type reading struct {
	io.Reader
	io.Closer
}

// maxAction is what is read of an action, which is decoded in memory.
const maxAction = 8 << 20 // bytes

// bounded ends with an error where io.LimitReader would pretend an end.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("an action of more than %d bytes", maxAction)
	}
	return n, err
}

var errPage = errors.New("not what was asked for: the server answered text/html, as the log-in page of a network or a proxy does")

// isPage says whether an answer calls itself a page for people, as the log-in of
// a network or of a proxy is, which comes with status 200 in place of anything.
func isPage(resp *http.Response) bool {
	switch mediaType(resp.Header) {
	case "text/html", "application/xhtml+xml":
		return true
	}
	return false
}

// maxPage is up to which size a page may be another than the one asked for.
const maxPage = 1 << 20

// checkPage lets a page pass if it is the blob that the name says, as a report
// may be: servers guess types. The store above would find a wrong one too, and
// would take it for damage.
func checkPage(name string, body io.ReadCloser) (io.ReadCloser, error) {
	head, err := io.ReadAll(io.LimitReader(body, maxPage+1))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(head)
	if len(head) <= maxPage && name != "cas/"+hex.EncodeToString(sum[:]) {
		return nil, errPage
	}
	return reading{io.MultiReader(bytes.NewReader(head), body), body}, nil
}

func ranged(name string, offset, length int64) request {
	span := fmt.Sprintf("bytes=%d-", offset)
	if length >= 0 {
		span += strconv.FormatInt(offset+length-1, 10)
	}
	return request{method: http.MethodGet, name: name, header: http.Header{"Accept-Encoding": {"identity"}, "Range": {span}}}
}

func (d *Driver) readPart(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r := ranged(name, offset, length)
	resp, err := d.send(ctx, r)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusPartialContent:
		body, err := part(resp, offset, length)
		if err != nil {
			resp.Body.Close()
			return nil, fmt.Errorf("%s: %w", r, d.shownError(err))
		}
		d.learnt.ranges.Store(true)
		return named{body, r, d}, nil
	case http.StatusOK:
		d.learnt.entire.Store(true)
		body, err := d.opened(r, resp)
		if err != nil {
			return nil, err
		}
		return skip(r, body, offset, length)
	case http.StatusRequestedRangeNotSatisfiable:
		span, err := parseContentRange(resp.Header.Get("Content-Range"))
		if err == nil && span.size == offset {
			discard(resp)
			return http.NoBody, nil // all of it was read before
		}
	}
	return nil, d.refused(r, resp)
}

// skip makes the part that was asked for of a whole object.
func skip(r request, body io.ReadCloser, offset, length int64) (io.ReadCloser, error) {
	if n, err := io.CopyN(io.Discard, body, offset); err != nil {
		body.Close()
		if err == io.EOF {
			err = fmt.Errorf("the object has only %d bytes", n)
		}
		return nil, fmt.Errorf("%s: skipping to byte %d of what the server sent whole: %w", r, offset, err)
	}
	if length < 0 {
		return body, nil
	}
	return reading{io.LimitReader(body, length), body}, nil
}

// part is the body of an answer of status 206, which must be the part that was
// asked for, and have as many bytes as it says.
func part(resp *http.Response, offset, length int64) (io.ReadCloser, error) {
	if _, err := contentCoding(resp, false); err != nil {
		return nil, err
	}
	header := resp.Header.Get("Content-Range")
	got, err := parseContentRange(header)
	if err != nil {
		return nil, err
	}
	toEnd := got.size == got.last+1
	short := length < 0 && got.size >= 0 && !toEnd || length >= 0 && got.last < offset+length-1 && !toEnd
	if got.first != offset || short || length >= 0 && got.last > offset+length-1 {
		return nil, fmt.Errorf("the server sent another part than was asked for (%.60q)", header)
	}
	n := got.last - got.first + 1
	if resp.ContentLength >= 0 && resp.ContentLength != n {
		return nil, fmt.Errorf("the server sent a part of %d bytes with %d bytes in it", n, resp.ContentLength)
	}
	return &exactly{body: resp.Body, left: n}, nil
}

// exactly yields as many bytes of a body as were announced, or an error.
type exactly struct {
	body io.ReadCloser
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.body.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (e *exactly) Close() error { return e.body.Close() }

// A contentRange is what a Content-Range header says.
type contentRange struct {
	first, last int64 // -1 if it has none
	size        int64 // of the whole object; -1 if the server does not know it
}

var errContentRange = errors.New("the server sent a part without saying which (Content-Range)")

// parseContentRange reads "bytes 0-9/100", "bytes 0-9/*" and "bytes */100" (RFC
// 9110, 14.4), and nothing that contradicts itself.
func parseContentRange(text string) (contentRange, error) {
	none := contentRange{-1, -1, -1}
	unit, text, _ := strings.Cut(text, " ")
	span, whole, ok := strings.Cut(text, "/")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return none, errContentRange
	}
	size, known := int64(-1), whole != "*"
	if known {
		if size, ok = digits(whole); !ok {
			return none, errContentRange
		}
	}
	if span == "*" && known {
		return contentRange{-1, -1, size}, nil
	}
	from, to, _ := strings.Cut(span, "-")
	first, ok1 := digits(from)
	last, ok2 := digits(to)
	if !ok1 || !ok2 || last < first || known && last >= size {
		return none, errContentRange
	}
	return contentRange{first, last, size}, nil
}

// digits reads a number of digits alone, which strconv does not insist on.
func digits(text string) (int64, bool) {
	if strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}
