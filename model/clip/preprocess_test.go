package clip

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func preprocessFrom(t testing.TB, text string) (Preprocess, error) {
	t.Helper()
	return ReadPreprocess(Files{preprocessName: writeFile(t, t.TempDir(), preprocessName, text)})
}

func TestPreprocessSettings(t *testing.T) {
	published := Preprocess{
		Resize: true, Size: Size{Shortest: 224}, Crop: true, CropSize: Size{Height: 224, Width: 224}, Rescale: true, Factor: 1 / 255.0, Normalize: true,
		Mean: [3]float64{0.48145466, 0.4578275, 0.40821073}, Std: [3]float64{0.26862954, 0.26130258, 0.27577711},
	}
	for _, test := range []struct {
		text string
		want func(*Preprocess)
	}{
		{`{}`, func(*Preprocess) {}},
		{`{"size": 224, "crop_size": 224, "resample": 3, "feature_extractor_type": "CLIPFeatureExtractor"}`, func(*Preprocess) {}},
		{`{"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 300}}`, func(p *Preprocess) {
			p.Size.Shortest, p.CropSize = 336, Size{Height: 336, Width: 300}
		}},
		{`{"size": {"height": 100, "width": 90}, "do_center_crop": false}`, func(p *Preprocess) {
			p.Size, p.Crop = Size{Height: 100, Width: 90}, false
		}},
		{`{"do_resize": false, "do_rescale": false, "do_normalize": false, "rescale_factor": 0.5, "image_mean": [0, 0, 0], "image_std": [1, 1, 2]}`, func(p *Preprocess) {
			p.Resize, p.Rescale, p.Normalize, p.Factor, p.Mean, p.Std = false, false, false, 0.5, [3]float64{}, [3]float64{1, 1, 2}
		}},
	} {
		want := published
		test.want(&want)
		if got, err := preprocessFrom(t, test.text); err != nil || got != want {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", test.text, got, err, want)
		}
	}
}

func TestBrokenPreprocessSettings(t *testing.T) {
	for text, says := range map[string]string{
		`{"size": "x"}`: `size "x": want a number`,
		`{"size": {"shortest_edge": 8, "longest_edge": 9}}`: "want a number",
		`{"size": 0}`:       "size.height is 0, want 1 …",
		`{"size": 100000}`:  "size.shortest_edge is 100000, want 1 … 4096",
		`{"crop_size": -1}`: "crop_size.height is -1",
		`{"crop_size": {"height": 224, "width": 225}}`: "crop_size is 225 × 224, want at most size, 224 × 224",
		`{"do_center_crop": false}`:                    "different shapes",
		`{"resample": 2}`:                              "resample is 2",
		`{"image_mean": [0.5]}`:                        "have 1 and 3 values",
		`{"image_std": [1, 0, 1]}`:                     "image_std is [1 0 1]",
		`{"rescale_factor": -1}`:                       "rescale_factor is -1",
	} {
		_, err := preprocessFrom(t, text)
		wantError(t, text, err, says)
	}
	_, err := ReadPreprocess(Files{})
	wantError(t, "absent", err, "has no preprocessor_config.json: file does not exist (it says")
}

// levels has nothing but resizing and cropping.
func levels(size Size, crop Size) Preprocess {
	return Preprocess{Resize: size != Size{}, Size: size, Crop: true, CropSize: crop}
}

func TestBrokenPictures(t *testing.T) {
	p := levels(Size{Shortest: 8}, Size{Height: 8, Width: 8})
	for _, test := range []struct {
		room, bytes, width, height int
		says                       string
	}{
		{191, 3, 1, 1, "room for 191 values, want 3 × 8 × 8"},
		{192, 0, 0, 0, "at least one pixel"},
		{192, 3, -1, -1, "at least one pixel"},
		{192, 12, 2, 3, "2 × 3 pixels in 12 bytes"},
		{192, 13, 2, 2, "2 × 2 pixels in 13 bytes"},
		{192, 3, math.MaxInt, 3, "in 3 bytes"},
	} {
		wantError(t, fmt.Sprint(test), p.Pixels(make([]float32, test.room), make([]byte, test.bytes), test.width, test.height), test.says)
	}
	unresized := levels(Size{}, Size{Height: 8, Width: 8})
	wantError(t, "small", unresized.Pixels(make([]float32, 192), make([]byte, 3*7*9), 7, 9), "smaller than its crop of 8 × 8")
}

