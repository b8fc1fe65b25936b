package web

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

const (
	largeBytes   = 256 << 20
	smallBytes   = 20_000
	smallObjects = 1000
)

// A rival moves objects over HTTP as plainly as Go can: from file to file,
// without a look at the bytes or at what is there already.
type rival struct {
	b       *testing.B
	client  *http.Client
	address string
}

func newRival(b *testing.B, address string) rival {
	return rival{b, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: remote.DefaultParallel}}, address}
}

func (r rival) put(name string, size int64, body io.Reader) error {
	req, err := http.NewRequest(http.MethodPut, r.address+"/"+name, body)
	if err != nil {
		return err
	}
	req.ContentLength = size
	return r.do(req, io.Discard)
}

func (r rival) get(name string, to io.Writer) error {
	req, err := http.NewRequest(http.MethodGet, r.address+"/"+name, nil)
	if err != nil {
		return err
	}
	return r.do(req, to)
}

func (r rival) do(req *http.Request, to io.Writer) error {
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s", resp.Status)
	}
	_, err = io.Copy(to, resp.Body)
	return err
}

// A contest times two ways of doing the same, turn by turn.
type contest struct {
	b           *testing.B
	ours, plain time.Duration
}

func (c *contest) round(ours, plain func() error) {
	c.b.Helper()
	for _, side := range []struct {
		run  func() error
		took *time.Duration
	}{{ours, &c.ours}, {plain, &c.plain}} {
		began := time.Now()
		if err := side.run(); err != nil {
			c.b.Fatal(err)
		}
		*side.took += time.Since(began)
	}
}

// report says what was done per second by either, and how long ours took in
// units of the plain one.
func (c *contest) report(done float64, unit string) {
	c.b.ReportMetric(done/c.ours.Seconds(), unit)
	c.b.ReportMetric(done/c.plain.Seconds(), "plain-"+unit)
	c.b.ReportMetric(c.ours.Seconds()/c.plain.Seconds(), "times-as-long")
	c.b.ReportMetric(0, "ns/op")
}

func BenchmarkNginx(b *testing.B) {
	address := startNginx(b, nil)
	store, rival, dir := openStore(b, address, Options{}), newRival(b, address), b.TempDir()
	b.Run("put 256 MiB", func(b *testing.B) {
		c := &contest{b: b}
		for range b.N {
			path, d := largeFile(b, dir)
			c.round(func() error {
				_, err := store.Upload(b.Context(), d, fileContent(path, largeBytes), nil)
				return err
			}, func() error {
				f, err := os.Open(path)
				if err != nil {
					return err
				}
				defer f.Close()
				return rival.put(otherName(d), largeBytes, f)
			})
		}
		c.report(float64(b.N)*largeBytes/1e6, "MB/s")
	})
	b.Run("get 256 MiB", func(b *testing.B) {
		path, d := largeFile(b, dir)
		if _, err := store.Upload(b.Context(), d, fileContent(path, largeBytes), nil); err != nil {
			b.Fatal(err)
		}
		c := &contest{b: b}
		for range b.N {
			c.round(func() error {
				return store.Download(b.Context(), d, largeBytes, filepath.Join(dir, "ours"), nil)
			}, func() error {
				f, err := os.Create(filepath.Join(dir, "plain"))
				if err != nil {
					return err
				}
				defer f.Close()
				return rival.get("cas/"+d.Hex(), f)
			})
		}
		c.report(float64(b.N)*largeBytes/1e6, "MB/s")
	})
	b.Run("put 1,000 of 20 kB", func(b *testing.B) {
		c := &contest{b: b}
		for range b.N {
			small := smallBlobs()
			c.round(func() error {
				return each(small, func(d artifacts.Digest, blob []byte) error {
					return store.Put(b.Context(), d, smallBytes, bytes.NewReader(blob))
				})
			}, func() error {
				return each(small, func(d artifacts.Digest, blob []byte) error {
					return rival.put(otherName(d), smallBytes, bytes.NewReader(blob))
				})
			})
		}
		c.report(float64(b.N*smallObjects), "objects/s")
	})
	b.Run("get 1,000 of 20 kB", func(b *testing.B) {
		small := smallBlobs()
		if err := each(small, func(d artifacts.Digest, blob []byte) error {
			return store.Put(b.Context(), d, smallBytes, bytes.NewReader(blob))
		}); err != nil {
			b.Fatal(err)
		}
		c := &contest{b: b}
		for range b.N {
			c.round(func() error {
				return each(small, func(d artifacts.Digest, _ []byte) error {
					r, err := store.Get(b.Context(), d)
					if err != nil {
						return err
					}
					defer r.Close()
					_, err = io.Copy(io.Discard, r)
					return err
				})
			}, func() error {
				return each(small, func(d artifacts.Digest, _ []byte) error { return rival.get("cas/"+d.Hex(), io.Discard) })
			})
		}
		c.report(float64(b.N*smallObjects), "objects/s")
	})
}

// largeFile makes a file of random bytes that nobody has sent yet.
func largeFile(b *testing.B, dir string) (path string, d artifacts.Digest) {
	b.Helper()
	content := storetest.Random(largeBytes, 1)
	binary.LittleEndian.PutUint64(content, rand.Uint64())
	path = filepath.Join(dir, "large")
	if err := os.WriteFile(path, content, 0o666); err != nil {
		b.Fatal(err)
	}
	return path, artifacts.DigestOf(content)
}

func fileContent(path string, size int64) remote.Content {
	return remote.Content{Size: size, Open: func() (io.ReadCloser, error) { return os.Open(path) }}
}

// otherName is that of an object which nobody verifies.
func otherName(d artifacts.Digest) string {
	return "cas/" + artifacts.DigestOf([]byte(d)).Hex()
}

// smallBlobs are random bytes that nobody has sent yet.
func smallBlobs() map[artifacts.Digest][]byte {
	blobs := map[artifacts.Digest][]byte{}
	all := storetest.Random(smallBytes*smallObjects, 2)
	for i := range smallObjects {
		blob := all[i*smallBytes : (i+1)*smallBytes]
		binary.LittleEndian.PutUint64(blob, rand.Uint64())
		blobs[artifacts.DigestOf(blob)] = blob
	}
	return blobs
}

// each moves all blobs, as many at once as a store does.
func each(blobs map[artifacts.Digest][]byte, move func(artifacts.Digest, []byte) error) error {
	workers := pool.New().WithErrors().WithFirstError().WithMaxGoroutines(remote.DefaultParallel)
	for d, blob := range blobs {
		workers.Go(func() error { return move(d, blob) })
	}
	return workers.Wait()
}
