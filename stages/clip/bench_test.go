package clip

import (
	"bytes"
	"context"
	"fmt"
	goimage "image"
	"image/color"
	"image/jpeg"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/model/clip"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/picture"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

// photograph is a JPEG of the size that shops have.
func photograph(t testing.TB, n int) []byte {
	t.Helper()
	picture := goimage.NewRGBA(goimage.Rect(0, 0, 500, 500))
	for x := range 500 {
		for y := range 500 {
			picture.Set(x, y, color.RGBA{uint8(x*n + y*y/50), uint8(y + n*x/3), uint8(x * y / 100), 255})
		}
	}
	var data bytes.Buffer
	if err := jpeg.Encode(&data, picture, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

// benchmarkModel is as large as ViT-B/32 with fewer layers on the CPU, so that a
// benchmark ends; on a GPU it has all of them.
func benchmarkModel(b *testing.B, w *world) {
	b.Helper()
	layers := 12
	if onCPU() {
		layers = 2
	}
	config := clip.Config{
		Projection: 512,
		Text:       clip.TextConfig{EncoderConfig: encoderOf(512, layers, 8), Vocabulary: 49408, Positions: 77, EndToken: 49407},
		Vision:     clip.VisionConfig{EncoderConfig: encoderOf(768, layers, 12), ImageSize: 224, PatchSize: 32, Channels: 3},
	}
	dir := b.TempDir()
	if err := clip.WriteRandom(dir, config, 1); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"config.json", preprocessName, "model.safetensors"} {
		path := filepath.Join(dir, name)
		w.model[name] = stages.File{Name: name, Path: path, Digest: artifacts.DigestOf([]byte(read(b, path)))}
	}
}

func onCPU() bool { return torchtest.Device() == "cpu" }

func encoderOf(hidden, layers, heads int) clip.EncoderConfig {
	return clip.EncoderConfig{Hidden: hidden, Intermediate: 4 * hidden, Layers: layers, Heads: heads, Activation: clip.QuickGELU, NormEps: 1e-5}
}

// benchmarkWorld has n items with photographs and descriptions.
func benchmarkWorld(b *testing.B, n int) *world {
	w := newWorld(b, 0)
	w.fake, w.stage.Decoder = nil, picture.Auto
	w.stage.Device.Value = torchtest.Device()
	var photographs [][]byte
	for i := range 32 {
		photographs = append(photographs, photograph(b, i))
	}
	for i := range n {
		name := fmt.Sprintf("B%03d", i)
		description := ""
		for j := range 3 + i%40 {
			description += fmt.Sprintf("property %d ", (i*j)%97)
		}
		w.items = append(w.items, tables.CorpusItem{ID: int32(i + 1), Item: name, Title: fmt.Sprintf("thing number %d", i), Description: description})
		// What follows a picture's end makes another picture of it for the memo.
		w.images = append(w.images, pictureOf(name, slices.Concat(photographs[i%len(photographs)], []byte(name))))
	}
	benchmarkModel(b, w)
	return w
}

// BenchmarkEmbed is the stage from the tables to the table, against the same
// work one item at a time: decode, resize, encode, the next. Both are measured
// in every round, so that what else the machine does falls on both.
func BenchmarkEmbed(b *testing.B) {
	if onCPU() {
		b.Run("fp32", func(b *testing.B) { benchmarkEmbed(b, 96, 96, func(*Embed) {}) })
		return
	}
	for _, precision := range []string{"fp32", "fp16", "bf16"} {
		b.Run(precision, func(b *testing.B) {
			benchmarkEmbed(b, 4096, 256, func(e *Embed) { e.Precision = precision })
		})
	}
	b.Run("pictures/fp16", func(b *testing.B) {
		benchmarkEmbed(b, 8192, 256, func(e *Embed) { e.Precision, e.Modalities = "fp16", []string{"image"} })
	})
}

// benchmarkEmbed embeds items, and the first few of them one by one.
func benchmarkEmbed(b *testing.B, items, few int, change func(*Embed)) {
	torchtest.Open(b)
	w := benchmarkWorld(b, items)
	change(&w.stage)
	naive := newNaive(b, w)
	w.stage.open = func(context.Context, *stages.Env, *Embed, model) (encoder, error) { return kept{naive.encoder}, nil }
	naive.embed(b, w, w.items[:1]) // a device's libraries choose their kernels
	var together, apart, busy float64
	for b.Loop() {
		w.forget()
		r := w.mustRun(b)
		began := time.Now()
		naive.embed(b, w, w.items[:few])
		together, apart = together+r.took.Seconds(), apart+time.Since(began).Seconds()
		busy += r.metrics["device_busy"].(float64)
	}
	rate, alone := float64(items*b.N)/together, float64(few*b.N)/apart
	b.ReportMetric(rate, "items/s")
	b.ReportMetric(alone, "items/s-one-by-one")
	b.ReportMetric(rate/alone, "speedup")
	b.ReportMetric(busy/float64(b.N), "device-busy")
	b.ReportMetric(0, "ns/op")
}

// kept is an encoder that others use as well.
type kept struct{ encoder }

func (kept) close() error { return nil }

// naive embeds one item at a time.
type naive struct {
	pipeline *pipeline
	encoder  encoder
	pixels   []float32
}

func newNaive(b *testing.B, w *world) *naive {
	p := pipelineOf(b, w)
	decoder, err := picture.Open(w.stage.Decoder)
	if err != nil {
		b.Fatal(err)
	}
	p.stage.decoder = decoder
	encoder, err := openTorch(context.Background(), stagetest.TorchEnv(b), p.stage, p.model)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { encoder.close() })
	return &naive{p, encoder, make([]float32, p.model.values())}
}

func (n *naive) embed(b *testing.B, w *world, items []tables.CorpusItem) {
	for i, item := range items {
		if err := n.pipeline.decode(n.pixels, w.images[i].Bytes); err != nil {
			b.Fatal(err)
		}
		if _, err := n.encoder.images(n.pixels, 1); err != nil {
			b.Fatal(err)
		}
		if !w.stage.wants(text) {
			continue
		}
		words := tables.ItemText(item.Title, item.Description, item.Brand, item.Categories)
		if _, err := n.encoder.texts([][]int64{n.pipeline.model.tokenizer.Encode(words)}); err != nil {
			b.Fatal(err)
		}
	}
}
