package picture

import (
	"bytes"
	"image"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/sourcegraph/conc/pool"
	"golang.org/x/image/draw"

	"github.com/prismflow/prismflow/model/clip"
)

// BenchmarkDecode decodes a picture of 500 × 375 by the libraries and, in the
// same run and in turn with them, by Go's decoders.
func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"large.jpg", "large.webp"} {
		b.Run(name, func(b *testing.B) {
			native, slow := open(b, Native), open(b, Go)
			data := sample(b, name)
			var total time.Duration
			b.ReportAllocs()
			for b.Loop() {
				decode(b, native, data)
				b.StopTimer()
				start := time.Now()
				decode(b, slow, data)
				total += time.Since(start)
				b.StartTimer()
			}
			b.ReportMetric(float64(total.Nanoseconds())/float64(b.Elapsed().Nanoseconds()), "times_faster_than_go")
		})
	}
}

// BenchmarkInspect is what a picture costs that is not decoded.
func BenchmarkInspect(b *testing.B) {
	data := sample(b, "large.jpg")
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Inspect(data, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPrepare is all that happens to a picture before CLIP sees it, a JPEG
// of 500 × 375 to pixels of 224 × 224: decoded and preprocessed on all cores and
// on one, against what Go offers without further thought, its decoder and the
// bicubic scaler of x/image, one picture at a time. All are measured in every
// round.
func BenchmarkPrepare(b *testing.B) {
	const side = 224
	pictures := 8 * runtime.GOMAXPROCS(0)
	decoder, data, preprocess := open(b, Auto), sample(b, "large.jpg"), clipPreprocess(b)
	pixels := make([][]float32, pictures)
	for i := range pixels {
		pixels[i] = make([]float32, 3*side*side)
	}
	prepare := func(workers int) {
		group := pool.New().WithErrors().WithMaxGoroutines(workers)
		for _, room := range pixels {
			group.Go(func() error {
				rgb, err := decoder.Decode(data, Limits{})
				if err != nil {
					return err
				}
				return preprocess.Pixels(room, rgb.Pix, rgb.Width, rgb.Height)
			})
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	plainly := func() {
		for _, room := range pixels {
			preparePlainly(b, room, side, data)
		}
	}
	checkThatPlainlyIsTheSame(b, func() { prepare(1) }, plainly, pixels[0])
	var all, one, plain time.Duration
	for b.Loop() {
		all += duration(func() { prepare(runtime.GOMAXPROCS(0)) })
		one += duration(func() { prepare(1) })
		plain += duration(plainly)
	}
	rate := func(d time.Duration) float64 { return float64(pictures*b.N) / d.Seconds() }
	b.ReportMetric(rate(all), "pictures/s")
	b.ReportMetric(rate(one), "pictures/s-one-core")
	b.ReportMetric(rate(plain), "pictures/s-plain")
	b.ReportMetric(float64(plain)/float64(all), "x-plain")
	b.ReportMetric(float64(plain)/float64(one), "x-plain-one-core")
	b.ReportMetric(0, "ns/op")
}

// clipPreprocess is OpenAI's.
func clipPreprocess(b *testing.B) clip.Preprocess {
	const name = "preprocessor_config.json"
	path := filepath.Join(b.TempDir(), name)
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		b.Fatal(err)
	}
	preprocess, err := clip.ReadPreprocess(clip.Files{name: path})
	if err != nil {
		b.Fatal(err)
	}
	return preprocess
}

func checkThatPlainlyIsTheSame(b *testing.B, ours, plainly func(), pixels []float32) {
	ours()
	want := slices.Clone(pixels)
	plainly()
	sum := 0.0
	for i := range want {
		sum += math.Abs(float64(want[i] - pixels[i]))
	}
	if mean := sum / float64(len(want)); mean > 0.1 {
		b.Fatalf("the plain way makes other pixels: %.2f away in the mean", mean)
	}
}

func duration(work func()) time.Duration {
	began := time.Now()
	work()
	return time.Since(began)
}

// preparePlainly does what one writes first: decode, scale the shorter side to
// side, take the middle, and pixel by pixel what At says.
func preparePlainly(b *testing.B, pixels []float32, side int, data []byte) {
	decoded, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		b.Fatal(err)
	}
	width, height := decoded.Bounds().Dx(), decoded.Bounds().Dy()
	shorter := min(width, height)
	width, height = side*width/shorter, side*height/shorter
	scaled := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.CatmullRom.Scale(scaled, scaled.Bounds(), decoded, decoded.Bounds(), draw.Src, nil)
	mean, deviation := [3]float32{0.481, 0.458, 0.408}, [3]float32{0.269, 0.261, 0.276}
	for y := range side {
		for x := range side {
			red, green, blue, _ := scaled.At((width-side)/2+x, (height-side)/2+y).RGBA()
			for c, level := range [3]uint32{red, green, blue} {
				pixels[(c*side+y)*side+x] = (float32(level>>8)/255 - mean[c]) / deviation[c]
			}
		}
	}
}
