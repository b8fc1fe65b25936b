package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
)

const pngSignature = "\x89PNG\r\n\x1a\n"

// Colour types of PNG (ISO/IEC 15948, table 11.1).
const (
	pngGrey      = 0
	pngRGB       = 2
	pngPalette   = 3
	pngGreyAlpha = 4
	pngRGBA      = 6
)

// pngDepths are the bits a sample that each colour type may have.
var pngDepths = map[byte]string{
	pngGrey: "\x01\x02\x04\x08\x10", pngRGB: "\x08\x10", pngPalette: "\x01\x02\x04\x08", pngGreyAlpha: "\x08\x10", pngRGBA: "\x08\x10",
}

// A pngFile is a PNG picture that was walked.
type pngFile struct {
	data          []byte
	width, height int
	colour        byte
	hasPixels     bool
}

func (f *pngFile) info() Info { return Info{MediaType: "image/png", Width: f.width, Height: f.height} }

func walkPNG(data []byte, limits Limits) (file, error) {
	f := &pngFile{}
	c := &cursor{data: data, at: len(pngSignature)}
	for first := true; ; first = false {
		name, body, err := pngChunk(c)
		if err == nil && first {
			err = f.header(name, body, limits)
		}
		if err != nil {
			return nil, err
		}
		if err := checkPNGChunk(c, name, body); err != nil {
			return nil, err
		}
		switch name {
		case "IDAT":
			f.hasPixels = true
		case "IEND":
			if !f.hasPixels {
				return nil, malformed("a PNG without pixels")
			}
			f.data = data[:c.at]
			return f, nil
		}
	}
}

// pngChunk reads a chunk up to its checksum. Of a first chunk that is cut short
// nothing is known; of a later one the size is.
func pngChunk(c *cursor) (name string, body []byte, err error) {
	head, err := c.take(8)
	if err != nil {
		return "", nil, err
	}
	body, err = c.take(int64(binary.BigEndian.Uint32(head)))
	return string(head[4:]), body, err
}

func checkPNGChunk(c *cursor, name string, body []byte) error {
	sum, err := c.take(4)
	if err != nil {
		return err
	}
	if crc32.Update(crc32.ChecksumIEEE([]byte(name)), crc32.IEEETable, body) != binary.BigEndian.Uint32(sum) {
		return malformed("a PNG whose chunk %q is damaged (its checksum is wrong)", name)
	}
	return nil
}

// header reads the chunk that says the picture's size.
func (f *pngFile) header(name string, body []byte, limits Limits) error {
	if name != "IHDR" || len(body) != 13 {
		return malformed("a PNG that begins with a chunk %q of %d bytes", name, len(body))
	}
	width, height := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
	depth, compression, filter, interlace := body[8], body[10], body[11], body[12]
	f.colour = body[9]
	switch {
	case width == 0 || height == 0 || width > 1<<31-1 || height > 1<<31-1:
		return malformed("a PNG of %d×%d pixels", width, height)
	case bytes.IndexByte([]byte(pngDepths[f.colour]), depth) < 0:
		return malformed("a PNG of colour type %d with %d bits", f.colour, depth)
	case compression != 0 || filter != 0 || interlace > 1:
		return malformed("a PNG of compression %d, filter %d, interlace %d", compression, filter, interlace)
	}
	f.width, f.height = int(width), int(height)
	return limits.check(int64(width), int64(height))
}

func (f *pngFile) decode(*Decoder) (RGB, error) {
	img, err := png.Decode(bytes.NewReader(f.data))
	if err != nil {
		return RGB{}, err
	}
	if f.colour == pngGrey {
		if wide, ok := img.(*image.NRGBA64); ok { // with a transparent grey
			return rgbOfWideGrey(wide.Pix, wide.Stride, 8, f.info()), nil
		}
	}
	return rgbOf(img, f.info())
}

// rgbOfWideGrey converts greys of 16 bits, big endian, one every step bytes. PIL
// clips them at 255 instead of scaling them.
func rgbOfWideGrey(pix []byte, stride, step int, info Info) RGB {
	to := newRGB(info.Width, info.Height)
	for y := range to.Height {
		row := to.row(y)
		for x := range to.Width {
			grey := pix[y*stride+step*x+1]
			if pix[y*stride+step*x] != 0 {
				grey = 255
			}
			row[3*x], row[3*x+1], row[3*x+2] = grey, grey, grey
		}
	}
	return to
}

// rgbOf is what PIL's convert("RGB") makes of a picture that a decoder of Go's
// libraries returned: alpha is dropped, not multiplied in.
func rgbOf(img image.Image, info Info) (RGB, error) {
	if size := img.Bounds().Size(); size != image.Pt(info.Width, info.Height) {
		return RGB{}, fmt.Errorf("its header says %d×%d pixels, and it has %d×%d", info.Width, info.Height, size.X, size.Y)
	}
	to := newRGB(info.Width, info.Height)
	switch img := img.(type) {
	case *image.YCbCr:
		rgbOfYCbCr(img, to)
	case *image.CMYK:
		rgbOfCMYK(img.Pix, to)
	case *image.Gray:
		pick(to, img.Pix, img.Stride, 1, [3]int{0, 0, 0})
	case *image.Gray16:
		return rgbOfWideGrey(img.Pix, img.Stride, 2, info), nil
	case *image.NRGBA:
		pick(to, img.Pix, img.Stride, 4, [3]int{0, 1, 2})
	case *image.RGBA: // opaque
		pick(to, img.Pix, img.Stride, 4, [3]int{0, 1, 2})
	case *image.NRGBA64:
		pick(to, img.Pix, img.Stride, 8, [3]int{0, 2, 4})
	case *image.RGBA64: // opaque
		pick(to, img.Pix, img.Stride, 8, [3]int{0, 2, 4})
	case *image.Paletted:
		rgbOfPaletted(img, to)
	default:
		return RGB{}, fmt.Errorf("pixels of type %T", img)
	}
	return to, nil
}

// pick takes the bytes at three offsets of every pixel of size bytes.
func pick(to RGB, pix []byte, stride, size int, at [3]int) {
	for y := range to.Height {
		from, row := pix[y*stride:], to.row(y)
		for x := range to.Width {
			pixel := from[size*x : size*(x+1)]
			row[3*x], row[3*x+1], row[3*x+2] = pixel[at[0]], pixel[at[1]], pixel[at[2]]
		}
	}
}

func rgbOfPaletted(img *image.Paletted, to RGB) {
	var colours palette // what is not in the file's palette is black
	for i, c := range img.Palette {
		switch c := c.(type) {
		case color.RGBA: // opaque
			colours[i] = [3]byte{c.R, c.G, c.B}
		case color.NRGBA:
			colours[i] = [3]byte{c.R, c.G, c.B}
		}
	}
	for y := range to.Height {
		colours.fill(to.row(y), img.Pix[y*img.Stride:y*img.Stride+to.Width])
	}
}

// A palette is the colours of pixels that are indices.
type palette [256][3]byte

// fill writes the colours of pixels.
func (p *palette) fill(row, indices []byte) {
	for x, i := range indices {
		copy(row[3*x:], p[i][:])
	}
}
