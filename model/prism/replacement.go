package prism

import (
	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
)

// replacer gives what stands for one modality of a batch, pooled to [n, hidden],
// anew at each call: [n, hidden]. No gradient goes through it: a loss shall change
// what experts make of a replacement, not the replacement.
func (c Config) replacer(pooled *gotorch.Tensor, noise backbone.Noise) func() *gotorch.Tensor {
	pooled = pooled.Detach()
	shape := pooled.Shape()
	switch c.Replacement {
	case ReplaceUnit:
		return func() *gotorch.Tensor { return noise(shape...) }
	case ReplaceZero:
		return func() *gotorch.Tensor { return pooled.Session().Zeros(shape...) }
	case ReplaceMean:
		mean := pooled.MeanKeep(0).Expand(shape...)
		return func() *gotorch.Tensor { return mean }
	case ReplacePermute:
		return func() *gotorch.Tensor { return pooled.IndexSelect(0, cycle(noise(shape[0], 1))) }
	default:
		mean := pooled.MeanKeep(0)
		deviation := pooled.Sub(mean).Square().MeanKeep(0).Sqrt()
		return func() *gotorch.Tensor { return noise(shape...).Mul(deviation).Add(mean) }
	}
}

// cycle gives each of n rows the number of another one: in the order of n random
// keys each is followed by the next, and the last by the first. So none has its
// own unless it is alone.
func cycle(keys *gotorch.Tensor) *gotorch.Tensor {
	_, order := keys.Reshape(-1).Sort(0, false)
	_, rank := order.Sort(0, false)
	next := keys.Session().Call1("aten::roll", order, []int64{-1}, []int64{0})
	return next.IndexSelect(0, rank)
}

// replacements stand for all modalities of a stream side by side, for each
// expert whose loss counts: [sequences, modalities·hidden], else nil. Noise is
// drawn expert by expert, modality by modality.
func (f *fusion) replacements(st *stream) []*gotorch.Tensor {
	config := f.model.config
	hidden := int64(config.Hidden)
	replacers := make([]func() *gotorch.Tensor, len(config.Modalities))
	for i := range replacers {
		replacers[i] = config.replacer(st.newest.Narrow(1, int64(i)*hidden, hidden), f.pass.Noise)
	}
	out := make([]*gotorch.Tensor, len(f.model.experts))
	for e, lambda := range config.lambdas() {
		if lambda == 0 {
			continue
		}
		parts := make([]*gotorch.Tensor, len(replacers))
		for i, replace := range replacers {
			parts[i] = replace()
		}
		out[e] = f.model.session.Cat(-1, parts...)
	}
	return out
}
