package backbone

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

const stosaItems = 9

func stosaConfig() Config {
	return Config{
		Rows: stosaItems + 1, Hidden: 8, Layers: 2, Heads: 2, MaxLength: 6, Dropout: 0.5, DropoutAttention: 0.5,
		STOSA: DefaultSTOSA(),
	}
}

// testSTOSA has parameters that are scale times as large as those first drawn.
func testSTOSA(s *gotorch.Session, c Config, scale float64) *stosa {
	m := newSTOSA(s, c).(*stosa)
	s.NoGrad(func() {
		for _, p := range m.Parameters() {
			p.Tensor.MulInPlace(scale)
		}
	})
	return m
}

func stosaBatch(t *testing.T, s *gotorch.Session) *Batch {
	t.Helper()
	sequences := [][]int32{{3, 1, 4, 1, 5}, {9, 2}, {6, 5, 3, 5, 8, 9}, {7}}
	b, err := NewBatch(s, Pack([]int{5, 2, 6, 1}), sequences, 6)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// encode gives the states of all items of a batch.
func encode(m Backbone, b *Batch, mode nn.Mode) *gotorch.Tensor {
	return At(m.Encode(b, m.Embed(b), mode), b.Tokens)
}

func TestWassersteinIsADistance(t *testing.T) {
	for _, size := range []float64{0.02, 1, 100} {
		torchtest.Run(t, func(s *gotorch.Session) {
			draw := func() *gotorch.Tensor {
				return gaussian{s.Randn(20, 8).Mul(size), covariance(s.Randn(20, 8).Mul(size))}.point()
			}
			a, b := draw(), draw()
			if self := wasserstein(a, a).Max().Item(); self != 0 {
				t.Errorf("size %v: W(x, x) = %v", size, self)
			}
			forth, back := wasserstein(a, b).Float32s(), wasserstein(b, a).Float32s()
			if !slices.Equal(forth, back) {
				t.Errorf("size %v: W(x, y) is %v, W(y, x) %v", size, forth, back)
			}
			if least := slices.Min(forth); least <= 0 {
				t.Errorf("size %v: a distance of %v", size, least)
			}
		})
	}
}

func TestScoresAreMinusTheDistanceByDefinition(t *testing.T) {
	for _, scale := range []float64{1, 20} {
		torchtest.Run(t, func(s *gotorch.Session) {
			m := testSTOSA(s, stosaConfig(), scale)
			states := encode(m, stosaBatch(t, s), nn.Eval)
			n := states.Size(0)
			pairs := m.Score(states, s.Arange(1, stosaItems+1, 1).Unsqueeze(0).Expand(n, stosaItems)).Float32s()
			matrix := m.ScoreRange(states, 1, stosaItems).Float32s()
			for i, want := range definedScores(m, states) {
				tolerance := 1e-5 * (1 + math.Abs(want))
				if math.Abs(float64(pairs[i])-want) > tolerance || math.Abs(float64(matrix[i])-want) > tolerance {
					t.Errorf("scale %v: score %d is %v pair by pair and %v by matrices, want %v", scale, i, pairs[i], matrix[i], want)
				}
			}
		})
	}
}

// definedScores are -‖μ - ν‖² - ‖√c - √d‖² of states and all items, in float64.
func definedScores(m *stosa, states *gotorch.Tensor) []float64 {
	hidden, values := m.config.Hidden, states.Float32s()
	var scores []float64
	for from := 0; from < len(values); from += 2 * hidden {
		mean, cov := values[from:from+hidden], values[from+hidden:from+2*hidden]
		for item := 1; item <= stosaItems; item++ {
			scores = append(scores, -definedDistance(mean, cov, m, item))
		}
	}
	return scores
}

func definedDistance(mean, cov []float32, m *stosa, item int) (sum float64) {
	hidden := m.config.Hidden
	means, covs := m.mean.items.Weight.Float32s()[item*hidden:], m.cov.items.Weight.Float32s()[item*hidden:]
	for j := range hidden {
		sum += math.Pow(float64(mean[j])-float64(means[j]), 2)
		sum += math.Pow(math.Sqrt(float64(cov[j]))-math.Sqrt(definedCovariance(float64(covs[j]))), 2)
	}
	return sum
}

func definedCovariance(x float64) float64 { return max(x, 0) + math.Exp(min(x, 0)) }

func TestRegularizationIsByDefinition(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		c := stosaConfig()
		c.STOSA.PVNWeight = 0.5
		m := testSTOSA(s, c, 1)
		s.NoGrad(func() { m.mean.items.Weight.MulInPlace(50) }) // as far from one another as from the states
		states := encode(m, stosaBatch(t, s), nn.Eval)
		targets, negatives := make([]int64, states.Size(0)), make([]int64, states.Size(0))
		for i := range targets {
			targets[i], negatives[i] = int64(1+i%stosaItems), int64(1+(i*i+1)%stosaItems)
		}
		got := m.Regularization(states, s.FromInt64(targets), s.FromInt64(negatives)).Float32s()
		scores, zeros := definedScores(m, states), 0
		for i := range targets {
			apart := definedDistance(row(m.mean.items, targets[i]), covariances(row(m.cov.items, targets[i])), m, int(negatives[i]))
			want := 0.5 * max(0, -scores[i*stosaItems+int(targets[i])-1]-apart)
			if want == 0 {
				zeros++
			}
			if math.Abs(float64(got[i])-want) > 1e-5*(1+want) {
				t.Errorf("state %d, target %d, negative %d: %v, want %v", i, targets[i], negatives[i], got[i], want)
			}
		}
		if zeros == 0 || zeros == len(targets) {
			t.Errorf("%d of %d losses are 0: the test wants some", zeros, len(targets))
		}
	})
}

