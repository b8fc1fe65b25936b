package prism

import (
	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
)

const (
	distanceEps = 1e-7  // added to each component of a Euclidean distance, as the published code does
	cosineEps   = 1e-12 // least norm in a cosine
)

// masked holds what one expert says of n users: of all modalities, and with
// each one replaced.
type masked struct {
	full     *gotorch.Tensor   // [n, hidden]
	replaced []*gotorch.Tensor // by the modality that was replaced
}

// cosine of rows: [n].
func cosine(a, b *gotorch.Tensor) *gotorch.Tensor {
	unit := func(t *gotorch.Tensor) *gotorch.Tensor { return t.Div(t.NormKeep(-1).Clamp(cosineEps, nil)) }
	return unit(a).Mul(unit(b)).Sum(-1)
}

// distance of rows: [n]. The paper's is 1 - cosine, the published code's is
// Euclidean.
func (c Config) distance(a, b *gotorch.Tensor) *gotorch.Tensor {
	if c.Mode == Reference {
		return a.Sub(b).Add(distanceEps).NormKeep(-1).Squeeze(-1)
	}
	return cosine(a, b).Neg().Add(1)
}

// unique is small when the expert of a modality says the same with the others
// replaced, and something else with its own replaced: the mean of
// max(0, d(full, own kept) - d(full, own replaced) + margin). With several others
// the first distance is the mean over replacing each; with none it is 0.
func (c Config) unique(m masked, own int) *gotorch.Tensor {
	negative := c.distance(m.full, m.replaced[own])
	hinge := negative.Neg().Add(c.Margin)
	for i, replaced := range m.replaced {
		if i != own {
			hinge = hinge.Add(c.distance(m.full, replaced).Div(float64(len(m.replaced) - 1)))
		}
	}
	return hinge.ReLU().Mean()
}

// redundancy is small when the expert says the same whichever modality is
// replaced: the mean of 1 - cosine.
func redundancy(m masked) *gotorch.Tensor {
	return synergy(m).Neg().Add(1)
}

// synergy is small when replacing any modality changes what the expert says:
// the mean cosine, so from -1 to 1.
func synergy(m masked) *gotorch.Tensor {
	sum := cosine(m.full, m.replaced[0])
	for _, replaced := range m.replaced[1:] {
		sum = sum.Add(cosine(m.full, replaced))
	}
	return sum.Div(float64(len(m.replaced))).Mean()
}

// replacement stands for a modality that an expert is not to see. In mode
// reference it is unit-normal noise; else noise with the mean and the deviation
// that each component has over the batch, so that it comes from the same space.
func (c Config) replacement(pooled *gotorch.Tensor, noise backbone.Noise) *gotorch.Tensor {
	r := noise(pooled.Shape()...)
	if c.Mode == Reference {
		return r
	}
	var mean, deviation *gotorch.Tensor
	pooled.Session().NoGrad(func() {
		mean = pooled.MeanKeep(0)
		deviation = pooled.Sub(mean).Square().MeanKeep(0).Sqrt()
	})
	return r.Mul(deviation).Add(mean)
}

// interaction is the weighted sum of the losses of all experts, or nil when all
// weights are 0. pooled holds one [n, hidden] for each modality, full what each
// expert says of them. Noise is drawn expert by expert, modality by modality.
func (m *Model) interaction(pooled, full []*gotorch.Tensor, noise backbone.Noise) *gotorch.Tensor {
	var total *gotorch.Tensor
	for i, lambda := range m.config.lambdas() {
		if lambda == 0 {
			continue
		}
		opinions := masked{full: full[i]}
		for j := range pooled {
			inputs := append([]*gotorch.Tensor{}, pooled...)
			inputs[j] = m.config.replacement(pooled[j], noise)
			opinions.replaced = append(opinions.replaced, m.experts[i].forward(inputs))
		}
		loss := m.config.expertLoss(i, opinions).Mul(lambda)
		if total != nil {
			loss = total.Add(loss)
		}
		total = loss
	}
	return total
}

// lambdas are the weights of the experts' losses, in the experts' order.
func (c Config) lambdas() []float64 {
	var weights []float64
	for _, m := range c.Modalities {
		weights = append(weights, m.LambdaUnique)
	}
	if c.Experts() > len(weights) {
		weights = append(weights, c.LambdaSynergy, c.LambdaRedundancy)
	}
	return weights
}

func (c Config) expertLoss(expert int, m masked) *gotorch.Tensor {
	switch expert - len(c.Modalities) {
	case 0:
		return synergy(m)
	case 1:
		return redundancy(m)
	default:
		return c.unique(m, expert)
	}
}
