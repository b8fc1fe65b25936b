package synthetic

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
)

// pictureSide is the width and height of a picture in pixels.
const pictureSide = 32

// picture draws an item: a disc whose hue is the look and whose place, size
// and brightness, like the grey behind it, are chance. It is a PNG file, which
// is not compressed, so that its bytes depend on no version of a compressor.
func picture(look, looks int, random *rand.Rand) ([]byte, error) {
	background := uint8(200 + random.IntN(56))
	radius := 8 + random.Float64()*4
	cx, cy := pictureSide/2+random.NormFloat64()*2, pictureSide/2+random.NormFloat64()*2
	disc := hue(float64(look)/float64(looks), 0.75+0.25*random.Float64())
	img := image.NewPaletted(image.Rect(0, 0, pictureSide, pictureSide),
		color.Palette{color.NRGBA{background, background, background, 255}, disc})
	for y := range pictureSide {
		for x := range pictureSide {
			if math.Hypot(float64(x)-cx, float64(y)-cy) < radius {
				img.SetColorIndex(x, y, 1)
			}
		}
	}
	var buf bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.NoCompression}
	if err := encoder.Encode(&buf, img); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// hue is the saturated colour of that hue (a share of the full circle) and value.
func hue(h, value float64) color.NRGBA {
	channel := func(shift float64) uint8 {
		k := math.Mod(shift+h*6, 6)
		return uint8(255 * value * (1 - math.Max(0, math.Min(1, math.Min(k, 4-k)))))
	}
	return color.NRGBA{channel(5), channel(3), channel(1), 255}
}
