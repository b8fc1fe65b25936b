package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"
)

var every = flag.Int("every", 20, "flip a bit in one of so many bytes")

// seeds are sound files of every type and compression.
func seeds(t testing.TB) map[string][]byte {
	t.Helper()
	record := foreignRecord(t)
	files := map[string]string{
		"own":   write(t, everyTypeRows()),
		"plain": writeForeign(t, []arrow.Record{record}),
		"zstd":  writeForeign(t, []arrow.Record{record}, ipc.WithZstd()),
		"lz4":   writeForeign(t, []arrow.Record{record}, ipc.WithLZ4()),
	}
	contents := map[string][]byte{}
	for name, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		contents[name] = content
	}
	return contents
}

// readEveryWay reads a file by all that reads files. Errors are welcome;
// panics and vast allocations are not.
func readEveryWay(t testing.TB, path string) {
	before := allocated()
	_, inspectErr := Inspect(path)
	for _, err := range Rows[everyType](path) {
		_ = err
	}
	for _, err := range Rows[foreignRow](path) {
		_ = err
	}
	err := WriteJSONRows(io.Discard, path, -1, Binary{})
	if err != nil && inspectErr == nil {
		t.Errorf("Inspect passed a file that cannot be read: %v", err)
	}
	if used := allocated() - before; used > 64<<20 {
		t.Errorf("reading took %d MiB", used>>20)
	}
}

type foreignRow struct {
	Text      *string   `arrow:"utf8"`
	Large     *string   `arrow:"large_utf8"`
	Word      *string   `arrow:"dictionary"`
	Words     []string  `arrow:"dictionaries,nullable"`
	FixedList []float32 `arrow:"fixed_list,fixed,nullable"`
	Texts     []string  `arrow:"large_list,nullable"`
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// One flipped bit anywhere: the library that writes these files asks for
// gigabytes for some of them, and panics for others.
func TestFlippedBits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	path := filepath.Join(t.TempDir(), "flipped.arrow")
	for name, content := range seeds(t) {
		t.Run(name, func(t *testing.T) {
			for i := range content {
				if (i+len(name))%*every != 0 {
					continue
				}
				flipped := bytes.Clone(content)
				flipped[i] ^= 1 << r.IntN(8)
				if err := os.WriteFile(path, flipped, 0o666); err != nil {
					t.Fatal(err)
				}
				readEveryWay(t, path)
				if t.Failed() {
					t.Fatalf("byte %d of %d is %02x and was %02x", i, len(content), flipped[i], content[i])
				}
			}
		})
	}
}

func TestCutShort(t *testing.T) {
	content := seeds(t)["zstd"]
	path := filepath.Join(t.TempDir(), "cut.arrow")
	for n := 0; n < len(content); n += 13 {
		if err := os.WriteFile(path, content[:n], 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Inspect(path); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

// A buffer that claims to inflate to more than its bytes can is refused before
// anything is allocated.
func TestInflationIsBounded(t *testing.T) {
	f := &File{}
	for _, codec := range []codecID{codecZstd, codecLZ4} {
		for _, size := range []int64{-2, 1 << 20, 1 << 40, 1<<63 - 1} {
			raw := binary.LittleEndian.AppendUint64(nil, uint64(size))
			before := allocated()
			if _, err := f.inflate(codec, append(raw, 1, 2, 3)); err == nil || !strings.Contains(err.Error(), "cannot hold") {
				t.Errorf("codec %d, %d bytes: %v", codec, size, err)
			}
			if used := allocated() - before; used > 1<<20 {
				t.Errorf("codec %d, %d bytes: %d bytes allocated", codec, size, used)
			}
		}
	}
}

func FuzzReaders(f *testing.F) {
	for _, content := range seeds(f) {
		f.Add(content)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(dir, "fuzzed.arrow")
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
		readEveryWay(t, path)
	})
}
