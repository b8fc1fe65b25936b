package clip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync"
)

// channels of a picture: red, green and blue.
const channels = 3

// Preprocess is what happens to a picture before the model sees it, as preprocessor_config.json has it. Its zero value is
// of no use: ReadPreprocess makes one.
type Preprocess struct {
	Resize    bool
	Size      Size // of the whole picture
	Crop      bool
	CropSize  Size // of the part in the middle
	Rescale   bool
	Factor    float64 // levels 0 … 255 are multiplied by it
	Normalize bool
	Mean, Std [channels]float64
}

// Size is either the length of the shorter side, the other keeping the proportions, or height and width.
type Size struct {
	Shortest      int
	Height, Width int // where Shortest is 0
}

// UnmarshalJSON reads a number or an object.
func (s *Size) UnmarshalJSON(data []byte) error {
	*s = Size{}
	if json.Unmarshal(data, &s.Shortest) == nil {
		return nil
	}
	var object struct {
		Shortest int `json:"shortest_edge"`
		Height   int `json:"height"`
		Width    int `json:"width"`
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&object); err != nil {
		return fmt.Errorf("size %s: want a number, {\"shortest_edge\"} or {\"height\", \"width\"}", data)
	}
	*s = Size(object)
	return nil
}

// square takes a single number for both sides.
func (s Size) square() Size {
	if s.Shortest == 0 {
		return s
	}
	return Size{Height: s.Shortest, Width: s.Shortest}
}

// of is the size of a picture after resizing, which Shortest rounds down.
func (s Size) of(width, height int) (int, int) {
	switch {
	case s.Shortest == 0:
		return s.Width, s.Height
	case width <= height:
		return s.Shortest, s.Shortest * height / width
	}
	return s.Shortest * width / height, s.Shortest
}

// bicubic is the number by which PIL, and so preprocessor_config.json, knows the filter.
const bicubic = 3

// ReadPreprocess reads and checks preprocessor_config.json. What it leaves out is as OpenAI's models have it; a directory
// without it is an error. So are settings by which pictures would get different shapes, or by which the crop would be
// larger than the picture.
func ReadPreprocess(files Files) (Preprocess, error) {
	p := Preprocess{
		Resize: true, Size: Size{Shortest: 224}, Crop: true, CropSize: Size{Shortest: 224}, Rescale: true, Factor: 1 / 255.0,
		Normalize: true,
		Mean:      [channels]float64{0.48145466, 0.4578275, 0.40821073},
		Std:       [channels]float64{0.26862954, 0.26130258, 0.27577711},
	}
	resample, mean, std := bicubic, p.Mean[:], p.Std[:]
	file := struct {
		Resize    *bool      `json:"do_resize"`
		Size      *Size      `json:"size"`
		Resample  *int       `json:"resample"`
		Crop      *bool      `json:"do_center_crop"`
		CropSize  *Size      `json:"crop_size"`
		Rescale   *bool      `json:"do_rescale"`
		Factor    *float64   `json:"rescale_factor"`
		Normalize *bool      `json:"do_normalize"`
		Mean      *[]float64 `json:"image_mean"`
		Std       *[]float64 `json:"image_std"`
	}{&p.Resize, &p.Size, &resample, &p.Crop, &p.CropSize, &p.Rescale, &p.Factor, &p.Normalize, &mean, &std}
	err := files.decode(preprocessName, maxSettingsSize, &file)
	if errors.Is(err, fs.ErrNotExist) {
		return Preprocess{}, fmt.Errorf("%w (it says how pictures are cut and scaled: take it from where the weights are from)", err)
	}
	if err != nil {
		return Preprocess{}, err
	}
	if resample != bicubic || len(mean) != channels || len(std) != channels {
		return Preprocess{}, fmt.Errorf("%s: resample is %d and image_mean and image_std have %d and %d values: want %d (bicubic), and %d values each",
			preprocessName, resample, len(mean), len(std), bicubic, channels)
	}
	p.CropSize, p.Mean, p.Std = p.CropSize.square(), [channels]float64(mean), [channels]float64(std)
	if err := p.Validate(); err != nil {
		return Preprocess{}, fmt.Errorf("%s: %w", preprocessName, err)
	}
	return p, nil
}