func row(table *nn.Embedding, i int64) []float32 {
	width := table.Weight.Size(1)
	return table.Weight.Float32s()[i*width : (i+1)*width]
}

func covariances(values []float32) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(definedCovariance(float64(v)))
	}
	return out
}

// ELU(x) + 1 in float32 is 0 from -17 down.
func TestCovariancesAreAboveZeroEverywhere(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		m := testSTOSA(s, stosaConfig(), 30)
		states := encode(m, stosaBatch(t, s), nn.Eval)
		if least := states.Narrow(1, 8, 8).Min().Item(); !(least > 0 && least < 1e-8) {
			t.Errorf("the least covariance of a state is %v: want more than 0, and little, since inputs are large", least)
		}
		if got := covariance(s.FromFloat32([]float32{-80, -1, 0, 2})).Float32s(); !(got[0] > 0 && got[2] == 1 && got[3] == 3) {
			t.Errorf("covariances of -80, -1, 0, 2 are %v", got)
		}
	})
}

func TestGradientsAreFiniteAtExtremeScores(t *testing.T) {
	for _, shift := range []float64{1e2, 1e4} {
		torchtest.Run(t, func(s *gotorch.Session) {
			m := testSTOSA(s, stosaConfig(), 1)
			s.NoGrad(func() {
				m.mean.items.Weight.Select(0, 1).FillInPlace(shift)
				m.cov.items.Weight.Select(0, 1).FillInPlace(shift)
				m.cov.items.Weight.Select(0, 2).FillInPlace(-shift) // its covariance is 0 in float32
			})
			scores := m.Score(encode(m, stosaBatch(t, s), nn.Train), s.FromInt64([]int64{1, 2}, 1, 2).Expand(14, 2))
			scores.Narrow(1, 1, 1).Sub(scores.Narrow(1, 0, 1)).Softplus().Mean().Backward()
			for _, p := range m.Parameters() {
				grad := p.Tensor.Grad().Abs().Max().Item()
				if math.IsNaN(grad) || math.IsInf(grad, 0) {
					t.Errorf("shift %v: the gradient of %s reaches %v", shift, p.Name, grad)
				}
			}
			if pull := m.mean.items.Weight.Grad().Select(0, 1).Abs().Max().Item(); pull < shift {
				t.Errorf("shift %v: a target that far away is pulled by %v only", shift, pull)
			}
		})
	}
}

func TestMeanStreamBugLeavesTheMeanAsItWas(t *testing.T) {
	for _, bug := range []bool{true, false} {
		torchtest.Run(t, func(s *gotorch.Session) {
			c := stosaConfig()
			c.STOSA.MeanStreamBug = bug
			m, b := testSTOSA(s, c, 1), stosaBatch(t, s)
			in := At(m.input(b, m.Embed(b), nn.Eval).mean, b.Tokens).Float32s()
			out := encode(m, b, nn.Eval)
			if same := slices.Equal(out.Narrow(1, 0, 8).Contiguous().Float32s(), in); same != bug {
				t.Errorf("bug %v: the mean goes through unchanged: %v", bug, same)
			}
			covIn := At(m.input(b, m.Embed(b), nn.Eval).cov, b.Tokens).Float32s()
			if slices.Equal(out.Narrow(1, 8, 8).Contiguous().Float32s(), covIn) {
				t.Errorf("bug %v: the covariance goes through unchanged", bug)
			}
		})
	}
}

// Without layers states are the input, where a dropped value is 0 in the mean
// and 1 in the covariance.
func TestOnlyReferenceDropsTwiceFromTheCovariance(t *testing.T) {
	for _, reference := range []bool{false, true} {
		torchtest.Run(t, func(s *gotorch.Session) {
			c := stosaConfig()
			c.Layers, c.Hidden, c.Reference = 0, 1000, reference
			x := encode(newSTOSA(s, c), stosaBatch(t, s), nn.Train)
			dropped := func(from int64, value float64) float64 {
				return x.Narrow(1, from, 1000).Eq(value).To(gotorch.Float32).Mean().Item()
			}
			want := 0.5
			if reference {
				want = 0.75
			}
			const slack = 0.02 // five standard deviations of 14,000 draws
			if got := dropped(0, 0); math.Abs(got-0.5) > slack {
				t.Errorf("reference %v: %.3f of the means are dropped, want 0.5", reference, got)
			}
			if got := dropped(1000, 1); math.Abs(got-want) > slack {
				t.Errorf("reference %v: %.3f of the covariances are dropped, want %v", reference, got, want)
			}
		})
	}
}

func TestWeightsOfPublishedSTOSABeginAroundAHundredth(t *testing.T) {
	for _, c := range []struct {
		name      string
		reference bool
		want      float64
	}{{SASRecName, false, 0}, {SASRecName, true, 0}, {STOSAName, false, 0}, {STOSAName, true, 0.01}} {
		t.Run(fmt.Sprintf("%s, reference %v", c.name, c.reference), func(t *testing.T) {
			torchtest.Run(t, func(s *gotorch.Session) {
				config := stosaConfig()
				config.Hidden, config.Rows, config.Reference = 64, 200, c.reference
				m, err := New(s, c.name, config)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range m.Parameters() {
					if strings.Contains(p.Name, "norm") || strings.HasSuffix(p.Name, "bias") {
						continue
					}
					slack := 5 * InitStd / math.Sqrt(float64(p.Tensor.Numel()))
					if got := p.Tensor.Mean().Item(); math.Abs(got-c.want) > slack {
						t.Errorf("%s has the mean %v, want %v", p.Name, got, c.want)
					}
				}
			})
		})
	}
}
