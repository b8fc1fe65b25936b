package backbone

import (
	"math"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// Constants of S3-Rec's code, on which PRISM builds, that SASRec and STOSA have in
// common.
const (
	normEps     = 1e-12
	feedForward = 4 // inner width of the feed-forward block, in Hidden
)

// InitStd is the standard deviation of the first values of every weight, here
// and in what is built on a backbone.
const InitStd = 0.02

// Weights says how a model's weights are drawn, those of its backbone and of what
// is built on it: from N(Mean, InitStd²).
type Weights struct {
	Mean float64
}

// WeightsOf is how the model on a backbone is drawn. Only the published code of
// STOSA, which reference asks for, begins elsewhere than around 0.
func WeightsOf(backbone string, reference bool) Weights {
	if backbone == STOSAName && reference {
		return Weights{Mean: stosaReferenceMean}
	}
	return Weights{}
}

func (w Weights) draw() nn.Init { return nn.Normal(w.Mean, InitStd) }

// Linear makes a layer with a bias of 0.
func (w Weights) Linear(s *gotorch.Session, in, out int) *nn.Linear {
	return nn.NewLinear(s, int64(in), int64(out), w.draw(), nn.Zeros)
}

// Table makes a table with one row an item id, whose padding row 0 gets no
// gradient. That row is zero, unless it is drawn like the others.
func (w Weights) Table(s *gotorch.Session, rows, width int, drawPadding bool) *nn.Embedding {
	if !drawPadding {
		return nn.NewEmbedding(s, int64(rows), int64(width), 0, w.draw())
	}
	table := w.positions(s, rows, width)
	table.Padding = 0
	return table
}

// positions makes a table without padding.
func (w Weights) positions(s *gotorch.Session, rows, width int) *nn.Embedding {
	return nn.NewEmbedding(s, int64(rows), int64(width), nn.NoPadding, w.draw())
}

// NewLinear makes a layer of a model whose weights are drawn around 0.
func NewLinear(s *gotorch.Session, in, out int) *nn.Linear { return Weights{}.Linear(s, in, out) }

// NewTable makes a table of a model whose weights are drawn around 0; see
// [Weights.Table].
func NewTable(s *gotorch.Session, rows, width int, drawPadding bool) *nn.Embedding {
	return Weights{}.Table(s, rows, width, drawPadding)
}

// causalMask is what is added to attention scores [rows, heads, width, width] so
// that a place sees its own past alone. In mode reference referenceGap is added
// instead of leaving out.
func (c Config) causalMask(b *Batch, referenceGap float64) *gotorch.Tensor {
	pairs, gap := b.Pairs(true), referenceGap
	if !c.Reference {
		// An empty place looks at itself: with nothing to look at its softmax would be 0/0.
		pairs = pairs.LogicalOr(b.Session().Eye(int64(b.Width)).To(gotorch.Bool))
		gap = math.Inf(-1)
	}
	return b.Session().Zeros(pairs.Shape()...).MaskedFillInPlace(pairs.LogicalNot(), gap).Unsqueeze(1)
}

// splitHeads makes [rows, heads, width, size/heads] of [rows, width, size].
func splitHeads(t *gotorch.Tensor, heads int64) *gotorch.Tensor {
	return t.Reshape(t.Size(0), t.Size(1), heads, t.Size(2)/heads).Transpose(1, 2)
}

// joinHeads undoes splitHeads.
func joinHeads(t *gotorch.Tensor) *gotorch.Tensor {
	return t.Transpose(1, 2).Reshape(t.Size(0), t.Size(2), t.Size(1)*t.Size(3))
}
