package training

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// beautyShaped is made-up data with the sizes of Amazon Beauty: 22,363 users,
// 12,101 items, 8.9 interactions a user, of which two are held out, and most of
// them on few items.
func beautyShaped(modalities int) Data { return shaped(22363, 12101, modalities) }

func shaped(users, items, modalities int) Data {
	random := rand.New(rand.NewPCG(1, 1))
	popularity := rand.NewZipf(random, 1.2, 50, uint64(items-1))
	data := Data{Items: items}
	for i := range users {
		n := min(3+int(random.ExpFloat64()*random.ExpFloat64()*4.2), 200)
		u := User{ID: int32(i + 1), Valid: []int32{int32(1 + popularity.Uint64())}}
		for range n {
			u.Train = append(u.Train, int32(1+popularity.Uint64()))
		}
		data.Users = append(data.Users, u)
	}
	for _, name := range []string{"image", "text"}[:modalities] {
		m := Modality{Name: name, Size: 512, Present: make([]bool, items+1)}
		for range (items + 1) * m.Size {
			m.Vectors = append(m.Vectors, random.Float32()-0.5)
		}
		for i := range m.Present {
			m.Present[i] = i > 0
		}
		data.Modalities = append(data.Modalities, m)
	}
	return data
}

// benched are the trainings that benchmarks measure: each backbone with the
// loss that it is published with, at the sizes of the reference numbers.
var benched = []struct {
	backbone string
	loss     Loss
}{{backbone.SASRecName, BCE}, {backbone.SASRecName, CE}, {backbone.STOSAName, BPR}, {backbone.InDiRecName, CE}}

// BenchmarkEpoch measures training on data of Beauty's shape, with and without
// PRISM on two modalities of 512 numbers: seconds for an epoch (from some of its
// steps, on the CPU), the ratio to the padded baseline, whose steps take turns
// with the others, and seconds to rank every user's validation answer. Operations
// are those of matrix products.
func BenchmarkEpoch(b *testing.B) {
	for _, bench := range benched {
		for _, modalities := range []int{0, 2} {
			name := bench.backbone
			if modalities > 0 {
				name += "+prism"
			}
			b.Run(name+"/"+string(bench.loss), func(b *testing.B) {
				config := Default()
				config.Model.Backbone, config.Loss = bench.backbone, bench.loss
				data := beautyShaped(modalities)
				benchmarkEpoch(b, data, config)
			})
		}
	}
}

// BenchmarkYelpSized is what a GPU is for: a corpus of the size of the Yelp of
// PRISM's paper, 287,116 users and 148,522 items. It measures whole epochs.
func BenchmarkYelpSized(b *testing.B) {
	torchtest.NeedsCUDA(b)
	config := Default()
	config.Loss, config.Negatives = SampledCE, 4096
	stepper(b, torchtest.Open(b), shaped(287116, 148522, 2), config, func(t *trainer) {
		for range 2 {
			epoch(b, t)
		}
		b.ResetTimer()
		begun := time.Now()
		for range b.N {
			epoch(b, t)
		}
		b.StopTimer()
		b.ReportMetric(time.Since(begun).Seconds()/float64(b.N), "s/epoch")
		b.ReportMetric(rankAll(b, t), "s/ranking")
		b.ReportMetric(peak(b, t), "MiB-peak")
		b.ReportMetric(0, "ns/op")
	})
}

