package backbone

import (
	"fmt"
	"math"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// SASRecName is how New knows SASRec.
const SASRecName = "sasrec"

// sasrecReferenceGap is what the published code adds to scores of what is not to
// be seen.
const sasrecReferenceGap = -1e4

// sasrec is the self-attentive model of Kang and McAuley (ICDM 2018) in the form
// of S3-Rec's code: post-norm blocks, exact GELU, learned positions, and the item
// table for both input and output.
type sasrec struct {
	config    Config
	items     *nn.Embedding
	positions *nn.Embedding
	norm      *nn.LayerNorm
	dropout   nn.Dropout
	layers    []*block
}

func newSASRec(s *gotorch.Session, c Config) Backbone {
	m := &sasrec{
		config:    c,
		items:     NewTable(s, c.Rows, c.Hidden, c.Reference),
		positions: Weights{}.positions(s, c.MaxLength, c.Hidden),
		norm:      nn.NewLayerNorm(s, int64(c.Hidden), normEps),
		dropout:   nn.Dropout{P: c.Dropout},
	}
	for range c.Layers {
		m.layers = append(m.layers, newBlock(s, c))
	}
	return m
}

func (m *sasrec) Parameters() []nn.Named {
	params := nn.Join(nn.Prefix("items", m.items), nn.Prefix("positions", m.positions), nn.Prefix("norm", m.norm))
	for i, layer := range m.layers {
		params = append(params, nn.Prefix(fmt.Sprintf("layers.%d", i), layer)...)
	}
	return params
}

func (m *sasrec) Streams() int { return 1 }

func (m *sasrec) Embed(b *Batch) []*gotorch.Tensor {
	return []*gotorch.Tensor{m.items.Forward(b.Items)}
}

func (m *sasrec) Encode(b *Batch, streams []*gotorch.Tensor, mode nn.Mode) *gotorch.Tensor {
	x := streams[0].Add(m.positions.Forward(b.Positions))
	x = m.dropout.Forward(m.norm.Forward(x), mode)
	mask := m.config.causalMask(b, sasrecReferenceGap)
	for _, layer := range m.layers {
		x = layer.forward(x, mask, mode)
	}
	return x
}

func (m *sasrec) Score(states, items *gotorch.Tensor) *gotorch.Tensor {
	return m.items.Forward(items).Mul(states.Unsqueeze(1)).Sum(-1)
}

func (m *sasrec) ScoreSet(states, items *gotorch.Tensor) *gotorch.Tensor {
	return states.MatMul(m.items.Forward(items).T())
}

func (m *sasrec) ScoreRange(states *gotorch.Tensor, first, count int64) *gotorch.Tensor {
	return states.MatMul(m.items.Weight.Narrow(0, first, count).T())
}

// block is one layer: self-attention and a feed-forward part, each with a
// residual and a norm behind it.
type block struct {
	heads                     int64
	query, key, value, output *nn.Linear
	attentionNorm             *nn.LayerNorm
	inner, outer              *nn.Linear
	forwardNorm               *nn.LayerNorm
	dropout, attentionDropout nn.Dropout
}

func newBlock(s *gotorch.Session, c Config) *block {
	linear := func() *nn.Linear { return NewLinear(s, c.Hidden, c.Hidden) }
	return &block{
		heads: int64(c.Heads),
		query: linear(), key: linear(), value: linear(), output: linear(),
		attentionNorm: nn.NewLayerNorm(s, int64(c.Hidden), normEps),
		inner:         NewLinear(s, c.Hidden, feedForward*c.Hidden),
		outer:         NewLinear(s, feedForward*c.Hidden, c.Hidden),
		forwardNorm:   nn.NewLayerNorm(s, int64(c.Hidden), normEps),
		dropout:       nn.Dropout{P: c.Dropout}, attentionDropout: nn.Dropout{P: c.DropoutAttention},
	}
}

func (l *block) Parameters() []nn.Named {
	return nn.Join(
		nn.Prefix("query", l.query), nn.Prefix("key", l.key), nn.Prefix("value", l.value),
		nn.Prefix("output", l.output), nn.Prefix("attention_norm", l.attentionNorm),
		nn.Prefix("inner", l.inner), nn.Prefix("outer", l.outer), nn.Prefix("forward_norm", l.forwardNorm),
	)
}

func (l *block) forward(x, mask *gotorch.Tensor, mode nn.Mode) *gotorch.Tensor {
	attended := l.output.Forward(l.attend(x, mask, mode))
	x = l.attentionNorm.Forward(x.Add(l.dropout.Forward(attended, mode)))
	forwarded := l.outer.Forward(l.inner.Forward(x).GELU())
	return l.forwardNorm.Forward(x.Add(l.dropout.Forward(forwarded, mode)))
}

// attend mixes the values of places by how well their keys fit a query:
// softmax(q·k/√d + mask), head by head.
func (l *block) attend(x, mask *gotorch.Tensor, mode nn.Mode) *gotorch.Tensor {
	query := splitHeads(l.query.Forward(x), l.heads)
	key := splitHeads(l.key.Forward(x), l.heads)
	value := splitHeads(l.value.Forward(x), l.heads)
	scores := query.MatMul(key.Transpose(2, 3)).Div(math.Sqrt(float64(query.Size(3)))).Add(mask)
	weights := l.attentionDropout.Forward(scores.Softmax(-1), mode)
	return joinHeads(weights.MatMul(value))
}
