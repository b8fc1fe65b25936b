package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pngOf is a PNG of chunks, written as name and body in turn.
func pngOf(chunks ...string) []byte {
	data := []byte(pngSignature)
	for i := 0; i < len(chunks); i += 2 {
		data = binary.BigEndian.AppendUint32(data, uint32(len(chunks[i+1])))
		data = append(data, chunks[i]+chunks[i+1]...)
		data = binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE([]byte(chunks[i]+chunks[i+1])))
	}
	return data
}

// pngHeader is of a grey picture with 8 bits.
func pngHeader(width, height uint32) string {
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	return string(header) + "\x08\x00\x00\x00\x00"
}

func inflatable(tb testing.TB, zeros int64) string {
	tb.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := io.CopyN(w, zeroReader{}, zeros); err != nil {
		tb.Fatal(err)
	}
	w.Close()
	return b.String()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// patched is a sample with bytes changed at a place after the first occurrence of a mark.
func patched(tb testing.TB, name, mark string, after int, with string) []byte {
	tb.Helper()
	data := sample(tb, name)
	if !bytes.Contains(data, []byte(mark)) {
		tb.Fatalf("%s has no %q", name, mark)
	}
	return patchedBytes(data, mark, after, with)
}

func patchedBytes(data []byte, mark string, after int, with string) []byte {
	copy(data[bytes.Index(data, []byte(mark))+after:], with)
	return data
}

// repeated is a JPEG in which a segment comes more than once.
func repeated(tb testing.TB, name, mark string, times int) []byte {
	tb.Helper()
	data := sample(tb, name)
	at := bytes.Index(data, []byte(mark))
	size := 2 + int(binary.BigEndian.Uint16(data[at+2:]))
	return bytes.Join([][]byte{data[:at], bytes.Repeat(data[at:at+size], times), data[at+size:]}, nil)
}

func TestWhatIsRefused(t *testing.T) {
	for _, tt := range []struct {
		what string
		data []byte
		want error
	}{
		{"PNG header of 50,000 × 50,000", pngOf("IHDR", pngHeader(50_000, 50_000)), ErrTooLarge},
		{"the same, whole", pngOf("IHDR", pngHeader(50_000, 50_000), "IDAT", inflatable(t, 1000), "IEND", ""), ErrTooLarge},
		{"PNG of 2³¹−1 squared", pngOf("IHDR", pngHeader(1<<31-1, 1<<31-1)), ErrTooLarge},
		{"PNG whose product overflows to 0", pngOf("IHDR", pngHeader(1<<31, 1<<31)), ErrFormat},
		{"PNG without width", pngOf("IHDR", pngHeader(0, 5), "IEND", ""), ErrFormat},
		{"PNG without pixels", pngOf("IHDR", pngHeader(5, 5), "IEND", ""), ErrFormat},
		{"PNG without header", pngOf("IDAT", "", "IEND", ""), ErrFormat},
		{"PNG of 3 bits", pngOf("IHDR", strings.Replace(pngHeader(5, 5), "\x08", "\x03", 1), "IEND", ""), ErrFormat},
		{"PNG with a wrong checksum", patched(t, "rgb8.png", "IDAT", 10, "!"), ErrFormat},
		{"PNG with a chunk of 4 GiB", patched(t, "rgb8.png", "IDAT", -4, "\xff\xff\xff\xff"), ErrTruncated},
		{"GIF canvas of 65535 squared", patched(t, "global.gif", "GIF", 6, "\xff\xff\xff\xff"), ErrTooLarge},
		{"GIF whose frame is far from the canvas", patched(t, "offset.gif", "\x2c\x05\x00\x07\x00", 1, "\xff\xff\xff\xff"), ErrTooLarge},
		{"GIF whose frame is empty", patched(t, "offset.gif", "\x2c\x05\x00\x07\x00", 5, "\x00\x00"), ErrFormat},
		{"GIF without a frame", []byte("GIF89a\x05\x00\x05\x00\x00\x00\x00;"), ErrFormat},
		{"GIF with an unknown block", []byte("GIF89a\x05\x00\x05\x00\x00\x00\x00?;"), ErrFormat},
		{"WebP canvas of 2²⁴ squared", patched(t, "lossy_alpha.webp", "VP8X", 12, "\xff\xff\xff\xff\xff\xff"), ErrTooLarge},
		{"WebP canvas that its picture does not fill", patched(t, "lossy_alpha.webp", "VP8X", 12, "\xff\x00\x00\xff\x00\x00"), ErrFormat},
		{"WebP frame outside of the canvas", patched(t, "animated.webp", "ANMF", 8, "\x20\x00\x00"), ErrFormat},
		{"WebP frame of another size than its pixels", patched(t, "animated.webp", "ANMF", 14, "\x00"), ErrFormat},
		{"WebP pixels of 16384 squared", patched(t, "lossless.webp", "VP8L", 9, "\xff\xff\xff\x1f"), ErrTooLarge},
		{"WebP that is longer than its RIFF says", patched(t, "lossy.webp", "RIFF", 4, "\x20\x00\x00\x00"), ErrTruncated},
		{"JPEG of 65535 squared", patched(t, "420.jpg", "\xff\xc0", 5, "\xff\xff\xff\xff"), ErrTooLarge},
		{"JPEG without height", patched(t, "420.jpg", "\xff\xc0", 5, "\x00\x00"), ErrFormat},
		{"JPEG of 12 bits", patched(t, "420.jpg", "\xff\xc0", 4, "\x0c"), ErrFormat},
		{"JPEG of two components", patched(t, "420.jpg", "\xff\xc0", 9, "\x02"), ErrFormat},
		{"JPEG of a rare process", patched(t, "420.jpg", "\xff\xc0", 1, "\xc3"), ErrFormat},
		{"JPEG with two frames", repeated(t, "420.jpg", "\xff\xc0", 2), ErrFormat},
		{"JPEG with endless scans", repeated(t, "progressive.jpg", "\xff\xda", maxScans+1), ErrTooLarge},
		{"JPEG with many scans of many pixels", patchedBytes(repeated(t, "progressive.jpg", "\xff\xda", 20), "\xff\xc2", 5, "\x1f\xff\x1f\xff"), ErrTooLarge},
		{"JPEG that begins again", append([]byte("\xff\xd8"), sample(t, "420.jpg")...), ErrFormat},
		{"JPEG without a scan", []byte("\xff\xd8\xff\xd9"), ErrFormat},
		{"JPEG with a segment of length 1", []byte("\xff\xd8\xff\xe0\x00\x01\xff\xd9"), ErrFormat},
	} {
		got, err := Inspect(tt.data, Limits{})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v; want %v", tt.what, got, err, tt.want)
		}
	}
}

