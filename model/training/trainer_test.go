package training

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/prism"
)

// chains are users who go through the items in order, from a place of their
// own: the next item follows from the last one alone.
func chains(users, items int) Data {
	random := rand.New(rand.NewPCG(1, 1))
	data := Data{Items: items}
	for i := range users {
		at, n := random.IntN(items), 2+random.IntN(10)
		u := User{ID: int32(i + 1)}
		for j := range n {
			u.Train = append(u.Train, int32(1+(at+j)%items))
		}
		u.Valid = int32(1 + (at+n)%items)
		u.Held = []int32{u.Valid, int32(1 + (at+n+1)%items)}
		data.Users = append(data.Users, u)
	}
	return data
}

// withPictures gives items vectors of two modalities; a fifth has no picture.
func withPictures(data Data) Data {
	random := rand.New(rand.NewPCG(2, 2))
	for _, name := range []string{"image", "text"} {
		m := Modality{Name: name, Size: 6, Present: make([]bool, data.Items+1)}
		for i := range (data.Items + 1) * m.Size {
			m.Vectors = append(m.Vectors, float32(random.NormFloat64()))
			m.Present[i/m.Size] = name == "text" || i/m.Size%5 != 0
		}
		data.Modalities = append(data.Modalities, m)
	}
	return data
}

func small() Config {
	c := Default()
	c.Model.Hidden, c.Model.Layers, c.Model.MaxLength, c.Model.Dropout, c.Model.DropoutAttention = 16, 1, 8, 0.1, 0.1
	c.Model.ExpertHidden, c.Model.GateHidden = 8, 8
	c.Model.InDiRec.Intents, c.Model.InDiRec.Steps = 8, 10
	c.BatchSize, c.LearningRate, c.Epochs, c.Patience, c.Monitor, c.Threads = 32, 1e-2, 12, 0, "ndcg@5", 1
	return c
}

func train(t *testing.T, data Data, config Config, options Options) *Result {
	t.Helper()
	options.Device = "cpu"
	result, err := Train(t.Context(), torchtest.Open(t), data, config, options)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestTrainingLearnsWhatIsPlanted(t *testing.T) {
	for _, on := range []struct {
		backbone string
		loss     Loss
	}{
		{backbone.SASRecName, BCE}, {backbone.SASRecName, BPR}, {backbone.SASRecName, CE}, {backbone.SASRecName, SampledCE},
		{backbone.STOSAName, BPR}, {backbone.STOSAName, CE}, {backbone.InDiRecName, CE},
	} {
		for _, mode := range prism.Modes() {
			for name, data := range map[string]Data{"items alone": chains(200, 30), "pictures": withPictures(chains(200, 30))} {
				t.Run(on.backbone+" "+string(on.loss)+" "+string(mode)+" "+name, func(t *testing.T) {
					config := small()
					config.Model.Backbone, config.Loss, config.Model.Mode = on.backbone, on.loss, mode
					if on.loss == SampledCE {
						config.Negatives = 10
					}
					result := train(t, data, config, Options{})
					if got := *result.History[result.Best-1].Value; got < 0.8 {
						t.Errorf("ndcg@5 is %.3f after %d epochs, want nearly 1: %+v", got, result.Best, result.History)
					}
				})
			}
		}
	}
}

func TestSameSeedSameResultToTheBit(t *testing.T) {
	config := small()
	config.Epochs, config.Loss, config.Model.Hidden, config.Threads = 3, BCE, 64, 2
	data := withPictures(chains(300, 3000)) // large enough for operators to use both threads
	first, second := train(t, data, config, Options{}), train(t, data, config, Options{})
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("two trainings of one seed differ:\n%s", diff)
	}
	config.Seed++
	if other := train(t, data, config, Options{}); other.History[0].Loss == first.History[0].Loss {
		t.Error("another seed gave the same loss")
	}
}

