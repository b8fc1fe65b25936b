package training

import "math"

// rate is the learning rate of an optimizer step, from 0, of total: it rises in
// a straight line over the warm-up, and then stays or falls to its final share.
func (c Config) rate(step, total int) float64 {
	if step < c.WarmupSteps {
		return c.LearningRate * float64(step+1) / float64(c.WarmupSteps)
	}
	if c.Decay == ConstantRate {
		return c.LearningRate
	}
	share := min(1, float64(step-c.WarmupSteps)/float64(max(1, total-c.WarmupSteps)))
	left := 1 - share
	if c.Decay == CosineDecay {
		left = (1 + math.Cos(math.Pi*share)) / 2
	}
	return c.LearningRate * (c.FinalRate + (1-c.FinalRate)*left)
}
