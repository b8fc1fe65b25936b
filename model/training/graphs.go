package training

import (
	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
)

// capturable is the step of one shape, with input at a fixed address, so that a
// GPU can replay it as one captured graph.
type capturable struct {
	input *gotorch.Tensor // int64 [words]
	graph *gotorch.Graph
}

// maxGraphs bounds the captured steps, each of which keeps memory of its own.
// With rows filled up, a training has a handful of shapes.
const maxGraphs = 16

// filled is up to where batches are filled up so that few shapes are left: a
// batch of 256 users of Amazon Beauty takes about 30 rows of 50 places, give or
// take 2, and a thousand distinct items. A batch with partners has the shapes of
// both, so the steps are not finer.
var filled = backbone.Fill{Rows: 16, Distinct: 1024}

// fillUp has all batches laid out in rows of one width, and filled up.
func (t *trainer) fillUp() {
	window := t.config.Model.MaxLength
	t.fill = filled
	t.layout = func(sequences [][]int32) backbone.Rows {
		lengths := make([]int, len(sequences))
		for i, sequence := range sequences {
			lengths[i] = len(sequence)
		}
		return backbone.PackIn(lengths, window)
	}
}

// compute runs one step, by a captured graph where batches are filled up for it:
// exact ones have as many shapes as steps. Parts of an optimizer step add up their
// gradients, which a graph would drop.
func (t *trainer) compute(shape stepShape, words *gotorch.Tensor, part part) {
	captured := t.graphs[shape]
	if captured == nil && t.fill == filled && part.first && part.last && len(t.graphs) < maxGraphs {
		captured = t.newCapturable(shape, part)
		t.graphs[shape] = captured
	}
	if captured == nil || !part.first || !part.last {
		t.session.Scoped(func() { t.step(shape.view(words), part) })
		return
	}
	captured.input.CopyFrom(words)
	captured.graph.Run()
}

func (t *trainer) newCapturable(shape stepShape, part part) *capturable {
	c := &capturable{input: t.session.Zeros(int64(shape.words())).To(gotorch.Int64)}
	t.session.Persist(c.input)
	c.graph = t.session.NewGraph(func() { t.step(shape.view(c.input), part) })
	return c
}
