package features

import (
	"fmt"
	"math"

	"github.com/prismflow/prismflow/stages/picture"
)

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
func hashPicture(a *accumulator, of picture.RGB) {
	var grey [side][side]float64
	colours := make([]float64, levels*levels*levels)
	for y := range side {
		for x := range side {
			r, g, b := colourAt(of, (2*x+1)*of.Width/(2*side), (2*y+1)*of.Height/(2*side))
			colours[(level(r)*levels+level(g))*levels+level(b)]++
			grey[y][x] = (0.299*float64(r) + 0.587*float64(g) + 0.114*float64(b)) / 0xff
		}
	}
	for bin, n := range colours {
		if n > 0 {
			a.put(fmt.Sprintf("colour %d", bin), math.Sqrt(n/(side*side)))
		}
	}
	hashGradient(a, &grey)
}

func colourAt(of picture.RGB, x, y int) (r, g, b byte) {
	at := 3 * (y*of.Width + x)
	return of.Pix[at], of.Pix[at+1], of.Pix[at+2]
}

func level(channel byte) int { return int(channel) * levels / 0x100 }

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
