package clip

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	goimage "image"
	"image/color"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

func TestMain(m *testing.M) { os.Exit(torchtest.Main(m)) }

const tinyModel = "../../model/clip/testdata/clip_tiny"

// A world is what a stage runs in, time after time.
type world struct {
	items  []tables.CorpusItem
	images []tables.Image
	model  map[string]stages.File
	memos  *stages.Env // remembers what was made
	wrap   func(stages.Memo) stages.Memo

	stage Embed // its parameters
	fake  *fakeEncoder
}

// newWorld has n items, each with a text and, from the second on, a picture.
func newWorld(t testing.TB, n int) *world {
	w := &world{
		model: map[string]stages.File{}, memos: &stages.Env{}, wrap: func(m stages.Memo) stages.Memo { return m }, fake: &fakeEncoder{width: 32},
		stage: Embed{Modalities: []string{"image", "text"}, Precision: "fp32", Decoder: "go", MaxBroken: 0.2},
	}
	entries, err := os.ReadDir(tinyModel)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		w.model[entry.Name()] = tinyFile(entry.Name())
	}
	w.add(t, n)
	return w
}

// tinyFile is a file of the model; all worlds have the same, so that it is
// hashed once.
func tinyFile(name string) stages.File {
	if file, ok := tinyFiles.Load(name); ok {
		return file.(stages.File)
	}
	path := filepath.Join(tinyModel, name)
	data, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	file := stages.File{Name: name, Path: path, Digest: artifacts.DigestOf(data)}
	tinyFiles.Store(name, file)
	return file
}

var tinyFiles sync.Map

// add adds items.
func (w *world) add(t testing.TB, n int) {
	for range n {
		i := len(w.items)
		name := fmt.Sprintf("B%03d", i)
		w.items = append(w.items, tables.CorpusItem{ID: int32(i + 1), Item: name, Title: fmt.Sprintf("thing number %d", i), Categories: []string{"Things"}})
		if i > 0 {
			w.images = append(w.images, pictureOf(name, paint(t, i)))
		}
	}
}

func pictureOf(item string, data []byte) tables.Image {
	sum := sha256.Sum256(data)
	return tables.Image{Item: item, Bytes: data, SHA256: hex.EncodeToString(sum[:])}
}

// paint is a PNG that differs from that of another number.
func paint(t testing.TB, n int) []byte {
	t.Helper()
	picture := goimage.NewRGBA(goimage.Rect(0, 0, 40, 36))
	for x := range 40 {
		for y := range 36 {
			picture.Set(x, y, color.RGBA{uint8(x * (n + 1)), uint8(y*7 + n), uint8(n * 11), 255})
		}
	}
	var data bytes.Buffer
	if err := png.Encode(&data, picture); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

// A result is what came of one run.
type result struct {
	rows    []tables.Features
	counts  map[string]float64
	metrics map[string]any
	done    int64 // the last progress
	took    time.Duration
}

// forget has the world remember nothing.
func (w *world) forget() { w.memos = &stages.Env{} }

// run runs the stage on the world as it is, with the fake encoder where there
// is one.
func (w *world) run(t testing.TB, ctx context.Context) (result, error) {
	t.Helper()
	stage := w.stage
	stage.Items = stagetest.Table[itemText](t, w.items)
	if w.images != nil {
		stage.Images = stagetest.Table[imageBytes](t, w.images)
	}
	stage.Weights = stages.SourceOf(slices.Collect(maps.Values(w.model))...)
	env := stagetest.Env(t)
	if w.fake != nil {
		stage.open = func(context.Context, *stages.Env, *Embed, model) (encoder, error) { return w.fake, nil }
	} else {
		env = stagetest.TorchEnv(t)
	}
	env.OpenMemo = func(ctx context.Context, scope artifacts.Request) (stages.Memo, error) {
		memo, err := w.memos.Memo(ctx, scope)
		return w.wrap(memo), err
	}
	r := result{counts: map[string]float64{}}
	env.OnProgress = func(done, total int64, unit string) {
		if unit != "items" || total != int64(len(w.items)) || done > total {
			t.Errorf("progress: %d of %d %s", done, total, unit)
		}
		r.done = done
	}
	env.OnMetrics = func(values map[string]any) { r.metrics = maps.Clone(values) }
	read := stagetest.Result(t, &stage.Features)
	began := time.Now()
	if err := stage.Run(ctx, env); err != nil {
		return r, err
	}
	r.took = time.Since(began)
	r.rows = read()
	for _, count := range env.Report() {
		r.counts[count.Name] = count.Value
	}
	return r, nil
}

// replace gives the model another file of this name.
func (w *world) replace(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.model[name] = stages.File{Name: name, Path: path, Digest: artifacts.DigestOf([]byte(text))}
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (w *world) mustRun(t testing.TB) result {
	t.Helper()
	r, err := w.run(t, context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A fakeEncoder makes vectors of nothing but what a row consists of.
type fakeEncoder struct {
	width int
	room  int                  // rows that it has memory for; 0: any number
	gpu   bool                 // it is on one
	blind bool                 // its vectors have no length
	each  func(rows int) error // before each batch; may be nil

	mu      sync.Mutex // guards what follows
	batches []fakeBatch
	closed  int
}

type fakeBatch struct {
	modality modality
	rows     int
	lengths  []int // of texts
}

func (f *fakeEncoder) images(pixels []float32, rows int) ([]float32, error) {
	if err := f.note(fakeBatch{image, rows, nil}); err != nil {
		return nil, err
	}
	var vectors []float32
	values := len(pixels) / rows
	for i := range rows {
		h := sha256.New()
		for _, x := range pixels[i*values : (i+1)*values] {
			fmt.Fprint(h, math.Float32bits(x), " ")
		}
		vectors = append(vectors, f.vector(h.Sum(nil))...)
	}
	return vectors, nil
}

func (f *fakeEncoder) texts(ids [][]int64) ([]float32, error) {
	b := fakeBatch{modality: text, rows: len(ids)}
	for _, row := range ids {
		b.lengths = append(b.lengths, len(row))
	}
	if err := f.note(b); err != nil {
		return nil, err
	}
	var vectors []float32
	for _, row := range ids {
		sum := sha256.Sum256(fmt.Append(nil, row))
		vectors = append(vectors, f.vector(sum[:])...)
	}
	return vectors, nil
}

func (f *fakeEncoder) note(b fakeBatch) error {
	f.mu.Lock()
	f.batches = append(f.batches, b)
	f.mu.Unlock()
	if f.room > 0 && b.rows > f.room {
		return errOutOfMemory
	}
	if f.each != nil {
		return f.each(b.rows)
	}
	return nil
}

func (f *fakeEncoder) vector(seed []byte) []float32 {
	vector := make([]float32, f.width)
	for i := range vector {
		if !f.blind {
			vector[i] = float32(seed[i%len(seed)]) - 127.5
		}
	}
	return vector
}

func (f *fakeEncoder) cuda() bool { return f.gpu }

func (f *fakeEncoder) close() error {
	f.closed++
	return nil
}

var errStop = errors.New("stop here")
