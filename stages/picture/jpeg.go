package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
)

// Markers of JPEG (ITU-T T.81, table B.1).
const (
	jpegSOF0  = 0xc0 // baseline
	jpegSOF1  = 0xc1 // extended sequential
	jpegSOF2  = 0xc2 // progressive
	jpegDHT   = 0xc4
	jpegJPG   = 0xc8
	jpegSOF9  = 0xc9 // sequential, arithmetic coding
	jpegSOF10 = 0xca // progressive, arithmetic coding
	jpegDAC   = 0xcc
	jpegSOF15 = 0xcf
	jpegRST0  = 0xd0
	jpegRST7  = 0xd7
	jpegSOI   = 0xd8
	jpegEOI   = 0xd9
	jpegSOS   = 0xda
	jpegAPP14 = 0xee
	jpegTEM   = 0x01
)

// maxScans bounds the passes over a progressive picture. A scan of a few bytes
// makes a decoder go over all coefficients, so that without a bound a small file
// takes hours. Encoders write about ten; cjpeg accepts scripts of up to 100.
const maxScans = 100

// maxScanned bounds the pixels that all passes go over together: of the largest
// pictures there may be 16, of those of ten megapixels a hundred.
const maxScanned = 16 * defaultPixels

// A jpegFile is a JPEG picture that was walked.
type jpegFile struct {
	data          []byte
	width, height int
	components    int // 1, 3 or 4
	adobe         bool
	scans         int
}

func (f *jpegFile) info() Info {
	return Info{MediaType: "image/jpeg", Width: f.width, Height: f.height}
}

func (f *jpegFile) decode(d *Decoder) (RGB, error) { return d.jpeg.decode(f) }

func walkJPEG(data []byte, limits Limits) (file, error) {
	f := &jpegFile{data: data}
	for c := (&cursor{data: data, at: 2}); ; {
		marker, err := nextMarker(c)
		if err != nil {
			return nil, err
		}
		switch {
		case marker == jpegEOI && f.scans == 0:
			return nil, malformed("a JPEG without a scan")
		case marker == jpegEOI:
			f.data = data[:c.at]
			return f, nil
		case marker == jpegSOI:
			return nil, malformed("a JPEG that begins twice")
		case jpegRST0 <= marker && marker <= jpegRST7, marker == jpegTEM:
			continue
		}
		if err := f.segment(c, marker, limits); err != nil {
			return nil, err
		}
	}
}

// nextMarker goes to the next marker. What is before it is the coded data of a
// scan, or bytes that decoders skip.
func nextMarker(c *cursor) (byte, error) {
	for {
		skipped := bytes.IndexByte(c.data[c.at:], 0xff)
		if skipped < 0 {
			return 0, fmt.Errorf("%w: the JPEG's end marker is missing", ErrTruncated)
		}
		c.at += skipped
		marker := byte(0xff)
		for marker == 0xff { // any number of them may come first
			var err error
			if marker, err = c.byte(); err != nil {
				return 0, err
			}
		}
		if marker != 0 { // after 0xff a zero stands for the byte 0xff
			return marker, nil
		}
	}
}

// segment reads what follows a marker.
func (f *jpegFile) segment(c *cursor, marker byte, limits Limits) error {
	length, err := c.take(2)
	if err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint16(length))
	if size < 2 {
		return malformed("a JPEG with a segment of length %d", size)
	}
	body, err := c.take(size - 2)
	if err != nil {
		return err
	}
	switch {
	case jpegSOF0 <= marker && marker <= jpegSOF15 && marker != jpegDHT && marker != jpegJPG && marker != jpegDAC:
		return f.frame(marker, body, limits)
	case marker == jpegSOS:
		return f.scan()
	case marker == jpegAPP14:
		f.adobe = f.adobe || bytes.HasPrefix(body, []byte("Adobe"))
	}
	return nil
}

// frame reads the header that says the picture's size.
func (f *jpegFile) frame(marker byte, body []byte, limits Limits) error {
	switch marker {
	case jpegSOF0, jpegSOF1, jpegSOF2, jpegSOF9, jpegSOF10:
	default:
		return malformed("a JPEG of a rare process (SOF%d)", marker-jpegSOF0)
	}
	if f.components > 0 {
		return malformed("a JPEG with two frames")
	}
	if len(body) < 6 || len(body) != 6+3*int(body[5]) {
		return malformed("a JPEG with a frame header of %d bytes", len(body))
	}
	f.height, f.width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	f.components = int(body[5])
	switch {
	case body[0] != 8:
		return malformed("a JPEG of %d bits a sample", body[0])
	case f.components != 1 && f.components != 3 && f.components != 4:
		return malformed("a JPEG of %d colour components", f.components)
	case f.width == 0 || f.height == 0:
		return malformed("a JPEG of %d×%d pixels", f.width, f.height)
	}
	return limits.check(int64(f.width), int64(f.height))
}

