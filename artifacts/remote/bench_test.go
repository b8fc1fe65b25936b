package remote_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

const benchBytes = 256 << 20

// compare measures two ways of the same in turn, so that both have the same
// neighbours, and reports the rate of the first and how many times that of the
// second it is.
func compare(b *testing.B, bytes int64, ours, plain func() error) {
	b.Helper()
	for _, way := range []func() error{ours, plain} { // the first time makes the files
		if err := way(); err != nil {
			b.Fatal(err)
		}
	}
	var took [2]time.Duration
	rounds := 0
	for b.Loop() {
		for i, way := range []func() error{ours, plain} {
			began := time.Now()
			if err := way(); err != nil {
				b.Fatal(err)
			}
			took[i] += time.Since(began)
		}
		rounds++
	}
	b.ReportMetric(float64(bytes)*float64(rounds)/took[0].Seconds()/1e6, "MB/s")
	b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "x-plain")
}

// plainCopy copies, in large pieces, and hashes.
func plainCopy(w io.Writer, r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(w, sha256.New())}, struct{ io.Reader }{r}, make([]byte, 256<<10))
	return err
}

// BenchmarkDownload fetches a blob into a file, in parts and in one piece, against
// a copy from memory into a file that is hashed on the way.
func BenchmarkDownload(b *testing.B) {
	for name, traits := range map[string]remote.Traits{"parts": {Ranges: true}, "whole": {}} {
		b.Run(name, func(b *testing.B) {
			blob := storetest.Random(benchBytes, 1)
			s := newStore(b, remotetest.NewMemory(traits), remote.Options{})
			upload(b, s, blob)
			path, d := filepath.Join(b.TempDir(), "file"), artifacts.DigestOf(blob)
			compare(b, benchBytes,
				func() error { return s.Download(ctx, d, benchBytes, path, nil) },
				func() error { return writeFile(path, blob) })
		})
	}
}

// BenchmarkDownloadPacked is of text that shrinks to a half on the wire.
func BenchmarkDownloadPacked(b *testing.B) {
	blob := []byte(hex.EncodeToString(storetest.Random(benchBytes/2, 1)))
	s := newStore(b, remotetest.NewMemory(remotetest.AllTraits), remote.Options{})
	upload(b, s, blob)
	path, d := filepath.Join(b.TempDir(), "file"), artifacts.DigestOf(blob)
	compare(b, benchBytes,
		func() error { return s.Download(ctx, d, benchBytes, path, nil) },
		func() error { return writeFile(path, blob) })
}

func writeFile(path string, blob []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return plainCopy(f, bytes.NewReader(blob))
}

// BenchmarkUpload sends a file, against a copy of it into memory.
func BenchmarkUpload(b *testing.B) {
	for name, blob := range map[string][]byte{
		"noise": storetest.Random(benchBytes, 1),
		"text":  []byte(hex.EncodeToString(storetest.Random(benchBytes/2, 1))),
	} {
		b.Run(name, func(b *testing.B) {
			path, d := filepath.Join(b.TempDir(), "file"), artifacts.DigestOf(blob)
			if err := writeFile(path, blob); err != nil {
				b.Fatal(err)
			}
			content := remote.Content{Size: benchBytes, Open: func() (io.ReadCloser, error) { return os.Open(path) }}
			compare(b, benchBytes,
				func() error {
					s := newStore(b, remotetest.NewMemory(remotetest.AllTraits), remote.Options{})
					_, err := s.Upload(ctx, d, content, nil)
					return err
				},
				func() error {
					f, err := os.Open(path)
					if err != nil {
						return err
					}
					defer f.Close()
					return plainCopy(bytes.NewBuffer(make([]byte, 0, benchBytes)), f)
				})
		})
	}
}

// BenchmarkGet reads a blob, against hashing it.
func BenchmarkGet(b *testing.B) {
	blob := storetest.Random(benchBytes, 1)
	s := newStore(b, remotetest.NewMemory(remote.Traits{Ranges: true}), remote.Options{})
	upload(b, s, blob)
	d := artifacts.DigestOf(blob)
	compare(b, benchBytes,
		func() error {
			r, err := s.Get(ctx, d)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 256<<10))
			return err
		},
		func() error { return plainCopy(io.Discard, bytes.NewReader(blob)) })
}

// BenchmarkSmall moves 10,000 artifacts of 2 KiB there and back, one after another,
// against files that are written, read and hashed.
func BenchmarkSmall(b *testing.B) {
	const n, size = 10_000, 2 << 10
	small := make([][]byte, n)
	digests := make([]artifacts.Digest, n)
	all := storetest.Random(n*size, 1)
	for i := range small {
		small[i] = all[i*size : (i+1)*size]
		digests[i] = artifacts.DigestOf(small[i])
	}
	dir := b.TempDir()
	path := func(i int) string { return filepath.Join(dir, fmt.Sprint(i)) }
	compare(b, n*size,
		func() error {
			s := newStore(b, remotetest.NewMemory(remotetest.AllTraits), remote.Options{})
			for i, blob := range small {
				if _, err := s.Upload(ctx, digests[i], remotetest.Bytes(blob), nil); err != nil {
					return err
				}
				if err := s.Download(ctx, digests[i], size, path(i), nil); err != nil {
					return err
				}
			}
			return nil
		},
		func() error {
			for i, blob := range small {
				if err := os.WriteFile(path(i), blob, 0o600); err != nil {
					return err
				}
				read, err := os.ReadFile(path(i))
				if err != nil || artifacts.DigestOf(read) != digests[i] {
					return fmt.Errorf("file %d: %w", i, err)
				}
			}
			return nil
		})
}
