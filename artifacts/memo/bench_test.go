package memo

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Rows of the sizes that stages have: an embedding of 512 numbers, and a small
// picture. The baseline keeps each row in a file of its own, called by its key.
var benchSizes = []int{2 << 10, 20 << 10}

const benchRows = 20_000

// randomKey is as evenly spread as a hash.
func randomKey(r *rand.ChaCha8) (key Key) {
	_, _ = r.Read(key[:])
	return key
}

func randomKeys(n int) []Key {
	r, keys := rand.NewChaCha8([32]byte{}), make([]Key, n)
	for i := range keys {
		keys[i] = randomKey(r)
	}
	return keys
}

// A rows is the memo or the baseline.
type rows interface {
	Put(key Key, value []byte) error
	Get(key Key) ([]byte, bool, error)
}

// files is the baseline.
type files struct{ dir string }

func (f files) path(key Key) string {
	name := hex.EncodeToString(key[:])
	return filepath.Join(f.dir, name[:2], name)
}

func (f files) Put(key Key, value []byte) error { return os.WriteFile(f.path(key), value, 0o666) }

func (f files) Get(key Key) ([]byte, bool, error) {
	value, err := os.ReadFile(f.path(key))
	return value, err == nil, err
}

// eachKind runs a benchmark on a memo and on the baseline.
func eachKind(b *testing.B, bench func(b *testing.B, kept rows, value []byte)) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("%dKiB/memo", size>>10), func(b *testing.B) {
			m := openMemo(b, openStore(b, b.TempDir()), Options{})
			defer m.release()
			bench(b, m, make([]byte, size))
		})
		b.Run(fmt.Sprintf("%dKiB/files", size>>10), func(b *testing.B) {
			f := files{b.TempDir()}
			for i := range 256 {
				if err := os.Mkdir(filepath.Join(f.dir, fmt.Sprintf("%02x", i)), 0o777); err != nil {
					b.Fatal(err)
				}
			}
			bench(b, f, make([]byte, size))
		})
	}
}

func BenchmarkPut(b *testing.B) {
	eachKind(b, func(b *testing.B, kept rows, value []byte) {
		r := rand.NewChaCha8([32]byte{})
		for b.Loop() {
			if err := kept.Put(randomKey(r), value); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
}

func BenchmarkGet(b *testing.B) {
	keys := randomKeys(benchRows)
	eachKind(b, func(b *testing.B, kept rows, value []byte) {
		for _, key := range keys {
			if err := kept.Put(key, value); err != nil {
				b.Fatal(err)
			}
		}
		for i := 0; b.Loop(); i++ {
			if _, known, err := kept.Get(keys[i%benchRows]); !known || err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
}

// BenchmarkOpen opens 100,000 sealed rows, which the baseline has to list.
func BenchmarkOpen(b *testing.B) {
	const n = 100_000
	value := make([]byte, 2<<10)
	b.Run("memo", func(b *testing.B) {
		s := openStore(b, b.TempDir())
		m := openMemo(b, s, Options{})
		for _, key := range randomKeys(n) {
			put(b, m, key, string(value))
		}
		closeMemo(b, m)
		for b.Loop() {
			m.release()
			m = openMemo(b, s, Options{})
		}
		opened := heap()
		m.index = nil
		b.ReportMetric(float64(opened-heap())/n, "bytes/row")
		m.release()
	})
	b.Run("files", func(b *testing.B) {
		f := files{b.TempDir()}
		for _, key := range randomKeys(n) {
			if err := os.MkdirAll(filepath.Dir(f.path(key)), 0o777); err != nil {
				b.Fatal(err)
			}
			if err := f.Put(key, nil); err != nil {
				b.Fatal(err)
			}
		}
		for b.Loop() {
			if found, err := filepath.Glob(filepath.Join(f.dir, "*", "*")); err != nil || len(found) != n {
				b.Fatalf("%d rows, %v", len(found), err)
			}
		}
	})
}

// BenchmarkSeal closes a memo of 20,000 embeddings.
func BenchmarkSeal(b *testing.B) {
	keys, value := randomKeys(benchRows), make([]byte, 2<<10)
	b.SetBytes(benchRows * int64(len(value)))
	for b.Loop() {
		b.StopTimer()
		m := openMemo(b, openStore(b, b.TempDir()), Options{})
		for _, key := range keys {
			put(b, m, key, string(value))
		}
		b.StartTimer()
		closeMemo(b, m)
	}
}

// heap is how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
