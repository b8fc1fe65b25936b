package training

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/prism"
)

// encodedAtOnce bounds the sequences that one evaluating pass encodes.
const encodedAtOnce = 1024

// findIntents asks a paired backbone for the intent of every example; others
// have none.
func (t *trainer) findIntents(ctx context.Context) (intents []int32, err error) {
	paired, ok := t.model.Backbone().(backbone.Paired)
	if !ok {
		return nil, nil
	}
	t.model.Prepare()
	defer t.model.Release()
	t.session.Scoped(func() {
		t.session.NoGrad(func() {
			var states *gotorch.Tensor
			if states, err = t.encodeExamples(ctx); err == nil {
				intents = paired.Cluster(states)
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the examples: %w", err)
	}
	if len(intents) != len(t.examples) {
		return nil, fmt.Errorf("%d intents for %d examples", len(intents), len(t.examples))
	}
	return intents, nil
}

// encodeExamples gives the newest state of every example: [examples, size].
func (t *trainer) encodeExamples(ctx context.Context) (*gotorch.Tensor, error) {
	var blocks []*gotorch.Tensor
	for from := 0; from < len(t.examples); from += encodedAtOnce {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		shape, words, err := t.lay(t.examples[from:min(from+encodedAtOnce, len(t.examples))])
		if err != nil {
			return nil, err
		}
		t.session.Scoped(func() {
			batch := shape.View(t.session.FromInt64(words))
			block := backbone.At(t.model.Forward(batch, prism.Pass{Mode: nn.Eval}).Hidden, batch.Newest)
			t.session.Keep(block)
			blocks = append(blocks, block)
		})
	}
	return t.session.Cat(0, blocks...), nil
}

// partners draws for each example of an order one of the same intent, which may
// be itself; nil without intents.
func partners(intents []int32, order []int, random *rand.Rand) []int {
	if intents == nil {
		return nil
	}
	var members [][]int
	for example, intent := range intents {
		for int(intent) >= len(members) {
			members = append(members, nil)
		}
		members[intent] = append(members[intent], example)
	}
	drawn := make([]int, len(order))
	for i, example := range order {
		of := members[intents[example]]
		drawn[i] = of[random.IntN(len(of))]
	}
	return drawn
}
