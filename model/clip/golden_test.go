package clip

import (
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// goldenText is a text and its tokens, padded with zeros.
type goldenText struct {
	Text string
	IDs  []int64
}

func goldenTexts(t testing.TB) []goldenText {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "tokens.json"))
	if err != nil {
		t.Fatal(err)
	}
	var texts []goldenText
	if err := json.Unmarshal(data, &texts); err != nil {
		t.Fatal(err)
	}
	return texts
}

// TestGoldenTokens compares with the published tokenizer, token by token.
func TestGoldenTokens(t *testing.T) {
	tokenizer := mustTokenizer(t, goldenFiles(t))
	texts := goldenTexts(t)
	if len(texts) != 16 {
		t.Fatalf("%d texts, want 16", len(texts))
	}
	for _, text := range texts {
		got := tokenizer.Encode(text.Text)
		if got = append(got, make([]int64, ContextLength-len(got))...); !slices.Equal(got, text.IDs) {
			t.Errorf("%q:\n got %v\nwant %v", text.Text, got, text.IDs)
		}
	}
}

// TestGoldenPixels compares with PIL, to the level.
func TestGoldenPixels(t *testing.T) {
	want := expected(t)
	for _, name := range want.Names() {
		kind, file, _ := strings.Cut(name, ".")
		if !strings.HasPrefix(kind, "pixels") || !strings.HasSuffix(file, ".png") {
			continue
		}
		p := mustPreprocess(t, goldenFiles(t))
		if kind == "pixels224" {
			p.Size, p.CropSize = Size{Shortest: 224}, Size{Height: 224, Width: 224}
		}
		rgb, width, height := decodePNG(t, filepath.Join("testdata", "images", file))
		got := make([]float32, len(want.Floats(name)))
		if err := p.Pixels(got, rgb, width, height); err != nil {
			t.Fatal(err)
		}
		if worst := worstLevel(p, got, want.Floats(name)); worst > 0.01 {
			t.Errorf("%s: %g levels from PIL's", name, worst)
		}
	}
}

// worstLevel undoes normalisation and scaling and is the greatest difference, in levels.
func worstLevel(p Preprocess, got, want []float32) (worst float64) {
	plane := len(got) / channels
	for i := range got {
		worst = max(worst, math.Abs(float64(got[i]-want[i]))*p.Std[i/plane]/p.Factor)
	}
	return worst
}

// decodePNG drops alpha without blending, as PIL's conversion to RGB does.
func decodePNG(t testing.TB, path string) (rgb []byte, width, height int) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	picture, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	size := picture.Bounds().Size()
	for y := range size.Y {
		for x := range size.X {
			c := straight(picture, x, y)
			rgb = append(rgb, c.R, c.G, c.B)
		}
	}
	return rgb, size.X, size.Y
}

func straight(picture image.Image, x, y int) color.NRGBA {
	if p, ok := picture.(*image.NRGBA); ok {
		return p.NRGBAAt(x, y)
	}
	return color.NRGBAModel.Convert(picture.At(x, y)).(color.NRGBA)
}

// TestGoldenFeatures compares with the published model.
func TestGoldenFeatures(t *testing.T) {
	want := expected(t)
	order := strings.Split(want.Metadata()["image_order"], ",")
	var pixels []float32
	for _, name := range order {
		pixels = append(pixels, want.Floats("pixels32."+name)...)
	}
	tokenizer := mustTokenizer(t, goldenFiles(t))
	var ids [][]int64
	for _, text := range goldenTexts(t) {
		ids = append(ids, tokenizer.Encode(text.Text))
	}
	torchtest.Run(t, func(s *gotorch.Session) {
		m := mustLoad(t, s, goldenFiles(t), FP32)
		images, texts := mustEmbed(t, s, m, pixels, ids)
		closeTo(t, "images", images, want.Floats("image.features"), 1e-4)
		closeTo(t, "texts", texts, want.Floats("text.features"), 1e-4)
	})
}

// mustEmbed embeds pictures and texts in one batch each.
func mustEmbed(t testing.TB, s *gotorch.Session, m *Model, pixels []float32, ids [][]int64) (images, texts []float32) {
	t.Helper()
	size := int64(m.config.Vision.ImageSize)
	i, err := m.Images(s.FromFloat32(pixels, int64(len(pixels))/(channels*size*size), channels, size, size))
	if err != nil {
		t.Fatal(err)
	}
	x, err := m.Texts(ids)
	if err != nil {
		t.Fatal(err)
	}
	return i.Float32s(), x.Float32s()
}

func closeTo(t testing.TB, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	worst := 0.0
	for i := range got {
		if d := math.Abs(float64(got[i] - want[i])); !(d <= worst) {
			worst = d
		}
	}
	if !(worst <= tolerance) {
		t.Errorf("%s: %g from what is expected, %g allowed", what, worst, tolerance)
	}
	t.Logf("%s: %g from what is expected", what, worst)
}

func mustTokenizer(t testing.TB, files Files) *Tokenizer {
	t.Helper()
	tokenizer, err := OpenTokenizer(files)
	if err != nil {
		t.Fatal(err)
	}
	return tokenizer
}

func mustPreprocess(t testing.TB, files Files) Preprocess {
	t.Helper()
	p, err := ReadPreprocess(files)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustLoad(t testing.TB, s *gotorch.Session, files Files, precision Precision) *Model {
	t.Helper()
	config, err := ReadConfig(files)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Load(s, files, config, precision)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
