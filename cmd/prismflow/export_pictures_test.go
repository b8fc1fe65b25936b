package main

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/artifacts/table"
	"github.com/prismflow/prismflow/stages/picture"
)

const pictureSamples = "../../stages/picture/testdata"

var safeName = regexp.MustCompile(`^[A-Za-z0-9_%~][A-Za-z0-9_.%~-]*\.png$`)

// Whatever the ids, names are short, no paths, no devices, and differ also where
// cases are not told apart.
func TestPictureNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.SliceOfDistinct(rapid.OneOf(
			rapid.String(), rapid.StringMatching(`[aA]{1,3}`), rapid.StringMatching(`(?i)(con|nul|com1|lpt9)(\.txt)?`),
			rapid.StringMatching(`[./\\]{1,4}[a-z]?`), rapid.StringMatching(`[x%]{140,400}`),
		), rapid.ID[string]).Draw(t, "items")
		names, seen := pictureNames{}, map[string]string{}
		for _, item := range items {
			name, err := names.of(item)
			if err != nil {
				t.Fatal(err)
			}
			if !safeName.MatchString(name) || len(name) > 200 || isReserved(name) || filepath.Base(name) != name {
				t.Fatalf("%q is named %q", item, name)
			}
			if other, taken := seen[strings.ToLower(name)]; taken {
				t.Fatalf("%q and %q are both named %q", item, other, name)
			}
			seen[strings.ToLower(name)] = item
		}
	})
	names := pictureNames{}
	if name, err := names.of("B00001"); err != nil || name != "B00001.png" {
		t.Errorf("an ordinary id is named %q (%v)", name, err)
	}
	_, _ = names.of("B00001")
	if _, err := names.of("B00001"); err == nil {
		t.Error("an item with many pictures has a name for each")
	}
}

// newExport is an export of some samples, each under its file's name.
func newExport(t *testing.T, samples ...string) (e *pictureExport, path string, said *bytes.Buffer) {
	t.Helper()
	var rows []exportedPicture
	for _, name := range samples {
		data, err := os.ReadFile(filepath.Join(pictureSamples, name))
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, exportedPicture{Item: name, Bytes: data})
	}
	path = filepath.Join(t.TempDir(), "images.arrow")
	w, err := table.Create[exportedPicture](path)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AppendAll(rows); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	decoder, err := picture.Open(picture.Auto)
	if err != nil {
		t.Fatal(err)
	}
	said = &bytes.Buffer{}
	s := &streams{err: stream{Writer: said}, now: time.Now}
	return &pictureExport{dir: t.TempDir(), decoder: decoder, names: pictureNames{}, total: int64(len(rows)), streams: s}, path, said
}

// What is written has the pixels that stages see.
func TestExportedPixels(t *testing.T) {
	samples := []string{"420.jpg", "rgba8.png", "lossy.webp", "transparent.gif", "cmyk.jpg"}
	e, path, _ := newExport(t, samples...)
	if err := e.run(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	for _, name := range samples {
		data, err := os.ReadFile(filepath.Join(pictureSamples, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := e.decoder.Decode(data, picture.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.ReadFile(filepath.Join(e.dir, name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(f))
		if err != nil {
			t.Fatal(err)
		}
		got := img.(*image.RGBA).Pix // opaque
		for i := range want.Width * want.Height {
			if !bytes.Equal(got[4*i:4*i+3], want.Pix[3*i:3*i+3]) {
				t.Fatalf("%s: pixel %d is %v, want %v", name, i, got[4*i:4*i+3], want.Pix[3*i:3*i+3])
			}
		}
	}
}

// An export that is stopped leaves whole files, and says how far it came.
func TestStoppedExport(t *testing.T) {
	e, path, said := newExport(t, "420.jpg", "444.jpg", "lossy.webp")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(interruption{os.Interrupt})
	err := e.run(ctx, path)
	e.summary()
	if !errors.As(err, new(interruption)) || exitCode(ctx, err) != exitInterrupted {
		t.Errorf("got %v", err)
	}
	if files, _ := os.ReadDir(e.dir); len(files) != 0 || !strings.Contains(said.String(), "0 pictures written") {
		t.Errorf("%d files; said %q", len(files), said)
	}
}

// What cannot be written ends the export with its first cause.
func TestExportThatCannotWrite(t *testing.T) {
	e, path, _ := newExport(t, "420.jpg", "444.jpg", "lossy.webp")
	e.dir = filepath.Join(e.dir, "gone")
	if err := e.run(t.Context(), path); !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "canceled") {
		t.Errorf("got %v", err)
	}
}
