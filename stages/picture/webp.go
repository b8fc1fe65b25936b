package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"
)

// webpAnimated is the bit of an extended file's flags that says so.
const webpAnimated = 0x02

// A webpFile is a WebP picture that was walked (RFC 9649). Of an animation it is
// the first frame on its canvas.
type webpFile struct {
	width, height int

	frame    image.Rectangle // on the canvas
	lossless bool
	bits     []byte // the coded pixels: the body of the chunk VP8 or VP8L
}

func (f *webpFile) info() Info {
	return Info{MediaType: "image/webp", Width: f.width, Height: f.height}
}

func walkWebP(data []byte, limits Limits) (file, error) {
	size := int64(binary.LittleEndian.Uint32(data[4:]))
	if size < 4 {
		return nil, malformed("a WebP of %d bytes", size)
	}
	f := &webpFile{}
	present := min(size+8, int64(len(data)))
	err := f.chunks(&cursor{data: data[:present], at: 12}, limits)
	if present < size+8 && !errors.Is(err, ErrTooLarge) {
		return nil, fmt.Errorf("%w: %d bytes of a WebP of %d", ErrTruncated, present, size+8)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// chunks reads all of a file.
func (f *webpFile) chunks(c *cursor, limits Limits) error {
	flags, extended := byte(0), false
	for first := true; c.at < len(c.data); first = false {
		name, body, err := webpChunk(c)
		if err != nil {
			return err
		}
		switch {
		case name == "VP8X" && first:
			flags, extended = body[0], true
			err = f.canvas(body, limits)
		case name == "VP8X":
			err = malformed("a WebP with a second header")
		case f.bits != nil: // the rest are other frames, metadata, and what only others understand
		case name == "ANMF" && flags&webpAnimated != 0:
			err = f.animationFrame(body)
		case (name == "VP8 " || name == "VP8L") && flags&webpAnimated == 0:
			err = f.picture(name, body, extended, limits)
		case first:
			err = malformed("a WebP that begins with a chunk %q", name)
		}
		if err != nil {
			return err
		}
	}
	if f.bits == nil {
		return malformed("a WebP without pixels")
	}
	return nil
}

// webpChunk reads a chunk with the byte that pads an odd length, which may be
// missing at the end.
func webpChunk(c *cursor) (name string, body []byte, err error) {
	head, err := c.take(8)
	if err != nil {
		return "", nil, err
	}
	name, size := string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
	if body, err = c.take(size); err != nil {
		return "", nil, err
	}
	c.at = min(c.at+int(size&1), len(c.data))
	if name == "VP8X" && size < 10 || name == "ANMF" && size < 16 {
		return "", nil, malformed("a WebP with a chunk %q of %d bytes", name, size)
	}
	return name, body, nil
}

// canvas reads the size in an extended file's header.
func (f *webpFile) canvas(header []byte, limits Limits) error {
	f.width, f.height = 1+uint24(header[4:]), 1+uint24(header[7:])
	return limits.check(int64(f.width), int64(f.height))
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// picture takes the one picture of a file, which fills the canvas.
func (f *webpFile) picture(name string, body []byte, extended bool, limits Limits) error {
	size, err := bitstreamSize(name, body)
	if err != nil {
		return err
	}
	if !extended {
		f.width, f.height = size.X, size.Y
	}
	if size != image.Pt(f.width, f.height) {
		return malformed("a WebP of %d×%d pixels on a canvas of %d×%d", size.X, size.Y, f.width, f.height)
	}
	f.frame = image.Rectangle{Max: size}
	f.lossless, f.bits = name == "VP8L", body
	return limits.check(int64(f.width), int64(f.height))
}

// animationFrame takes an animation's first frame.
func (f *webpFile) animationFrame(body []byte) error {
	at := image.Pt(2*uint24(body), 2*uint24(body[3:]))
	want := image.Pt(1+uint24(body[6:]), 1+uint24(body[9:]))
	for c := (&cursor{data: body, at: 16}); c.at < len(body); {
		name, bits, err := webpChunk(c)
		if err != nil {
			return malformed("a WebP whose first frame is shorter than its parts")
		}
		if name != "VP8 " && name != "VP8L" {
			continue
		}
		size, err := bitstreamSize(name, bits)
		if err != nil {
			return err
		}
		f.frame = image.Rectangle{Min: at, Max: at.Add(size)}
		if size != want || !f.frame.In(image.Rect(0, 0, f.width, f.height)) {
			return malformed("a WebP whose first frame, of %v pixels instead of %v, is at %v on a canvas of %d×%d", size, want, at, f.width, f.height)
		}
		f.lossless, f.bits = name == "VP8L", bits
		return nil
	}
	return malformed("a WebP whose first frame has no pixels")
}

// bitstreamSize reads the size that the coded pixels themselves begin with
// (RFC 6386, section 9.1, and RFC 9649, section 3.4).
func bitstreamSize(name string, bits []byte) (image.Point, error) {
	var size image.Point
	switch {
	case name == "VP8L" && len(bits) >= 5 && bits[0] == 0x2f:
		header := binary.LittleEndian.Uint32(bits[1:])
		size = image.Pt(int(1+header&0x3fff), int(1+header>>14&0x3fff))
	case name == "VP8 " && len(bits) >= 10 && bits[0]&1 == 0 && bytes.Equal(bits[3:6], []byte{0x9d, 0x01, 0x2a}):
		size.X = int(binary.LittleEndian.Uint16(bits[6:]) & 0x3fff)
		size.Y = int(binary.LittleEndian.Uint16(bits[8:]) & 0x3fff)
	}
	if size.X == 0 || size.Y == 0 {
		return image.Point{}, malformed("a WebP whose pixels have no proper header")
	}
	return size, nil
}

func (f *webpFile) decode(d *Decoder) (RGB, error) {
	frame, err := d.webp.decode(f)
	if err != nil || frame.Width == f.width && frame.Height == f.height {
		return frame, err
	}
	to := newRGB(f.width, f.height) // black around a frame, as in libwebp's animations
	for y := range frame.Height {
		copy(to.row(f.frame.Min.Y + y)[3*f.frame.Min.X:], frame.row(y))
	}
	return to, nil
}

// plain is the frame as a file of its own, without alpha and metadata.
func (f *webpFile) plain() []byte {
	name := "VP8 "
	if f.lossless {
		name = "VP8L"
	}
	padding := len(f.bits) & 1
	file := make([]byte, 0, 20+len(f.bits)+padding)
	file = append(file, "RIFF"...)
	file = binary.LittleEndian.AppendUint32(file, uint32(12+len(f.bits)+padding))
	file = append(file, "WEBP"+name...)
	file = binary.LittleEndian.AppendUint32(file, uint32(len(f.bits)))
	file = append(file, f.bits...)
	return append(file, make([]byte, padding)...)
}

// decodeGoWebP decodes by golang.org/x/image.
func decodeGoWebP(f *webpFile) (RGB, error) {
	info := Info{Width: f.frame.Dx(), Height: f.frame.Dy()}
	if f.lossless {
		img, err := vp8l.Decode(bytes.NewReader(f.bits))
		if err != nil {
			return RGB{}, err
		}
		return rgbOf(img, info)
	}
	decoder := vp8.NewDecoder()
	decoder.Init(bytes.NewReader(f.bits), len(f.bits))
	if _, err := decoder.DecodeFrameHeader(); err != nil {
		return RGB{}, err
	}
	img, err := decoder.DecodeFrame()
	if err != nil {
		return RGB{}, err
	}
	if size := img.Bounds().Size(); size != f.frame.Size() {
		return RGB{}, fmt.Errorf("its header says %v pixels, and it has %v", f.frame.Size(), size)
	}
	to := newRGB(info.Width, info.Height)
	rgbOfVP8(img, to)
	return to, nil
}

// rgbOfVP8 converts as libwebp does: chroma is interpolated between the four
// nearest samples, with weights 9, 3, 3 and 1, rounded in libwebp's two steps.
// Like it, and unlike JPEG, VP8 has luma from 16 to 235.
func rgbOfVP8(img *image.YCbCr, to RGB) {
	lastX, lastY := (to.Width-1)/2, (to.Height-1)/2
	for y := range to.Height {
		near, far := neighbours(y, lastY)
		near, far = near*img.CStride, far*img.CStride
		luma, row := img.Y[y*img.YStride:], to.row(y)
		for x := range to.Width {
			here, beside := neighbours(x, lastX)
			u := interpolated(img.Cb[near+here], img.Cb[near+beside], img.Cb[far+here], img.Cb[far+beside])
			v := interpolated(img.Cr[near+here], img.Cr[near+beside], img.Cr[far+here], img.Cr[far+beside])
			row[3*x], row[3*x+1], row[3*x+2] = rgbOfLimited(int32(luma[x]), u, v)
		}
	}
}

// neighbours are the chroma samples nearest to a pixel, the nearer one first.
func neighbours(at, last int) (near, far int) {
	near = at / 2
	return near, min(max(near-1+at%2*2, 0), last)
}

func interpolated(near, beside, below, opposite byte) int32 {
	a, b, c, d := int32(near), int32(beside), int32(below), int32(opposite)
	return ((a+3*b+3*c+d+8)>>3 + a) >> 1
}

// rgbOfLimited is BT.601 of limited range in libwebp's fixed-point numbers: 14
// bits for the factors, of which 8 go after each product and 6 after the sum.
func rgbOfLimited(y, u, v int32) (r, g, b byte) {
	const (
		luma             = 19077 // 255/219
		redOfV           = 26149 // 1.596
		greenOfU         = 6419  // 0.392
		greenOfV         = 13320 // 0.813
		blueOfU          = 33050 // 2.017
		offRed, offGreen = 14234, 8708
		offBlue          = 17685
	)
	base := y * luma >> 8
	return clipped((base + v*redOfV>>8 - offRed) >> 6),
		clipped((base - u*greenOfU>>8 - v*greenOfV>>8 + offGreen) >> 6),
		clipped((base + u*blueOfU>>8 - offBlue) >> 6)
}

func clipped(level int32) byte { return byte(min(max(level, 0), 255)) }