func TestKilledTrainingResumesToTheSameResult(t *testing.T) {
	config := small()
	config.Epochs, config.Loss = 5, BCE
	data := withPictures(chains(100, 30))
	whole := train(t, data, config, Options{})

	dir := t.TempDir()
	ctx, kill := context.WithCancel(t.Context())
	_, err := Train(ctx, torchtest.Open(t), data, config, Options{Device: "cpu", Resume: dir, Progress: func(p Progress) {
		if p.Epoch == 3 && p.Step == 2 {
			kill()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled training gave %v", err)
	}
	resumed := train(t, data, config, Options{Resume: dir})
	if resumed.Resumed != 2*4 {
		t.Errorf("taken up after %d steps, want 2 epochs of 4", resumed.Resumed)
	}
	resumed.Resumed = 0
	if diff := cmp.Diff(whole, resumed); diff != "" {
		t.Errorf("resumed differs from uninterrupted:\n%s", diff)
	}
}

func TestTrainingResumesWithinAnEpoch(t *testing.T) {
	config := small()
	config.Epochs, config.Loss, config.AccumulateSteps = 4, BCE, 2
	resumesWithinAnEpoch(t, withPictures(chains(200, 30)), config, 7) // 4 steps of the optimizer

	config.Model.Backbone, config.Loss, config.Examples = backbone.InDiRecName, CE, Prefixes
	data := withPictures(chains(40, 30))
	resumesWithinAnEpoch(t, data, config, (len(newExamples(data.Users, 8, Prefixes))+31)/32)
}

func resumesWithinAnEpoch(t *testing.T, data Data, config Config, steps int) {
	t.Helper()
	whole := train(t, data, config, Options{})

	dir := t.TempDir()
	ctx, kill := context.WithCancel(t.Context())
	_, err := Train(ctx, torchtest.Open(t), data, config, Options{Device: "cpu", Resume: dir, CheckpointEvery: 1, Progress: func(p Progress) {
		if p.Epoch == 3 && p.Step == 6 {
			kill()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled training gave %v", err)
	}
	resumed := train(t, data, config, Options{Resume: dir})
	if want := 2*steps + 6; resumed.Resumed != want {
		t.Errorf("taken up after %d steps, want %d", resumed.Resumed, want)
	}
	resumed.Resumed = 0
	if diff := cmp.Diff(whole, resumed); diff != "" {
		t.Errorf("resumed differs from uninterrupted:\n%s", diff)
	}
}

func TestForeignOrBrokenCheckpointIsNotUsed(t *testing.T) {
	config := small()
	config.Epochs = 1
	dir := t.TempDir()
	train(t, chains(50, 30), config, Options{Resume: dir})
	if got := train(t, chains(60, 30), config, Options{Resume: dir}); got.Resumed != 0 {
		t.Error("a checkpoint of other data was taken up")
	}
	path := filepath.Join(dir, checkpointFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data[:len(data)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	if got := train(t, chains(60, 30), config, Options{Resume: dir}); got.Resumed != 0 {
		t.Error("half a checkpoint was taken up")
	}
}

func TestDivergenceStopsWithItsStep(t *testing.T) {
	data := withPictures(chains(50, 30))
	data.Modalities[0].Vectors[3*data.Modalities[0].Size] = 3e38
	data.Modalities[0].Vectors[3*data.Modalities[0].Size+1] = 3e38
	_, err := Train(t.Context(), torchtest.Open(t), data, small(), Options{Device: "cpu"})
	if !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "epoch 1, step ") || !strings.Contains(err.Error(), " is not finite") {
		t.Fatalf("got %v, want ErrDiverged with the step and the tensor", err)
	}
}

func TestPatienceStopsEarly(t *testing.T) {
	config := small()
	config.Epochs, config.Patience, config.LearningRate = 50, 2, 1e-9
	result := train(t, chains(50, 30), config, Options{})
	if n := len(result.History); n != result.Best+2 {
		t.Errorf("stopped after %d epochs with the best at %d, want 2 more", n, result.Best)
	}
}

func TestWithoutValidationTheLastEpochIsKept(t *testing.T) {
	data := chains(50, 30)
	for i := range data.Users {
		data.Users[i].Valid = 0
	}
	config := small()
	config.Epochs, config.Patience = 3, 1
	if result := train(t, data, config, Options{}); result.Best != 3 || result.History[2].Value != nil {
		t.Errorf("kept epoch %d of %+v, want the third", result.Best, result.History)
	}
}

func TestEveryFewEpochsAreValidated(t *testing.T) {
	config := small()
	config.Epochs, config.EvalEvery = 8, 3
	var validated []int
	for _, e := range train(t, chains(50, 30), config, Options{}).History {
		if e.Value != nil {
			validated = append(validated, e.Epoch)
		} else if e.Best {
			t.Errorf("epoch %d is the best without having been validated", e.Epoch)
		}
	}
	if diff := cmp.Diff([]int{3, 6, 8}, validated); diff != "" {
		t.Errorf("epochs that were validated:\n%s", diff)
	}
}

func TestTrainingLossCanBeMonitored(t *testing.T) {
	config := small()
	config.Epochs, config.Monitor = 5, "loss"
	result := train(t, chains(50, 30), config, Options{})
	for _, e := range result.History {
		if *e.Value != e.Loss {
			t.Errorf("epoch %d: monitored %v, want the loss %v", e.Epoch, *e.Value, e.Loss)
		}
		if best := result.History[result.Best-1]; e.Loss < best.Loss {
			t.Errorf("epoch %d has the loss %v, less than %v of the best epoch %d", e.Epoch, e.Loss, best.Loss, best.Epoch)
		}
	}
}

func TestGainsBelowMinDeltaDoNotCount(t *testing.T) {
	config := small()
	config.Epochs, config.Patience, config.MinDelta = 50, 3, 10
	if result := train(t, chains(50, 30), config, Options{}); result.Best != 1 || len(result.History) != 4 {
		t.Errorf("best epoch %d of %d, want the first of 4: no metric gains 10", result.Best, len(result.History))
	}
}

// TestAccumulationIsALargerBatch holds for losses whose targets weigh the same
// in parts of equal size, without dropout.
func TestAccumulationIsALargerBatch(t *testing.T) {
	data := Data{Items: 30}
	random := rand.New(rand.NewPCG(3, 3))
	for i := range 64 {
		u := User{ID: int32(i + 1)}
		for range 5 {
			u.Train = append(u.Train, int32(1+random.IntN(30)))
		}
		data.Users = append(data.Users, u)
	}
	config := small()
	config.Model.Dropout, config.Model.DropoutAttention, config.Epochs = 0, 0, 2
	whole := train(t, data, config, Options{})
	config.BatchSize, config.AccumulateSteps = config.BatchSize/4, 4
	parts := train(t, data, config, Options{})
	for i, want := range whole.Model.Tensors {
		if worst := furthest(parts.Model.Tensors[i].Values, want.Values); worst > 1e-4 {
			t.Errorf("%s differs by %v", want.Name, worst)
		}
	}
}

func furthest(a, b []float32) (worst float64) {
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i]-b[i])))
	}
	return worst
}

func TestClippingBoundsWhatOneStepCanDo(t *testing.T) {
	config := small()
	config.Epochs, config.ClipNorm = 3, 1e-12 // far below Adam's eps, so that hardly anything moves
	result := train(t, chains(50, 30), config, Options{})
	if first, last := result.History[0].Loss, result.History[2].Loss; math.Abs(first-last) > 0.01 {
		t.Errorf("the loss went from %v to %v although gradients were clipped to nothing", first, last)
	}
}

func TestReducedPrecisionLearnsWhatIsPlanted(t *testing.T) {
	for _, precision := range []Precision{TF32, BF16} {
		t.Run(string(precision), func(t *testing.T) {
			config := small()
			config.Precision = precision
			result := train(t, withPictures(chains(200, 30)), config, Options{})
			if got := *result.History[result.Best-1].Value; got < 0.8 {
				t.Errorf("ndcg@5 is %.3f, want nearly 1", got)
			}
		})
	}
}

func TestRateRisesAndFalls(t *testing.T) {
	config := Config{LearningRate: 2, WarmupSteps: 4, FinalRate: 0.1, Decay: LinearDecay}
	for step, want := range map[int]float64{0: 0.5, 3: 2, 4: 2, 9: 1.1, 14: 0.2, 20: 0.2} {
		if got := config.rate(step, 14); math.Abs(got-want) > 1e-12 {
			t.Errorf("linear: the rate of step %d is %v, want %v", step, got, want)
		}
	}
	config.Decay = CosineDecay
	for step, want := range map[int]float64{4: 2, 9: 1.1, 14: 0.2} {
		if got := config.rate(step, 14); math.Abs(got-want) > 1e-12 {
			t.Errorf("cosine: the rate of step %d is %v, want %v", step, got, want)
		}
	}
	config.Decay = ConstantRate
	if got := config.rate(13, 14); got != 2 {
		t.Errorf("constant: the rate of step 13 is %v, want 2", got)
	}
}

// TestFilledUpBatchesGiveTheSameLosses is about what a GPU gets: rows of one
// width, and sizes filled up to few shapes.
func TestFilledUpBatchesGiveTheSameLosses(t *testing.T) {
	for _, on := range []struct {
		backbone string
		loss     Loss
	}{{backbone.SASRecName, CE}, {backbone.STOSAName, CE}, {backbone.InDiRecName, CE}} {
		config := small()
		config.Model.Backbone, config.Loss = on.backbone, on.loss
		config.Model.Dropout, config.Model.DropoutAttention, config.Model.GateDropout = 0, 0, 0
		data := withPictures(chains(90, 30))
		var want record
		shapes := map[stepShape]bool{}
		for _, fill := range []bool{false, true} {
			stepper(t, torchtest.Open(t), data, config, func(tr *trainer) {
				if fill {
					tr.fillUp()
				}
				f := tr.newFeed(rand.New(rand.NewPCG(1, 1)))
				for number := range f.steps() {
					shape, words, err := f.step(number)
					if err != nil {
						t.Fatal(err)
					}
					shapes[shape] = fill
					tr.compute(shape, tr.session.FromInt64(words), part{first: true, last: true, scale: 1})
				}
				got := tr.readLosses(f.steps())
				if want == nil {
					want = got
				}
				for i := range want {
					if math.Abs(float64(got[i]-want[i])) > 1e-4 {
						t.Errorf("%s: column %d of step %d is %v filled up, want %v", on.backbone, i%recordColumns, i/recordColumns, got[i], want[i])
					}
				}
			})
		}
		few := 0
		for _, fill := range shapes {
			if fill {
				few++
			}
		}
		if few > 3 { // whole batches, some longer, and what is left over
			t.Errorf("%d shapes of filled up batches, want a handful", few)
		}
	}
}

func TestBlocksOfASoftmaxLearnInBFloat16(t *testing.T) {
	config := small()
	config.Precision = BF16
	first, last := 0.0, 0.0
	stepper(t, torchtest.Open(t), withPictures(chains(200, 30)), config, func(tr *trainer) {
		tr.objective.logits = 100
		for range 10 {
			if err := tr.epoch(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		first, last = tr.history[0].Loss, tr.history[9].Loss
	})
	if last > first/2 {
		t.Errorf("the loss went from %v to %v in 10 epochs, want less than half", first, last)
	}
}
