package amazon

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// A shape is how many reviews are generated, and how long their texts are.
type shape struct{ reviews, users, items, words int }

// writeReviews writes reviews like those of the 2014 files, each user and each
// item in one at least.
func writeReviews(t testing.TB, to io.Writer, s shape) {
	t.Helper()
	vocabulary := strings.Fields("this is the album that everybody who likes quiet music should have heard once in a while or never")
	for i := range 3000 {
		vocabulary = append(vocabulary, fmt.Sprintf("word%x", i*i))
	}
	draw := rand.New(rand.NewPCG(1, uint64(s.reviews)))
	out := bufio.NewWriterSize(to, 1<<20)
	var text []byte
	for i := range s.reviews {
		user, item := i, i
		if i >= s.users {
			user = draw.IntN(s.users)
		}
		if i >= s.items {
			item = draw.IntN(s.items)
		}
		text = text[:0]
		for range s.words/4 + draw.IntN(s.words*3/2+1) {
			text = append(append(text, vocabulary[draw.IntN(len(vocabulary))]...), ' ')
		}
		fmt.Fprintf(out, `{"reviewerID": "A%012d", "asin": "B%09d", "reviewerName": "N %d", "helpful": [%d, %d], "reviewText": "%s", "overall": %d.0, "summary": "s %d", "unixReviewTime": %d, "reviewTime": "09 12, 2006"}`+"\n",
			user, item, i, i%4, i%9, text, 1+i%5, i, 1158019200+draw.IntN(100_000)*864)
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
}

// reviewFile is a file of generated reviews, and how many bytes of JSON it holds.
func reviewFile(t testing.TB, packed bool, s shape) (path string, size int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "reviews")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	counted := &countingWriter{to: file}
	if packed {
		z := gzip.NewWriter(file)
		counted.to = z
		defer z.Close()
	}
	writeReviews(t, counted, s)
	return path, counted.n
}

type countingWriter struct {
	to io.Writer
	n  int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.n += int64(len(p))
	return w.to.Write(p)
}

func runReviews(t testing.TB, path string) {
	t.Helper()
	stage := Reviews{Source: stages.SourceFiles(path)}
	stage.Interactions = stages.ToFile[tables.Interaction](filepath.Join(t.TempDir(), "out.arrow"))
	if err := stage.Run(context.Background(), stagetest.Env(t)); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkReviews reads files of generated reviews (half a gigabyte, and an
// eighth of that compressed) as the stage does and as the standard library would, so that the
// ratio, of the best of the runs of each, holds on any machine. best-MB/s are of
// JSON as it is uncompressed.
func BenchmarkReviews(b *testing.B) {
	for _, c := range []struct {
		name   string
		packed bool
		shape  shape
	}{
		{"uncompressed", false, shape{reviews: 600_000, users: 75_000, items: 15_000, words: 90}},
		{"gzip", true, shape{reviews: 75_000, users: 9_000, items: 2_000, words: 90}},
	} {
		path, size := reviewFile(b, c.packed, c.shape)
		standard := time.Duration(0)
		b.Run(c.name+"/standard library", func(b *testing.B) {
			standard = best(b, size, func() { standardReviews(b, path, c.packed) })
		})
		b.Run(c.name+"/prismflow", func(b *testing.B) {
			took := best(b, size, func() { runReviews(b, path) })
			if standard > 0 { // else that was not asked for
				b.ReportMetric(standard.Seconds()/took.Seconds(), "x-standard")
			}
		})
		if err := os.Remove(path); err != nil {
			b.Fatal(err)
		}
	}
}

// best runs f some times and returns how long the shortest took.
func best(b *testing.B, size int64, f func()) time.Duration {
	b.SetBytes(size)
	shortest := time.Duration(1<<63 - 1)
	for b.Loop() {
		start := time.Now()
		f()
		shortest = min(shortest, time.Since(start))
	}
	b.ReportMetric(float64(size)/1e6/shortest.Seconds(), "best-MB/s")
	return shortest
}

// standardReviews reads reviews one after the other with encoding/json and
// compress/gzip, and throws them away.
func standardReviews(b *testing.B, path string, packed bool) {
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	var r io.Reader = file
	if packed {
		if r, err = gzip.NewReader(file); err != nil {
			b.Fatal(err)
		}
	}
	for d := json.NewDecoder(r); ; {
		var review struct {
			ReviewerID     string
			ASIN           string
			Overall        float64
			UnixReviewTime int64
		}
		if err := d.Decode(&review); err == io.EOF {
			return
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

// TestMemory reads ten times as many reviews in the same memory, and more users
// in what their number costs.
func TestMemory(t *testing.T) {
	if os.Getenv("PRISMFLOW_LONG") == "" {
		t.Skip("writes and reads 21 M reviews: set PRISMFLOW_LONG=1, or run make test-long")
	}
	small := peakHeap(t, shape{reviews: 1_000_000, users: 100_000, items: 20_000, words: 10})
	large := peakHeap(t, shape{reviews: 10_000_000, users: 100_000, items: 20_000, words: 10})
	if large > small+small/2 {
		t.Errorf("%d MiB for 10 M reviews and %d MiB for 1 M, by the same users", large>>20, small>>20)
	}
	many := peakHeap(t, shape{reviews: 10_000_000, users: 4_000_000, items: 1_000_000, words: 10})
	const ids = 5_000_000
	if most := small + small/2 + ids*40; many > most {
		t.Errorf("%d MiB for 5 M ids, want at most %d MiB", many>>20, most>>20)
	}
}

// peakHeap reads reviews that it makes and returns the most bytes that lived.
func peakHeap(t *testing.T, s shape) uint64 {
	t.Helper()
	path, size := reviewFile(t, false, s)
	start := time.Now()
	most := stagetest.PeakHeap(func() { runReviews(t, path) })
	seconds := time.Since(start).Seconds()
	t.Logf("%d reviews, %d users, %d items: at most %d MiB of heap; %.0f s, %.0f MB/s",
		s.reviews, s.users, s.items, most>>20, seconds, float64(size)/1e6/seconds)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return most
}
