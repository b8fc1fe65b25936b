package training

import (
	"math"
	"testing"
)

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

// TestScheduleCountsOptimizerSteps takes 7 batches an epoch two by two: the rate
// of the last is that of each epoch's fourth optimizer step.
func TestScheduleCountsOptimizerSteps(t *testing.T) {
	config := small()
	config.Epochs, config.AccumulateSteps, config.WarmupSteps, config.Decay = 3, 2, 5, LinearDecay
	for i, e := range train(t, chains(200, 30), config, Options{}).History {
		if want := config.rate(4*i+3, 12); e.LearningRate != want || e.Steps != int64(7*(i+1)) {
			t.Errorf("epoch %d ended after %d steps at the rate %v: want %d and %v", e.Epoch, e.Steps, e.LearningRate, 7*(i+1), want)
		}
	}
}
