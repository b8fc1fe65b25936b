package gunzip

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// engines are what there is to inflate with here, by name.
func engines(t testing.TB) map[string]func() inflater {
	all := map[string]func() inflater{"Go": func() inflater { return &goInflater{} }}
	lib, err := loadISAL()
	if err != nil {
		t.Logf("without ISA-L: %v", err)
		return all
	}
	all[isalName] = func() inflater { return lib.inflater() }
	return all
}

func inflateAll(packed io.Reader, by inflater, buffer int) ([]byte, error) {
	return io.ReadAll(newReader(bufio.NewReaderSize(packed, buffer), by))
}

// member packs text at a level, with what a header may hold.
func member(t testing.TB, text []byte, level int, header gzip.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	w.Header = header
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// texts are of several kinds, which deflate to blocks of several kinds.
func texts() map[string][]byte {
	random := make([]byte, 300_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	return map[string][]byte{
		"empty":          nil,
		"short":          []byte("x"),
		"repeated":       bytes.Repeat([]byte("some text, "), 100_000),
		"of one byte":    make([]byte, 1<<20),
		"incompressible": random,
	}
}

func TestInflatesWhatWasDeflated(t *testing.T) {
	for engine, open := range engines(t) {
		for name, text := range texts() {
			for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
				packed := member(t, text, level, gzip.Header{})
				for _, buffer := range []int{16, 256 << 10} {
					got, err := inflateAll(bytes.NewReader(packed), open(), buffer)
					if err != nil || !bytes.Equal(got, text) {
						t.Errorf("%s: %s at level %d by %d bytes: %d bytes of %d, error %v", engine, name, level, buffer, len(got), len(text), err)
					}
				}
			}
		}
	}
}

// What a source gives at a time makes no difference, nor does where in it a
// member ends.
func TestMembersInPieces(t *testing.T) {
	var packed, want []byte
	for i := range 40 {
		text := []byte(strings.Repeat(fmt.Sprintf("line %d of many\n", i), i))
		want = append(want, text...)
		packed = append(packed, member(t, text, flate.DefaultCompression, gzip.Header{Name: strings.Repeat("n", i), Comment: "c", Extra: make([]byte, i)})...)
	}
	for engine, open := range engines(t) {
		for name, source := range map[string]io.Reader{
			"whole": bytes.NewReader(packed), "by byte": iotest.OneByteReader(bytes.NewReader(packed)),
			"with the end": iotest.DataErrReader(bytes.NewReader(packed)),
		} {
			got, err := inflateAll(source, open(), 16)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %s: %d bytes of %d, error %v", engine, name, len(got), len(want), err)
			}
		}
	}
}

func TestWhatIsNoGzipData(t *testing.T) {
	good := member(t, []byte("text"), flate.DefaultCompression, gzip.Header{})
	changed := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[(at+len(b))%len(b)] = to
		return b
	}
	headerOf := func(flags byte, behind string) []byte {
		return append([]byte{0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255}, behind...)
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"another method", changed(2, 7), "is no header of a member"},
		{"a wrong check sum", changed(-8, good[len(good)-8]^1), "the check sum is"},
		{"a wrong length", changed(-4, 5), "the data has 4 bytes, and the file says 5"},
		{"text behind", append(bytes.Clone(good), "not a member"...), "is no header of a member"},
		{"zeros behind", append(bytes.Clone(good), make([]byte, 512)...), "is no header of a member"},
		{"a block of no type", headerOf(0, "\x07"), "corrupt"},
		{"a name without end", headerOf(flagName, strings.Repeat("n", 600)), "the name in the header has more than 512 bytes"},
		{"a wrong check sum of the header", headerOf(flagHeaderCRC, "xx\x03\x00"), "the header's check sum is wrong"},
	} {
		for engine, open := range engines(t) {
			got, err := inflateAll(bytes.NewReader(c.data), open(), 4096)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %s: %q, error %v, want %q", engine, c.name, got, err, c.want)
			}
		}
	}
}

func TestCutOffAnywhere(t *testing.T) {
	text := []byte(strings.Repeat("some text and ", 40))
	whole := member(t, text, flate.DefaultCompression, gzip.Header{Name: "n", Comment: "c", Extra: []byte("x")})
	second := append(bytes.Clone(whole), whole...)
	for engine, open := range engines(t) {
		for n := range second {
			got, err := inflateAll(bytes.NewReader(second[:n]), open(), 64)
			if n == len(whole) {
				if err != nil {
					t.Errorf("%s: %v", engine, err)
				}
				continue
			}
			if err != io.ErrUnexpectedEOF || !bytes.HasPrefix(bytes.Repeat(text, 2), got) {
				t.Errorf("%s: cut after %d bytes: %q, error %v", engine, n, got, err)
			}
		}
	}
}

