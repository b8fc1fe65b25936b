package prism

import (
	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
)

// fusion is the way of one batch through experts and gate. A unit is what has a
// mixture of its own: a place (see Config.perPlace) or else a sequence.
type fusion struct {
	model *Model
	batch *backbone.Batch
	pass  Pass
	means *gotorch.Tensor // [rows, width, width]; nil when nothing is pooled

	gates []*gotorch.Tensor
}

// stream is what a fusion knows of one stream of the input. Modalities lie side
// by side in the last dimension.
type stream struct {
	embedded *gotorch.Tensor   // [rows, width, hidden]: the items
	vectors  *gotorch.Tensor   // [rows, width, modalities·hidden]: their modalities
	pooled   *gotorch.Tensor   // [units, modalities·hidden]
	newest   *gotorch.Tensor   // [sequences, modalities·hidden]: pooled, of each sequence's newest unit; set for losses
	opinions []*gotorch.Tensor // what each expert says of pooled, [units, hidden]
}

func (m *Model) newFusion(b *backbone.Batch, pass Pass) *fusion {
	if pass.Noise == nil {
		pass.Noise = m.session.Randn
	}
	f := &fusion{model: m, batch: b, pass: pass}
	if m.config.FusionScope != ScopeItem {
		f.means = m.config.means(b)
	}
	return f
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

// read asks the experts about one stream.
func (f *fusion) read(embedded *gotorch.Tensor, modalities []*modality) *stream {
	st := &stream{embedded: embedded, vectors: f.vectors(modalities)}
	st.pooled = f.pool(st.vectors)
	for _, e := range f.model.experts {
		st.opinions = append(st.opinions, e.forward(st.pooled, f.pass.Mode))
	}
	return st
}

// vectors are the modality vectors at each place: [rows, width, modalities·hidden].
func (f *fusion) vectors(modalities []*modality) *gotorch.Tensor {
	s := f.model.session
	parts := make([]*gotorch.Tensor, len(modalities))
	if modalities[0].projected != nil {
		for i, m := range modalities {
			parts[i] = backbone.Lookup(m.projected, f.batch.Items, -1)
		}
		return s.Cat(-1, parts...)
	}
	items, index := f.batch.Distinct()
	for i, m := range modalities {
		parts[i] = m.project(items)
	}
	return backbone.Lookup(s.Cat(-1, parts...), index, -1)
}

// pool averages vectors [rows, width, size] at places: [units, size].
func (f *fusion) pool(vectors *gotorch.Tensor) *gotorch.Tensor {
	if f.means != nil {
		vectors = f.means.Bmm(vectors)
	}
	if f.model.config.perPlace() {
		return vectors.Reshape(-1, vectors.Size(-1))
	}
	return backbone.At(vectors, f.batch.Newest)
}

// enrich is a stream's input: the items with the mixture of the experts and,
// where wanted, the items' own modalities.
func (f *fusion) enrich(st *stream) *gotorch.Tensor {
	sum := st.embedded.Add(f.spread(f.mix(st)))
	if !f.model.config.DirectSum {
		return sum
	}
	shape := st.embedded.Shape()
	return sum.Add(st.vectors.Reshape(shape[0], shape[1], -1, shape[2]).Sum(2))
}

func (f *fusion) mix(st *stream) *gotorch.Tensor {
	if f.model.gate == nil {
		return st.opinions[0]
	}
	weights := f.model.gate.weights(st.opinions, f.pool(st.embedded), f.pass.Mode)
	f.gates = append(f.gates, weights)
	return mix(st.opinions, weights)
}

// spread gives each place what its unit has, [units, size]: its own, its
// sequence's, or in mode reference its row's, to padding too.
func (f *fusion) spread(t *gotorch.Tensor) *gotorch.Tensor {
	switch {
	case f.model.config.perPlace():
		return t.Reshape(int64(f.batch.Rows), int64(f.batch.Width), -1)
	case f.model.config.Mode == Reference:
		return t.Unsqueeze(1)
	default:
		return f.toPlaces(t)
	}
}

// toPlaces gives each place what its sequence has, [sequences, size], and empty
// ones zeros: [rows, width, size].
func (f *fusion) toPlaces(t *gotorch.Tensor) *gotorch.Tensor {
	none := t.Session().Zeros(1, t.Size(-1))
	return backbone.Lookup(t.Session().Cat(0, none, t), f.batch.Segments, -1)
}

// toUnits gives each unit what its sequence has: [units, size].
func (f *fusion) toUnits(t *gotorch.Tensor) *gotorch.Tensor {
	if !f.model.config.perPlace() {
		return t
	}
	return f.toPlaces(t).Reshape(-1, t.Size(-1))
}

// newest takes the newest unit of each sequence: [sequences, size]. There a
// prefix is the whole.
func (f *fusion) newest(t *gotorch.Tensor) *gotorch.Tensor {
	if !f.model.config.perPlace() {
		return t
	}
	return backbone.At(t, f.batch.Newest)
}
