package engine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/stages"
)

// serves says whether text is the URL of a file that can be fetched.
func (c *urlCache) serves(text string) bool { return isURL(text) || c.schemes.of(text) != nil }

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
	schemes Schemes
	refresh bool
	offline bool
	noFetch bool          // only say what is at hand, for `status`
	stall   time.Duration // after which a server that sends nothing is given up
	pause   time.Duration // before the second attempt; longer before the next ones
}

const (
	stallLimit = time.Minute // for which a server may send nothing
	firstPause = 250 * time.Millisecond
)

// A urlRecord is what is known of one URL. The file's name is the URL's digest.
type urlRecord struct {
	URL          string           `json:"url"` // as stages.PublicURL shows it
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
	r, ok := readURLRecord(c.recordPath(url))
	return r, ok && r.URL == stages.PublicURL(url)
}

func readURLRecord(path string) (urlRecord, bool) {
	var r urlRecord
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &r) != nil {
		return urlRecord{}, false
	}
	if _, err := artifacts.ParseDigest(string(r.Digest)); err != nil {
		return urlRecord{}, false
	}
	return r, true
}

// Downloads are the files that URLs served and that were used since a time. No
// result refers to them, so a gc that is to keep them, lest they are downloaded
// again, is told so.
func Downloads(stateDir string, since time.Time) ([]artifacts.Digest, error) {
	dir := urlRecords(stateDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading what URLs served: %w", err)
	}
	var digests []artifacts.Digest
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.ModTime().Before(since) {
			continue
		}
		if record, ok := readURLRecord(filepath.Join(dir, entry.Name())); ok {
			digests = append(digests, record.Digest)
		}
	}
	return digests, nil
}

func urlRecords(stateDir string) string { return filepath.Join(stateDir, "urls") }

// A remoteFile is a file to be had from a URL.
type remoteFile struct {
	url   string
	name  string                      // what people call it; empty: the URL, without credentials
	pin   string                      // SHA-256 that it must have, in hex; empty when it is not pinned
	fixed bool                        // the URL never serves anything else, so that it need not be asked again
	token string                      // the bearer's, for the URL's own host alone
	limit func(own http.Header) int64 // bytes that it may have at most, by what the URL's own host answered; nil: any number
	check func(received) error        // what else must hold; may be nil
}

// received is what came of a download.
type received struct {
	header http.Header // of the last answer that the URL's own host gave, be it a redirect to another
	path   string
	size   int64
	digest artifacts.Digest
}

func (f remoteFile) String() string {
	if f.name != "" {
		return f.name
	}
	return stages.PublicURL(f.url)
}

// file is the file that url serves, from the store if it is there.
func (c *urlCache) file(ctx context.Context, url, pin string, progress progress) (stages.File, error) {
	return c.fetch(ctx, remoteFile{url: url, pin: pin}, progress)
}

// fetch is the file, from the store if it is there.
func (c *urlCache) fetch(ctx context.Context, f remoteFile, progress progress) (stages.File, error) {
	if file, _, ok := c.atHand(ctx, f); ok && !c.asksAgain(f) {
		return file, nil
	}
	switch {
	case c.noFetch:
		return stages.File{}, fmt.Errorf("%s: %w", f, errNotFetched)
	case c.offline:
		return stages.File{}, fmt.Errorf("%s is not at hand and --offline forbids asking for it", f)
	}
	turn := artifacts.Key(artifacts.DigestOf([]byte("url " + f.url)).Hex())
	unlock, err := c.store.Lock(ctx, turn) // what several want is fetched once
	if err != nil {
		return stages.File{}, fmt.Errorf("waiting for the download of %s: %w", f, err)
	}
	defer unlock()
	file, record, ok := c.atHand(ctx, f)
	if ok && !c.asksAgain(f) {
		return file, nil
	}
	digest, err := c.download(ctx, f, record, progress)
	if err != nil {
		return stages.File{}, fmt.Errorf("downloading %s: %w", f, err)
	}
	path, err := c.store.Verified(ctx, digest)
	if err != nil {
		return stages.File{}, err
	}
	return stages.File{Name: f.String(), Path: path, Digest: digest}, nil
}