func TestLimitIsInclusive(t *testing.T) {
	data := sample(t, "rgb8.png")
	if _, err := Inspect(data, Limits{Pixels: 37 * 29}); err != nil {
		t.Error(err)
	}
	if _, err := Inspect(data, Limits{Pixels: 37*29 - 1}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one pixel more than the limit: %v", err)
	}
}

// allocated is how many bytes f takes, freed or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// What inflates to more than the picture has is not inflated.
func TestDeflateBombsTakeNoMemory(t *testing.T) {
	const zeros = 200 << 20
	bomb, decoder := inflatable(t, zeros), open(t, Auto)
	text := "comment\x00\x00" + bomb
	for what, data := range map[string][]byte{
		"too many rows":     pngOf("IHDR", pngHeader(8, 8), "IDAT", bomb, "IEND", ""),
		"a compressed text": pngOf("IHDR", pngHeader(8, 8), "zTXt", text, "IDAT", inflatable(t, 72), "IEND", ""),
		"a colour profile":  pngOf("IHDR", pngHeader(8, 8), "iCCP", text, "IDAT", inflatable(t, 72), "IEND", ""),
	} {
		size := allocated(func() {
			if picture, err := decoder.Decode(data, Limits{}); err == nil && len(picture.Pix) != 3*8*8 {
				t.Errorf("%s: %d bytes of pixels", what, len(picture.Pix))
			}
		})
		if size > 1<<20 {
			t.Errorf("%s of %d bytes takes %d bytes of memory", what, len(data), size)
		}
	}
}

// Whether a picture is too large is known before memory is taken for it.
func TestInspectTakesNoMemory(t *testing.T) {
	for _, k := range knownPictures(t) {
		if size := allocated(func() { _, _ = Inspect(k.data, Limits{}) }); size > 8<<10 {
			t.Errorf("%s: %d bytes", k.name, size)
		}
	}
}

// small are the samples that a test may go through byte by byte.
func small(t *testing.T) []known {
	var all []known
	for _, k := range knownPictures(t) {
		if len(k.data) < 2000 {
			all = append(all, k)
		}
	}
	return all
}

func TestCutAnywhere(t *testing.T) {
	for _, k := range small(t) {
		for n := 1; n < len(k.data); n++ {
			if _, err := Inspect(k.data[:n], Limits{}); !errors.Is(err, ErrTruncated) {
				t.Errorf("the first %d of %d bytes of %s: %v", n, len(k.data), k.name, err)
			}
		}
	}
}

// bothDecoders are Go's and, where they are there, the libraries.
func bothDecoders(tb testing.TB) []*Decoder {
	return []*Decoder{open(tb, Go), open(tb, Auto)}
}

// survive decodes what may be anything, and checks that the answer is one.
func survive(tb testing.TB, d *Decoder, data []byte, limits Limits) {
	tb.Helper()
	info, inspectErr := Inspect(data, limits)
	got, err := d.Decode(data, limits)
	switch {
	case err != nil && strings.Contains(err.Error(), "a mistake in its decoder"):
		tb.Errorf("%s: %v", d.Name(), err)
	case inspectErr != nil && err == nil:
		tb.Errorf("%s decodes what Inspect refuses: %v", d.Name(), inspectErr)
	case err == nil && (got.Width != info.Width || got.Height != info.Height || len(got.Pix) != 3*got.Width*got.Height):
		tb.Errorf("%s: %d×%d and %d bytes of a picture of %d×%d", d.Name(), got.Width, got.Height, len(got.Pix), info.Width, info.Height)
	}
}

