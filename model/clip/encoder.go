package clip

import (
	"math"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// parts are the tensors of a model by name.
type parts map[string]*gotorch.Tensor

func (p parts) linear(name string) *nn.Linear {
	return &nn.Linear{Weight: p[name+".weight"], Bias: p[name+".bias"]}
}

func (p parts) norm(name string, eps float64) *nn.LayerNorm {
	return &nn.LayerNorm{Weight: p[name+".weight"], Bias: p[name+".bias"], Eps: eps}
}

// joined makes one layer of several with one input: one matrix product instead of many. The several are freed.
func (p parts) joined(s *gotorch.Session, names ...string) *nn.Linear {
	join := func(kind string) *gotorch.Tensor {
		var tensors []*gotorch.Tensor
		for _, name := range names {
			tensors = append(tensors, p[name+kind])
		}
		whole := s.Cat(0, tensors...)
		s.Persist(whole)
		s.Free(tensors...)
		return whole
	}
	return &nn.Linear{Weight: join(".weight"), Bias: join(".bias")}
}

// encoder is a transformer whose layers normalise what they read (pre-norm).
type encoder []*layer

// newEncoder makes the encoder of a part. Texts are causal: a token sees those before it alone.
func newEncoder(s *gotorch.Session, p parts, part string, c EncoderConfig, causal bool) encoder {
	fused := s.Library().HasOperator(fusedAttention)
	var layers encoder
	for i := range c.Layers {
		name := layerName(part, i)
		attention := name + ".self_attn."
		layers = append(layers, &layer{
			heads: int64(c.Heads), causal: causal, fused: fused, activation: c.Activation,
			attentionNorm: p.norm(name+".layer_norm1", c.NormEps),
			projections:   p.joined(s, attention+"q_proj", attention+"k_proj", attention+"v_proj"),
			output:        p.linear(attention + "out_proj"),
			innerNorm:     p.norm(name+".layer_norm2", c.NormEps),
			inner:         p.linear(name + ".mlp.fc1"),
			outer:         p.linear(name + ".mlp.fc2"),
		})
	}
	return layers
}

// apply changes states [n, length, hidden] in place, and leaves nothing else behind.
func (e encoder) apply(states *gotorch.Tensor) {
	s := states.Session()
	for _, l := range e {
		s.Scoped(func() { states.AddInPlace(l.attend(l.attentionNorm.Forward(states)), 1) })
		s.Scoped(func() { states.AddInPlace(l.feedForward(l.innerNorm.Forward(states)), 1) })
	}
}

// layer is one of an encoder's.
type layer struct {
	heads      int64
	causal     bool
	fused      bool // libtorch has fusedAttention
	activation Activation

	attentionNorm *nn.LayerNorm
	projections   *nn.Linear // to queries, keys and values, side by side
	output        *nn.Linear
	innerNorm     *nn.LayerNorm
	inner, outer  *nn.Linear
}

// attend maps [n, length, hidden] to the same shape.
func (l *layer) attend(x *gotorch.Tensor) *gotorch.Tensor {
	n, length, hidden := x.Size(0), x.Size(1), x.Size(2)
	split := l.projections.Forward(x).Reshape(n, length, 3, l.heads, hidden/l.heads).Permute(2, 0, 3, 1, 4)
	seen := l.attention(split.Select(0, 0), split.Select(0, 1), split.Select(0, 2))
	return l.output.Forward(seen.Transpose(1, 2).Reshape(n, length, hidden))
}

// fusedAttention came with libtorch 2.0. It takes memory for the scores of a tile only.
const fusedAttention = "aten::scaled_dot_product_attention"

// attention is softmax(q kᵀ/√width) v of tensors [n, heads, length, width].
func (l *layer) attention(q, k, v *gotorch.Tensor) *gotorch.Tensor {
	s := q.Session()
	if l.fused {
		return s.Call1(fusedAttention, q, k, v, gotorch.Named("is_causal", l.causal))
	}
	scores := q.Mul(1 / math.Sqrt(float64(q.Size(3)))).MatMul(k.Transpose(2, 3))
	if l.causal {
		length := q.Size(2)
		scores = scores.AddInPlace(s.FullOf(q.DType(), math.Inf(-1), length, length).Triu(1), 1)
	}
	return scores.Softmax(-1).MatMul(v)
}

// feedForward maps [n, length, hidden] to the same shape.
func (l *layer) feedForward(x *gotorch.Tensor) *gotorch.Tensor {
	x = l.inner.Forward(x)
	if l.activation == GELU {
		return l.outer.Forward(x.GELU())
	}
	gate := x.Mul(1.702)
	x.Session().Call1("aten::sigmoid_", gate)
	return l.outer.Forward(gate.MulInPlace(x))
}
