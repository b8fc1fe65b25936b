package clip

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

func TestEveryItemHasARow(t *testing.T) {
	w := newWorld(t, 5)
	w.items[3].Title, w.items[3].Categories = "", nil
	w.items[4].Title, w.items[4].Categories = " ", nil                       // text without a word
	w.images[1] = pictureOf("B002", w.images[0].Bytes)                       // the same picture
	w.images[2] = tables.Image{Item: "B003", Error: "404 Not Found"}         // none
	w.images = append(w.images, pictureOf("stranger", []byte("no picture"))) // whose item is not wanted
	r := w.mustRun(t)
	var masks [][2]bool
	for i, row := range r.rows {
		if row.ID != int32(i+1) || row.Item != w.items[i].Item {
			t.Errorf("row %d is of item %d, %s", i, row.ID, row.Item)
		}
		masks = append(masks, [2]bool{row.ImagePresent, row.TextPresent})
		for vector, present := range map[*[]float32]bool{&row.Image: row.ImagePresent, &row.Text: row.TextPresent} {
			length := 0.0
			for _, x := range *vector {
				length += float64(x) * float64(x)
			}
			if want := map[bool]float64{true: 1, false: 0}[present]; len(*vector) != 32 || math.Abs(length-want) > 1e-6 {
				t.Errorf("item %s: a vector of %d components and the squared length %v, present: %v", row.Item, len(*vector), length, present)
			}
		}
	}
	if diff := cmp.Diff([][2]bool{{false, true}, {true, true}, {true, true}, {false, false}, {true, false}}, masks); diff != "" {
		t.Errorf("masks (-want +got):\n%s", diff)
	}
	if !slices.Equal(r.rows[1].Image, r.rows[2].Image) || slices.Equal(r.rows[1].Image, r.rows[4].Image) {
		t.Error("vectors are not those of the pictures")
	}
	if diff := cmp.Diff(map[string]float64{
		"items": 5, "images_embedded": 2, "images_reused": 1, "images_broken": 0, "images_absent": 2,
		"texts_embedded": 3, "texts_reused": 0, "texts_absent": 2,
	}, r.counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if r.done != 5 || r.metrics["images_embedded"] != int64(2) || r.metrics["device_busy"].(float64) <= 0 {
		t.Errorf("progress %d, metrics %v", r.done, r.metrics)
	}
}

func TestSeveralPicturesOfAnItem(t *testing.T) {
	w := newWorld(t, 5)
	apart := w.mustRun(t)
	w.images[1].Item = "B001"                                            // of B001 and B002
	w.images = append(w.images, pictureOf("B003", []byte("no picture"))) // which changes nothing
	w.stage.MaxBroken = 1
	r := w.mustRun(t)
	want, length := make([]float64, 32), 0.0
	for i := range want {
		want[i] = float64(apart.rows[1].Image[i]) + float64(apart.rows[2].Image[i])
		length += want[i] * want[i]
	}
	for i, x := range r.rows[1].Image {
		if math.Abs(float64(x)-want[i]/math.Sqrt(length)) > 1e-6 {
			t.Fatalf("component %d is %v, want the mean's %v", i, x, want[i]/math.Sqrt(length))
		}
	}
	if r.rows[2].ImagePresent || !slices.Equal(r.rows[3].Image, apart.rows[3].Image) {
		t.Errorf("rows %+v", r.rows[2:4])
	}
	if diff := cmp.Diff(map[string]float64{
		"items": 5, "images_embedded": 0, "images_reused": 4, "images_broken": 1, "images_absent": 2,
		"texts_embedded": 0, "texts_reused": 5, "texts_absent": 0,
	}, r.counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// What is embedded after a change, from one world to the next.
func TestOnlyWhatIsNewIsEmbedded(t *testing.T) {
	type counts struct{ images, texts float64 }
	for name, test := range map[string]struct {
		change func(*testing.T, *world)
		want   counts
	}{
		"nothing":   {func(*testing.T, *world) {}, counts{0, 0}},
		"ten items": {func(t *testing.T, w *world) { w.add(t, 10) }, counts{10, 10}},
		"one picture": {func(t *testing.T, w *world) {
			w.images[3] = pictureOf(w.images[3].Item, paint(t, 99))
		}, counts{1, 0}},
		"one text": {func(_ *testing.T, w *world) { w.items[3].Brand = "Acme" }, counts{0, 1}},
		"an item's name": {func(_ *testing.T, w *world) {
			w.items[3].Item, w.images[2].Item = "A", "A"
		}, counts{0, 0}},
		"the order": {func(_ *testing.T, w *world) {
			slices.Reverse(w.items)
			slices.Reverse(w.images)
		}, counts{0, 0}},
		"settings":       {func(_ *testing.T, w *world) { w.stage.ImageBatch.Value, w.stage.Threads.Value = 9, 1 }, counts{0, 0}},
		"another README": {func(t *testing.T, w *world) { w.replace(t, "README.md", "x") }, counts{0, 0}},
		"another rule of tokens": {func(t *testing.T, w *world) {
			w.replace(t, "merges.txt", read(t, w.model["merges.txt"].Path)+"\n")
		}, counts{0, 20}},
		"another preprocessing": {func(t *testing.T, w *world) {
			w.replace(t, preprocessName, strings.Replace(read(t, w.model[preprocessName].Path), "0.4814", "0.4815", 1))
		}, counts{19, 0}},
		"another precision": {func(_ *testing.T, w *world) { w.stage.Precision = "bf16" }, counts{19, 20}},
		"one modality":      {func(_ *testing.T, w *world) { w.stage.Modalities = []string{"text"} }, counts{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 20)
			if first := w.mustRun(t); first.counts["images_embedded"] != 19 || first.counts["texts_embedded"] != 20 {
				t.Fatalf("at first: %v", first.counts)
			}
			w.fake.closed = 0
			test.change(t, w)
			r := w.mustRun(t)
			if got := (counts{r.counts["images_embedded"], r.counts["texts_embedded"]}); got != test.want {
				t.Errorf("embedded %v, want %v", got, test.want)
			}
			if opened := w.fake.closed > 0; opened != (test.want != counts{}) {
				t.Errorf("the encoder was opened: %v", opened)
			}
			w.forget()
			if diff := cmp.Diff(w.mustRun(t).rows, r.rows); diff != "" {
				t.Errorf("another result than without what was remembered (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAbsentModalities(t *testing.T) {
	w := newWorld(t, 3)
	w.images = nil
	r := w.mustRun(t)
	if len(r.rows[1].Image) != noVectors || r.rows[1].ImagePresent || !r.rows[1].TextPresent || len(r.rows[1].Text) != 32 {
		t.Errorf("without pictures: %v", r.rows[1])
	}
	if _, counted := r.counts["images_absent"]; counted {
		t.Errorf("pictures are counted that nobody asked for: %v", r.counts)
	}
	w = newWorld(t, 3)
	w.stage.Modalities = []string{"image"}
	r = w.mustRun(t)
	if len(r.rows[1].Text) != noVectors || r.rows[1].TextPresent || !r.rows[1].ImagePresent {
		t.Errorf("pictures alone: %v", r.rows[1])
	}
}

// A run that ends anywhere costs what was on its way, and no more.
func TestInterruptedRunGoesOn(t *testing.T) {
	whole := newWorld(t, 60)
	want := whole.mustRun(t)
	for _, stopAt := range []int{1, 3, 6} {
		w := newWorld(t, 60)
		w.stage.ImageBatch.Value, w.stage.TextBatch.Value = 8, 8
		ctx, cancel := context.WithCancel(context.Background())
		batches := 0
		w.fake.each = func(int) error {
			if batches++; batches == stopAt {
				cancel()
			}
			return nil
		}
		if _, err := w.run(t, ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v", err)
		}
		if batches != stopAt {
			t.Errorf("%d batches were encoded after the interruption", batches-stopAt)
		}
		w.fake.each = nil
		r := w.mustRun(t)
		embedded := r.counts["images_embedded"] + r.counts["texts_embedded"]
		if least := float64(59 + 60 - 8*stopAt); embedded != least && embedded != least+5 { // a last batch of 3 pictures or 4 texts
			t.Errorf("stopped after %d batches, and %v rows were left", stopAt, embedded)
		}
		if diff := cmp.Diff(want.rows, r.rows); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestFailingEncoderIsAnError(t *testing.T) {
	w := newWorld(t, 30)
	w.fake.each = func(int) error { return errStop }
	if _, err := w.run(t, context.Background()); !errors.Is(err, errStop) || w.fake.closed != 1 {
		t.Errorf("error %v, closed %d times", err, w.fake.closed)
	}
	w.fake = &fakeEncoder{width: 32, blind: true}
	if _, err := w.run(t, context.Background()); err == nil || !strings.Contains(err.Error(), "a vector of length 0") || !strings.Contains(err.Error(), "B0") {
		t.Errorf("error %v", err)
	}
}

func TestBrokenPictures(t *testing.T) {
	broken := func(t *testing.T, n int) *world {
		w := newWorld(t, 21)
		for i := range n {
			data := [][]byte{[]byte("<html>"), w.images[i].Bytes[:50], bytes.Repeat([]byte{0}, 100)}[i%3]
			w.images[i] = pictureOf(w.images[i].Item, data)
		}
		return w
	}
	r := broken(t, 4).mustRun(t)
	if r.counts["images_broken"] != 4 || r.counts["images_embedded"] != 16 || r.counts["images_absent"] != 1 || r.done != 21 {
		t.Errorf("counts %v", r.counts)
	}
	for i := 1; i <= 4; i++ {
		if r.rows[i].ImagePresent || r.rows[i].Image[0] != 0 {
			t.Errorf("item %d has a picture", i)
		}
	}
	w := broken(t, 5)
	_, err := w.run(t, context.Background())
	if err == nil {
		t.Fatal("a quarter of the pictures is broken")
	}
	for _, want := range []string{"5 of 20", "max_broken = 0.2", "cut short", "B002", "not a"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nwant %q", err, want)
		}
	}
	w.stage.MaxBroken = 0.3
	if r := w.mustRun(t); r.counts["images_embedded"] != 0 || r.counts["images_reused"] != 15 {
		t.Errorf("after the error: %v", r.counts)
	}
}

func TestInputsThatContradictThemselves(t *testing.T) {
	for want, change := range map[string]func(*world){
		"its row says":          func(w *world) { w.images[1].Bytes = slices.Concat(w.images[1].Bytes, []byte("x")) },
		"want 64 hex digits":    func(w *world) { w.images[1].SHA256 = "abc" },
		"\"B001\" occurs twice": func(w *world) { w.items[2].Item = "B001" },
	} {
		w := newWorld(t, 4)
		change(w)
		if _, err := w.run(t, context.Background()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestDirectoriesThatAreNoModel(t *testing.T) {
	for _, missing := range []string{"config.json", "vocab.json", "merges.txt", preprocessName} {
		w := newWorld(t, 2)
		delete(w.model, missing)
		if _, err := w.run(t, context.Background()); err == nil || !strings.Contains(err.Error(), missing) || !strings.HasPrefix(err.Error(), "weights: ") {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	w := newWorld(t, 2)
	w.fake = nil
	delete(w.model, "model.safetensors")
	if _, err := w.run(t, context.Background()); err == nil || !strings.Contains(err.Error(), "model.safetensors") {
		t.Errorf("without weights: %v", err)
	}
}

func TestBatches(t *testing.T) {
	w := newWorld(t, 40)
	for i := range w.items {
		w.items[i].Description = strings.Repeat("word ", i)
	}
	w.stage.ImageBatch.Value, w.stage.TextBatch.Value = 12, 10
	w.mustRun(t)
	rows := [modalities]int{}
	for _, b := range w.fake.batches {
		rows[b.modality] += b.rows
		most := [modalities]int{12, 10}[b.modality]
		if b.rows < leastRows || b.rows > most {
			t.Errorf("a batch of %d %ss", b.rows, b.modality)
		}
		lengths := slices.Compact(slices.Clone(b.lengths))
		if b.modality == text && (len(lengths) != 1 || lengths[0]%lengthStep != 0 && lengths[0] != 77) {
			t.Errorf("a batch of texts of %v tokens", lengths)
		}
	}
	if rows[image] != 39+5 { // three of 12, and a rest of 3 that is filled up
		t.Errorf("%d pictures were encoded", rows[image])
	}
}

func TestBatchesThatDoNotFit(t *testing.T) {
	w := newWorld(t, 61)
	want := w.mustRun(t)
	w.forget()
	w.stage.ImageBatch.Value, w.stage.TextBatch.Value, w.fake.gpu, w.fake.room, w.fake.batches = 60, 60, true, 16, nil
	if diff := cmp.Diff(want.rows, w.mustRun(t).rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	tooLarge := slices.DeleteFunc(w.fake.batches, func(b fakeBatch) bool { return b.rows <= 16 })
	if len(tooLarge) > 2*2 { // 60 and 30 of each modality: what does not fit is not tried again
		t.Errorf("tried in vain: %v", tooLarge)
	}
	w.forget()
	w.fake.room = leastRows - 1
	if _, err := w.run(t, context.Background()); !errors.Is(err, errOutOfMemory) {
		t.Errorf("error %v", err)
	}
}

func TestSizesOfBatches(t *testing.T) {
	var m model
	m.config.Vision.ImageSize, m.config.Vision.PatchSize, m.config.Vision.Hidden, m.config.Vision.Heads = 224, 32, 768, 12
	for name, test := range map[string]struct{ size, patch, hidden, heads, cpu, cuda int }{
		"ViT-B/32":     {224, 32, 768, 12, 32, 256},
		"ViT-L/14@336": {336, 14, 1024, 16, 7, 28},
		"enormous":     {2240, 14, 4096, 64, 1, 1},
	} {
		v := &m.config.Vision
		v.ImageSize, v.PatchSize, v.Hidden, v.Heads = test.size, test.patch, test.hidden, test.heads
		if cpu, cuda := m.batchRows(image, 0, false), m.batchRows(image, 0, true); cpu != test.cpu || cuda != test.cuda {
			t.Errorf("%s: %d on the CPU and %d on a GPU", name, cpu, cuda)
		}
		if cpu, cuda := m.batchRows(image, 100, false), m.batchRows(image, 100, true); cpu != cpuBatchRows || cuda != 100 {
			t.Errorf("%d on the CPU and %d on a GPU, and 100 were asked for", cpu, cuda)
		}
	}
}

// A forgetful memo has lost or damaged what it is asked for, left times.
type forgetful struct {
	stages.Memo
	left *int
}

func (f forgetful) Get(key stages.MemoKey) ([]byte, bool, error) {
	if *f.left--; *f.left >= 0 {
		return make([]byte, *f.left), *f.left%2 == 0, nil
	}
	return f.Memo.Get(key)
}

func TestLostVectorsAreMadeAgain(t *testing.T) {
	w := newWorld(t, 12)
	want := w.mustRun(t)
	left := 5
	w.wrap = func(m stages.Memo) stages.Memo { return forgetful{m, &left} }
	r := w.mustRun(t)
	if diff := cmp.Diff(want.rows, r.rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if made := r.counts["images_embedded"] + r.counts["texts_embedded"]; made != 5 {
		t.Errorf("%v vectors were made for 5 that were lost", made)
	}
	w.forget()
	left = 5 // right after they were made
	if r := w.mustRun(t); r.counts["images_embedded"] != 11 || r.counts["texts_embedded"] != 12 {
		t.Errorf("counts %v", r.counts)
	}
	left = 1000
	if _, err := w.run(t, context.Background()); err == nil || !strings.Contains(err.Error(), "again and again") {
		t.Errorf("error %v", err)
	}
}

func TestVectorsAsMemosHoldThem(t *testing.T) {
	value, err := encodeVector([]float32{3, 0, -4})
	if err != nil {
		t.Fatal(err)
	}
	vector, ok := decodeVector(value, 3)
	if diff := cmp.Diff([]float32{0.6, 0, -0.8}, vector, cmpopts.EquateApprox(0, 1e-7)); diff != "" || !ok {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, ok := decodeVector(value, 4); ok {
		t.Error("a vector of another width is taken")
	}
	for _, bad := range []float32{0, float32(math.NaN()), float32(math.Inf(1))} {
		if _, err := encodeVector([]float32{bad, 0}); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

func TestKindIsDeclared(t *testing.T) {
	bind := func(change stages.Values) (stages.Stage, []stages.Problem) {
		values := stages.Values{"items": {V: "a.items"}, "images": {V: "b.images"}, "weights": {V: "hf://openai/clip"}}
		for name, value := range change {
			values[name] = value
		}
		return Kinds()[0].Bind(values, stages.BindContext{})
	}
	stage, problems := bind(nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if diff := cmp.Diff(map[string]any{"modalities": []any{"image", "text"}, "precision": "fp32", "decoder": "go", "max_broken": 0.2},
		stage.Request().Params, cmpopts.IgnoreMapEntries(func(name string, _ any) bool { return name == "decoder" })); diff != "" {
		t.Errorf("keyed (-want +got):\n%s", diff)
	}
	if decoder := stage.Request().Params["decoder"]; decoder == "auto" || decoder == "" {
		t.Errorf("the key has the decoder %q", decoder)
	}
	if stage, _ := bind(stages.Values{"decoder": {V: "go"}}); stage.Request().Params["decoder"] != "go" {
		t.Errorf("the key has the decoder %q", stage.Request().Params["decoder"])
	}
	if stage, _ := bind(stages.Values{"modalities": {V: "text"}}); stage.Request().Params["decoder"] != "none" {
		t.Errorf("without pictures the key has the decoder %q", stage.Request().Params["decoder"])
	}
	for param, value := range map[string]any{"modalities": []any{}, "device": "gpu", "precision": "fp8", "max_broken": 2.0, "weights": "hf://openai"} {
		if _, problems := bind(stages.Values{param: {V: value}}); len(problems) != 1 || problems[0].Param != param {
			t.Errorf("%s = %v: %v", param, value, problems)
		}
	}
}
