package features

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/stages/picture"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

func pngOf(t *testing.T, c color.Color) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		img.Set(i%8, i/8, c)
	}
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func hash(t *testing.T, items []tables.CorpusItem, images []tables.Image) []tables.Features {
	t.Helper()
	stage := Hashed{Items: stagetest.Table[itemText](t, items), Width: 256, WordNgrams: 2, CharNgramsFrom: 3, CharNgrams: 4, Decoder: picture.Auto}
	if images != nil {
		stage.Images = stagetest.Table[imageBytes](t, images)
	}
	result := stagetest.Result(t, &stage.Features)
	if err := stage.Run(context.Background(), stagetest.Env(t)); err != nil {
		t.Fatal(err)
	}
	return result()
}

func dot(a, b []float32) float64 {
	var sum float64
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func TestSimilarItemsHaveSimilarVectors(t *testing.T) {
	red, darkRed, blue := color.NRGBA{230, 20, 20, 255}, color.NRGBA{200, 30, 30, 255}, color.NRGBA{20, 20, 230, 255}
	rows := hash(t, []tables.CorpusItem{
		{ID: 1, Item: "a", Title: "Classic walnut bowl"},
		{ID: 2, Item: "b", Title: "Sturdy walnut bowls"},
		{ID: 3, Item: "c", Title: "Velvet lamp, modern"},
	}, []tables.Image{
		{Item: "a", Bytes: pngOf(t, red)}, {Item: "b", Bytes: pngOf(t, darkRed)}, {Item: "c", Bytes: pngOf(t, blue)},
	})
	for _, row := range rows {
		for name, v := range map[string][]float32{"text": row.Text, "image": row.Image} {
			if length := dot(v, v); math.Abs(length-1) > 1e-6 {
				t.Errorf("item %s: the %s vector has squared length %v", row.Item, name, length)
			}
		}
	}
	if near, far := dot(rows[0].Text, rows[1].Text), dot(rows[0].Text, rows[2].Text); near < 0.3 || far > 0.2 {
		t.Errorf("texts: %.2f for the similar pair, %.2f for the other", near, far)
	}
	if near, far := dot(rows[0].Image, rows[1].Image), dot(rows[0].Image, rows[2].Image); near < 0.9 || far > 0.5 {
		t.Errorf("pictures: %.2f for the similar pair, %.2f for the other", near, far)
	}
}

func TestAbsentIsAbsent(t *testing.T) {
	rows := hash(t, []tables.CorpusItem{{ID: 1, Item: "a"}, {ID: 2, Item: "b", Brand: "Acme"}, {ID: 3, Item: "c"}, {ID: 4, Item: "d"}},
		[]tables.Image{{Item: "a", Error: "404"}, {Item: "c", Bytes: []byte("no picture")}, {Item: "d", Bytes: bomb(t)}, {Item: "e", Bytes: pngOf(t, color.White)}})
	for _, row := range rows {
		if row.ImagePresent || dot(row.Image, row.Image) != 0 {
			t.Errorf("item %s has a picture", row.Item)
		}
		if want := row.Item == "b"; row.TextPresent != want || (dot(row.Text, row.Text) != 0) != want {
			t.Errorf("item %s: text present is %v, want %v", row.Item, row.TextPresent, want)
		}
	}
	if len(rows[0].Image) != 256 {
		t.Errorf("an absent picture has width %d", len(rows[0].Image))
	}
}

// Formats that only the decoders of stages/picture know are hashed, and come out
// near the same picture in another format.
func TestWebPIsHashed(t *testing.T) {
	var images []tables.Image
	for _, name := range []string{"large.webp", "large.jpg", "palette8.png"} {
		data, err := os.ReadFile("../picture/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, tables.Image{Item: name, Bytes: data})
	}
	rows := hash(t, []tables.CorpusItem{{ID: 1, Item: "large.webp"}, {ID: 2, Item: "large.jpg"}, {ID: 3, Item: "palette8.png"}}, images)
	if near, far := dot(rows[0].Image, rows[1].Image), dot(rows[0].Image, rows[2].Image); near < 0.95 || far > 0.85 {
		t.Errorf("%.3f for one picture in two formats, %.3f for another picture", near, far)
	}
}

// However many pictures cannot be decoded, few lines say so, and a count.
func TestBrokenPicturesAreCounted(t *testing.T) {
	const broken = 300
	images := []tables.Image{{Item: "whole", Bytes: pngOf(t, color.White)}}
	for i := range broken {
		images = append(images, tables.Image{Item: fmt.Sprint(i), Bytes: []byte("<html>")})
	}
	stage := Hashed{
		Items:  stagetest.Table[itemText](t, []tables.CorpusItem{{ID: 1, Item: "whole"}}),
		Images: stagetest.Table[imageBytes](t, images), Width: 8, WordNgrams: 1, Decoder: picture.Go,
	}
	stagetest.Result(t, &stage.Features)
	var log bytes.Buffer
	env := stagetest.Env(t)
	env.Log = zerolog.New(&log)
	if err := stage.Run(context.Background(), env); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != toldPictures+1 || !strings.Contains(lines[0], `"item":"0"`) || !strings.Contains(lines[0], "HTML") || !strings.Contains(lines[toldPictures], `"pictures":290`) {
		t.Errorf("%d lines:\n%s", len(lines), log.String())
	}
	if !slices.Contains(env.Report(), artifacts.Count{Name: "images_not_decoded", Value: broken}) {
		t.Errorf("the report is %v", env.Report())
	}
}

func TestSeveralPicturesOfAnItem(t *testing.T) {
	var items []tables.CorpusItem
	for i, item := range []string{"both", "white", "black", "twice"} {
		items = append(items, tables.CorpusItem{ID: int32(i + 1), Item: item})
	}
	white, black := pngOf(t, color.White), pngOf(t, color.Black)
	stage := Hashed{
		Items: stagetest.Table[itemText](t, items),
		Images: stagetest.Table[imageBytes](t, []tables.Image{
			{Item: "both", Bytes: white}, {Item: "both", Bytes: []byte("broken")}, {Item: "both", Bytes: black},
			{Item: "white", Bytes: white}, {Item: "black", Bytes: black}, {Item: "twice", Bytes: white}, {Item: "twice", Bytes: white},
		}),
		Width: 64, WordNgrams: 1, Decoder: picture.Go,
	}
	result := stagetest.Result(t, &stage.Features)
	if err := stage.Run(context.Background(), stagetest.Env(t)); err != nil {
		t.Fatal(err)
	}
	rows := result()
	length := 0.0
	for i := range 64 {
		sum := float64(rows[1].Image[i]) + float64(rows[2].Image[i])
		length += sum * sum
	}
	for i, x := range rows[0].Image {
		if want := (float64(rows[1].Image[i]) + float64(rows[2].Image[i])) / math.Sqrt(length); math.Abs(float64(x)-want) > 1e-6 {
			t.Errorf("component %d is %v, want %v", i, x, want)
		}
		if math.Abs(float64(rows[3].Image[i]-rows[1].Image[i])) > 1e-6 {
			t.Errorf("component %d of the same picture twice is %v, want %v", i, rows[3].Image[i], rows[1].Image[i])
		}
	}
}

// The key holds the decoder that a choice leads to.
func TestDecoderIsKeyed(t *testing.T) {
	auto, err := picture.Open(picture.Auto)
	if err != nil {
		t.Fatal(err)
	}
	for choice, want := range map[string]string{picture.Auto: auto.Name(), picture.Go: "go", picture.Native: "libjpeg-turbo,libwebp"} {
		if got := (&Hashed{Decoder: choice}).Chosen()["decoder"]; got != want {
			t.Errorf("%s: %v, want %s", choice, got, want)
		}
	}
}

// bomb is a PNG header that claims 60000 × 60000 pixels.
func bomb(t *testing.T) []byte {
	t.Helper()
	data := pngOf(t, color.Black)
	binary.BigEndian.PutUint32(data[16:], 60000)
	binary.BigEndian.PutUint32(data[20:], 60000)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	if _, err := png.DecodeConfig(bytes.NewReader(data)); err != nil {
		t.Fatalf("the bomb has to look like a picture: %v", err)
	}
	return data
}

// The hash is part of every artifact that was ever computed.
func TestHashIsPinned(t *testing.T) {
	for feature, want := range map[string]struct {
		component int
		sign      float64
	}{"wwalnut": {198, -1}, "colour 3": {315, 1}} {
		if component, sign := place(feature, 512); component != want.component || sign != want.sign {
			t.Errorf("place(%q) = %d, %v, want %d, %v", feature, component, sign, want.component, want.sign)
		}
	}
}

func TestSignsAndComponentsAreEven(t *testing.T) {
	const width, n = 64, 64 * 400
	var counts [width]float64
	var signs float64
	for i := range n {
		component, sign := place("w"+string(rune('a'+i%26))+string(rune(0x100+i)), width)
		counts[component]++
		signs += sign
	}
	if math.Abs(signs) > 5*math.Sqrt(n) {
		t.Errorf("signs sum to %v over %d features", signs, n)
	}
	for component, count := range counts {
		if math.Abs(count-n/width) > 6*math.Sqrt(n/width) {
			t.Errorf("component %d has %v of %d features, want about %d", component, count, n, n/width)
		}
	}
}

func TestShuffledPermutesVectorsAlone(t *testing.T) {
	var rows []tables.Features
	for i := range int32(50) {
		rows = append(rows, tables.Features{ID: i + 1, Item: string(rune('a' + i)), Image: []float32{float32(i)}, Text: []float32{float32(i), 1}, TextPresent: i%2 == 0})
	}
	shuffle := func(seed int64) []tables.Features {
		stage := Shuffled{Features: stagetest.Table[tables.Features](t, rows), Seed: seed}
		result := stagetest.Result(t, &stage.Out)
		if err := stage.Run(context.Background(), stagetest.Env(t)); err != nil {
			t.Fatal(err)
		}
		return result()
	}
	got, moved, seen := shuffle(1), 0, map[float32]bool{}
	for i, row := range got {
		if row.ID != rows[i].ID || row.Item != rows[i].Item {
			t.Fatalf("row %d is item %s", i, row.Item)
		}
		v := row.Image[0]
		if row.Text[0] != v || row.TextPresent != (int(v)%2 == 0) {
			t.Errorf("item %s has the modalities of two items", row.Item)
		}
		seen[v] = true
		if int(v) != i {
			moved++
		}
	}
	if len(seen) != len(rows) || moved < 40 {
		t.Errorf("%d distinct vectors of %d, %d moved", len(seen), len(rows), moved)
	}
	if diff := cmp.Diff(got, shuffle(1)); diff != "" {
		t.Errorf("the same seed gave another permutation: %s", diff)
	}
}
