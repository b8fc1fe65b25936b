package backbone

import (
	"fmt"
	"math"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// SASRecName is how New knows SASRec.
const SASRecName = "sasrec"

// The constants of S3-Rec's SASRec, which PRISM builds on.
const (
	normEps      = 1e-12
	feedForward  = 4 // inner width of the feed-forward block, in Hidden
	referenceGap = -1e4
)

// InitStd is the standard deviation of the first values of every weight, here
// and in what is built on a backbone.
const InitStd = 0.02

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

// NewLinear makes a linear layer with the first values that all layers of these
// models have.
func NewLinear(s *gotorch.Session, in, out int) *nn.Linear {
	return nn.NewLinear(s, int64(in), int64(out), nn.Normal(0, InitStd), nn.Zeros)
}

func newSASRec(s *gotorch.Session, c Config) Backbone {
	m := &sasrec{
		config:    c,
		items:     NewTable(s, c.Rows, c.Hidden, c.Reference),
		positions: nn.NewEmbedding(s, int64(c.MaxLength), int64(c.Hidden), nn.NoPadding, nn.Normal(0, InitStd)),
		norm:      nn.NewLayerNorm(s, int64(c.Hidden), normEps),
		dropout:   nn.Dropout{P: c.Dropout},
	}
	for range c.Layers {
		m.layers = append(m.layers, newBlock(s, c))
	}
	return m
}

// NewTable makes a table with one row an item id, whose padding row 0 gets no
// gradient. That row is zero, unless it is drawn like the others.
func NewTable(s *gotorch.Session, rows, width int, drawPadding bool) *nn.Embedding {
	if !drawPadding {
		return nn.NewEmbedding(s, int64(rows), int64(width), 0, nn.Normal(0, InitStd))
	}
	table := nn.NewEmbedding(s, int64(rows), int64(width), nn.NoPadding, nn.Normal(0, InitStd))
	table.Padding = 0
	return table
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
	mask := m.mask(b)
	for _, layer := range m.layers {
		x = layer.forward(x, mask, mode)
	}
	return x
}

// mask is what is added to attention scores [rows, heads, width, width].
func (m *sasrec) mask(b *Batch) *gotorch.Tensor {
	pairs := b.Pairs(true)
	gap := referenceGap
	if !m.config.Reference {
		// An empty place looks at itself: with nothing to look at its softmax would be 0/0.
		pairs = pairs.LogicalOr(b.Session().Eye(int64(b.Rows.Width)).To(gotorch.Bool))
		gap = math.Inf(-1)
	}
	return b.Session().Zeros(pairs.Shape()...).MaskedFillInPlace(pairs.LogicalNot(), gap).Unsqueeze(1)
}

func (m *sasrec) Score(states, items *gotorch.Tensor) *gotorch.Tensor {
	return m.items.Forward(items).Mul(states.Unsqueeze(1)).Sum(-1)
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
	rows, width, hidden := x.Size(0), x.Size(1), x.Size(2)
	size := hidden / l.heads
	split := func(t *gotorch.Tensor) *gotorch.Tensor { // [rows, heads, width, size]
		return t.Reshape(rows, width, l.heads, size).Transpose(1, 2)
	}
	query, key, value := split(l.query.Forward(x)), split(l.key.Forward(x)), split(l.value.Forward(x))
	scores := query.MatMul(key.Transpose(2, 3)).Div(math.Sqrt(float64(size))).Add(mask)
	weights := l.attentionDropout.Forward(scores.Softmax(-1), mode)
	return weights.MatMul(value).Transpose(1, 2).Reshape(rows, width, hidden)
}
