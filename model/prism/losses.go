package prism

import (
	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
)

const (
	distanceEps = 1e-7  // added to each component of a Euclidean distance, as the published code does
	cosineEps   = 1e-12 // least norm in a cosine
)

// masked holds what one expert says of n users, or what follows from it: of all
// modalities, and with each one replaced.
type masked struct {
	full     *gotorch.Tensor // [n, size]
	replaced *gotorch.Tensor // [modalities, n, size], by the modality that was replaced
}

// cosine of rows, broadcast over the dimensions before them.
func cosine(a, b *gotorch.Tensor) *gotorch.Tensor {
	unit := func(t *gotorch.Tensor) *gotorch.Tensor { return t.Div(t.NormKeep(-1).Clamp(cosineEps, nil)) }
	return unit(a).Mul(unit(b)).Sum(-1)
}

// distance of rows, broadcast likewise.
func (c Config) distance(a, b *gotorch.Tensor) *gotorch.Tensor {
	if c.Distance == DistanceEuclidean {
		return a.Sub(b).Add(distanceEps).NormKeep(-1).Squeeze(-1)
	}
	return cosine(a, b).Neg().Add(1)
}

// unique is small when the expert of a modality says the same with the others
// replaced, and something else with its own replaced: the mean of
// max(0, d(full, own kept) - d(full, own replaced) + margin). With several others
// the first distance is the mean over replacing each; with none it is 0.
func (c Config) unique(m masked, own int) *gotorch.Tensor {
	distances := c.distance(m.full, m.replaced) // [modalities, n]
	negative := distances.Select(0, int64(own))
	hinge := negative.Neg().Add(c.Margin)
	if others := len(c.Modalities) - 1; others > 0 {
		hinge = hinge.Add(distances.Sum(0).Sub(negative).Div(float64(others)))
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
	return cosine(m.full, m.replaced).Mean()
}

// interaction is the weighted sum of the losses of all experts, or nil when all
// weights are 0. They are taken once for each sequence. Noise is drawn stream by
// stream.
func (f *fusion) interaction(streams []*stream) *gotorch.Tensor {
	replacements := make([][]*gotorch.Tensor, len(streams))
	for i, st := range streams {
		st.newest = f.newest(st.pooled)
		replacements[i] = f.replacements(st)
	}
	var total *gotorch.Tensor
	for e, lambda := range f.model.config.lambdas() {
		if lambda == 0 {
			continue
		}
		inputs := make([]expertInput, len(streams))
		for i, st := range streams {
			inputs[i] = expertInput{st, replacements[i][e]}
		}
		loss := f.loss(e, inputs).Mul(lambda)
		if total != nil {
			loss = total.Add(loss)
		}
		total = loss
	}
	return total
}

// expertInput is what one expert is asked about in one stream.
type expertInput struct {
	*stream
	replacement *gotorch.Tensor // [sequences, modalities·hidden]
}

// loss is that of one expert, unweighted: of its predictions, or the mean over
// the streams of what it says.
func (f *fusion) loss(e int, inputs []expertInput) *gotorch.Tensor {
	c := f.model.config
	if c.LossOn == LossOnPrediction {
		return c.expertLoss(e, f.predictions(e, inputs))
	}
	sum := c.expertLoss(e, f.embeddings(e, inputs[0]))
	for _, in := range inputs[1:] {
		sum = sum.Add(c.expertLoss(e, f.embeddings(e, in)))
	}
	return sum.Div(float64(len(inputs)))
}

// embeddings are what an expert says of a stream.
func (f *fusion) embeddings(e int, in expertInput) masked {
	inputs := f.model.session.Where(f.model.own, in.replacement, in.newest)
	return masked{full: f.newest(in.opinions[e]), replaced: f.model.experts[e].forward(inputs, f.pass.Mode)}
}

// predictions are the newest hidden states that follow from what an expert
// says of all streams. A replacement stands for its modality at every place.
func (f *fusion) predictions(e int, inputs []expertInput) masked {
	s := f.model.session
	opinions := make([]*gotorch.Tensor, len(inputs))
	replacements := make([]*gotorch.Tensor, len(inputs))
	for i, in := range inputs {
		opinions[i], replacements[i] = in.opinions[e], f.toUnits(in.replacement)
	}
	full := f.predict(inputs, opinions)
	replaced := make([]*gotorch.Tensor, len(f.model.config.Modalities))
	for j := range replaced {
		own := f.model.own.Select(0, int64(j))
		for i, in := range inputs {
			opinions[i] = f.model.experts[e].forward(s.Where(own, replacements[i], in.pooled), f.pass.Mode)
		}
		replaced[j] = f.predict(inputs, opinions)
	}
	return masked{full: full, replaced: s.Stack(0, replaced...)}
}

// predict encodes the items with one opinion of each stream, [units, hidden], in
// place of the mixture, without the items' own modalities, which would tell what
// was replaced: [sequences, size].
func (f *fusion) predict(inputs []expertInput, opinions []*gotorch.Tensor) *gotorch.Tensor {
	streams := make([]*gotorch.Tensor, len(inputs))
	for i, in := range inputs {
		streams[i] = in.embedded.Add(f.spread(opinions[i]))
	}
	return backbone.At(f.model.backbone.Encode(f.batch, streams, f.pass.Mode), f.batch.Newest)
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