// Validate lists every setting that cannot be used, with its value and its bounds.
func (p Preprocess) Validate() error {
	var found problems
	if p.Resize {
		found.size("size", p.Size)
	}
	if p.Crop {
		found.size("crop_size", p.CropSize)
	}
	if !p.Crop && !(p.Resize && p.Size.Shortest == 0) {
		found.add("do_center_crop is false and size is not height and width: pictures would get different shapes")
	}
	if least := p.Size.square(); p.Crop && p.Resize && (p.CropSize.Height > least.Height || p.CropSize.Width > least.Width) {
		found.add("crop_size is %d × %d, want at most size, %d × %d", p.CropSize.Width, p.CropSize.Height, least.Width, least.Height)
	}
	if p.Rescale && !(p.Factor > 0 && p.Factor <= 1) {
		found.add("rescale_factor is %v, want more than 0 and at most 1", p.Factor)
	}
	for c := range channels {
		if p.Normalize && !(p.Std[c] > 0) {
			found.add("image_std is %v, want values above 0", p.Std)
			break
		}
	}
	return found.err()
}

func (p *problems) size(name string, s Size) {
	if s.Shortest != 0 {
		p.between(name+".shortest_edge", s.Shortest, 1, maxImageSize)
		return
	}
	p.between(name+".height", s.Height, 1, maxImageSize)
	p.between(name+".width", s.Width, 1, maxImageSize)
}

// Shape is that of every picture's pixels.
func (p Preprocess) Shape() (channel, height, width int) {
	if p.Crop {
		return channels, p.CropSize.Height, p.CropSize.Width
	}
	return channels, p.Size.Height, p.Size.Width
}

// Pixels fills dst, [3, height, width] of Shape, from a picture of the given size, which has three bytes a pixel, row by
// row. Resizing is PIL's with antialiasing, to the bit. It is safe for concurrent use.
func (p Preprocess) Pixels(dst []float32, rgb []byte, width, height int) error {
	c, h, w := p.Shape()
	if len(dst) != c*h*w {
		return fmt.Errorf("room for %d values, want %d × %d × %d", len(dst), c, h, w)
	}
	if width <= 0 || height <= 0 || len(rgb)/channels/width != height || len(rgb)%(channels*width) != 0 {
		return fmt.Errorf("a picture of %d × %d pixels in %d bytes: want %d bytes a pixel, and at least one pixel", width, height, len(rgb), channels)
	}
	scaledWidth, scaledHeight := width, height
	if p.Resize {
		scaledWidth, scaledHeight = p.Size.of(width, height)
	}
	if scaledWidth < w || scaledHeight < h {
		return fmt.Errorf("a picture of %d × %d pixels is smaller than its crop of %d × %d, and do_resize is false", width, height, w, h)
	}
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	b.resize(rgb, width, height,
		bicubicTaps(width, scaledWidth, margin(scaledWidth, w), w),
		bicubicTaps(height, scaledHeight, margin(scaledHeight, h), h))
	p.scale(dst, b.resized)
	return nil
}

// margin is what is cut off before the middle. Halves are rounded to even, as torchvision does for OpenAI's models; the
// first image processor of Hugging Face rounds down.
func margin(whole, middle int) int { return int(math.RoundToEven(float64(whole-middle) / 2)) }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// scale makes the planes of a picture's levels.
func (p Preprocess) scale(dst []float32, rgb []byte) {
	size := len(dst) / channels
	for c := range channels {
		values, plane := p.values(c), dst[c*size:][:size]
		at := c
		for i := range plane {
			plane[i] = values[rgb[at]]
			at += channels
		}
	}
}

// values are what the model sees for each level of a channel; rounded to float32 where the reference rounds.
func (p Preprocess) values(channel int) (values [256]float32) {
	for level := range values {
		v := float32(level)
		if p.Rescale {
			v = float32(float64(level) * p.Factor)
		}
		if p.Normalize {
			v = (v - float32(p.Mean[channel])) / float32(p.Std[channel])
		}
		values[level] = v
	}
	return values
}
