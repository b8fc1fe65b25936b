package cloud

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/cloud/cloudtest"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// A race is what a store and curl do in turn, on one server: curl signs requests
// as the S3 protocol wants them (--aws-sigv4), but not the bodies, and verifies
// nothing.
type race struct {
	*testing.B
	store  *remote.Store
	server *cloudtest.Server
	ours   time.Duration
	curls  time.Duration
}

// newRace is on versitygw, beside which the client's own cost shows: it is on the
// same machine and has the same two cores.
func newRace(b *testing.B) *race {
	b.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		b.Skip("no curl to compare with")
	}
	server := cloudtest.Servers(b)["s3"]
	server.Start(b)
	server.MakeBucket(b, "team-cache")
	store, err := remote.New(open(b, server, "team-cache"), remote.Options{TempDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	return &race{B: b, store: store, server: server}
}

func (r *race) time(total *time.Duration, do func()) {
	begun := time.Now()
	do()
	*total += time.Since(begun)
}

// report says how much was done, and how long it took as against curl.
func (r *race) report(amount float64, unit string) {
	r.ReportMetric(amount*float64(r.N)/r.ours.Seconds(), unit+"/s")
	r.ReportMetric(amount*float64(r.N)/r.curls.Seconds(), "curl-"+unit+"/s")
	r.ReportMetric(r.curls.Seconds()/r.ours.Seconds(), "x-curl")
	r.ReportMetric(0, "ns/op")
}

// curl runs transfers side by side, as many as a store makes at once. Each is an
// object's name and the option, with the file, that says which way it goes.
func (r *race) curl(transfers map[string]string) {
	r.Helper()
	var config strings.Builder
	for name, option := range transfers {
		fmt.Fprintf(&config, "url = \"http://%s/team-cache/%s\"\n%s\n", r.server.Address, name, option)
		fmt.Fprintf(&config, "aws-sigv4 = \"aws:amz:us-east-1:s3\"\nuser = \"tester:%s\"\nheader = \"x-amz-content-sha256: UNSIGNED-PAYLOAD\"\nfail\nsilent\nshow-error\nnext\n", cloudtest.Secret)
	}
	text := strings.TrimSuffix(config.String(), "next\n")
	command := exec.Command("curl", "--parallel", "--parallel-max", fmt.Sprint(remote.DefaultParallel), "--config", "-")
	command.Stdin = strings.NewReader(text)
	if out, err := command.CombinedOutput(); err != nil {
		r.Fatalf("curl: %v\n%.500s", err, out)
	}
}

const benchmarkLarge = 256 << 20

// stamped is a blob like b that nobody has put before.
func stamped(b []byte, i int) artifacts.Digest {
	copy(b, fmt.Sprintf("%d at %d", i, time.Now().UnixNano()))
	return artifacts.DigestOf(b)
}

func BenchmarkPutLarge(b *testing.B) {
	r := newRace(b)
	content := storetest.Random(benchmarkLarge, 9)
	path := filepath.Join(b.TempDir(), "large")
	for i := 0; b.Loop(); i++ {
		digest := stamped(content, i)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			b.Fatal(err)
		}
		file := remote.Content{Size: benchmarkLarge, Open: func() (io.ReadCloser, error) { return os.Open(path) }}
		r.time(&r.ours, func() {
			if _, err := r.store.Upload(ctx, digest, file, nil); err != nil {
				b.Fatal(err)
			}
		})
		r.time(&r.curls, func() { r.curl(map[string]string{fmt.Sprintf("curl/%d", i): fmt.Sprintf("upload-file = %q", path)}) })
	}
	r.report(benchmarkLarge/1e6, "MB")
}

func BenchmarkGetLarge(b *testing.B) {
	r := newRace(b)
	content := storetest.Random(benchmarkLarge, 10)
	digest := stamped(content, 0)
	if _, err := r.store.Upload(ctx, digest, remotetest.Bytes(content), nil); err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		path := filepath.Join(dir, fmt.Sprint(i))
		r.time(&r.ours, func() {
			if err := r.store.Download(ctx, digest, benchmarkLarge, path, nil); err != nil {
				b.Fatal(err)
			}
		})
		r.time(&r.curls, func() { r.curl(map[string]string{"cas/" + digest.Hex(): fmt.Sprintf("output = %q", path+".curl")}) })
		os.Remove(path)
		os.Remove(path + ".curl")
	}
	r.report(benchmarkLarge/1e6, "MB")
}

const (
	benchmarkCount = 1000
	benchmarkSmall = 20_000 // bytes
)

// small are blobs that nobody has put before, and a file of each.
func (r *race) small(round int) (blobs [][]byte, dir string) {
	r.Helper()
	dir = r.TempDir()
	for i := range benchmarkCount {
		content := storetest.Random(benchmarkSmall, uint64(i))
		stamped(content, round)
		blobs = append(blobs, content)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), content, 0o600); err != nil {
			r.Fatal(err)
		}
	}
	return blobs, dir
}

// each does something with every blob, as many at once as the store asks.
func (r *race) each(blobs [][]byte, do func(digest artifacts.Digest, content []byte) error) {
	queue := make(chan []byte)
	var wg sync.WaitGroup
	for range remote.DefaultParallel {
		wg.Go(func() {
			for content := range queue {
				if err := do(artifacts.DigestOf(content), content); err != nil {
					r.Error(err)
				}
			}
		})
	}
	for _, content := range blobs {
		queue <- content
	}
	close(queue)
	wg.Wait()
}

func BenchmarkPutSmall(b *testing.B) {
	r := newRace(b)
	for round := 0; b.Loop(); round++ {
		blobs, dir := r.small(round)
		r.time(&r.ours, func() {
			r.each(blobs, func(digest artifacts.Digest, content []byte) error {
				return r.store.Put(ctx, digest, benchmarkSmall, bytes.NewReader(content))
			})
		})
		transfers := map[string]string{}
		for i := range blobs {
			transfers[fmt.Sprintf("curl/%d-%d", round, i)] = fmt.Sprintf("upload-file = %q", filepath.Join(dir, fmt.Sprint(i)))
		}
		r.time(&r.curls, func() { r.curl(transfers) })
	}
	r.report(benchmarkCount, "blobs")
}

func BenchmarkGetSmall(b *testing.B) {
	r := newRace(b)
	blobs, dir := r.small(0)
	transfers := map[string]string{}
	r.each(blobs, func(digest artifacts.Digest, content []byte) error {
		return r.store.Put(ctx, digest, benchmarkSmall, bytes.NewReader(content))
	})
	for i, content := range blobs {
		transfers["cas/"+artifacts.DigestOf(content).Hex()] = fmt.Sprintf("output = %q", filepath.Join(dir, fmt.Sprint(i)))
	}
	for b.Loop() {
		r.time(&r.ours, func() {
			r.each(blobs, func(digest artifacts.Digest, _ []byte) error {
				body, err := r.store.Get(ctx, digest)
				if err != nil {
					return err
				}
				defer body.Close()
				_, err = io.Copy(io.Discard, body)
				return err
			})
		})
		r.time(&r.curls, func() { r.curl(transfers) })
	}
	r.report(benchmarkCount, "blobs")
}
