package backbone

import (
	"fmt"
	"math"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// STOSAName is how New knows STOSA.
const STOSAName = "stosa"

// STOSA is what only the backbone stosa reads.
type STOSA struct {
	// MeanStreamBug leaves the mean stream as it was embedded, as the published
	// code does by a misspelt variable.
	MeanStreamBug bool    `json:"mean_stream_bug"`
	PVNWeight     float64 `json:"pvn_weight"` // of the positive-versus-negative loss
}

// DefaultSTOSA is the published setting, without its bug.
func DefaultSTOSA() STOSA { return STOSA{PVNWeight: 0.005} }

// What the published code does and mode reference repeats: weights are drawn
// around stosaReferenceMean, and stosaReferenceGap is added to scores of what is
// not to be seen.
const (
	stosaReferenceMean = 0.01
	stosaReferenceGap  = 1 - 1<<32
)

// stosa is the stochastic self-attention of Fan et al. ("Sequential Recommendation
// via Stochastic Self-Attention", WWW 2022). Items and states are normal
// distributions with diagonal covariances, and what is near in the 2-Wasserstein
// distance belongs together, in attention and in scores. A state is its mean and
// its covariance side by side, of size 2·Hidden.
type stosa struct {
	config    Config
	mean, cov *gaussianTables
	norm      *nn.LayerNorm // of both streams
	dropout   nn.Dropout
	layers    []*gaussianBlock
}

func newSTOSA(s *gotorch.Session, c Config) Backbone {
	m := &stosa{
		config: c,
		mean:   newGaussianTables(s, c), cov: newGaussianTables(s, c),
		norm:    nn.NewLayerNorm(s, int64(c.Hidden), normEps),
		dropout: nn.Dropout{P: c.Dropout},
	}
	for range c.Layers {
		m.layers = append(m.layers, newGaussianBlock(s, c))
	}
	return m
}

// gaussianTables are what one stream is embedded by.
type gaussianTables struct {
	items, positions *nn.Embedding
}

func newGaussianTables(s *gotorch.Session, c Config) *gaussianTables {
	weights := WeightsOf(STOSAName, c.Reference)
	return &gaussianTables{
		items:     weights.Table(s, c.Rows, c.Hidden, c.Reference),
		positions: weights.positions(s, c.MaxLength, c.Hidden),
	}
}

func (t *gaussianTables) Parameters() []nn.Named {
	return nn.Join(nn.Prefix("items", t.items), nn.Prefix("positions", t.positions))
}

func (m *stosa) Parameters() []nn.Named {
	params := nn.Join(nn.Prefix("mean", m.mean), nn.Prefix("cov", m.cov), nn.Prefix("norm", m.norm))
	for i, layer := range m.layers {
		params = append(params, nn.Prefix(fmt.Sprintf("layers.%d", i), layer)...)
	}
	return params
}

func (m *stosa) Streams() int { return 2 }

func (m *stosa) Embed(b *Batch) []*gotorch.Tensor {
	return []*gotorch.Tensor{m.mean.items.Forward(b.Items), m.cov.items.Forward(b.Items)}
}

func (m *stosa) Encode(b *Batch, streams []*gotorch.Tensor, mode nn.Mode) *gotorch.Tensor {
	x := m.input(b, streams, mode)
	mask := m.config.causalMask(b, stosaReferenceGap)
	for _, layer := range m.layers {
		next := layer.forward(x, mask, mode)
		if m.config.STOSA.MeanStreamBug {
			next.mean = x.mean
		}
		x = next
	}
	return b.Session().Cat(-1, x.mean, x.cov)
}

// input is the distribution at each place before the first layer.
func (m *stosa) input(b *Batch, streams []*gotorch.Tensor, mode nn.Mode) gaussian {
	enter := func(stream *gotorch.Tensor, tables *gaussianTables) *gotorch.Tensor {
		x := stream.Add(tables.positions.Forward(b.Positions))
		return m.dropout.Forward(m.norm.Forward(x), mode)
	}
	mean, cov := enter(streams[0], m.mean), enter(streams[1], m.cov)
	if m.config.Reference { // the published code drops from this stream twice
		cov = m.dropout.Forward(cov, mode)
	}
	return gaussian{mean: mean.ELU(), cov: covariance(cov)}
}

// Score is minus the squared 2-Wasserstein distance, pair by pair.
func (m *stosa) Score(states, items *gotorch.Tensor) *gotorch.Tensor {
	return wasserstein(m.statePoints(states).Unsqueeze(1), m.itemPoints(items)).Neg()
}

// ScoreSet is Score by a matrix product. It differs by rounding, in proportion
// to the points' norms instead of the distance.
func (m *stosa) ScoreSet(states, items *gotorch.Tensor) *gotorch.Tensor {
	return scorePoints(m.statePoints(states), m.itemPoints(items))
}

// ScoreRange is ScoreSet of items in a row.
func (m *stosa) ScoreRange(states *gotorch.Tensor, first, count int64) *gotorch.Tensor {
	items := gaussian{
		mean: m.mean.items.Weight.Narrow(0, first, count),
		cov:  covariance(m.cov.items.Weight.Narrow(0, first, count)),
	}
	return scorePoints(m.statePoints(states), items.point())
}

// scorePoints are the scores [n, k] of points [k, 2·hidden] by points [n, 2·hidden].
func scorePoints(states, items *gotorch.Tensor) *gotorch.Tensor {
	return nearness(states, items).Sub(states.Square().SumKeep(-1))
}

// Regularization keeps a target from being nearer to its negative than to the
// state that it follows: PVNWeight·[W(state, target) - W(target, negative)]₊.
func (m *stosa) Regularization(states, targets, negatives *gotorch.Tensor) *gotorch.Tensor {
	target := m.itemPoints(targets)
	wanted := wasserstein(m.statePoints(states), target)
	unwanted := wasserstein(target, m.itemPoints(negatives))
	return wanted.Sub(unwanted).ReLU().Mul(m.config.STOSA.PVNWeight)
}

// statePoints are the points of states [n, 2·hidden].
func (m *stosa) statePoints(states *gotorch.Tensor) *gotorch.Tensor {
	hidden := int64(m.config.Hidden)
	return gaussian{mean: states.Narrow(-1, 0, hidden), cov: states.Narrow(-1, hidden, hidden)}.point()
}

// itemPoints are the points of items, int64 [...]: [..., 2·hidden].
func (m *stosa) itemPoints(items *gotorch.Tensor) *gotorch.Tensor {
	return gaussian{mean: m.mean.items.Forward(items), cov: covariance(m.cov.items.Forward(items))}.point()
}

// gaussianBlock is one layer: attention between distributions, then a
// feed-forward part for each stream, each with a residual and a norm behind it.
type gaussianBlock struct {
	heads                     int64
	mean, cov                 *gaussianStream
	attentionNorm             *nn.LayerNorm // of both streams
	dropout, attentionDropout nn.Dropout
}

// gaussianStream is what one stream of a layer has for itself.
type gaussianStream struct {
	query, key, value, output *nn.Linear
	inner, outer              *nn.Linear
	forwardNorm               *nn.LayerNorm
}

func newGaussianBlock(s *gotorch.Session, c Config) *gaussianBlock {
	return &gaussianBlock{
		heads: int64(c.Heads),
		mean:  newGaussianStream(s, c), cov: newGaussianStream(s, c),
		attentionNorm: nn.NewLayerNorm(s, int64(c.Hidden), normEps),
		dropout:       nn.Dropout{P: c.Dropout}, attentionDropout: nn.Dropout{P: c.DropoutAttention},
	}
}

func newGaussianStream(s *gotorch.Session, c Config) *gaussianStream {
	linear := func(in, out int) *nn.Linear { return WeightsOf(STOSAName, c.Reference).Linear(s, in, out) }
	square := func() *nn.Linear { return linear(c.Hidden, c.Hidden) }
	return &gaussianStream{
		query: square(), key: square(), value: square(), output: square(),
		inner:       linear(c.Hidden, feedForward*c.Hidden),
		outer:       linear(feedForward*c.Hidden, c.Hidden),
		forwardNorm: nn.NewLayerNorm(s, int64(c.Hidden), normEps),
	}
}

func (l *gaussianBlock) Parameters() []nn.Named {
	return nn.Join(nn.Prefix("mean", l.mean), nn.Prefix("cov", l.cov), nn.Prefix("attention_norm", l.attentionNorm))
}

func (p *gaussianStream) Parameters() []nn.Named {
	return nn.Join(
		nn.Prefix("query", p.query), nn.Prefix("key", p.key), nn.Prefix("value", p.value), nn.Prefix("output", p.output),
		nn.Prefix("inner", p.inner), nn.Prefix("outer", p.outer), nn.Prefix("forward_norm", p.forwardNorm),
	)
}

func (l *gaussianBlock) forward(x gaussian, mask *gotorch.Tensor, mode nn.Mode) gaussian {
	attended := l.attend(x, mask, mode)
	return gaussian{
		mean: l.settle(l.mean, x.mean, attended.mean, mode),
		cov:  covariance(l.settle(l.cov, x.cov, attended.cov, mode)),
	}
}

// settle brings what one stream attended to back into that stream.
func (l *gaussianBlock) settle(p *gaussianStream, x, attended *gotorch.Tensor, mode nn.Mode) *gotorch.Tensor {
	x = l.attentionNorm.Forward(x.Add(l.dropout.Forward(p.output.Forward(attended), mode)))
	forwarded := p.outer.Forward(p.inner.Forward(x).ELU())
	return p.forwardNorm.Forward(x.Add(l.dropout.Forward(forwarded, mode)))
}

// attend mixes the values of places by how near their keys are to a query:
// softmax(-W/√d + mask), head by head, of which the query's own norm is no part.
// Independent distributions add up with the squares of their weights as
// covariances.
func (l *gaussianBlock) attend(x gaussian, mask *gotorch.Tensor, mode nn.Mode) gaussian {
	heads := func(mean, cov *nn.Linear) gaussian {
		return gaussian{
			mean: splitHeads(mean.Forward(x.mean), l.heads),
			cov:  splitHeads(covariance(cov.Forward(x.cov)), l.heads),
		}
	}
	query, key := heads(l.mean.query, l.cov.query), heads(l.mean.key, l.cov.key)
	value := heads(l.mean.value, l.cov.value)
	scale := 1 / math.Sqrt(float64(value.mean.Size(3)))
	scores := nearness(query.point(), key.point()).Mul(scale).Add(mask)
	weights := l.attentionDropout.Forward(scores.Softmax(-1), mode)
	return gaussian{
		mean: joinHeads(weights.MatMul(value.mean)),
		cov:  joinHeads(weights.Square().MatMul(value.cov)),
	}
}
