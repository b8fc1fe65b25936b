package prism

import (
	"context"
	"fmt"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/ranking"
)

// Scorer gives every item a score by a user's newest items. It is a
// ranking.Counter: an evaluation compares the scores on the session's device, a
// block at a time, and brings back counts. The model must be prepared or loaded.
// A session is one thread's, so ranking must run with Workers: 1, inside the
// session's Run. A user without history gets the score 0 for all items, and so,
// with pessimistic ties, no hit.
func (m *Model) Scorer() ranking.Scorer { return scorer{m, gridFor(m.session.Device().Type)} }

type scorer struct {
	model *Model
	grid  grid
}

// Score implements ranking.Scorer.
func (s scorer) Score(ctx context.Context, queries []ranking.Query, scores []float32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	width := s.model.config.Items + 1
	if len(scores) != len(queries)*width {
		return fmt.Errorf("scoring %d users: room for %d scores, want %d", len(queries), len(scores), len(queries)*width)
	}
	sequences, at := s.windows(queries)
	if len(sequences) == len(queries) {
		return s.score(sequences, scores)
	}
	clear(scores)
	if len(sequences) == 0 {
		return nil
	}
	some := make([]float32, len(sequences)*width)
	if err := s.score(sequences, some); err != nil {
		return err
	}
	for i, row := range at {
		copy(scores[row*width:(row+1)*width], some[i*width:(i+1)*width])
	}
	return nil
}

// windows are the newest items of each user who has some, and at is which query
// each belongs to.
func (s scorer) windows(queries []ranking.Query) (sequences [][]int32, at []int) {
	for i, q := range queries {
		if len(q.History) == 0 {
			continue
		}
		sequences = append(sequences, s.window(q.History))
		at = append(at, i)
	}
	return sequences, at
}

// window is what the model reads of a history.
func (s scorer) window(history []int32) []int32 {
	return history[max(0, len(history)-s.model.config.MaxLength):]
}

// score fills scores, one row a sequence.
func (s scorer) score(sequences [][]int32, scores []float32) (err error) {
	session := s.model.session
	session.Scoped(func() {
		session.NoGrad(func() {
			var states *gotorch.Tensor
			if states, err = s.model.states(sequences); err == nil {
				s.model.backbone.ScoreRange(states, 0, int64(s.model.config.Items)+1).CopyToFloat32(scores)
			}
		})
	})
	return err
}

// states are the hidden states [sequences, size] of each newest item.
func (m *Model) states(sequences [][]int32) (*gotorch.Tensor, error) {
	batch, err := backbone.NewBatch(m.session, m.Layout(sequences), sequences, m.config.MaxLength)
	if err != nil {
		return nil, err
	}
	out := m.Forward(batch, Pass{Mode: nn.Eval})
	return backbone.At(out.Hidden, batch.Newest), nil
}

// Layout is how a batch of sequences is laid out for this model: packed, except
// in mode reference, whose numbers depend on the padding.
func (m *Model) Layout(sequences [][]int32) backbone.Rows {
	lengths := make([]int, len(sequences))
	for i, sequence := range sequences {
		lengths[i] = len(sequence)
	}
	if m.config.Mode == Reference {
		return backbone.Pad(lengths, m.config.MaxLength)
	}
	return backbone.Pack(lengths)
}
