package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"gocloud.dev/blob"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// A Transport answers requests for objects as an HTTP server answers for files, so
// that whoever downloads from the web can do so from a bucket:
//
//	client := &http.Client{Transport: cloud.NewTransport(options)}
//	response, err := client.Get("s3://open-data/ratings.csv.gz?region=us-east-1")
//
// It knows GET, a range that begins somewhere, If-Range and If-None-Match. An
// answer's ETag is what tells an object from the next of its name (on Google Cloud
// Storage the generation), and its body is of that one, or an error. Refusals are
// answers of status 403, with the cause in Status; that nobody answers is an
// error. A Transport may be used by several goroutines at once.
type Transport struct {
	opts Options

	mu      sync.Mutex // guards buckets
	buckets map[string]*driver
}

// NewTransport is a Transport for all buckets that these options lead to.
func NewTransport(opts Options) *Transport {
	return &Transport{opts: opts, buckets: map[string]*driver{}}
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet {
		return nil, fmt.Errorf("objects in buckets are read by GET, not %s", request.Method)
	}
	a, err := parse(request.URL.String())
	switch {
	case err != nil:
		return refusal(request, http.StatusBadRequest, err), nil
	case a.path == "":
		return refusal(request, http.StatusBadRequest, fmt.Errorf("the URL names no object in %s", a.bucket)), nil
	case a.exposes(): // it stands in a pipeline file, which may be of a stranger
		return refusal(request, http.StatusForbidden, errors.New("its endpoint would be shown your credentials: name it by AZURE_STORAGE_SERVICE_ENDPOINT instead, or set anonymous=true")), nil
	}
	response, err := serve(request, t.driver(a, request.URL.RawQuery), a.path)
	switch {
	case errors.Is(err, artifacts.ErrNotFound):
		return refusal(request, http.StatusNotFound, nil), nil
	case errors.Is(err, remote.ErrForbidden):
		return refusal(request, http.StatusForbidden, err), nil
	case err != nil:
		return nil, err
	}
	return response, nil
}

// driver is the one of the address's bucket, the same each time, since it has
// connections and credentials.
func (t *Transport) driver(a address, query string) *driver {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := a.scheme + "://" + a.bucket + "?" + query
	if d := t.buckets[name]; d != nil {
		return d
	}
	d := newDriver(a, t.opts)
	t.buckets[name] = d
	return d
}

func serve(request *http.Request, d *driver, name string) (*http.Response, error) {
	attributes, err := d.attributes(request.Context(), name)
	if err != nil {
		return nil, err
	}
	version := d.service.version(attributes)
	response := answerWith(request, http.StatusOK)
	response.Header.Set("ETag", version)
	response.Header.Set("Last-Modified", attributes.ModTime.UTC().Format(http.TimeFormat))
	if request.Header.Get("If-None-Match") == version {
		response.StatusCode, response.Status = http.StatusNotModified, "304 Not Modified"
		return response, nil
	}
	offset := offsetOf(request, version)
	if offset > 0 && offset >= attributes.Size {
		return refusal(request, http.StatusRequestedRangeNotSatisfiable, nil), nil
	}
	return response, fill(request.Context(), response, d, name, attributes, offset)
}

// offsetOf is where the body is to begin.
func offsetOf(request *http.Request, version string) int64 {
	if only := request.Header.Get("If-Range"); only != "" && only != version {
		return 0
	}
	text, isRange := strings.CutPrefix(request.Header.Get("Range"), "bytes=")
	text, isOpen := strings.CutSuffix(text, "-")
	offset, err := strconv.ParseInt(text, 10, 64)
	if !isRange || !isOpen || err != nil || offset < 0 {
		return 0 // who asks for something else may be given all
	}
	return offset
}

// fill opens the body of an answer.
func fill(ctx context.Context, response *http.Response, d *driver, name string, a *blob.Attributes, offset int64) error {
	if offset > 0 {
		response.StatusCode, response.Status = http.StatusPartialContent, "206 Partial Content"
		response.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, a.Size-1, a.Size))
	}
	response.ContentLength = a.Size - offset
	if a.Size == 0 {
		return nil
	}
	r, err := d.read(ctx, name, offset, -1, d.service.version(a))
	response.Body = r
	return err
}

// refusal is an answer without a body; why is said in its Status.
func refusal(request *http.Request, code int, why error) *http.Response {
	response := answerWith(request, code)
	if why != nil {
		response.Status += ": " + why.Error()
	}
	return response
}

func answerWith(request *http.Request, code int) *http.Response {
	return &http.Response{
		StatusCode: code, Status: fmt.Sprintf("%d %s", code, http.StatusText(code)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{},
		Body:   io.NopCloser(strings.NewReader("")), Request: request,
	}
}
