package engine

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// A partial is a file that is being downloaded. What of it is safely on the disk
// is marked beside it, so that another run can go on after a kill or a loss of
// power. Whoever uses it has the URL's lock.
type partial struct{ path string }

const (
	markEvery = 64 << 20 // bytes that a kill may cost at most
	worthMark = 1 << 20  // bytes below which a transfer just begins anew
	// forgetAfter is when nobody is taken to go on with a download.
	forgetAfter = 7 * 24 * time.Hour
)

// A partialMark says how many bytes of the file are there, and of which version.
type partialMark struct {
	Bytes int64  `json:"bytes"`
	ETag  string `json:"etag"`
}

// partial is the one of a URL. Those that are old are removed.
func (c *urlCache) partial(url string) (partial, error) {
	dir := filepath.Join(c.dir, "partial")
	if err := groupmode.MkdirAll(dir); err != nil {
		return partial{}, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return partial{}, err
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > forgetAfter {
			_ = os.Remove(filepath.Join(dir, entry.Name())) // another process may have been first
		}
	}
	return partial{filepath.Join(dir, artifacts.DigestOf([]byte(url)).Hex()[:32])}, nil
}

func (p partial) markPath() string { return p.path + ".json" }

// begun is how much is there, and the ETag of what it is of; 0 for nothing.
func (p partial) begun() (bytes int64, etag string) {
	var m partialMark
	data, err := os.ReadFile(p.markPath())
	if err != nil || json.Unmarshal(data, &m) != nil {
		return 0, ""
	}
	if info, err := os.Stat(p.path); err != nil || info.Size() < m.Bytes || m.Bytes < 1 {
		return 0, ""
	}
	return m.Bytes, m.ETag
}

// restart keeps the first bytes of f, which go on being valid, and goes to their end.
func (p partial) restart(f *os.File, bytes int64) error {
	if bytes == 0 {
		_ = os.Remove(p.markPath()) // else it would be about another content
	}
	if err := f.Truncate(bytes); err != nil {
		return err
	}
	_, err := f.Seek(bytes, io.SeekStart)
	return err
}

// mark notes that so many bytes are there, once they are on the disk. What
// cannot be noted is downloaded again, and what a later run may not ask for
// by its ETag is not noted.
func (p partial) mark(f *os.File, bytes int64, etag string) {
	if bytes < worthMark || etag == "" || strings.HasPrefix(etag, "W/") || f.Sync() != nil {
		return
	}
	if data, err := json.Marshal(partialMark{bytes, etag}); err == nil {
		_ = writeFile(p.markPath(), data)
	}
}

func (p partial) remove() {
	_ = os.Remove(p.markPath())
	_ = os.Remove(p.path)
}
