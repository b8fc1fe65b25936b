package prism

import (
	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
)

// fusion is the way of one batch through experts and gate.
type fusion struct {
	model *Model
	batch *backbone.Batch
	pass  Pass
	means *gotorch.Tensor // [rows, width, width]

	loss  *gotorch.Tensor // summed over the streams so far
	gates []*gotorch.Tensor
}

// means are the weights with which a place averages the places of its row: over
// its sequence up to itself (causal), over the whole sequence (paper), or over the
// whole row with its padding (reference).
func (c Config) means(b *backbone.Batch) *gotorch.Tensor {
	s := b.Session()
	if c.Mode == Reference {
		width := int64(b.Width)
		return s.Full(1/float64(width), int64(b.Rows), width, width)
	}
	pairs := b.Pairs(c.Mode == Causal).To(gotorch.Float32)
	return pairs.Div(pairs.SumKeep(-1).Clamp(1.0, nil))
}

// enrich adds the mixture of the experts and the items' own modalities to one
// stream of the input, and the stream's losses to the fusion's.
func (f *fusion) enrich(embedded *gotorch.Tensor, modalities []*modality) *gotorch.Tensor {
	vectors := f.vectors(modalities)
	pooled := make([]*gotorch.Tensor, len(vectors))
	for i, v := range vectors {
		pooled[i] = f.pool(v)
	}
	opinions := make([]*gotorch.Tensor, len(f.model.experts))
	for i, e := range f.model.experts {
		opinions[i] = e.forward(pooled)
	}
	sum := embedded.Add(f.spread(f.mix(opinions, embedded)))
	for _, v := range vectors {
		sum = sum.Add(v)
	}
	if f.pass.Losses {
		f.addLoss(pooled, opinions)
	}
	return sum
}

// vectors are the modality vectors at each place: [rows, width, hidden] each.
func (f *fusion) vectors(modalities []*modality) []*gotorch.Tensor {
	out := make([]*gotorch.Tensor, len(modalities))
	var items, index *gotorch.Tensor
	for i, m := range modalities {
		if m.projected != nil {
			out[i] = backbone.Lookup(m.projected, f.batch.Items, -1)
			continue
		}
		if items == nil {
			items, index = f.batch.Distinct()
		}
		out[i] = backbone.Lookup(m.project(items), index, -1)
	}
	return out
}

// pool averages vectors at places. In mode causal every place has its own
// average, [places, hidden]; else there is one for each sequence, [sequences, hidden].
func (f *fusion) pool(vectors *gotorch.Tensor) *gotorch.Tensor {
	means := f.means.Bmm(vectors)
	if f.model.config.Mode == Causal {
		return means.Reshape(-1, means.Size(-1))
	}
	return backbone.At(means, f.batch.Newest)
}

func (f *fusion) mix(opinions []*gotorch.Tensor, embedded *gotorch.Tensor) *gotorch.Tensor {
	if f.model.gate == nil {
		return opinions[0]
	}
	weights := f.model.gate.weights(opinions, f.pool(embedded), f.pass.Mode)
	f.gates = append(f.gates, weights)
	return mix(opinions, weights)
}

// spread gives each place its mixture: its own (causal), its sequence's (paper),
// or its row's (reference), to padding too.
func (f *fusion) spread(m *gotorch.Tensor) *gotorch.Tensor {
	hidden := m.Size(-1)
	switch f.model.config.Mode {
	case Causal:
		return m.Reshape(int64(f.batch.Rows), int64(f.batch.Width), hidden)
	case Reference:
		return m.Unsqueeze(1)
	default:
		none := m.Session().Zeros(1, hidden)
		return backbone.Lookup(m.Session().Cat(0, none, m), f.batch.Segments, -1)
	}
}

// addLoss takes the losses once for each sequence: at its newest item, where a
// prefix is the whole.
func (f *fusion) addLoss(pooled, opinions []*gotorch.Tensor) {
	if f.model.config.Mode == Causal {
		pooled, opinions = f.newest(pooled), f.newest(opinions)
	}
	loss := f.model.interaction(pooled, opinions, f.pass.Noise)
	switch {
	case loss == nil:
	case f.loss == nil:
		f.loss = loss
	default:
		f.loss = f.loss.Add(loss)
	}
}

func (f *fusion) newest(ts []*gotorch.Tensor) []*gotorch.Tensor {
	out := make([]*gotorch.Tensor, len(ts))
	for i, t := range ts {
		out[i] = backbone.At(t, f.batch.Newest)
	}
	return out
}
