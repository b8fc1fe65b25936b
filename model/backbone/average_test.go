package backbone

import (
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// The example of docs/backbones.md, which quotes this file.

// averageName is how New knows it.
const averageName = "average"

// averagedItems is how many of a user's newest items count.
const averagedItems = 3

// average is a backbone that does not care for order: a place's state is the
// mean of the newest items up to it, through one linear layer.
type average struct {
	items   *nn.Embedding
	output  *nn.Linear
	dropout nn.Dropout
}

func newAverage(s *gotorch.Session, c Config) Backbone {
	return &average{
		items:   NewTable(s, c.Rows, c.Hidden, c.Reference),
		output:  NewLinear(s, c.Hidden, c.Hidden),
		dropout: nn.Dropout{P: c.Dropout},
	}
}

func (m *average) Parameters() []nn.Named {
	return nn.Join(nn.Prefix("items", m.items), nn.Prefix("output", m.output))
}

func (m *average) Streams() int { return 1 }

func (m *average) Embed(b *Batch) []*gotorch.Tensor {
	return []*gotorch.Tensor{m.items.Forward(b.Items)}
}

func (m *average) Encode(b *Batch, streams []*gotorch.Tensor, mode nn.Mode) *gotorch.Tensor {
	near := b.Pairs(true).Triu(1 - averagedItems).To(gotorch.Float32) // [rows, width, width]: 1 where a place is averaged over
	sums := near.MatMul(m.dropout.Forward(streams[0], mode))
	counts := near.SumKeep(-1).Clamp(1, nil) // of an empty place it would be 0
	return m.output.Forward(sums.Div(counts))
}

func (m *average) Score(states, items *gotorch.Tensor) *gotorch.Tensor {
	return m.items.Forward(items).Mul(states.Unsqueeze(1)).Sum(-1)
}

func (m *average) ScoreSet(states, items *gotorch.Tensor) *gotorch.Tensor {
	return states.MatMul(m.items.Forward(items).T())
}

func (m *average) ScoreRange(states *gotorch.Tensor, first, count int64) *gotorch.Tensor {
	return states.MatMul(m.items.Weight.Narrow(0, first, count).T())
}

// exampleConstructors are what the example adds to constructors.
var exampleConstructors = []constructor{
	{name: averageName, make: newAverage},
}

func TestAverageIsTheMeanOfTheNewestItems(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		m := newAverage(s, contractConfig).(*average)
		got := newestStates(t, s, m, Pack, contractSequences).Float32s()
		table := m.items.Weight.Float32s()
		hidden := contractConfig.Hidden
		for i, sequence := range contractSequences {
			newest := sequence[max(0, len(sequence)-averagedItems):]
			mean := make([]float32, hidden)
			for _, item := range newest {
				for j := range mean {
					mean[j] += table[int(item)*hidden+j] / float32(len(newest))
				}
			}
			want := m.output.Forward(s.FromFloat32(mean, int64(hidden))).Float32s()
			wantClose(t, "the mean", got[i*hidden:(i+1)*hidden], want)
		}
	})
}
