package tiered

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/fileshare"
)

// What it costs to have another's results from a share, beside a copy of the same
// bytes that is neither verified nor synced (x-copy), and one that is synced
// (x-synced); and the processor time it takes (cpu-ms/op), which busy neighbours
// change less.
func BenchmarkFetch(b *testing.B) {
	for name, shape := range map[string]struct{ results, bytes int }{
		"1000x1KiB": {1000, 1 << 10},
		"1x256MiB":  {1, 256 << 20},
	} {
		b.Run(name, func(b *testing.B) {
			share := b.TempDir()
			keys, contents := publishOn(b, share, shape.results, shape.bytes)
			var plain, synced, cpu time.Duration
			b.SetBytes(int64(shape.results) * int64(shape.bytes))
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				plain += copying(b, contents, false)
				synced += copying(b, contents, true)
				u := newUser(b, "bob")
				c := u.cache(Remote{Store: shareAt(b, share)})
				before := processorTime(b)
				b.StartTimer()
				fetchAll(b, c, keys)
				b.StopTimer()
				cpu += processorTime(b) - before
			}
			b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op")
			b.ReportMetric(b.Elapsed().Seconds()/plain.Seconds(), "x-copy")
			b.ReportMetric(b.Elapsed().Seconds()/synced.Seconds(), "x-synced")
		})
	}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func shareAt(b *testing.B, dir string) *remote.Store {
	b.Helper()
	driver, err := fileshare.New("file://" + dir)
	if err != nil {
		b.Fatal(err)
	}
	store, err := remote.New(driver, remote.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return store
}

// publishOn shares results, and says where the bytes of their outputs are.
func publishOn(b *testing.B, share string, results, bytes int) (keys []artifacts.Key, paths []string) {
	b.Helper()
	u := newUser(b, "ann")
	c := u.cache(Remote{Store: shareAt(b, share)})
	content := make([]byte, bytes)
	for i := range results {
		_, _ = rand.Read(content)
		m := u.compute(fmt.Sprint("stage", i), string(content))
		path, err := u.store.Verified(ctx, m.Outputs["a"].Digest)
		if err != nil {
			b.Fatal(err)
		}
		keys, paths = append(keys, m.Key), append(paths, path)
		c.Share(m.Key)
	}
	if report := c.Finish(ctx, true, nil); report.Uploaded != results {
		b.Fatalf("%+v, told %q", report, *u.told)
	}
	return keys, paths
}

// fetchersAtOnce is how many stages of a run look for their results side by side.
const fetchersAtOnce = 8

func fetchAll(b *testing.B, c *Cache, keys []artifacts.Key) {
	b.Helper()
	todo := make(chan artifacts.Key, len(keys))
	for _, key := range keys {
		todo <- key
	}
	close(todo)
	var group sync.WaitGroup
	for range fetchersAtOnce {
		group.Go(func() {
			for key := range todo {
				if _, _, err := c.Fetch(ctx, key, nil); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// copying is how long a copy of the files takes.
func copying(b *testing.B, paths []string, sync bool) time.Duration {
	b.Helper()
	dir := b.TempDir()
	began := time.Now()
	for i, path := range paths {
		if err := copyFile(path, filepath.Join(dir, fmt.Sprint(i)), sync); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}

func copyFile(from, to string, sync bool) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if sync {
		if err := out.Sync(); err != nil {
			return err
		}
	}
	return out.Close()
}

// What a run pays for sharing results that a remote has already.
func BenchmarkShareOfWhatIsKnown(b *testing.B) {
	share := b.TempDir()
	u := newUser(b, "ann")
	made := u.compute("split", "train")
	c := u.cache(Remote{Store: shareAt(b, share)})
	c.Share(made.Key)
	c.Finish(ctx, true, nil)
	c = u.cache(Remote{Store: shareAt(b, share)})
	b.ResetTimer()
	for range b.N {
		c.Share(made.Key)
	}
}
