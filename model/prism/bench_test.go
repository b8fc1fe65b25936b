package prism

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// BenchmarkStep measures forward and backward pass of 256 users with histories
// as long as Beauty's and features of CLIP's size, and those of the backbone
// alone in turn, and reports their ratio.
func BenchmarkStep(b *testing.B) {
	for _, bench := range []struct {
		name   string
		change func(*Config)
	}{
		{"causal", func(*Config) {}},
		{"paper", func(c *Config) { c.Mode = Paper }},
		{"by item", func(c *Config) { c.Mode, c.FusionScope = Paper, ScopeItem }},
		{"on prediction", func(c *Config) { c.LossOn = LossOnPrediction }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			torchtest.Run(b, func(s *gotorch.Session) {
				c := Default()
				c.Items = 12101
				alone := benchModel(b, s, c)
				c.Modalities = []Modality{{"image", 512, DefaultLambda}, {"text", 512, DefaultLambda}}
				bench.change(&c)
				compareSteps(b, alone, benchModel(b, s, c))
			})
		})
	}
}

func benchModel(b *testing.B, s *gotorch.Session, c Config) *Model {
	m, err := New(s, c, testFeatures(c))
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func compareSteps(b *testing.B, alone, whole *Model) {
	sequences := benchSequences(alone.config.Items)
	step := func(m *Model) float64 {
		begun := time.Now()
		m.session.Scoped(func() {
			batch, err := backbone.NewBatch(m.session, m.Layout(sequences), sequences, m.config.MaxLength)
			if err != nil {
				b.Fatal(err)
			}
			out := m.Forward(batch, Pass{Mode: nn.Train, Losses: true})
			loss := out.Hidden.Square().Mean()
			if out.Interaction != nil {
				loss = loss.Add(out.Interaction)
			}
			loss.Backward()
		})
		for _, p := range m.Parameters() {
			p.Tensor.SetGrad(nil)
		}
		return time.Since(begun).Seconds()
	}
	step(alone)
	step(whole)
	sums := [2]float64{}
	b.ResetTimer()
	for range b.N {
		sums[0] += step(alone)
		sums[1] += step(whole)
	}
	b.ReportMetric(1e3*sums[0]/float64(b.N), "ms/backbone")
	b.ReportMetric(1e3*sums[1]/float64(b.N), "ms/model")
	b.ReportMetric(sums[1]/sums[0], "model/backbone")
}

// benchSequences are 256 users of seven items in the mean, one with a full
// window, and some items far more often than others.
func benchSequences(items int) [][]int32 {
	random := rand.New(rand.NewPCG(7, 8))
	sequences := make([][]int32, 256)
	for i := range sequences {
		n := min(50, 3+int(random.ExpFloat64()*4.5))
		if i == 0 {
			n = 50
		}
		for range n {
			sequences[i] = append(sequences[i], 1+int32(float64(items)*random.Float64()*random.Float64()))
		}
	}
	return sequences
}
