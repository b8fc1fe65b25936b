package training

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
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
		u.Valid = []int32{int32(1 + (at+n)%items)}
		u.Held = []int32{u.Valid[0], int32(1 + (at+n+1)%items)}
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

// TestTrainingLearnsWhatIsPlanted takes every mode with pictures; without, modes
// differ in nothing that these do not show.
func TestTrainingLearnsWhatIsPlanted(t *testing.T) {
	plain, described := chains(200, 30), withPictures(chains(200, 30))
	for _, on := range []struct {
		backbone string
		loss     Loss
	}{
		{backbone.SASRecName, BCE}, {backbone.SASRecName, BPR}, {backbone.SASRecName, CE}, {backbone.SASRecName, SampledCE},
		{backbone.STOSAName, BPR}, {backbone.STOSAName, CE}, {backbone.InDiRecName, CE},
	} {
		config := small()
		config.Model.Backbone, config.Loss = on.backbone, on.loss
		if on.loss == SampledCE {
			config.Negatives = 10
		}
		t.Run(on.backbone+" "+string(on.loss)+" items alone", func(t *testing.T) { learns(t, plain, config) })
		for _, mode := range prism.Modes() {
			config.Model.Mode = mode
			t.Run(on.backbone+" "+string(on.loss)+" "+string(mode), func(t *testing.T) { learns(t, described, config) })
		}
	}
}

// learns trains until answers are nearly always first, in two epochs that follow
// one another. Without training the metric is below 0.2.
func learns(t *testing.T, data Data, config Config) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var values []float64
	inARow := 0
	_, err := Train(ctx, torchtest.Open(t), data, config, Options{Device: "cpu", Progress: func(p Progress) {
		if p.Finished == nil {
			return
		}
		values = append(values, *p.Finished.Value)
		inARow++
		if *p.Finished.Value < 0.9 {
			inARow = 0
		}
		if inARow == 2 {
			stop()
		}
	}})
	if inARow < 2 {
		t.Errorf("%s of the epochs is %.3f (%v), want 0.9 and more at last", config.Monitor, values, err)
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

func TestDivergenceStopsWithItsStep(t *testing.T) {
	data := withPictures(chains(50, 30))
	data.Modalities[0].Vectors[3*data.Modalities[0].Size] = 3e38
	data.Modalities[0].Vectors[3*data.Modalities[0].Size+1] = 3e38
	_, err := Train(t.Context(), torchtest.Open(t), data, small(), Options{Device: "cpu"})
	if !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "epoch 1, step ") || !strings.Contains(err.Error(), " is not finite") {
		t.Fatalf("got %v, want ErrDiverged with the step and the tensor", err)
	}
}

// TestParametersThatDivergedAreNotKept is about the last step of an epoch, after
// which no loss tells.
func TestParametersThatDivergedAreNotKept(t *testing.T) {
	config := small()
	config.Monitor = "loss"
	stepper(t, torchtest.Open(t), chains(50, 30), config, func(tr *trainer) {
		p, err := tr.begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for p.done < p.feed.steps() {
			if err := p.some(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		diverged := func(tensor string) {
			want := "epoch 1, step 2 of 2: the training has diverged: " + tensor + " is not finite"
			if err := p.end(t.Context()); !errors.Is(err, ErrDiverged) || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %v\nwant %s", err, want)
			}
		}
		breakAt := func(broken *gotorch.Tensor) {
			tr.session.NoGrad(func() { broken.FillInPlace(math.Inf(-1)) })
		}
		if len(tr.graphs) == 0 { // a graph leaves no gradients to look at
			breakAt(tr.parameters[1].Tensor.Grad())
			diverged("gradient of " + tr.parameters[1].Name)
		}
		breakAt(tr.parameters[3].Tensor)
		breakAt(tr.parameters[2].Tensor)
		diverged("parameter " + tr.parameters[2].Name)
		if len(tr.best.Tensors) > 0 {
			t.Error("they were kept")
		}
	})
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
		data.Users[i].Valid = nil
	}
	config := small()
	config.Epochs, config.Patience = 3, 1
	if result := train(t, data, config, Options{}); result.Best != 3 || result.History[2].Value != nil {
		t.Errorf("kept epoch %d of %+v, want the third", result.Best, result.History)
	}
}

// An answer that was in the history is never found, so it halves the recall.
func TestAllAnswersAreValidated(t *testing.T) {
	config := small()
	config.Epochs, config.Monitor = 3, "recall@10"
	one := train(t, chains(50, 30), config, Options{})
	data := chains(50, 30)
	for i := range data.Users {
		u := &data.Users[i]
		u.Valid = append(u.Valid, u.Train[0], u.Valid[0])
	}
	for i, e := range train(t, data, config, Options{}).History {
		if want := *one.History[i].Value / 2; *e.Value != want || want == 0 {
			t.Errorf("epoch %d: %v, want half of that with one answer, %v", e.Epoch, *e.Value, want)
		}
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

func TestBetterIsMoreThanMinDeltaInTheModesDirection(t *testing.T) {
	for _, tt := range []struct {
		mode     string
		minDelta float64
		value    float64 // after 0.5
		want     bool
	}{
		{"max", 0, 0.5, false}, {"max", 0, 0.625, true}, {"max", 0, 0.375, false},
		{"min", 0, 0.5, false}, {"min", 0, 0.625, false}, {"min", 0, 0.375, true},
		{"max", 0.125, 0.625, false}, {"max", 0.125, 0.75, true}, {"min", 0.125, 0.375, false}, {"min", 0.125, 0.25, true},
	} {
		best := 0.5
		tr := trainer{config: Config{MonitorMode: tt.mode, MinDelta: tt.minDelta}, history: []Epoch{{Value: &best, Best: true}, {}}}
		if got := tr.improves(&tt.value); got != tt.want {
			t.Errorf("%v after 0.5 is better: %t, want %t of %+v", tt.value, got, tt.want, tt)
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

// TestAccumulationIsALargerBatch holds without dropout, for parts with any number
// of targets.
func TestAccumulationIsALargerBatch(t *testing.T) {
	data := Data{Items: 30}
	random := rand.New(rand.NewPCG(3, 3))
	for i := range 61 {
		u := User{ID: int32(i + 1)}
		for range 2 + i%7 {
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
			learns(t, withPictures(chains(200, 30)), config)
		})
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

// stepper gives a trainer that is ready for its first step.
func stepper(tb testing.TB, lib *gotorch.Library, data Data, config Config, use func(*trainer)) {
	tb.Helper()
	session, err := lib.NewSession(gotorch.SessionOptions{Device: torchtest.Device(), Threads: config.Threads, Seed: 1})
	if err != nil {
		tb.Fatal(err)
	}
	defer session.Close()
	t := &trainer{config: config.resolved(), data: data, session: session}
	if err := session.Run(func() {
		if err := t.setUp(); err != nil {
			tb.Fatal(err)
		}
		use(t)
	}); err != nil {
		tb.Fatal(err)
	}
}
