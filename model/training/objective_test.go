package training

import (
	"math"
	"testing"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// table is a backbone that only scores: by the dot product with item rows.
type table struct {
	backbone.Backbone
	weight *gotorch.Tensor
}

func (b table) Score(states, items *gotorch.Tensor) *gotorch.Tensor {
	return backbone.Lookup(b.weight, items, -1).Mul(states.Unsqueeze(1)).Sum(-1)
}

func (b table) ScoreSet(states, items *gotorch.Tensor) *gotorch.Tensor {
	return states.MatMul(backbone.Lookup(b.weight, items, -1).T())
}

func (b table) ScoreRange(states *gotorch.Tensor, first, count int64) *gotorch.Tensor {
	return states.MatMul(b.weight.Narrow(0, first, count).T())
}

// scored is n targets of two users, some of them missing, against random tables.
func scored(s *gotorch.Session, config Config) (*objective, targets) {
	const items = 9
	users := []User{{Train: []int32{1, 2}}, {Train: []int32{3}}}
	o := &objective{
		config: config.resolved(), items: items, logits: 1 << 20, negatives: newNegatives(s, users, items, RejectTrain),
		backbone: table{weight: s.Randn(items+1, 4).RequiresGrad(true)},
	}
	return o, targets{
		states: s.Randn(8, 4).RequiresGrad(true), items: s.FromInt64([]int64{1, 9, 2, 0, 3, 3, 4, 0}),
		sequence: s.FromInt64([]int64{0, 0, 0, 0, 1, 1, 1, 0}), users: s.FromInt64([]int64{0, 1}), scale: 1,
	}
}

// gradients are those of one loss, drawn anew from the same seed.
func gradients(t *testing.T, o *objective, in targets) (value, states, weight []float32) {
	t.Helper()
	table := o.backbone.(table).weight
	in.states.SetGrad(nil)
	table.SetGrad(nil)
	if err := in.states.Session().Generator().Seed(5); err != nil {
		t.Fatal(err)
	}
	out := o.loss(targets{states: in.states.Mul(1), items: in.items, sequence: in.sequence, users: in.users, scale: in.scale})
	out.differentiable.Backward()
	return out.recommendation.Float32s(), in.states.Grad().Float32s(), table.Grad().Float32s()
}

func TestBlocksGiveTheWholeSoftmax(t *testing.T) {
	for _, sharing := range []Sharing{PerBatch, PerSequence, PerTarget} {
		for _, loss := range []Loss{CE, SampledCE} {
			torchtest.Run(t, func(s *gotorch.Session) {
				config := Default()
				config.Loss, config.Sharing, config.Negatives = loss, sharing, 5
				o, in := scored(s, config)
				wantValue, wantStates, wantWeight := gradients(t, o, in)
				for _, logits := range []int64{1, 12, 30} {
					o.logits = logits
					value, states, weight := gradients(t, o, in)
					near(t, value, wantValue)
					near(t, states, wantStates)
					near(t, weight, wantWeight)
				}
			})
		}
	}
}

func near(t *testing.T, got, want []float32) {
	t.Helper()
	for i := range want {
		if !(math.Abs(float64(got[i]-want[i])) <= 1e-6) {
			t.Errorf("element %d is %v, want %v", i, got[i], want[i])
			return
		}
	}
}

// TestLossesEqualTheirDefinitions compares with sums over the drawn items in
// float64.
func TestLossesEqualTheirDefinitions(t *testing.T) {
	for _, loss := range Losses() {
		for _, sharing := range []Sharing{PerTarget, PerSequence, PerBatch} {
			for _, corrected := range []bool{false, true} {
				t.Run(string(loss)+" "+string(sharing), func(t *testing.T) {
					torchtest.Run(t, func(s *gotorch.Session) {
						config := Default()
						config.Loss, config.Sharing, config.Negatives, config.CorrectSampling = loss, sharing, 6, corrected
						o, in := scored(s, config)
						value, _, _ := gradients(t, o, in)
						if err := s.Generator().Seed(5); err != nil {
							t.Fatal(err)
						}
						near(t, value, []float32{float32(defined(o, in, o.draw(in)))})
					})
				})
			}
		}
	}
}

// defined is a loss by its definition.
func defined(o *objective, in targets, d draw) float64 {
	states, items := in.states.Float64s(), in.items.Int64s()
	weight := o.backbone.(table).weight.Float64s()
	score := func(i int, item int64) float64 {
		sum := 0.0
		for k := range 4 {
			sum += states[4*i+k] * weight[4*int(item)+k]
		}
		return sum
	}
	softplus := func(x float64) float64 { return math.Log1p(math.Exp(x)) }
	sum, count := 0.0, 0.0
	for i, item := range items {
		if item == 0 {
			continue
		}
		count++
		wanted := score(i, item)
		var negatives []int64
		switch {
		case o.config.Loss == CE:
			for other := int64(1); other <= o.items; other++ {
				negatives = append(negatives, other)
			}
		case d.shared != nil:
			negatives = d.shared.Int64s()
		default:
			negatives = d.each.Select(0, int64(i)).Int64s()
		}
		total, raise := 0.0, 0.0
		if o.config.Loss == SampledCE {
			total = math.Exp(wanted)
			if o.config.CorrectSampling {
				raise = math.Log(float64(o.items-1) / float64(o.config.Negatives))
			}
		}
		pairs := 0.0
		for _, negative := range negatives {
			if d.shared != nil && negative == item {
				continue
			}
			s := score(i, negative)
			total += math.Exp(s + raise)
			if o.config.Loss == BPR {
				s -= wanted
			}
			pairs += softplus(s) / float64(len(negatives))
		}
		switch o.config.Loss {
		case BCE:
			sum += softplus(-wanted) + pairs
		case BPR:
			sum += pairs
		default:
			sum += math.Log(total) - wanted
		}
	}
	return sum / count
}

func TestScaleScalesGradientsAlone(t *testing.T) {
	for _, loss := range Losses() {
		torchtest.Run(t, func(s *gotorch.Session) {
			config := Default()
			config.Loss = loss
			o, in := scored(s, config)
			value, states, weight := gradients(t, o, in)
			in.scale = 0.25
			scaledValue, scaledStates, scaledWeight := gradients(t, o, in)
			near(t, scaledValue, value)
			for i := range states {
				states[i] *= 0.25
			}
			for i := range weight {
				weight[i] *= 0.25
			}
			near(t, scaledStates, states)
			near(t, scaledWeight, weight)
		})
	}
}

func TestLossesAreFiniteAtHugeScores(t *testing.T) {
	for _, loss := range Losses() {
		torchtest.Run(t, func(s *gotorch.Session) {
			config := Default()
			config.Loss, config.Negatives, config.Sharing = loss, 2, PerTarget
			users := []User{{Train: []int32{2}}, {Train: []int32{1}}} // who do not draw their own targets
			o := &objective{config: config, items: 3, logits: 1 << 20, negatives: newNegatives(s, users, 3, RejectTrain)}
			o.backbone = table{weight: s.FromFloat32([]float32{0, 1, -1, 0}, 4, 1)}
			states := s.FromFloat32([]float32{1e4, -1e4}, 2, 1).RequiresGrad(true)
			out := o.loss(targets{
				states: states, items: s.FromInt64([]int64{2, 1}), sequence: s.FromInt64([]int64{0, 1}), users: s.FromInt64([]int64{0, 1}), scale: 1,
			})
			out.differentiable.Backward()
			if got := out.recommendation.Item(); math.IsInf(got, 0) || math.IsNaN(got) || got < 1e4 {
				t.Errorf("%s at scores of ±10⁴ is %v", loss, got)
			}
			for _, g := range states.Grad().Float32s() {
				if !(math.Abs(float64(g)) > 0 && math.Abs(float64(g)) < 10) {
					t.Errorf("%s at scores of ±10⁴ has the gradient %v", loss, g)
				}
			}
		})
	}
}
