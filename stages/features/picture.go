package features

import (
	"bytes"
	"fmt"
	"image"
	_ "image/gif"  // formats that pictures come in
	_ "image/jpeg" // formats that pictures come in
	_ "image/png"  // formats that pictures come in
	"math"
)

// maxPixels bounds what a picture's header may claim before it is decoded: a
// few bytes can claim gigabytes.
const maxPixels = 64 << 20

// decodePicture decodes a picture of at most maxPixels.
func decodePicture(data []byte) (image.Image, error) {
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if config.Width <= 0 || config.Height <= 0 || config.Width > maxPixels/config.Height {
		return nil, fmt.Errorf("%d×%d pixels, and at most %d are decoded", config.Width, config.Height, maxPixels)
	}
	picture, _, err := image.Decode(bytes.NewReader(data))
	return picture, err
}

const (
	side        = 32 // pictures are sampled on a grid of side × side points
	levels      = 4  // of each colour channel
	cells       = 4  // the gradient is looked at in cells × cells parts
	orientation = 8  // of the gradient, over half a turn
)

// hashPicture adds the histogram of the picture's colours (4×4×4 bins of RGB)
// and those of its gradient's orientation (8 bins in each of 4×4 cells, as in
// Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection",
// CVPR 2005). Weights are square roots of shares, so that the dot product of two
// histograms is their Bhattacharyya coefficient.
func hashPicture(a *accumulator, picture image.Image) {
	var grey [side][side]float64
	colours := make([]float64, levels*levels*levels)
	bounds := picture.Bounds()
	for y := range side {
		for x := range side {
			r, g, b, _ := picture.At(
				bounds.Min.X+(2*x+1)*bounds.Dx()/(2*side),
				bounds.Min.Y+(2*y+1)*bounds.Dy()/(2*side),
			).RGBA()
			colours[(level(r)*levels+level(g))*levels+level(b)]++
			grey[y][x] = (0.299*float64(r) + 0.587*float64(g) + 0.114*float64(b)) / 0xffff
		}
	}
	for bin, n := range colours {
		if n > 0 {
			a.put(fmt.Sprintf("colour %d", bin), math.Sqrt(n/(side*side)))
		}
	}
	hashGradient(a, &grey)
}

func level(channel uint32) int { return int(channel) * levels / 0x10000 }

func hashGradient(a *accumulator, grey *[side][side]float64) {
	var total float64
	var bins [cells * cells * orientation]float64
	for y := 1; y < side-1; y++ {
		for x := 1; x < side-1; x++ {
			dx, dy := grey[y][x+1]-grey[y][x-1], grey[y+1][x]-grey[y-1][x]
			length := math.Hypot(dx, dy)
			if length == 0 {
				continue
			}
			angle := math.Mod(math.Atan2(dy, dx)+math.Pi, math.Pi)
			bin := min(int(angle/math.Pi*orientation), orientation-1)
			cell := y*cells/side*cells + x*cells/side
			bins[cell*orientation+bin] += length
			total += length
		}
	}
	if total == 0 {
		return
	}
	for bin, sum := range bins {
		if sum > 0 {
			a.put(fmt.Sprintf("gradient %d", bin), math.Sqrt(sum/total))
		}
	}
}
