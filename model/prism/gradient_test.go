package prism

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/safetensors/goldentest"
)

// TestGradientsEqualFiniteDifferences compares the gradient of the interaction
// loss and a linear function of the hidden states, for some values of every
// parameter, with central differences of the loops in float64.
func TestGradientsEqualFiniteDifferences(t *testing.T) {
	eachVariant(t, variants, oneLayer(configsOf(backbone.SASRecName, 2)), compareGradients)
	// Loops over two streams take several times as long, and what is particular to
	// them shows where nothing is changed and where they meet in a prediction.
	eachVariant(t, variants[:2], oneLayer(configsOf(backbone.STOSAName, 2)), compareGradients)
}

// oneLayer halves the time, and leaves every kind of parameter.
func oneLayer(configs []Config) []Config {
	for i := range configs {
		configs[i].Layers = 1
	}
	return configs
}

// gradientSequences are few and short: the loops go over them a thousand times.
var gradientSequences = [][]int32{{3, 1, 4, 1}, {9, 2}, {5}}

func compareGradients(t *testing.T, s *gotorch.Session, m *Model) {
	b := layout(t, s, backbone.Pack, gradientSequences)
	out := m.Forward(b, Pass{Losses: true, Noise: recorded(s)})
	states := backbone.At(out.Hidden, b.Tokens)
	slopes := slopes(states.Numel())
	states.Mul(s.FromFloat32(slopes, states.Shape()...)).Sum().Add(out.Interaction).Backward()

	slow := newNaive(m, testFeatures(m.config))
	replaced := slow.replacements(gradientSequences, recordedRows()) // once: no gradient goes through them
	loss := func() float64 {
		return slow.interaction(gradientSequences, replaced) + slow.linearLoss(gradientSequences, slopes)
	}
	random := rand.New(rand.NewPCG(11, 12))
	for _, p := range m.Parameters() {
		gradient := p.Tensor.Grad().Float32s()
		tolerance := 2e-4*goldentest.Largest(gradient) + 1e-5
		for _, i := range sample(random, gradient) {
			value := &slow.params[p.Name].values[i]
			if want := centralDifference(loss, value); !(math.Abs(float64(gradient[i])-want) <= tolerance) {
				t.Errorf("gradient of value %d of %s is %v, want %v", i, p.Name, gradient[i], want)
			}
		}
	}
}

func slopes(n int64) []float32 {
	random := rand.New(rand.NewPCG(9, 10))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(random.NormFloat64())
	}
	return out
}

func (n *naive) linearLoss(sequences [][]int32, slopes []float32) float64 {
	sum := 0.0
	for _, items := range sequences {
		for _, v := range slices.Concat(n.hidden(items)...) {
			sum += v * float64(slopes[0])
			slopes = slopes[1:]
		}
	}
	return sum
}

// sample picks any value, and one with a gradient: most rows of a table have
// none.
func sample(random *rand.Rand, gradient []float32) []int {
	picked := []int{random.IntN(len(gradient))}
	for _, i := range random.Perm(len(gradient)) {
		if gradient[i] != 0 {
			return append(picked, i)
		}
	}
	return picked
}

func centralDifference(f func() float64, at *float64) float64 {
	const step = 1e-5
	value := *at
	*at = value + step
	above := f()
	*at = value - step
	below := f()
	*at = value
	return (above - below) / (2 * step)
}
