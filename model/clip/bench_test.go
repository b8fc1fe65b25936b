package clip

import (
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// BenchmarkPixels prepares a picture of 500 × 375 for a model of 224, and in turn resizes it in the plainest way, and
// reports the ratio.
func BenchmarkPixels(b *testing.B) {
	const width, height = 500, 375
	p := mustPreprocess(b, Files{preprocessName: writeFile(b, b.TempDir(), preprocessName, "{}")})
	rgb := noise(1, width, height)
	pixels := make([]float32, 3*224*224)
	var ours, naive time.Duration
	for b.Loop() {
		ours += duration(func() {
			if err := p.Pixels(pixels, rgb, width, height); err != nil {
				b.Fatal(err)
			}
		})
		naive += duration(func() { naiveResize(rgb, width, height, 298, 224) })
	}
	b.ReportMetric(float64(b.N)/ours.Seconds(), "pictures/s")
	b.ReportMetric(float64(b.N)/naive.Seconds(), "naive-pictures/s")
	b.ReportMetric(float64(naive)/float64(ours), "x-naive")
}

func duration(fn func()) time.Duration {
	begun := time.Now()
	fn()
	return time.Since(begun)
}

// BenchmarkEncode cuts texts of a shop.
func BenchmarkEncode(b *testing.B) {
	tokenizer := mustTokenizer(b, goldenFiles(b))
	texts := goldenTexts(b)
	for b.Loop() {
		for _, text := range texts {
			tokenizer.Encode(text.Text)
		}
	}
	b.ReportMetric(float64(b.N*len(texts))/b.Elapsed().Seconds(), "texts/s")
}

// BenchmarkEmbed embeds pictures and texts of the golden values in one batch, and in turn one at a time, and reports the
// ratio. On CUDA the model has the size of ViT-B/32 and half precision.
func BenchmarkEmbed(b *testing.B) {
	files, precision, n := goldenFiles(b), FP32, 32
	if strings.HasPrefix(torchtest.Device(), "cuda") {
		files, precision, n = writeRandom(b, defaultConfig()), FP16, 256
	}
	tokenizer := mustTokenizer(b, goldenFiles(b))
	texts := goldenTexts(b)
	var ids [][]int64
	for i := range n {
		ids = append(ids, tokenizer.Encode(texts[i%4].Text))
	}
	torchtest.Run(b, func(s *gotorch.Session) {
		m := mustLoad(b, s, files, precision)
		size := int64(m.config.Vision.ImageSize)
		pixels := s.FromFloat32(randomPixels(m.config, n), int64(n), channels, size, size)
		b.Run("images", func(b *testing.B) {
			compareBatches(b, s, n, func(first, count int) (*gotorch.Tensor, error) {
				return m.Images(pixels.Narrow(0, int64(first), int64(count)))
			})
		})
		b.Run("texts", func(b *testing.B) {
			compareBatches(b, s, n, func(first, count int) (*gotorch.Tensor, error) { return m.Texts(ids[first:][:count]) })
		})
	})
}

func compareBatches(b *testing.B, s *gotorch.Session, n int, embed func(first, count int) (*gotorch.Tensor, error)) {
	run := func(size int) time.Duration {
		return duration(func() {
			s.Scoped(func() {
				for first := 0; first < n; first += size {
					if _, err := embed(first, size); err != nil {
						b.Fatal(err)
					}
				}
				s.Synchronize()
			})
		})
	}
	run(1)
	run(n)
	var batched, single time.Duration
	for b.Loop() {
		batched += run(n)
		single += run(1)
	}
	b.ReportMetric(float64(b.N*n)/batched.Seconds(), "batched/s")
	b.ReportMetric(float64(b.N*n)/single.Seconds(), "single/s")
	b.ReportMetric(float64(single)/float64(batched), "x-single")
}
