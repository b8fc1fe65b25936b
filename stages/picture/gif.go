package picture

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"fmt"
	"io"
)

// Blocks of GIF (GIF89a specification, appendix A) and bits in their fields.
const (
	gifExtension      = 0x21
	gifGraphicControl = 0xf9
	gifFrame          = 0x2c
	gifTrailer        = 0x3b

	gifHasPalette     = 0x80
	gifInterlaced     = 0x40
	gifHasTransparent = 0x01
)

// A gifFile is a GIF picture that was walked. Go's image/gif is not used: it
// forgets the colour of transparent pixels, which PIL keeps, and refuses frames
// that reach over the canvas.
type gifFile struct {
	width, height int // the canvas with the whole first frame in it

	canvasPalette []byte
	background    byte // index of the pixels outside of the first frame
	hasFrame      bool
	left, top     int
	frameWidth    int
	frameHeight   int
	palette       []byte
	interlaced    bool
	bits          byte   // at which codes start
	pixels        []byte // the first frame's, in sub-blocks
}

func (f *gifFile) info() Info { return Info{MediaType: "image/gif", Width: f.width, Height: f.height} }

func walkGIF(data []byte, limits Limits) (file, error) {
	f := &gifFile{}
	c := &cursor{data: data, at: len("GIF89a")}
	if err := f.header(c, limits); err != nil {
		return nil, err
	}
	for {
		block, err := c.byte()
		if err != nil {
			return nil, err
		}
		switch block {
		case gifExtension:
			err = f.extension(c)
		case gifFrame:
			err = f.frame(c, limits)
		case 0: // padding, which some encoders write
		case gifTrailer:
			if !f.hasFrame {
				return nil, malformed("a GIF without a frame")
			}
			return f, nil
		default:
			return nil, malformed("a GIF with a block of kind %#02x", block)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (f *gifFile) header(c *cursor, limits Limits) error {
	screen, err := c.take(7)
	if err != nil {
		return err
	}
	f.width, f.height = int(binary.LittleEndian.Uint16(screen)), int(binary.LittleEndian.Uint16(screen[2:]))
	if err := limits.check(int64(f.width), int64(f.height)); err != nil {
		return err
	}
	f.canvasPalette, err = gifPalette(c, screen[4])
	return err
}

// gifPalette reads the palette that flags say follows.
func gifPalette(c *cursor, flags byte) ([]byte, error) {
	if flags&gifHasPalette == 0 {
		return nil, nil
	}
	return c.take(3 << (flags&7 + 1))
}

func (f *gifFile) extension(c *cursor) error {
	label, err := c.byte()
	if err != nil {
		return err
	}
	first, err := subBlock(c)
	if err != nil {
		return err
	}
	if label == gifGraphicControl && !f.hasFrame && len(first) >= 4 && first[0]&gifHasTransparent != 0 {
		f.background = first[3]
	}
	for rest := first; len(rest) > 0; {
		if rest, err = subBlock(c); err != nil {
			return err
		}
	}
	return nil
}

// subBlock reads a piece of data; the last one is empty.
func subBlock(c *cursor) ([]byte, error) {
	size, err := c.byte()
	if err != nil {
		return nil, err
	}
	return c.take(int64(size))
}

func (f *gifFile) frame(c *cursor, limits Limits) error {
	descriptor, err := c.take(9)
	if err != nil {
		return err
	}
	flags := descriptor[8]
	colours, err := gifPalette(c, flags)
	if err != nil {
		return err
	}
	if !f.hasFrame {
		if err := f.place(descriptor, limits); err != nil {
			return err
		}
		f.palette, f.interlaced = colours, flags&gifInterlaced != 0
		if colours == nil {
			f.palette = f.canvasPalette
		}
	}
	bits, err := c.byte()
	if err != nil {
		return err
	}
	begin := c.at
	for piece := []byte{0}; len(piece) > 0; {
		if piece, err = subBlock(c); err != nil {
			return err
		}
	}
	if !f.hasFrame {
		f.hasFrame, f.bits, f.pixels = true, bits, c.data[begin:c.at]
	}
	return nil
}

// place takes the first frame's place on the canvas, which grows to hold it.
func (f *gifFile) place(descriptor []byte, limits Limits) error {
	var numbers [4]int
	for i := range numbers {
		numbers[i] = int(binary.LittleEndian.Uint16(descriptor[2*i:]))
	}
	f.left, f.top, f.frameWidth, f.frameHeight = numbers[0], numbers[1], numbers[2], numbers[3]
	if f.frameWidth == 0 || f.frameHeight == 0 {
		return malformed("a GIF whose first frame has %d×%d pixels", f.frameWidth, f.frameHeight)
	}
	f.width, f.height = max(f.width, f.left+f.frameWidth), max(f.height, f.top+f.frameHeight)
	return limits.check(int64(f.width), int64(f.height))
}

func (f *gifFile) decode(*Decoder) (RGB, error) {
	if f.bits < 2 || f.bits > 8 {
		return RGB{}, fmt.Errorf("its codes begin at %d bits", f.bits)
	}
	codes := lzw.NewReader(&subBlocks{rest: f.pixels}, lzw.LSB, int(f.bits))
	defer codes.Close()
	colours := f.colours()
	to := newRGB(f.width, f.height)
	if colours[f.background] != [3]byte{} {
		f.paintBackground(to, colours)
	}
	indices := make([]byte, f.frameWidth)
	for i := range f.frameHeight {
		if _, err := io.ReadFull(codes, indices); err != nil {
			return RGB{}, fmt.Errorf("row %d of %d: %w", i+1, f.frameHeight, err)
		}
		colours.fill(to.row(f.top + f.rowAt(i))[3*f.left:], indices)
	}
	return to, nil
}

func (f *gifFile) paintBackground(to RGB, colours *palette) {
	colours.fill(to.row(0), bytes.Repeat([]byte{f.background}, f.width))
	for y := 1; y < f.height; y++ {
		copy(to.row(y), to.row(0))
	}
}

// colours are the first frame's. Without a palette indices are greys.
func (f *gifFile) colours() *palette {
	colours := new(palette)
	for i := range colours {
		switch {
		case f.palette == nil:
			colours[i] = [3]byte{byte(i), byte(i), byte(i)}
		case 3*i < len(f.palette):
			colours[i] = [3]byte(f.palette[3*i:])
		}
	}
	return colours
}

// rowAt is where the i-th row of the data is in the frame: interlaced rows come
// as every eighth, every eighth from the fifth, every fourth from the third, and
// every second from the second.
func (f *gifFile) rowAt(i int) int {
	if !f.interlaced {
		return i
	}
	for _, pass := range [...]struct{ first, step int }{{0, 8}, {4, 8}, {2, 4}} {
		rows := max(0, (f.frameHeight-pass.first+pass.step-1)/pass.step)
		if i < rows {
			return pass.first + pass.step*i
		}
		i -= rows
	}
	return 1 + 2*i
}

// subBlocks reads the data in sub-blocks that were walked before.
type subBlocks struct{ rest, piece []byte }

func (s *subBlocks) ReadByte() (byte, error) {
	var one [1]byte
	_, err := s.Read(one[:])
	return one[0], err
}

func (s *subBlocks) Read(p []byte) (int, error) {
	if len(s.piece) == 0 {
		size := int(s.rest[0])
		if size == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		s.piece, s.rest = s.rest[1:1+size], s.rest[1+size:]
	}
	n := copy(p, s.piece)
	s.piece = s.piece[n:]
	return n, nil
}