func TestErrorsOfTheSource(t *testing.T) {
	broken := errors.New("disk on fire")
	packed := member(t, []byte("some text"), flate.DefaultCompression, gzip.Header{})
	for engine, open := range engines(t) {
		for n := range packed {
			_, err := inflateAll(io.MultiReader(bytes.NewReader(packed[:n]), iotest.ErrReader(broken)), open(), 16)
			if !errors.Is(err, broken) {
				t.Errorf("%s: after %d bytes: error %v", engine, n, err)
			}
		}
	}
}

// A flipped bit is found whoever inflates, and where it is in nothing but a
// header's time or system the text is whole.
func TestFlippedBits(t *testing.T) {
	text := []byte(strings.Repeat("some text and more ", 60))
	whole := member(t, text, flate.DefaultCompression, gzip.Header{})
	for engine, open := range engines(t) {
		for at := 10; at < len(whole); at++ {
			for bit := range 8 {
				broken := bytes.Clone(whole)
				broken[at] ^= 1 << bit
				if got, err := inflateAll(bytes.NewReader(broken), open(), 4096); err == nil && !bytes.Equal(got, text) {
					t.Fatalf("%s: bit %d of byte %d: no error", engine, bit, at)
				}
			}
		}
	}
}

// What the standard library inflates, both inflate to the same bytes.
func TestAsTheStandardLibrary(t *testing.T) {
	all := engines(t)
	rapid.Check(t, func(rt *rapid.T) {
		packed := member(t, rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(rt, "text"), rapid.IntRange(-2, 9).Draw(rt, "level"), gzip.Header{})
		if rapid.Bool().Draw(rt, "hostile") {
			packed[rapid.IntRange(10, len(packed)-1).Draw(rt, "at")] = rapid.Byte().Draw(rt, "byte")
		}
		agree(rt, all, packed)
	})
}

// agree checks both inflaters against the standard library.
func agree(t interface{ Fatalf(string, ...any) }, all map[string]func() inflater, packed []byte) {
	const most = 16 << 20 // of what a fuzzer may think of
	standard, standardErr := gzip.NewReader(bytes.NewReader(packed))
	var want []byte
	if standardErr == nil {
		want, standardErr = io.ReadAll(io.LimitReader(standard, most))
	}
	for engine, open := range all {
		got, err := io.ReadAll(io.LimitReader(newReader(bufio.NewReader(bytes.NewReader(packed)), open()), most))
		switch {
		case standardErr == nil && err != nil:
			t.Fatalf("%s: %v, and the standard library inflates it to %d bytes", engine, err, len(want))
		case standardErr == nil && !bytes.Equal(got, want):
			t.Fatalf("%s: %d bytes, and the standard library %d others", engine, len(got), len(want))
		}
	}
}

func FuzzGunzip(f *testing.F) {
	for _, text := range texts() {
		f.Add(member(f, text[:min(len(text), 4000)], flate.DefaultCompression, gzip.Header{Name: "n"}))
	}
	all := engines(f)
	f.Fuzz(func(t *testing.T, packed []byte) { agree(t, all, packed) })
}

// BenchmarkGunzip inflates the same text with what there is, and with the
// standard library: the ratio of their MB/s (of inflated text) holds on any machine.
func BenchmarkGunzip(b *testing.B) {
	text := prose(32 << 20)
	packed := member(b, text, flate.DefaultCompression, gzip.Header{})
	run := func(name string, open func(*bufio.Reader) io.Reader) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			buffer := make([]byte, 1<<20)
			for b.Loop() {
				from := open(bufio.NewReaderSize(bytes.NewReader(packed), 256<<10))
				if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{from}, buffer); err != nil || n != int64(len(text)) {
					b.Fatal(n, err)
				}
			}
		})
	}
	for engine, open := range engines(b) {
		run(engine, func(from *bufio.Reader) io.Reader { return newReader(from, open()) })
	}
	run("standard library", func(from *bufio.Reader) io.Reader {
		z, err := gzip.NewReader(from)
		if err != nil {
			b.Fatal(err)
		}
		return z
	})
}

// prose is text of random words, which packs about as reviews do.
func prose(size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 5000)
	for i := range words {
		word := make([]byte, 2+r.IntN(9))
		for j := range word {
			word[j] = "etaoinshrdlucmfwypvbgkqjxz"[min(r.IntN(26), r.IntN(26))]
		}
		words[i] = string(word)
	}
	text := make([]byte, 0, size)
	for len(text) < size-12 {
		text = append(append(text, words[min(r.IntN(len(words)), r.IntN(len(words)))]...), ' ')
	}
	return text
}
