package table

import (
	"bufio"
	"encoding/csv"
	"encoding/gob"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

type interaction struct {
	User      string  `arrow:"user"`
	Item      string  `arrow:"item"`
	Rating    float32 `arrow:"rating"`
	Timestamp *int64  `arrow:"timestamp"`
	SourceRow int64   `arrow:"source_row"`
}

func interactions(n int) []interaction {
	r := rand.New(rand.NewPCG(1, 2))
	rows := make([]interaction, n)
	for i := range rows {
		at := 1_300_000_000 + r.Int64N(100_000_000)
		rows[i] = interaction{
			User: fmt.Sprintf("A%013X", r.IntN(n/10+1)), Item: fmt.Sprintf("B%09X", r.IntN(n/20+1)),
			Rating: float32(1 + r.IntN(5)), Timestamp: &at, SourceRow: int64(i),
		}
	}
	return rows
}

type embedding struct {
	Item   int64     `arrow:"item"`
	Vector []float32 `arrow:"vector,fixed"`
}

func embeddings(n, width int) []embedding {
	r := rand.New(rand.NewPCG(1, 2))
	rows := make([]embedding, n)
	for i := range rows {
		rows[i] = embedding{Item: int64(i), Vector: make([]float32, width)}
		for j := range rows[i].Vector {
			rows[i].Vector[j] = r.Float32()
		}
	}
	return rows
}

const benchRows = 1_000_000

func BenchmarkWrite(b *testing.B) {
	rows := interactions(benchRows)
	dir := b.TempDir()
	baseline := seconds(func() { writeGob(b, filepath.Join(dir, "gob"), rows) })
	csvTime := seconds(func() { writeCSVBaseline(b, filepath.Join(dir, "csv"), rows) })
	took := 0.0
	for b.Loop() {
		took += seconds(func() {
			w, _ := Create[interaction](filepath.Join(dir, "arrow"))
			if err := w.AppendAll(rows); err != nil {
				b.Fatal(err)
			}
			if _, err := w.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
	report(b, took, baseline, csvTime)
}

func BenchmarkRead(b *testing.B) {
	rows := interactions(benchRows)
	dir := b.TempDir()
	path := write(b, rows)
	writeGob(b, filepath.Join(dir, "gob"), rows)
	writeCSVBaseline(b, filepath.Join(dir, "csv"), rows)
	baseline := seconds(func() { readGob(b, filepath.Join(dir, "gob")) })
	csvTime := seconds(func() { readCSVBaseline(b, filepath.Join(dir, "csv")) })
	took := 0.0
	for b.Loop() {
		took += seconds(func() {
			n := 0
			for row, err := range Rows[interaction](path) {
				if err != nil {
					b.Fatal(err)
				}
				n += len(row.User)
			}
			if n == 0 {
				b.Fatal("no rows")
			}
		})
	}
	report(b, took, baseline, csvTime)
}

func BenchmarkInspect(b *testing.B) {
	path := write(b, interactions(benchRows))
	took := 0.0
	for b.Loop() {
		took += seconds(func() {
			if _, err := Inspect(path); err != nil {
				b.Fatal(err)
			}
		})
	}
	b.ReportMetric(float64(b.N)*benchRows/took, "rows/s")
}

func BenchmarkVectors(b *testing.B) {
	const n, width = 100_000, 512
	rows := embeddings(n, width)
	dir := b.TempDir()
	path := filepath.Join(dir, "arrow")
	var wrote, read float64
	for b.Loop() {
		wrote += seconds(func() {
			w, _ := Create[embedding](path)
			if err := w.AppendAll(rows); err != nil {
				b.Fatal(err)
			}
			if _, err := w.Close(); err != nil {
				b.Fatal(err)
			}
		})
		read += seconds(func() {
			for _, err := range Rows[embedding](path) {
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	megabytes := float64(b.N) * n * width * 4 / 1e6
	b.ReportMetric(megabytes/wrote, "write-MB/s")
	b.ReportMetric(megabytes/read, "read-MB/s")
}

func seconds(f func()) float64 {
	start := time.Now()
	f()
	return time.Since(start).Seconds()
}

func report(b *testing.B, took, gobTime, csvTime float64) {
	each := took / float64(b.N)
	b.ReportMetric(benchRows/each, "rows/s")
	b.ReportMetric(gobTime/each, "x-gob")
	b.ReportMetric(csvTime/each, "x-csv")
}

func writeGob(b *testing.B, path string, rows []interaction) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	enc := gob.NewEncoder(w)
	for i := range rows {
		if err := enc.Encode(&rows[i]); err != nil {
			b.Fatal(err)
		}
	}
	w.Flush()
}

func readGob(b *testing.B, path string) {
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	dec := gob.NewDecoder(bufio.NewReaderSize(f, 1<<20))
	for {
		var row interaction
		if err := dec.Decode(&row); err == io.EOF {
			return
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

func writeCSVBaseline(b *testing.B, path string, rows []interaction) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w := csv.NewWriter(bufio.NewWriterSize(f, 1<<20))
	for _, r := range rows {
		err := w.Write([]string{r.User, r.Item, strconv.FormatFloat(float64(r.Rating), 'g', -1, 32),
			strconv.FormatInt(*r.Timestamp, 10), strconv.FormatInt(r.SourceRow, 10)})
		if err != nil {
			b.Fatal(err)
		}
	}
	w.Flush()
}

func readCSVBaseline(b *testing.B, path string) {
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(bufio.NewReaderSize(f, 1<<20))
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return
		}
		rating, _ := strconv.ParseFloat(fields[2], 32)
		at, _ := strconv.ParseInt(fields[3], 10, 64)
		row, _ := strconv.ParseInt(fields[4], 10, 64)
		_ = interaction{fields[0], fields[1], float32(rating), &at, row}
	}
}
