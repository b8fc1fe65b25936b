package engine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/stages"
)

func isURL(text string) bool {
	return strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
}

// A urlCache keeps what URLs served: the bytes in the store, and which URL
// served them in the store's machine-local state. A URL that is at hand is
// asked again only if refresh is set, and then with its ETag.
type urlCache struct {
	store   *disk.Store
	dir     string
	client  *http.Client
	refresh bool
	offline bool
	noFetch bool // only say what is at hand, for `status`
}

// A urlRecord is what is known of one URL.
type urlRecord struct {
	URL          string           `json:"url"`
	Digest       artifacts.Digest `json:"digest"`
	ETag         string           `json:"etag,omitempty"`
	LastModified string           `json:"last_modified,omitempty"`
	Fetched      time.Time        `json:"fetched"`
}

// progress hears of bytes that arrived; total is 0 when it is unknown. It may
// be nil.
type progress func(done, total int64)

var errNotFetched = errors.New("not downloaded yet")

func (c *urlCache) recordPath(url string) string {
	return filepath.Join(c.dir, artifacts.DigestOf([]byte(url)).Hex()[:32]+".json")
}

func (c *urlCache) record(url string) (urlRecord, bool) {
	var r urlRecord
	data, err := os.ReadFile(c.recordPath(url))
	if err != nil || json.Unmarshal(data, &r) != nil || r.URL != url {
		return urlRecord{}, false
	}
	if _, err := artifacts.ParseDigest(string(r.Digest)); err != nil {
		return urlRecord{}, false
	}
	return r, true
}

// file is the file that url serves, from the store if it is there.
func (c *urlCache) file(ctx context.Context, url, pin string, progress progress) (stages.File, error) {
	record, known := c.record(url)
	if pin != "" {
		digest, err := artifacts.ParseDigest("sha256:" + pin)
		if err != nil {
			return stages.File{}, err
		}
		record, known = urlRecord{Digest: digest}, true
	}
	atHand := false
	if known {
		path, err := c.store.Verified(ctx, record.Digest)
		atHand = err == nil
		if atHand && (pin != "" || !c.refresh || c.offline || c.noFetch) {
			return stages.File{Name: url, Path: path, Digest: record.Digest}, nil
		}
	}
	switch {
	case c.noFetch:
		return stages.File{}, fmt.Errorf("%s: %w", url, errNotFetched)
	case c.offline:
		return stages.File{}, fmt.Errorf("%s is not at hand and --offline forbids asking for it", url)
	}
	if !atHand {
		record.ETag, record.LastModified = "", "" // nothing to compare with
	}
	digest, err := c.download(ctx, url, record, progress)
	if err != nil {
		return stages.File{}, fmt.Errorf("downloading %s: %w", url, err)
	}
	path, err := c.store.Verified(ctx, digest)
	if err != nil {
		return stages.File{}, err
	}
	return stages.File{Name: url, Path: path, Digest: digest}, nil
}

// downloadAttempts bounds how often a transfer that breaks off is taken up again.
const downloadAttempts = 4

// download fetches url into the store. A transfer that breaks off goes on where
// it stopped, if the server says that it still has the same bytes.
func (c *urlCache) download(ctx context.Context, url string, known urlRecord, progress progress) (artifacts.Digest, error) {
	dir, err := c.store.TempDir("download")
	if err != nil {
		return "", err
	}
	defer c.store.RemoveTemp(dir)
	t := transfer{cache: c, url: url, path: filepath.Join(dir, "body"), known: known, progress: progress}
	for attempt := 1; ; attempt++ {
		retry, err := t.attempt(ctx)
		if err == nil {
			break
		}
		if !retry || attempt == downloadAttempts || ctx.Err() != nil {
			return "", err
		}
		if err := sleep(ctx, time.Duration(attempt*attempt)*250*time.Millisecond); err != nil {
			return "", err
		}
	}
	if t.unchanged {
		return known.Digest, nil
	}
	digest, err := digestFile(t.path)
	if err != nil {
		return "", err
	}
	if err := c.store.Adopt(ctx, t.path, digest); err != nil {
		return "", err
	}
	data, err := json.Marshal(urlRecord{URL: url, Digest: digest, ETag: t.etag, LastModified: t.lastModified, Fetched: time.Now().UTC()})
	if err != nil {
		return "", err
	}
	return digest, writeFile(c.recordPath(url), data)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func digestFile(path string) (artifacts.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, f, make([]byte, 1<<20)); err != nil {
		return "", err
	}
	return artifacts.DigestOfHash(h), nil
}

// A transfer is one download over several attempts.
type transfer struct {
	cache *urlCache
	url   string
	path  string
	known urlRecord
	progress

	size         int64 // bytes that are in the file
	etag         string
	lastModified string
	unchanged    bool // the server says that the known bytes are still right
}

// attempt asks once. retry says whether asking again may help.
func (t *transfer) attempt(ctx context.Context) (retry bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return false, err
	}
	// Go would ask for gzip and inflate by itself; the file is wanted as it is.
	request.Header.Set("Accept-Encoding", "identity")
	t.condition(request)
	response, err := t.cache.client.Do(request)
	if err != nil {
		return true, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusNotModified:
		t.unchanged = true
		return false, nil
	case http.StatusOK:
		t.size = 0
	case http.StatusPartialContent:
		if !strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", t.size)) {
			return false, fmt.Errorf("the server sent another part than was asked for (%s)", response.Header.Get("Content-Range"))
		}
	default:
		transient := response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests
		return transient, fmt.Errorf("the server answered %s; give a local copy instead if you have one", response.Status)
	}
	t.etag, t.lastModified = response.Header.Get("ETag"), response.Header.Get("Last-Modified")
	return true, t.receive(ctx, response)
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

// receive appends the body to the file.
func (t *transfer) receive(ctx context.Context, response *http.Response) error {
	f, err := os.OpenFile(t.path, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(t.size); err != nil {
		return err
	}
	if _, err := f.Seek(t.size, io.SeekStart); err != nil {
		return err
	}
	total := int64(0)
	if response.ContentLength >= 0 {
		total = t.size + response.ContentLength
	}
	buf := make([]byte, 1<<20)
	for {
		n, err := response.Body.Read(buf)
		if _, werr := f.Write(buf[:n]); werr != nil {
			return werr
		}
		t.size += int64(n)
		if t.progress != nil {
			t.progress(t.size, total)
		}
		switch {
		case err == io.EOF && total > 0 && t.size != total:
			return fmt.Errorf("the body ended after %d of %d bytes", t.size, total)
		case err == io.EOF:
			return f.Close()
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}
