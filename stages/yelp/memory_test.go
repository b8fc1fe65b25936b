package yelp

import (
	"bufio"
	"context"
	"fmt"
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

// TestMemory reads files of the shape of the whole data set, which has 7 M
// reviews by 2 M users of 150,000 businesses.
func TestMemory(t *testing.T) {
	if os.Getenv("PRISMFLOW_LONG") == "" {
		t.Skip("writes and reads 15 M reviews: set PRISMFLOW_LONG=1, or run make test-long")
	}
	small := peakHeap(t, 1_000_000, 100_000, 20_000)
	large := peakHeap(t, 7_000_000, 100_000, 20_000)
	if large > small+small/2 {
		t.Errorf("%d MiB for 7 M reviews and %d MiB for 1 M, by the same users", large>>20, small>>20)
	}
	whole := peakHeap(t, 7_000_000, 2_000_000, 150_000)
	const ids = 2_150_000
	if most := small + ids*200; whole > most {
		t.Errorf("%d MiB for the whole data set, want at most %d MiB", whole>>20, most>>20)
	}
}

// peakHeap reads reviews that it makes and returns the most bytes that lived.
func peakHeap(t *testing.T, reviews, users, businesses int) uint64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), reviewFile)
	writeReviews(t, path, reviews, users, businesses)
	size, _ := os.Stat(path)
	stage := Reviews{Source: stages.SourceFiles(path)}
	stage.Interactions = stages.ToFile[tables.Interaction](filepath.Join(t.TempDir(), "out.arrow"))
	start := time.Now()
	most := stagetest.PeakHeap(func() {
		if err := stage.Run(context.Background(), stagetest.Env(t)); err != nil {
			t.Fatal(err)
		}
	})
	seconds := time.Since(start).Seconds()
	t.Logf("%d reviews, %d users, %d businesses: at most %d MiB of heap; %.0f s, %.0f MB/s",
		reviews, users, businesses, most>>20, seconds, float64(size.Size())/1e6/seconds)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return most
}

// writeReviews writes reviews like Yelp's, but with short texts. Each user and
// each business has one at least, and a few have many.
func writeReviews(t *testing.T, path string, reviews, users, businesses int) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriterSize(file, 1<<20)
	draw := rand.New(rand.NewPCG(1, uint64(reviews)))
	text := strings.Repeat("good food ", 10)
	few := func(n int) int { return int(float64(n) * draw.Float64() * draw.Float64()) }
	for i := range reviews {
		user, business := few(users), few(businesses)
		if i < users {
			user = i
		}
		if i < businesses {
			business = i
		}
		at := time.Unix(1_100_000_000+draw.Int64N(500_000_000), 0).UTC().Format(time.DateTime)
		fmt.Fprintf(out, `{"review_id":"r%021d","user_id":"u%021d","business_id":"b%021d","stars":%d.0,"useful":0,"funny":0,"cool":0,"text":"%s","date":"%s"}`+"\n",
			i, user, business, 1+draw.IntN(5), text, at)
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