func (f *jpegFile) scan() error {
	if f.components == 0 {
		return malformed("a JPEG whose scan precedes its frame header")
	}
	if f.scans++; f.scans > maxScans {
		return fmt.Errorf("%w: a JPEG of more than %d scans", ErrTooLarge, maxScans)
	}
	if pixels := int64(f.width) * int64(f.height); f.scans > 1 && int64(f.scans)*pixels > maxScanned {
		return fmt.Errorf("%w: a JPEG of %d scans and more over %d×%d pixels", ErrTooLarge, f.scans, f.width, f.height)
	}
	return nil
}

// decodeGoJPEG decodes by Go's library.
func decodeGoJPEG(f *jpegFile) (RGB, error) {
	data := f.data
	if f.components == 4 && !f.adobe {
		data = asAdobeCMYK(data)
	}
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return RGB{}, err
	}
	return rgbOf(img, f.info())
}

// asAdobeCMYK adds the segment that says that four components are CMYK, inverted
// as Adobe writes them. Without it libjpeg and PIL assume just that, and Go's
// library gives up.
func asAdobeCMYK(data []byte) []byte {
	segment := "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
	return append(append([]byte{0xff, jpegSOI}, segment...), data[2:]...)
}

// rgbOfYCbCr converts. Chroma of half the size is interpolated as libjpeg does it,
// whereas Go's library would repeat it, which at edges of colour is far off.
func rgbOfYCbCr(img *image.YCbCr, to RGB) {
	cb, cr := make([]byte, to.Width), make([]byte, to.Width)
	chroma := newUpsampling(img.SubsampleRatio, to)
	for y := range to.Height {
		if chroma == nil {
			for x := range cb {
				at := img.COffset(x, y)
				cb[x], cr[x] = img.Cb[at], img.Cr[at]
			}
		} else {
			chroma.row(cb, img.Cb, img.CStride, y)
			chroma.row(cr, img.Cr, img.CStride, y)
		}
		luma, row := img.Y[y*img.YStride:], to.row(y)
		for x := range cb {
			row[3*x], row[3*x+1], row[3*x+2] = color.YCbCrToRGB(luma[x], cb[x], cr[x])
		}
	}
}

// An upsampling makes chroma samples for every pixel of those that there are for
// every second column, row or both: the nearer one counts three times, the one
// on the pixel's other side once ("triangle filter"). Which way halves are
// rounded alternates, so that the picture as a whole becomes no lighter.
type upsampling struct {
	wide, high  bool // halved columns, halved rows
	lastX       int  // the last sample of a row
	lastY       int  // the last row
	first, next int32
	shift       int
	sums        []int32
}

// newUpsampling is nil where libjpeg repeats samples as well.
func newUpsampling(ratio image.YCbCrSubsampleRatio, to RGB) *upsampling {
	u := &upsampling{lastX: (to.Width - 1) / 2, lastY: (to.Height - 1) / 2}
	switch ratio {
	case image.YCbCrSubsampleRatio420:
		u.wide, u.high, u.first, u.next, u.shift = true, true, 8, 7, 4
	case image.YCbCrSubsampleRatio422:
		u.wide, u.first, u.next, u.shift = true, 1, 2, 2
	case image.YCbCrSubsampleRatio440:
		u.high, u.lastX, u.first, u.next, u.shift = true, to.Width-1, 1, 2, 2
	default:
		return nil
	}
	if u.wide && u.lastX < 2 { // nor does it for very narrow pictures
		return nil
	}
	u.sums = make([]int32, u.lastX+1)
	return u
}

// row writes the samples of row y of the picture.
func (u *upsampling) row(to, plane []byte, stride, y int) {
	near, far := y, y
	if u.high {
		near, far = neighbours(y, u.lastY)
	}
	for i := range u.sums {
		u.sums[i] = int32(plane[near*stride+i])
		if u.high {
			u.sums[i] = 3*u.sums[i] + int32(plane[far*stride+i])
		}
	}
	rounding := [2]int32{u.first, u.next}
	for x := range to {
		if u.wide {
			near, far := neighbours(x, u.lastX)
			to[x] = byte((3*u.sums[near] + u.sums[far] + rounding[x%2]) >> u.shift)
		} else {
			to[x] = byte((u.sums[x] + rounding[y%2]) >> u.shift)
		}
	}
}

// rgbOfCMYK converts ink, four bytes a pixel, as PIL does: each channel is what
// cyan, magenta or yellow leave of what black leaves.
func rgbOfCMYK(ink []byte, to RGB) {
	for i := range to.Width * to.Height {
		left := 255 - uint32(ink[4*i+3])
		for c := range 3 {
			to.Pix[3*i+c] = byte(left - scaled(uint32(ink[4*i+c]), left))
		}
	}
}

// scaled is a·b/255, rounded.
func scaled(a, b uint32) uint32 {
	product := a*b + 128
	return (product + product>>8) >> 8
}
