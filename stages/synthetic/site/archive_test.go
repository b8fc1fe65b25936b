package site

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The bytes of an archive are part of the keys of what is downloaded from it.
func TestArchiveIsDeterministic(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	if err := w.Add("b.png", Slow, []byte("picture b")); err != nil {
		t.Fatal(err)
	}
	if err := w.Add("a.png", Sent, []byte("picture a")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(buf.Bytes())
	const want = "028a4568a3a321894d9da631179fd855ba3ce4d7d351d1ec1576f6aa6b23a631"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("sha256 %s, want %s", got, want)
	}
}

func TestWriterRefuses(t *testing.T) {
	for want, add := range map[string]func(*Writer) error{
		"cannot be the name": func(w *Writer) error { return w.Add("../x.png", Sent, nil) },
		"no behaviour":       func(w *Writer) error { return w.Add("x.png", "rude", nil) },
		"1048577 bytes":      func(w *Writer) error { return w.Add("x.png", Sent, make([]byte, maxPictureBytes+1)) },
		"there twice": func(w *Writer) error {
			_ = w.Add("x.png", Sent, nil)
			return w.Add("x.png", Sent, nil)
		},
	} {
		if err := add(NewWriter(io.Discard)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// A part is one entry of a made-up archive.
type part struct {
	name     string
	data     string
	deflated bool
}

const oneX = `{"format":1,"pictures":[{"name":"x.png"}]}`

func TestHostileArchives(t *testing.T) {
	x := part{name: "pictures/x.png", data: "x"}
	listing := func(text string) part { return part{name: "manifest.json", data: text} }
	for _, test := range []struct {
		name, want string
		parts      []part
	}{
		{"no manifest", "has no manifest.json", []part{x}},
		{"empty", "has no manifest.json", nil},
		{"broken manifest", "manifest.json: ", []part{listing(`{"format":1,`), x}},
		{"next format", "has format 2, and 1 is read", []part{listing(`{"format":2,"pictures":[{"name":"x.png"}]}`), x}},
		{"no format", "has format 0", []part{listing(`{"pictures":[{"name":"x.png"}]}`), x}},
		{"unknown behaviour", `no behaviour "rude"`, []part{listing(`{"format":1,"pictures":[{"name":"x.png","behaviour":"rude"}]}`), x}},
		{"name that escapes", "cannot be the name", []part{listing(`{"format":1,"pictures":[{"name":"../x.png"}]}`), x}},
		{"name too long", "cannot be the name", []part{listing(`{"format":1,"pictures":[{"name":"` + strings.Repeat("x", 10_000) + `"}]}`), x}},
		{"entry that escapes", `entry "pictures/../../x.png"`, []part{listing(oneX), x, {name: "pictures/../../x.png"}}},
		{"absolute entry", `entry "/etc/passwd"`, []part{listing(oneX), x, {name: "/etc/passwd"}}},
		{"directory", `entry "pictures/"`, []part{listing(oneX), x, {name: "pictures/"}}},
		{"picture without a file", "names picture x.png", []part{listing(oneX)}},
		{"picture named twice", "names picture x.png", []part{listing(`{"format":1,"pictures":[{"name":"x.png"},{"name":"x.png"}]}`), x}},
		{"file without a name", "entry pictures/y.png is not in", []part{listing(oneX), x, {name: "pictures/y.png"}}},
		{"file twice", "is there twice", []part{listing(oneX), x, x}},
		{"bomb", "entry pictures/x.png is compressed", []part{listing(oneX), {name: x.name, data: strings.Repeat("\x00", maxPictureBytes), deflated: true}}},
		{"large picture", "entry pictures/x.png has 1048577 bytes", []part{listing(oneX), {name: x.name, data: strings.Repeat("x", maxPictureBytes+1)}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := saved(t, zipped(t, test.parts))
			_, _, err := Start(t.Context(), path)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

func zipped(t *testing.T, parts []part) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, flate.BestCompression) })
	for _, p := range parts {
		method := zip.Store
		if p.deflated {
			method = zip.Deflate
		}
		out, err := w.CreateHeader(&zip.FileHeader{Name: p.name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(out, p.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// What is claimed of an entry's size is not believed: neither a claim beyond
// the bound nor one that the file does not keep.
func TestSizesAreNotBelieved(t *testing.T) {
	whole := zipped(t, []part{{name: "manifest.json", data: oneX}, {name: "pictures/x.png", data: "x"}})
	directory := bytes.LastIndex(whole, []byte("PK\x01\x02")) // of pictures/x.png
	for claim, want := range map[uint32]string{1 << 31: "at most 1048576 are read", 1 << 19: ""} {
		data := bytes.Clone(whole)
		binary.LittleEndian.PutUint32(data[directory+20:], claim) // compressed
		binary.LittleEndian.PutUint32(data[directory+24:], claim) // uncompressed
		a, err := openArchive(saved(t, data))
		if want == "" {
			if err != nil {
				t.Fatal(err)
			}
			if _, err := read(a.pictures["x.png"].file); err == nil {
				t.Errorf("%d bytes were claimed, and reading one is no error", claim)
			}
			_ = a.close()
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestNoArchive(t *testing.T) {
	if _, _, err := Start(t.Context(), filepath.Join(t.TempDir(), "absent.zip")); !os.IsNotExist(err) {
		t.Errorf("error %v", err)
	}
	if _, _, err := Start(t.Context(), saved(t, []byte("no zip file"))); err == nil {
		t.Error("a text is served as an archive")
	}
}

func FuzzArchive(f *testing.F) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	if err := w.Add("x.png", Busy, []byte("x")); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := openArchive(saved(t, data))
		if err != nil {
			return
		}
		defer a.close()
		for name, picture := range a.pictures {
			if !validName(name) || !picture.behaviour.known() {
				t.Errorf("picture %q behaves %q", name, picture.behaviour)
			}
			if content, err := read(picture.file); err == nil && len(content) > len(data) {
				t.Errorf("%d bytes came out of %d", len(content), len(data))
			}
		}
	})
}
