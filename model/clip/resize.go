package clip

import "math"

// fractionBits are those of a tap's weight behind the point. With 8 bits for a level and 2 for overshooting sums, 32 hold
// a sum; PIL rounds to as many, and with equal weights come equal levels.
const (
	fractionBits = 32 - 8 - 2
	one          = 1 << fractionBits
)

// taps are the source pixels that one pixel is the weighted sum of.
type taps struct {
	first   int // source pixel of the first weight
	weights []int32
}

// bicubicTaps are those of the pixels first … first+count-1 along one side of a picture of size source that is resized to
// size target: cubic convolution (Keys 1981) with a = -1/2, stretched when the picture gets smaller so that no source pixel
// is left out (antialiasing), cut off at the borders, and weighted to a sum of one.
func bicubicTaps(source, target, first, count int) []taps {
	scale := float64(source) / float64(target)
	stretch := max(scale, 1)
	support := 2 * stretch
	all := make([]taps, count)
	var kernel []float64
	for i := range all {
		center := (float64(first+i) + 0.5) * scale
		begin := max(int(center-support+0.5), 0)
		end := min(int(center+support+0.5), source)
		kernel = kernel[:0]
		sum := 0.0
		for at := begin; at < end; at++ {
			weight := cubic((float64(at) - center + 0.5) * (1 / stretch))
			kernel = append(kernel, weight)
			sum += weight
		}
		all[i] = fixedTaps(begin, kernel, sum)
	}
	return all
}

// fixedTaps rounds weights to fixed point and leaves out those of the ends that are nothing.
func fixedTaps(first int, kernel []float64, sum float64) taps {
	weights := make([]int32, len(kernel))
	for i, k := range kernel {
		weights[i] = int32(math.Round(k / sum * one))
	}
	for len(weights) > 1 && weights[0] == 0 {
		first, weights = first+1, weights[1:]
	}
	for len(weights) > 1 && weights[len(weights)-1] == 0 {
		weights = weights[:len(weights)-1]
	}
	return taps{first: first, weights: weights}
}

// cubic is Keys' kernel.
func cubic(x float64) float64 {
	const a = -0.5
	switch x = math.Abs(x); {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}

// buffer holds a picture between the passes, to be used again.
type buffer struct {
	columns []byte // after the first pass: [column, row]
	resized []byte // [row, column]
}

// resize fills b.resized with the pixels that the taps of columns and rows make of a picture: first each row is resized,
// rounding to whole levels, and then each column. Rows that no tap needs are left out.
func (b *buffer) resize(rgb []byte, width, height int, columns, rows []taps) {
	top, bottom := span(rows)
	for i := range rows {
		rows[i].first -= top
	}
	b.columns = resizeRows(b.columns, rgb[channels*width*top:channels*width*bottom], width, columns)
	b.resized = resizeRows(b.resized, b.columns, bottom-top, rows)
}

// span are the bounds of what the taps need.
func span(all []taps) (begin, end int) {
	begin = all[0].first
	for _, t := range all {
		begin = min(begin, t.first)
		end = max(end, t.first+len(t.weights))
	}
	return begin, end
}

// resizeRows resizes each row of a picture. The result has rows and columns exchanged, so that a second pass resizes what
// were columns, reading memory in order, and exchanges them back. It is in dst where that is large enough.
func resizeRows(dst, src []byte, width int, columns []taps) []byte {
	height := len(src) / (channels * width)
	size := channels * height * len(columns)
	if cap(dst) < size {
		dst = make([]byte, size)
	}
	dst = dst[:size]
	for y := range height {
		row := src[channels*width*y:][:channels*width]
		for x, t := range columns {
			pixel := dst[channels*(height*x+y):][:channels]
			pixel[0], pixel[1], pixel[2] = t.sum(row)
		}
	}
	return dst
}

// sum is one pixel of a row.
func (t taps) sum(row []byte) (red, green, blue byte) {
	r, g, b := int32(one/2), int32(one/2), int32(one/2)
	pixels := row[channels*t.first:][:channels*len(t.weights)]
	for i, weight := range t.weights {
		pixel := (*[channels]byte)(pixels[channels*i:])
		r += weight * int32(pixel[0])
		g += weight * int32(pixel[1])
		b += weight * int32(pixel[2])
	}
	return level(r), level(g), level(b)
}

// level is the level of a sum, which at edges overshoots.
func level(sum int32) byte {
	level := sum >> fractionBits
	if uint32(level) <= 255 {
		return byte(level)
	}
	return byte(^(level >> 31)) // 0 below, 255 above
}
