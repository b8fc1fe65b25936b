package clip

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/model/clip"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/safetensors/goldentest"
	"github.com/prismflow/prismflow/stages/picture"
	"github.com/prismflow/prismflow/stages/tables"
)

const golden = "../../model/clip/testdata"

// goldenValues are what the published implementation makes of the tiny model.
func goldenValues(t testing.TB) goldentest.File {
	t.Helper()
	return goldentest.Open(t, filepath.Join(golden, "expected.safetensors"))
}

// goldenWorld has the pictures and texts of the published values: the picture
// and the text of an item are those of its place among either.
func goldenWorld(t testing.TB, pictures []string) *world {
	w := newWorld(t, 0)
	w.fake = nil
	var texts []struct{ Text string }
	if err := json.Unmarshal([]byte(read(t, filepath.Join(golden, "tokens.json"))), &texts); err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		w.items = append(w.items, tables.CorpusItem{ID: int32(i + 1), Item: fmt.Sprintf("B%03d", i), Title: text.Text})
	}
	for i, name := range pictures {
		w.images = append(w.images, pictureOf(w.items[i].Item, []byte(read(t, filepath.Join(golden, "images", name)))))
	}
	return w
}

// From the bytes of pictures and texts, through the stage, to the published
// vectors.
func TestGoldenFeatures(t *testing.T) {
	want := goldenValues(t)
	pictures := strings.Split(want.Metadata()["image_order"], ",")
	r := goldenWorld(t, pictures).mustRun(t)
	images, texts := want.Floats("image.features_normalized"), want.Floats("text.features_normalized")
	for i, row := range r.rows {
		if row.ImagePresent != (i < len(pictures)) {
			t.Errorf("item %d: picture %v", i, row.ImagePresent)
		}
		if row.ImagePresent {
			compare(t, "picture "+pictures[i], images[32*i:][:32], row.Image)
		}
		if row.TextPresent {
			compare(t, fmt.Sprintf("text %d", i), texts[32*i:][:32], row.Text)
		}
	}
	if r.counts["texts_embedded"] < 14 || r.counts["images_embedded"] != float64(len(pictures)) {
		t.Errorf("counts %v", r.counts)
	}
}

func compare(t *testing.T, what string, want, got []float32) {
	t.Helper()
	worst := 0.0
	for i := range want {
		worst = max(worst, math.Abs(float64(want[i]-got[i])))
	}
	if worst > 1e-4 || len(got) != len(want) {
		t.Errorf("%s: %.1e from the published vector", what, worst)
	}
}

// JPEG, whose decoders differ, against the pixels that PIL makes of it.
func TestGoldenJPEG(t *testing.T) {
	want := goldenValues(t).Floats("pixels224.large.jpg")
	p := pipelineOf(t, newWorld(t, 0))
	p.model.preprocess.Size, p.model.preprocess.CropSize = clip.Size{Shortest: 224}, clip.Size{Height: 224, Width: 224}
	for _, choice := range []string{picture.Native, picture.Go} {
		decoder, err := picture.Open(choice)
		if err != nil {
			t.Logf("no decoder %s: %v", choice, err)
			continue
		}
		p.stage.decoder = decoder
		got := make([]float32, len(want))
		if err := p.decode(got, []byte(read(t, "testdata/large.jpg"))); err != nil {
			t.Fatal(err)
		}
		worst, sum := 0.0, 0.0
		for i := range want {
			levels := math.Abs(float64(want[i]-got[i])) * 255 * p.model.preprocess.Std[i/(224*224)]
			worst, sum = max(worst, levels), sum+levels
		}
		t.Logf("%s: %.2f levels from PIL's pixels at most, %.3f on the average", decoder.Name(), worst, sum/float64(len(want)))
		if choice == picture.Native && worst > 2 {
			t.Errorf("%.2f levels from PIL's pixels", worst)
		}
	}
}

// pipelineOf is a pipeline that can decode and tokenise.
func pipelineOf(t testing.TB, w *world) *pipeline {
	t.Helper()
	model, err := openModel(slices.Collect(maps.Values(w.model)))
	if err != nil {
		t.Fatal(err)
	}
	return &pipeline{stage: &w.stage, model: model}
}

// A vector is the same to the bit alone and among others, at any place, in
// batches of any size, on any number of threads, and made at once or little by
// little: what the key does not have changes nothing.
func TestBatchesChangeNoBit(t *testing.T) {
	torchtest.NeedsCPU(t)
	build := func(n int) *world {
		w := newWorld(t, n)
		w.fake = nil
		for i := range w.items {
			w.items[i].Description = strings.Repeat("a little more ", i%20)
		}
		return w
	}
	w := build(70)
	w.stage.Threads.Value = 1
	want := w.mustRun(t).rows
	for name, change := range map[string]func(w *world){
		"small batches": func(w *world) { w.stage.ImageBatch.Value, w.stage.TextBatch.Value = 1, 1 },
		"odd batches":   func(w *world) { w.stage.ImageBatch.Value, w.stage.TextBatch.Value = 13, 11 },
		"large batches": func(w *world) { w.stage.ImageBatch.Value, w.stage.TextBatch.Value = 128, 128 },
		"threads":       func(w *world) { w.stage.Threads.Value = 2 },
		"another order": func(w *world) { slices.Reverse(w.images) },
	} {
		w := build(70)
		w.stage.Threads.Value = 1
		change(w)
		if diff := cmp.Diff(want, w.mustRun(t).rows); diff != "" {
			t.Errorf("%s (-want +got):\n%.600s", name, diff)
		}
	}
	grown := build(45)
	grown.mustRun(t)
	all := build(70)
	all.memos = grown.memos
	r := all.mustRun(t)
	if diff := cmp.Diff(want, r.rows); diff != "" || r.counts["images_embedded"] != 25 {
		t.Errorf("counts %v (-want +got):\n%.600s", r.counts, diff)
	}
}

func TestPrecisionOfTheDevice(t *testing.T) {
	torchtest.NeedsCPU(t)
	w := newWorld(t, 2)
	w.fake = nil
	w.stage.Precision = "fp16"
	if _, err := w.run(t, t.Context()); err == nil || !strings.Contains(err.Error(), "fp16 on the CPU") {
		t.Errorf("error %v", err)
	}
}