// mended is a PNG whose checksums are right again, so that a changed byte
// reaches the decoder.
func mended(data []byte) []byte {
	if !bytes.HasPrefix(data, []byte(pngSignature)) {
		return data
	}
	for at := len(pngSignature); at+12 <= len(data); {
		end := at + 8 + int(binary.BigEndian.Uint32(data[at:]))
		if end+4 > len(data) {
			break
		}
		binary.BigEndian.PutUint32(data[end:], crc32.ChecksumIEEE(data[at+4:end]))
		at = end + 4
	}
	return data
}

func TestFlippedBits(t *testing.T) {
	for _, d := range bothDecoders(t) {
		for _, k := range small(t) {
			for at := 0; at < len(k.data); at += 3 {
				data := bytes.Clone(k.data)
				data[at] ^= 1 << (at % 8)
				survive(t, d, mended(data), Limits{Pixels: 1 << 14})
			}
		}
	}
}

// The libraries are not given memory for a size that they do not see.
func TestLibrariesMustAgreeOnTheSize(t *testing.T) {
	open(t, Native)
	walked, err := walk(sample(t, "420.jpg"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	lying := walked.(*jpegFile)
	lying.width *= 2
	turbo, _ := loadTurboJPEG()
	if _, err := turbo.decode(lying); err == nil || !strings.Contains(err.Error(), "37×29") {
		t.Errorf("libjpeg-turbo: %v", err)
	}
	if walked, err = walk(sample(t, "lossy.webp"), Limits{}); err != nil {
		t.Fatal(err)
	}
	cut := walked.(*webpFile)
	cut.frame.Max.X--
	webp, _ := loadLibWebP()
	if _, err := webp.decode(cut); err == nil || !strings.Contains(err.Error(), "37×29") {
		t.Errorf("libwebp: %v", err)
	}
}

// A picture's pixels do not depend on the pictures before: one without tables is
// an error, also after one that had them.
func TestPicturesAreIndependent(t *testing.T) {
	native := open(t, Native)
	data := sample(t, "grey.jpg")
	without := repeated(t, "grey.jpg", "\xff\xdb", 0)
	for range 3 {
		decode(t, native, data)
		if _, err := native.Decode(without, Limits{}); err == nil || !strings.Contains(err.Error(), "uantization table") {
			t.Fatalf("a picture without tables: %v", err)
		}
	}
}

func TestDecodersAreConcurrent(t *testing.T) {
	pictures := knownPictures(t)
	for _, d := range bothDecoders(t) {
		var wg sync.WaitGroup
		problems := make(chan error, 8)
		for range cap(problems) {
			wg.Go(func() { problems <- decodeAll(d, pictures) })
		}
		wg.Wait()
		close(problems)
		for err := range problems {
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// decodeAll compares what is exact with every decoder.
func decodeAll(d *Decoder, pictures []known) error {
	for _, k := range pictures {
		got, err := d.Decode(k.data, Limits{})
		if filepath.Ext(k.name) == ".jpg" {
			continue
		}
		if err != nil || digest(got.Pix) != k.SHA256 {
			return fmt.Errorf("%s with others at the same time: %s (%v), want %s", k.name, digest(got.Pix), err, k.SHA256)
		}
	}
	return nil
}

func FuzzInspect(f *testing.F) {
	for _, k := range knownPictures(f) {
		f.Add(k.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := Inspect(data, Limits{})
		switch {
		case err == nil && (info.Width <= 0 || info.Height <= 0 || info.Width*info.Height > defaultPixels):
			t.Errorf("%+v is no error", info)
		case err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrTooLarge):
			t.Errorf("an error of no kind: %v", err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, k := range knownPictures(f) {
		f.Add(k.data)
	}
	decoders := bothDecoders(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range decoders {
			survive(t, d, mended(bytes.Clone(data)), Limits{Pixels: 1 << 14})
		}
	})
}

// Of pictures that take the room there is few are in use at once, however many
// goroutines there are.
func TestPicturesInUseAreBounded(t *testing.T) {
	d, err := Open(Go)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.room.Acquire(t.Context(), roomPixels-2*37*29); err != nil { // it is left for two
		t.Fatal(err)
	}
	var running, most atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			err := d.Use(sample(t, "rgb8.png"), Limits{}, func(p RGB) error {
				defer running.Add(-1)
				if now := running.Add(1); now > most.Load() {
					most.Store(now)
				}
				time.Sleep(2 * time.Millisecond)
				if p.Width != 37 || len(p.Pix) != 3*37*29 {
					return fmt.Errorf("%d×%d pixels", p.Width, p.Height)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most.Load() > 2 || running.Load() != 0 {
		t.Errorf("%d pictures were in use at once, and there is room for 2", most.Load())
	}
	if err := d.Use([]byte("<html>"), Limits{}, nil); !errors.Is(err, ErrFormat) {
		t.Errorf("a page: %v", err)
	}
	d.room.Release(roomPixels - 2*37*29)
	if !d.room.TryAcquire(roomPixels) {
		t.Error("room is taken when nothing is in use")
	}
}