// asksAgain says whether a file that is at hand is asked for all the same.
func (c *urlCache) asksAgain(f remoteFile) bool {
	return f.pin == "" && !f.fixed && c.refresh && !c.offline && !c.noFetch
}

// atHand is the pinned file, or the one that the URL served, if the store has
// it, and what is recorded of it.
func (c *urlCache) atHand(ctx context.Context, f remoteFile) (stages.File, urlRecord, bool) {
	record, known := c.record(f.url)
	if f.pin != "" {
		record, known = urlRecord{Digest: artifacts.Digest("sha256:" + f.pin)}, true
	}
	if !known {
		return stages.File{}, urlRecord{}, false
	}
	path, err := c.store.Verified(ctx, record.Digest)
	if err != nil {
		return stages.File{}, urlRecord{}, false
	}
	now := time.Now()
	_ = os.Chtimes(c.recordPath(f.url), now, now) // see Downloads; a pinned file may have none
	return stages.File{Name: f.String(), Path: path, Digest: record.Digest}, record, true
}

// downloadAttempts bounds how often a transfer that breaks off is taken up again.
// One that came headway further than any before it begins the count anew: of
// gigabytes over a bad line every part is worth having.
const (
	downloadAttempts = 4
	headway          = 1 << 20 // bytes
)

// download fetches the file into the store. A transfer that breaks off goes on
// where it stopped, if the server says that it still has the same bytes; in a
// later run too, where enough of it had arrived.
func (c *urlCache) download(ctx context.Context, f remoteFile, known urlRecord, progress progress) (artifacts.Digest, error) {
	part, err := c.partial(f.url)
	if err != nil {
		return "", err
	}
	t := transfer{
		client: c.clientFor(f), stall: c.stall, url: f.url, token: f.token, limit: f.limit,
		partial: part, known: known, progress: progress,
	}
	t.size, t.etag = part.begun()
	for attempt, reached := 1, t.size; ; attempt++ {
		retry, err := t.attempt(ctx)
		if err == nil {
			break
		}
		if t.size >= reached+headway {
			attempt, reached = 1, t.size
		}
		if !retry || attempt == downloadAttempts || ctx.Err() != nil {
			return "", err
		}
		if err := sleep(ctx, time.Duration(attempt*attempt)*c.pause); err != nil {
			return "", err
		}
	}
	defer part.remove()
	if t.unchanged {
		return known.Digest, nil
	}
	digest, err := digestFile(part.path)
	if err != nil {
		return "", err
	}
	if f.check != nil {
		if err := f.check(received{t.header, part.path, t.size, digest}); err != nil {
			return "", err
		}
	}
	if err := c.store.Adopt(ctx, part.path, digest); err != nil {
		return "", err
	}
	data, err := json.Marshal(urlRecord{URL: stages.PublicURL(f.url), Digest: digest, ETag: t.etag, LastModified: t.lastModified, Fetched: time.Now().UTC()})
	if err != nil {
		return "", err
	}
	return digest, writeFile(c.recordPath(f.url), data)
}

// clientFor follows no redirect from https to plain http, where anybody on the
// way could answer, unless a pin tells whether the answer is right. It takes the
// token to no other host; Go takes one to subdomains and other ports, and tells
// the next host where it was led from, signatures in the query included.
func (c *urlCache) clientFor(f remoteFile) *http.Client {
	if transport := c.schemes.of(f.url); transport != nil {
		return &http.Client{Transport: transport}
	}
	client, follow := *c.client, c.client.CheckRedirect
	client.CheckRedirect = func(request *http.Request, via []*http.Request) error {
		request.Header.Del("Referer")
		if request.URL.Host != via[0].URL.Host {
			request.Header.Del("Authorization")
		}
		switch {
		case f.pin == "" && via[len(via)-1].URL.Scheme == "https" && request.URL.Scheme != "https":
			return fmt.Errorf("it redirects to %s, which is not encrypted: pin the file by its sha256, or name that URL", stages.PublicURL(request.URL.String()))
		case follow != nil:
			return follow(request, via)
		case len(via) >= maxRedirects:
			return fmt.Errorf("it redirects more than %d times", maxRedirects)
		}
		return nil
	}
	return &client
}

const maxRedirects = 10

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
