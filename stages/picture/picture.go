// Package picture reads the pictures of items: hostile bytes in, pixels out.
//
//	decoder, err := picture.Open("auto")
//	...
//	info, err := picture.Inspect(data, picture.Limits{}) // nothing is decoded yet
//	...
//	rgb, err := decoder.Decode(data, picture.Limits{})   // rgb.Pix[3*(y*rgb.Width+x)] is red
//
// Pixels are those that PIL, which the reference models were trained with, has
// after convert("RGB"). To the byte they are where libjpeg-turbo and libwebp are
// on the machine; both are loaded at run time, and Go's decoders stand in for
// them. Which they were, [Decoder.Name] says.
//
// The package does not resize, crop, turn (EXIF is not read), or write pictures,
// and of an animation it reads the first frame alone.
package picture

import (
	"bytes"
	"errors"
	"fmt"
)

var (
	// ErrFormat says that bytes are no picture of a known format.
	ErrFormat = errors.New("not a readable JPEG, PNG, GIF or WebP picture")

	// ErrTruncated says that a picture ends too early.
	ErrTruncated = errors.New("the picture is cut short")

	// ErrTooLarge says that a picture's header claims more than is decoded.
	ErrTooLarge = errors.New("the picture is too large")
)

// An Info is what a picture's bytes say before anything is decoded.
type Info struct {
	MediaType     string // image/jpeg, image/png, image/gif or image/webp
	Width, Height int    // pixels
}

// Limits bound what is decoded. The zero value means the defaults.
type Limits struct {
	Pixels int64 // 0: 64 Mi pixels
}

// defaultPixels take 192 MiB as RGB, and up to 512 MiB more while a picture of
// 16 bits a channel is decoded.
const defaultPixels = 64 << 20

// check returns ErrTooLarge for more pixels than the limit. Both sides have
// less than 32 bits in every format, so their product cannot overflow.
func (l Limits) check(width, height int64) error {
	most := l.Pixels
	if most <= 0 {
		most = defaultPixels
	}
	if width*height > most {
		return fmt.Errorf("%w: %d×%d pixels, and at most %d are decoded", ErrTooLarge, width, height, most)
	}
	return nil
}

// RGB is a decoded picture: Height rows of Width pixels of three bytes.
type RGB struct {
	Width, Height int
	Pix           []byte
}

func newRGB(width, height int) RGB {
	return RGB{Width: width, Height: height, Pix: make([]byte, 3*width*height)}
}

// row is one row's bytes.
func (p RGB) row(y int) []byte { return p.Pix[3*p.Width*y : 3*p.Width*(y+1)] }

// Inspect tells format and size from the bytes alone, walks the file's structure
// to its end, and checks the limits. Bytes after the picture's end are ignored.
// It reads each byte once and decodes nothing, so that what it lets pass may
// still fail to be decoded. Errors are ErrFormat, which says what the bytes seem
// to be, ErrTruncated and ErrTooLarge.
func Inspect(data []byte, limits Limits) (Info, error) {
	f, err := walk(data, limits)
	if err != nil {
		return Info{}, err
	}
	return f.info(), nil
}

// A file is a picture whose structure was walked to its end.
type file interface {
	info() Info
	decode(d *Decoder) (RGB, error)
}

// walk finds out the format by the first bytes and goes to the end.
func walk(data []byte, limits Limits) (file, error) {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return walkJPEG(data, limits)
	case bytes.HasPrefix(data, []byte(pngSignature)):
		return walkPNG(data, limits)
	case bytes.HasPrefix(data, []byte("GIF87a")), bytes.HasPrefix(data, []byte("GIF89a")):
		return walkGIF(data, limits)
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return walkWebP(data, limits)
	}
	if format := beginningOf(data); format != "" {
		return nil, fmt.Errorf("%w: %d bytes of a %s", ErrTruncated, len(data), format)
	}
	return nil, fmt.Errorf("%w: it seems to be %s", ErrFormat, seemsToBe(data))
}

// malformed is an ErrFormat that says how.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// A cursor goes through bytes.
type cursor struct {
	data []byte
	at   int
}

// take returns the next n bytes, or ErrTruncated.
func (c *cursor) take(n int64) ([]byte, error) {
	if n > int64(len(c.data)-c.at) {
		return nil, fmt.Errorf("%w: %d bytes are to follow byte %d, and %d do", ErrTruncated, n, c.at, len(c.data)-c.at)
	}
	piece := c.data[c.at : c.at+int(n)]
	c.at += int(n)
	return piece, nil
}

func (c *cursor) byte() (byte, error) {
	piece, err := c.take(1)
	if err != nil {
		return 0, err
	}
	return piece[0], nil
}
