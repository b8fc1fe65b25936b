package training

import (
	"math/rand/v2"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
)

// A stepShape is the sizes of one step's inputs. Steps of one shape can be
// replayed from one captured graph.
type stepShape struct {
	batch    backbone.Shape
	partners backbone.Shape // zero where there are none
	targets  int
}

// A stepInput is what one step reads, on the device.
type stepInput struct {
	number   *gotorch.Tensor // int64 [1]: of the step in its epoch, from 0
	users    *gotorch.Tensor // int64 [sequences]: index of the user in the data
	items    *gotorch.Tensor // int64 [targets]: the targets; 0 where there is none
	batch    *backbone.Batch
	partners *backbone.Batch // nil where there are none
}

// words is how many a step takes.
func (s stepShape) words() int {
	return 1 + s.batch.Sequences + s.targets + s.batch.Words() + s.partners.Words()
}

// view reads a step from its words, int64 [words].
func (s stepShape) view(words *gotorch.Tensor) stepInput {
	next := 0
	take := func(n int) *gotorch.Tensor {
		part := words.Narrow(0, int64(next), int64(n))
		next += n
		return part
	}
	in := stepInput{number: take(1), users: take(s.batch.Sequences), items: take(s.targets), batch: s.batch.View(take(s.batch.Words()))}
	if s.partners.Sequences > 0 {
		in.partners = s.partners.View(take(s.partners.Words()))
	}
	return in
}

// A feed turns an epoch's order into steps on the device. Many steps travel
// at once, so that the device does not wait for the host at each of them.
type feed struct {
	trainer  *trainer
	order    []int // of the examples
	partners []int // of each example in the order, one of the same intent; nil without intents
}

// fedWords bounds the words that travel at once: 16 MiB.
const fedWords = 2 << 20

// newFeed is the order of one epoch, which follows from its random source.
func (t *trainer) newFeed(random *rand.Rand) *feed {
	return &feed{trainer: t, order: random.Perm(len(t.examples))}
}

// steps is how many an epoch has.
func (t *trainer) steps() int {
	return (len(t.examples) + t.config.BatchSize - 1) / t.config.BatchSize
}

func (f *feed) steps() int { return f.trainer.steps() }

// examples are those of some steps, as indices.
func (f *feed) examples(first, end int) []int {
	size := f.trainer.config.BatchSize
	return f.order[first*size : min(end*size, len(f.order))]
}

// targets counts those of some steps.
func (f *feed) targets(first, end int) int {
	n := 0
	for _, index := range f.examples(first, end) {
		n += len(f.trainer.examples[index].targets())
	}
	return n
}

// lay writes the words of steps from a first one on, as many as travel at once.
func (f *feed) lay(first int) (shapes []stepShape, words []int64, err error) {
	for step := first; step < f.steps() && (step == first || len(words) < fedWords); step++ {
		shape, of, err := f.step(step)
		if err != nil {
			return nil, nil, err
		}
		shapes, words = append(shapes, shape), append(words, of...)
	}
	return shapes, words, nil
}

// step writes one step.
func (f *feed) step(number int) (stepShape, []int64, error) {
	t, from := f.trainer, number*f.trainer.config.BatchSize
	examples := t.pick(f.examples(number, number+1))
	var shape stepShape
	var laid, partners []int64
	var err error
	if shape.batch, laid, err = t.lay(examples); err != nil {
		return shape, nil, err
	}
	if f.partners != nil {
		if shape.partners, partners, err = t.lay(t.pick(f.partners[from : from+len(examples)])); err != nil {
			return shape, nil, err
		}
	}
	shape.targets = shape.batch.Tokens
	if t.config.Examples == Prefixes {
		shape.targets = shape.batch.Sequences
	}
	words := make([]int64, 0, shape.words())
	words = append(words, int64(number))
	for _, e := range examples {
		words = append(words, int64(e.user))
	}
	items := make([]int64, 0, shape.targets)
	for _, e := range examples {
		for _, item := range e.targets() {
			items = append(items, int64(item))
		}
	}
	words = append(append(words, items...), make([]int64, shape.targets-len(items))...)
	return shape, append(append(words, laid...), partners...), nil
}

func (t *trainer) pick(indices []int) []example {
	examples := make([]example, len(indices))
	for i, index := range indices {
		examples[i] = t.examples[index]
	}
	return examples
}

// lay lays examples' inputs out as the model reads them.
func (t *trainer) lay(examples []example) (backbone.Shape, []int64, error) {
	inputs := make([][]int32, len(examples))
	for i, e := range examples {
		inputs[i] = e.inputs()
	}
	return backbone.Lay(t.layout(inputs), inputs, t.config.Model.MaxLength, t.fill)
}