// TestConstantPictures: what has one colour keeps it, at any size.
func TestConstantPictures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width, height := rapid.IntRange(1, 90).Draw(t, "width"), rapid.IntRange(1, 90).Draw(t, "height")
		size := rapid.IntRange(1, 70).Draw(t, "size")
		colour := rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, "colour")
		rgb := make([]byte, 0, 3*width*height)
		for range width * height {
			rgb = append(rgb, colour...)
		}
		p := levels(Size{Shortest: size}, Size{Height: size, Width: size})
		pixels := make([]float32, 3*size*size)
		if err := p.Pixels(pixels, rgb, width, height); err != nil {
			t.Fatal(err)
		}
		for i, v := range pixels {
			if v != float32(colour[i/(size*size)]) {
				t.Fatalf("value %d is %v, want %v", i, v, colour)
			}
		}
	})
}

// TestPixelsAreTheNaiveOnes compares with sums in float64, rounded once a pass, of the whole picture, which is then cut.
func TestPixelsAreTheNaiveOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width, height := rapid.IntRange(1, 60).Draw(t, "width"), rapid.IntRange(1, 60).Draw(t, "height")
		short := rapid.IntRange(1, 40).Draw(t, "short")
		crop := Size{Height: rapid.IntRange(1, short).Draw(t, "crop height"), Width: rapid.IntRange(1, short).Draw(t, "crop width")}
		rgb := noise(rapid.Uint64().Draw(t, "seed"), width, height)
		p := levels(Size{Shortest: short}, crop)
		pixels := make([]float32, 3*crop.Height*crop.Width)
		if err := p.Pixels(pixels, rgb, width, height); err != nil {
			t.Fatal(err)
		}
		scaledWidth, scaledHeight := p.Size.of(width, height)
		whole := naiveResize(rgb, width, height, scaledWidth, scaledHeight)
		left, top := margin(scaledWidth, crop.Width), margin(scaledHeight, crop.Height)
		for i, got := range pixels {
			c, y, x := i/(crop.Height*crop.Width), i/crop.Width%crop.Height, i%crop.Width
			if want := whole[3*((top+y)*scaledWidth+left+x)+c]; math.Abs(float64(got)-float64(want)) > 1 {
				t.Fatalf("channel %d of (%d, %d) is %v, want %v", c, x, y, got, want)
			}
		}
	})
}

func noise(seed uint64, width, height int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	rgb := make([]byte, 3*width*height)
	for i := range rgb {
		rgb[i] = byte(r.Uint32())
	}
	return rgb
}

// naiveResize is a bicubic resize in float64 with every tap of every pixel computed where it is used.
func naiveResize(rgb []byte, width, height, toWidth, toHeight int) []byte {
	rows := make([]byte, 3*toWidth*height)
	for y := range height {
		for x := range toWidth {
			for c := range 3 {
				rows[3*(y*toWidth+x)+c] = naiveSum(x, width, toWidth, func(at int) float64 { return float64(rgb[3*(y*width+at)+c]) })
			}
		}
	}
	out := make([]byte, 3*toWidth*toHeight)
	for y := range toHeight {
		for x := range toWidth {
			for c := range 3 {
				out[3*(y*toWidth+x)+c] = naiveSum(y, height, toHeight, func(at int) float64 { return float64(rows[3*(at*toWidth+x)+c]) })
			}
		}
	}
	return out
}

func naiveSum(i, source, target int, level func(int) float64) byte {
	scale := float64(source) / float64(target)
	stretch := max(scale, 1)
	center := (float64(i) + 0.5) * scale
	sum, weights := 0.0, 0.0
	for at := max(0, int(center-2*stretch)-1); at < min(source, int(center+2*stretch)+2); at++ {
		distance := (float64(at) + 0.5 - center) / stretch
		if math.Abs(distance) < 2 {
			weight := cubic(distance)
			sum, weights = sum+weight*level(at), weights+weight
		}
	}
	return byte(min(max(math.Floor(sum/weights+0.5), 0), 255))
}