// epoch runs all steps of an epoch as a training does.
func epoch(b *testing.B, t *trainer) {
	p, err := t.begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for p.done < p.feed.steps() {
		if err := p.some(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	t.session.Synchronize()
}

func benchmarkEpoch(b *testing.B, data Data, config Config) {
	resetPeak(b)
	stepper(b, torchtest.Open(b), data, config, func(t *trainer) {
		begun := time.Now()
		p, err := t.begin(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		beginning := time.Since(begun) // a paired backbone looks for intents
		lean, padded := newCourse(b, t, p, t.layout, false), newCourse(b, t, p, inWindow(config.Model.MaxLength), true)
		lean.run(warmUp)
		padded.run(1)
		lean.spent, padded.spent = nil, nil
		b.ResetTimer()
		for range b.N {
			for range benchedRounds {
				lean.run(stepsPerRound)
				padded.run(1)
			}
		}
		b.StopTimer()
		b.ReportMetric(perEpoch(b, t, beginning, lean), "s/epoch")
		b.ReportMetric(1e3*lean.median(), "ms/step")
		b.ReportMetric(padded.median()/lean.median(), "padded/lean")
		b.ReportMetric(lean.operations/1e9, "Gop/step")
		b.ReportMetric(padded.operations/1e9, "Gop/padded")
		b.ReportMetric(float64(lean.allocated), "go-allocs/step")
		reportRoofline(b, t, lean.operations, lean.median())
		b.ReportMetric(rankAll(b, t), "s/ranking")
		b.ReportMetric(peak(b, t), "MiB-peak")
		b.ReportMetric(0, "ns/op")
	})
}

// perEpoch is the seconds of an epoch: of all of it where that is short and steps
// overlap with the host's work, else from its steps.
func perEpoch(b *testing.B, t *trainer, beginning time.Duration, lean *course) float64 {
	if t.session.Device().Type == gotorch.CPU {
		return beginning.Seconds() + float64(lean.pass.feed.steps())*lean.median()
	}
	t.layout = lean.layout
	epoch(b, t) // captures what is left to capture
	begun := time.Now()
	epoch(b, t)
	return time.Since(begun).Seconds()
}

// How many steps are measured: the padded ones are several times as long.
const (
	warmUp        = 6
	benchedRounds = 5
	stepsPerRound = 3
)

// A course is steps of one layout, timed one by one.
type course struct {
	b       *testing.B
	trainer *trainer
	pass    *pass
	layout  func([][]int32) backbone.Rows
	plain   bool // the baseline: every place projects its own item, and nothing is captured

	next       int
	spent      []time.Duration
	operations float64 // of the last step
	allocated  uint64  // Go's allocations in the last step
}

func newCourse(b *testing.B, t *trainer, p *pass, layout func([][]int32) backbone.Rows, plain bool) *course {
	return &course{b: b, trainer: t, pass: p, layout: layout, plain: plain}
}

// run makes steps, each of which ends when the device has finished it.
func (c *course) run(steps int) {
	t := c.trainer
	for range steps {
		t.layout = c.layout
		shape, words, err := c.pass.feed.step(c.next % (c.pass.feed.steps() - 1))
		if err != nil {
			c.b.Fatal(err)
		}
		c.next++
		if c.plain {
			shape, words = plainly(shape, words)
		}
		t.session.Scoped(func() {
			input := t.session.FromInt64(words)
			t.session.Synchronize()
			before := mallocs()
			begun := time.Now()
			if whole := (part{first: true, last: true, scale: 1}); c.plain {
				t.session.Scoped(func() { t.step(shape.view(input), whole) })
			} else {
				t.compute(shape, input, whole)
			}
			t.session.Synchronize()
			c.spent = append(c.spent, time.Since(begun))
			c.allocated = mallocs() - before
		})
		c.operations = operations(t.model.Config(), shape, t.config.Loss, t.config.Negatives)
	}
}

// plainly lists every place's item instead of the distinct ones, as code does
// that projects features place by place.
func plainly(shape stepShape, words []int64) (stepShape, []int64) {
	head := 1 + shape.batch.Sequences + shape.targets
	batch, laid := everyItem(shape.batch, words[head:head+shape.batch.Words()])
	out := append(slices.Clone(words[:head]), laid...)
	rest := words[head+shape.batch.Words():]
	shape.batch = batch
	if len(rest) > 0 {
		shape.partners, rest = everyItem(shape.partners, rest)
	}
	return shape, append(out, rest...)
}

func everyItem(shape backbone.Shape, words []int64) (backbone.Shape, []int64) {
	places := shape.Rows * shape.Width
	out := slices.Clone(words[:len(words)-shape.Distinct])
	for i := range places {
		out[3*places+i] = int64(i)
	}
	shape.Distinct = places
	return shape, append(out, words[:places]...)
}

func mallocs() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Mallocs
}

func (c *course) median() float64 {
	sorted := slices.Sorted(slices.Values(c.spent))
	return sorted[len(sorted)/2].Seconds()
}

// inWindow is the usual layout: one sequence a row, padded to the window.
func inWindow(window int) func([][]int32) backbone.Rows {
	return func(sequences [][]int32) backbone.Rows {
		lengths := make([]int, len(sequences))
		for i := range sequences {
			lengths[i] = len(sequences[i])
		}
		return backbone.Pad(lengths, window)
	}
}

func rankAll(b *testing.B, t *trainer) float64 {
	t.model.Prepare()
	defer t.model.Release()
	begun := time.Now()
	if _, err := t.value(context.Background(), &Epoch{}); err != nil {
		b.Fatal(err)
	}
	return time.Since(begun).Seconds()
}

// resetPeak makes the kernel forget the most memory that the process has had.
func resetPeak(b *testing.B) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Logf("peaks of memory are those of the whole run: %v", err)
	}
}

// peak is the most memory in MiB: of the device, or of the process.
func peak(b *testing.B, t *trainer) float64 {
	if stats, ok := t.session.Memory(); ok {
		return float64(stats.PeakReserved) / (1 << 20)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Log(err)
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kB, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kB / 1024
}

// BenchmarkPlainPyTorch runs the padded baseline's counterpart in plain PyTorch,
// where there is one, and the baseline itself beside it.
func BenchmarkPlainPyTorch(b *testing.B) {
	python := pythonWithTorch(b)
	config := Default()
	config.Loss = BCE
	data := beautyShaped(2)
	stepper(b, torchtest.Open(b), data, config, func(t *trainer) {
		p, err := t.begin(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		padded := newCourse(b, t, p, inWindow(config.Model.MaxLength), true)
		padded.run(1)
		padded.spent = nil
		var theirs []float64
		for range b.N {
			for range benchedRounds {
				padded.run(2)
				theirs = append(theirs, plainPyTorch(b, python, config))
			}
		}
		slices.Sort(theirs)
		b.ReportMetric(1e3*padded.median(), "ms/padded")
		b.ReportMetric(theirs[len(theirs)/2], "ms/pytorch")
		b.ReportMetric(1e3*padded.median()/theirs[len(theirs)/2], "padded/pytorch")
		b.ReportMetric(0, "ns/op")
	})
}

func pythonWithTorch(b *testing.B) string {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import torch").Run() == nil {
			return python
		}
	}
	b.Skip("no python3 has torch; Debian has it as python3-torch")
	return ""
}

func plainPyTorch(b *testing.B, python string, c Config) float64 {
	arguments := []string{"testdata/padded.py"}
	for _, n := range []int{c.BatchSize, c.Model.MaxLength, 12101, c.Model.Hidden, 512, c.Threads, 5} {
		arguments = append(arguments, strconv.Itoa(n))
	}
	command := exec.Command(python, arguments...)
	command.Env = append(os.Environ(), "GOMP_SPINCOUNT=1000") // as gotorch does, for cores that others use as well
	out, err := command.Output()
	if err != nil {
		b.Fatal(err)
	}
	ms, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		b.Fatal(err)
	}
	return ms
}
