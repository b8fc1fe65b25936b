package picture

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prismflow/prismflow/stages/stagetest"
)

// A known picture is a file of testdata and what PIL sees in it: see make.py there.
type known struct {
	name          string
	data          []byte
	Width, Height int
	SHA256        string
}

func knownPictures(tb testing.TB) []known {
	tb.Helper()
	text, err := os.ReadFile("testdata/pixels.json")
	if err != nil {
		tb.Fatal(err)
	}
	var pixels map[string]known
	if err := json.Unmarshal(text, &pixels); err != nil {
		tb.Fatal(err)
	}
	var all []known
	for name, k := range pixels {
		k.name, k.data = name, sample(tb, name)
		all = append(all, k)
	}
	return all
}

func sample(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func open(tb testing.TB, choice string) *Decoder {
	tb.Helper()
	d, err := Open(choice)
	if err != nil && choice == Native {
		if os.Getenv("CI") != "" {
			tb.Fatalf("continuous integration is to have the libraries: %v", err)
		}
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func decode(tb testing.TB, d *Decoder, data []byte) RGB {
	tb.Helper()
	got, err := d.Decode(data, Limits{})
	if err != nil {
		tb.Fatalf("%s: %v", d.Name(), err)
	}
	return got
}

func digest(pix []byte) string {
	sum := sha256.Sum256(pix)
	return hex.EncodeToString(sum[:])
}

var mediaTypes = map[string]string{".jpg": "image/jpeg", ".png": "image/png", ".gif": "image/gif", ".webp": "image/webp"}

func TestInspectTellsSizeAndType(t *testing.T) {
	for _, k := range knownPictures(t) {
		for what, data := range map[string][]byte{"as it is": k.data, "with bytes after it": append(k.data[:len(k.data):len(k.data)], "\r\n<html>"...)} {
			got, err := Inspect(data, Limits{})
			if want := (Info{mediaTypes[filepath.Ext(k.name)], k.Width, k.Height}); err != nil || got != want {
				t.Errorf("%s %s: %+v (%v), want %+v", k.name, what, got, err, want)
			}
		}
	}
}

// The system's libraries and what Go decodes exactly give PIL's pixels.
func TestPixelsArePIL(t *testing.T) {
	native := open(t, Native)
	for _, k := range knownPictures(t) {
		got, err := native.Decode(k.data, Limits{})
		if err != nil || got.Width != k.Width || got.Height != k.Height || digest(got.Pix) != k.SHA256 {
			t.Errorf("%s: %d×%d %s (%v), want %d×%d %s", k.name, got.Width, got.Height, digest(got.Pix), err, k.Width, k.Height, k.SHA256)
		}
	}
}

// Without the libraries all but JPEG are still PIL's.
func TestGoPixelsArePIL(t *testing.T) {
	d := open(t, Go)
	for _, k := range knownPictures(t) {
		if filepath.Ext(k.name) == ".jpg" {
			continue
		}
		if got := decode(t, d, k.data); digest(got.Pix) != k.SHA256 {
			t.Errorf("%s: %s, want %s", k.name, digest(got.Pix), k.SHA256)
		}
	}
}

// apart is by how much two pictures differ.
func apart(tb testing.TB, a, b RGB) (most int, mean float64) {
	tb.Helper()
	if a.Width != b.Width || a.Height != b.Height {
		tb.Fatalf("%d×%d beside %d×%d pixels", a.Width, a.Height, b.Width, b.Height)
	}
	for i := range a.Pix {
		difference := max(int(a.Pix[i])-int(b.Pix[i]), int(b.Pix[i])-int(a.Pix[i]))
		most = max(most, difference)
		mean += float64(difference) / float64(len(a.Pix))
	}
	return most, mean
}

// Go's JPEG decoder rounds its transform differently, by a few levels.
const fewLevels = 6

func TestHowFarGoIsFromTheLibraries(t *testing.T) {
	native, slow := open(t, Native), open(t, Go)
	for _, k := range knownPictures(t) {
		if filepath.Ext(k.name) != ".jpg" || k.name == "arithmetic.jpg" {
			continue
		}
		got, mean := apart(t, decode(t, slow, k.data), decode(t, native, k.data))
		t.Logf("%-16s at most %d levels, mean %.2f", k.name, got, mean)
		if got > fewLevels {
			t.Errorf("%s: Go's decoder is %d levels from libjpeg-turbo, expected at most %d", k.name, got, fewLevels)
		}
	}
	if _, err := slow.Decode(sample(t, "arithmetic.jpg"), Limits{}); err == nil {
		t.Error("Go decodes arithmetic coding now: compare it as well")
	}
}

func TestHowFarGoIsOnRealPosters(t *testing.T) {
	posters, err := filepath.Glob(filepath.Join(stagetest.RealData(t, "movielens/posters"), "*.jpg"))
	if err != nil || len(posters) == 0 {
		t.Fatalf("%d posters (%v)", len(posters), err)
	}
	native, slow := open(t, Native), open(t, Go)
	most, mean := 0, 0.0
	posters = posters[:min(100, len(posters))]
	for _, path := range posters {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		levels, ofOne := apart(t, decode(t, slow, data), decode(t, native, data))
		most, mean = max(most, levels), mean+ofOne/float64(len(posters))
	}
	t.Logf("%d posters: at most %d levels, mean %.2f", len(posters), most, mean)
	if most > fewLevels {
		t.Errorf("Go's decoder is %d levels from libjpeg-turbo, expected at most %d", most, fewLevels)
	}
}

func TestSeemsToBe(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "empty",
		"<!DOCTYPE html><title>404":     "an HTML page",
		"\n\n <HTML><body>":             "an HTML page",
		"\xef\xbb\xbf<html>":            "an HTML page",
		`<?xml version="1.0"?><svg>`:    "an XML or SVG document",
		`<svg xmlns="…">`:               "an XML or SVG document",
		`<?xml version="1.0"?><html>`:   "an HTML page",
		`{"error": "no such picture"}`:  "JSON text",
		"Not found":                     "plain text",
		"\x00\x00\x00\x20ftypavif....":  "a HEIC/AVIF picture",
		"\x00\x00\x00\x20ftypheic....":  "a HEIC/AVIF picture",
		"\x00\x00\x00\x20ftypisom....":  "a video (MP4 or QuickTime)",
		"BM\x00\x00":                    "a BMP picture",
		"II*\x00":                       "a TIFF picture",
		"%PDF-1.7":                      "a PDF document",
		"\x00\x00\x01\x00\x01\x00":      "an icon (ICO)",
		"\x1f\x8b\x08":                  "a gzip file",
		"RIFF\x00\x00\x00\x00WAVEfmt ":  "a RIFF file other than WebP",
		"\x00\x01\x02\x03\x04":          "of an unknown kind",
		"\xff\xd8\xfe":                  "of an unknown kind",
		strings.Repeat("grüezi ", 1000): "plain text",
	} {
		_, err := Inspect([]byte(text), Limits{})
		if !errors.Is(err, ErrFormat) || !strings.HasSuffix(err.Error(), "it seems to be "+want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
}

func TestOpen(t *testing.T) {
	if _, err := Open("pil"); err == nil || !strings.Contains(err.Error(), `"pil"`) {
		t.Errorf("an unknown choice: %v", err)
	}
	if d := open(t, Go); d.Name() != "go" || len(d.Versions()) != 0 || d.Missing() != nil {
		t.Errorf("Go's decoders: %q, %v, %v", d.Name(), d.Versions(), d.Missing())
	}
	d := open(t, Native)
	if d.Name() != "libjpeg-turbo,libwebp" || d.Missing() != nil {
		t.Errorf("the libraries: %q, %v", d.Name(), d.Missing())
	}
	for _, library := range []string{"libjpeg-turbo", "libwebp"} {
		if d.Versions()[library] == "" {
			t.Errorf("%s has no version among %v", library, d.Versions())
		}
	}
}

// TestWhyALibraryIsNotThere: the linker keeps the reason for the thread that asked,
// which may be another one by the time of reading it.
func TestWhyALibraryIsNotThere(t *testing.T) {
	var asking sync.WaitGroup
	for range 16 {
		asking.Go(func() {
			for range 500 {
				if _, err := loadLibrary([]string{"libnosuch.so.1"}, nil); err == nil || err.Error() == "" {
					t.Errorf("no reason: %v", err)
					return
				}
			}
		})
	}
	asking.Wait()
}

// What is not there is replaced, one by one, and said.
func TestMissingLibraries(t *testing.T) {
	gone := errors.New("no libwebp: apt-get install libwebp7")
	d := &Decoder{jpeg: codec[*jpegFile]{name: "libjpeg-turbo"}, webp: goWebP(gone)}
	if d.Name() != "libjpeg-turbo,go-webp" || d.Missing() == nil || d.Missing().Error() != gone.Error() {
		t.Errorf("%q, %v", d.Name(), d.Missing())
	}
	if _, err := loadLibrary([]string{"libnosuch.so.1", "libnosuch.so.0"}, nil); err == nil || !strings.Contains(err.Error(), "libnosuch.so.1") {
		t.Errorf("a library that is not there: %v", err)
	}
	if _, err := loadLibrary(libWebPNames, map[string]*uintptr{"WebPNoSuch": new(uintptr)}); err == nil {
		t.Error("a function that is not there was found")
	}
}
