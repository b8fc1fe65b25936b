package clip

import (
	"slices"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// TestBatchesDoNotMatter: an embedding is the same in every company, to rounding.
func TestBatchesDoNotMatter(t *testing.T) {
	config := tinyConfig(QuickGELU)
	files := writeRandom(t, config)
	pixels := randomPixels(config, 4)
	ids := [][]int64{{1, 2, 3, 4, 5, 6, 7}, {1, 7}, {9, 8, 7}, {7}}
	torchtest.Run(t, func(s *gotorch.Session) {
		m := mustLoad(t, s, files, FP32)
		images, texts := mustEmbed(t, s, m, pixels, ids)
		var oneImage, oneText []float32
		for i := range ids {
			size := len(pixels) / 4
			image, text := mustEmbed(t, s, m, pixels[i*size:][:size], ids[i:][:1])
			oneImage, oneText = append(oneImage, image...), append(oneText, text...)
		}
		closeTo(t, "images", oneImage, images, 1e-5)
		closeTo(t, "texts", oneText, texts, 1e-5)
	})
}

// TestSameBits: two models of one directory agree to the bit.
func TestSameBits(t *testing.T) {
	config := tinyConfig(GELU)
	files := writeRandom(t, config)
	var all [][]float32
	for range 2 {
		torchtest.Run(t, func(s *gotorch.Session) {
			images, texts := mustEmbed(t, s, mustLoad(t, s, files, FP32), randomPixels(config, 3), [][]int64{{1, 7}, {1, 2, 7}})
			all = append(all, append(images, texts...))
		})
	}
	if !slices.Equal(all[0], all[1]) {
		t.Error("two runs differ")
	}
}

func TestHalfPrecision(t *testing.T) {
	want := expected(t)
	var pixels []float32
	for _, name := range strings.Split(want.Metadata()["image_order"], ",") {
		pixels = append(pixels, want.Floats("pixels32."+name)...)
	}
	tokenizer := mustTokenizer(t, goldenFiles(t))
	var ids [][]int64
	for _, text := range goldenTexts(t) {
		ids = append(ids, tokenizer.Encode(text.Text))
	}
	for _, test := range []struct {
		precision Precision
		tolerance float64 // the greatest value is around 3
	}{{FP16, 0.01}, {BF16, 0.1}} {
		t.Run(string(test.precision), func(t *testing.T) {
			if test.precision == FP16 {
				torchtest.NeedsCUDA(t)
			}
			torchtest.Run(t, func(s *gotorch.Session) {
				images, texts := mustEmbed(t, s, mustLoad(t, s, goldenFiles(t), test.precision), pixels, ids)
				closeTo(t, "images", images, want.Floats("image.features"), test.tolerance)
				closeTo(t, "texts", texts, want.Floats("text.features"), test.tolerance)
			})
		})
	}
}

func TestPrecisionIsChecked(t *testing.T) {
	torchtest.NeedsCPU(t)
	torchtest.Run(t, func(s *gotorch.Session) {
		for precision, says := range map[Precision]string{FP16: "CUDA", "fp8": "fp8", "": "want fp32"} {
			_, err := Load(s, goldenFiles(t), tinyConfig(GELU), precision)
			wantError(t, string(precision), err, says)
		}
	})
}

// TestNothingIsLeftBehind: embedding holds on to its results alone.
func TestNothingIsLeftBehind(t *testing.T) {
	config := tinyConfig(GELU)
	files := writeRandom(t, config)
	torchtest.Run(t, func(s *gotorch.Session) {
		m := mustLoad(t, s, files, FP32)
		pixels := s.FromFloat32(randomPixels(config, 1), 1, 3, 14, 14)
		before := s.Library().LiveTensors()
		for range 5 {
			if _, err := m.Images(pixels); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Texts([][]int64{{1, 7}}); err != nil {
				t.Fatal(err)
			}
		}
		if more := s.Library().LiveTensors() - before; more != 10 {
			t.Errorf("%d more tensors after 10 results", more)
		}
	})
}

func TestInputsAreChecked(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		m := mustLoad(t, s, writeRandom(t, tinyConfig(GELU)), FP32)
		for _, shape := range [][]int64{{3, 14, 14}, {0, 3, 14, 14}, {1, 1, 14, 14}, {1, 3, 14, 15}} {
			_, err := m.Images(s.Zeros(shape...))
			wantError(t, "pictures", err, "[n, 3, 14, 14]")
		}
		for says, ids := range map[string][][]int64{
			"at least 1":           nil,
			"text 1: 0 tokens":     {{7}, {}},
			"10 tokens: want 1":    {make([]int64, 10)},
			"token 30: want 0":     {{30, 7}},
			"token -1: want 0":     {{-1, 7}},
			"text 0: has no end t": {{1, 2, 3}},
		} {
			_, err := m.Texts(ids)
			wantError(t, "texts", err, says)
		}
	})
}

func wantError(t testing.TB, what string, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: error %v, want one that says %q", what, err, says)
	}
}
