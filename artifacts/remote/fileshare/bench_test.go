package fileshare

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// How the store over a share compares to the system's own programs, on the same
// files in the same run: `go test -run '^$' -bench . -benchtime 1x -count 3`.
// A ratio is our rate to theirs; more is faster.

// timed is how long f takes.
func timed(b *testing.B, f func() error) time.Duration {
	b.Helper()
	began := time.Now()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

func command(name string, args ...string) func() error {
	return func() error {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", name, err, out)
		}
		return err
	}
}

// report compares how long we took for bytes with how long others did.
func report(b *testing.B, what string, bytes int64, ours, theirs time.Duration) {
	b.ReportMetric(float64(bytes)/ours.Seconds()/1e6, what+"-MB/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), what+"-ratio")
}

type blob struct {
	digest artifacts.Digest
	path   string
	size   int64
}

func (f blob) content() remote.Content {
	return remote.Content{Size: f.size, Open: func() (io.ReadCloser, error) { return os.Open(f.path) }}
}

func makeBlobs(b *testing.B, dir string, n, size int) []blob {
	b.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		b.Fatal(err)
	}
	blobs := make([]blob, n)
	random := storetest.Random(size, 1)
	for i := range blobs {
		copy(random, fmt.Sprint(i, " "))
		blobs[i] = blob{artifacts.DigestOf(random), filepath.Join(dir, fmt.Sprint(i)), int64(size)}
		if err := os.WriteFile(blobs[i].path, random, 0o666); err != nil {
			b.Fatal(err)
		}
	}
	return blobs
}

// each does something with all blobs, as many at a time as a store's requests.
func each(blobs []blob, do func(blob) error) error {
	work, failed := make(chan blob), make(chan error, remote.DefaultParallel)
	var wg sync.WaitGroup
	for range remote.DefaultParallel {
		wg.Go(func() {
			for f := range work {
				if err := do(f); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	for _, f := range blobs {
		work <- f
	}
	close(work)
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// transfer sends blobs to a share, again, and fetches them, each beside what cp
// takes for the same. cp syncs nothing; "synced" is cp and then a sync of what it
// wrote, which is what an upload promises.
func transfer(b *testing.B, n, size int) {
	dir := b.TempDir()
	source := filepath.Join(dir, "source")
	blobs := makeBlobs(b, source, n, size)
	total := int64(n) * int64(size)
	for range b.N {
		share := filepath.Join(dir, "share")
		if err := os.MkdirAll(share, 0o777); err != nil {
			b.Fatal(err)
		}
		store, err := remote.New(openDriver(b, share), remote.Options{})
		if err != nil {
			b.Fatal(err)
		}
		upload := func(f blob) error { _, err := store.Upload(ctx, f.digest, f.content(), nil); return err }
		copied, back, fetched := filepath.Join(dir, "copied"), filepath.Join(dir, "back"), filepath.Join(dir, "fetched")
		if err := os.MkdirAll(fetched, 0o777); err != nil {
			b.Fatal(err)
		}
		cp := timed(b, command("cp", "-r", "--reflink=never", source, copied))
		synced := cp + timed(b, command("sync", "-f", copied))
		up := timed(b, func() error { return each(blobs, upload) })
		again := timed(b, func() error { return each(blobs, upload) })
		cpBack := timed(b, command("cp", "-r", "--reflink=never", copied, back))
		down := timed(b, func() error {
			return each(blobs, func(f blob) error {
				return store.Download(ctx, f.digest, f.size, filepath.Join(fetched, filepath.Base(f.path)), nil)
			})
		})
		report(b, "up", total, up, cp)
		report(b, "up-synced", total, up, synced)
		report(b, "again", total, again, cp)
		report(b, "down", total, down, cpBack)
		for _, d := range []string{share, copied, back, fetched} {
			if err := os.RemoveAll(d); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
}

func BenchmarkTransferLarge(b *testing.B) { transfer(b, 1, 256<<20) }

func BenchmarkTransferSmall(b *testing.B) { transfer(b, 10_000, 2000) }

// BenchmarkHash verifies a blob of the share, beside sha256sum of the same file.
func BenchmarkHash(b *testing.B) {
	dir := b.TempDir()
	blobs := makeBlobs(b, filepath.Join(dir, "source"), 1, 256<<20)
	share := filepath.Join(dir, "share")
	if err := os.MkdirAll(share, 0o777); err != nil {
		b.Fatal(err)
	}
	store, err := remote.New(openDriver(b, share), remote.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := store.Upload(ctx, blobs[0].digest, blobs[0].content(), nil); err != nil {
		b.Fatal(err)
	}
	hex := blobs[0].digest.Hex()
	for range b.N {
		theirs := timed(b, command("sha256sum", filepath.Join(share, "cas", hex[:2], hex)))
		ours := timed(b, func() error { return verify(ctx, store, blobs[0].digest) })
		report(b, "hash", blobs[0].size, ours, theirs)
	}
	b.ReportMetric(0, "ns/op")
}

func verify(ctx context.Context, s artifacts.Store, d artifacts.Digest) error {
	r, err := s.Get(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, make([]byte, 1<<20))
	return err
}
