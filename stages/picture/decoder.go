package picture

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"golang.org/x/sync/semaphore"
)

// Choices of [Open].
const (
	Auto   = "auto"   // the system's libraries where they are there, Go's decoders where not
	Native = "native" // the system's libraries, or an error
	Go     = "go"     // Go's decoders
)

// Names of what decodes one format.
const (
	turboJPEGName = "libjpeg-turbo"
	libWebPName   = "libwebp"
	goJPEGName    = "go-jpeg"
	goWebPName    = "go-webp"
)

// A Decoder decodes pictures. It may be used by several goroutines at once.
type Decoder struct {
	jpeg codec[*jpegFile]
	webp codec[*webpFile]
	room *semaphore.Weighted // pixels of the pictures in use, see Use
}

// roomPixels are those of all pictures in use at once: two of the largest that
// are decoded by default, which take 1.4 GiB in the worst case.
const roomPixels = 2 * defaultPixels

// A codec decodes one format.
type codec[F file] struct {
	name    string
	version string // empty when it does not tell
	decode  func(F) (RGB, error)
	missing error // why the system's library is not used, nil for Go by choice
}

func goJPEG(missing error) codec[*jpegFile] {
	return codec[*jpegFile]{name: goJPEGName, decode: decodeGoJPEG, missing: missing}
}

func goWebP(missing error) codec[*webpFile] {
	return codec[*webpFile]{name: goWebPName, decode: decodeGoWebP, missing: missing}
}

// Open finds the libraries that decode pictures as PIL does: choice is "auto",
// "native" (an error where one is not there, which says what to install) or "go".
// Libraries are loaded once and stay loaded until the process ends.
func Open(choice string) (*Decoder, error) {
	switch choice {
	case Go:
		return &Decoder{jpeg: goJPEG(nil), webp: goWebP(nil), room: newRoom()}, nil
	case Auto, Native:
	default:
		return nil, fmt.Errorf("decoder %q: must be %s, %s or %s", choice, Auto, Native, Go)
	}
	d := &Decoder{room: newRoom()}
	if lib, err := loadTurboJPEG(); err == nil {
		d.jpeg = codec[*jpegFile]{name: turboJPEGName, version: lib.version, decode: lib.decode}
	} else {
		d.jpeg = goJPEG(err)
	}
	if lib, err := loadLibWebP(); err == nil {
		d.webp = codec[*webpFile]{name: libWebPName, version: lib.version, decode: lib.decode}
	} else {
		d.webp = goWebP(err)
	}
	if err := d.Missing(); err != nil && choice == Native {
		return nil, err
	}
	return d, nil
}

func newRoom() *semaphore.Weighted { return semaphore.NewWeighted(roomPixels) }

// NameOf is the name of the decoder that Open gives for a choice: for the keys of
// results. Native is named also where its libraries are not there, as a result
// that was computed elsewhere needs no decoder.
func NameOf(choice string) string {
	if choice == Native {
		return turboJPEGName + "," + libWebPName
	}
	d, err := Open(choice)
	if err != nil {
		return choice // Open says what is wrong with it
	}
	return d.Name()
}

// Name says which decoder it is, of JPEG and of WebP: part of the key of what
// depends on its pixels. PNG and GIF are decoded by Go always, exactly.
func (d *Decoder) Name() string {
	if d.jpeg.name == goJPEGName && d.webp.name == goWebPName {
		return Go
	}
	return d.jpeg.name + "," + d.webp.name
}

// Versions are those of the libraries by name, where they tell them.
func (d *Decoder) Versions() map[string]string {
	versions := map[string]string{d.jpeg.name: d.jpeg.version, d.webp.name: d.webp.version}
	maps.DeleteFunc(versions, func(_, version string) bool { return version == "" })
	return versions
}

// Missing is nil, or says which of the libraries that were asked for are not
// there, and how to get them.
func (d *Decoder) Missing() error {
	err := errors.Join(d.jpeg.missing, d.webp.missing)
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// Decode decodes the first frame as 8-bit RGB, after the checks of [Inspect].
// Transparency is dropped, as PIL's convert("RGB") does: a pixel has the colour
// that the file gives it, also where it is transparent. Greys of 16 bits are
// clipped at 255, as PIL does too, colours of 16 bits lose their low byte, and
// CMYK is taken as inverted, as Adobe writes it.
//
// Pictures that are cut short within their coded pixels, which the file's
// structure does not show, are an error for some formats and decoders, and grey
// at the end for libjpeg-turbo, as for PIL.
func (d *Decoder) Decode(data []byte, limits Limits) (RGB, error) {
	f, err := walk(data, limits)
	if err != nil {
		return RGB{}, err
	}
	return d.decode(f)
}

// Use decodes a picture as [Decoder.Decode] does and hands it to use, which does
// not keep it. However many goroutines do so, the pictures in use at once have no
// more pixels than two of the largest: a few kilobytes can be a picture of half a
// gigabyte, and one for each core of a large machine would be too many. The error
// is that of decoding, or of use.
func (d *Decoder) Use(data []byte, limits Limits, use func(RGB) error) error {
	f, err := walk(data, limits)
	if err != nil {
		return err
	}
	info := f.info()
	pixels := min(int64(info.Width)*int64(info.Height), roomPixels)
	if err := d.room.Acquire(context.Background(), pixels); err != nil { // others are done in moments
		return err
	}
	defer d.room.Release(pixels)
	picture, err := d.decode(f)
	if err != nil {
		return err
	}
	return use(picture)
}

// decode decodes what was walked.
func (d *Decoder) decode(f file) (picture RGB, err error) {
	// A mistake in a decoder must cost one picture, not the run.
	defer func() {
		if mistake := recover(); mistake != nil {
			picture, err = RGB{}, fmt.Errorf("decoding %s: a mistake in its decoder: %v", f.info().MediaType, mistake)
		}
	}()
	if picture, err = f.decode(d); err != nil {
		return RGB{}, fmt.Errorf("decoding %s: %w", f.info().MediaType, err)
	}
	return picture, nil
}
