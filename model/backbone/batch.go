package backbone

import "github.com/prismflow/prismflow/model/gotorch"

// A Batch is a batch of sequences on a device, laid out by Lay. Its tensors
// share one block of words and live as long as the scope in which it was made.
type Batch struct {
	Shape

	Items     *gotorch.Tensor // int64 [rows, width]: item ids, 0 where a place is empty
	Segments  *gotorch.Tensor // int64 [rows, width]: number of the sequence from 1, 0 where a place is empty
	Positions *gotorch.Tensor // int64 [rows, width]: 0…MaxLength-1, right-aligned
	Tokens    *gotorch.Tensor // int64 [tokens]: flat places that are not empty, sequence by sequence, then 0 up to the capacity
	Newest    *gotorch.Tensor // int64 [sequences]: flat place of each newest item

	distinct *gotorch.Tensor // int64 [distinct]: the items without repetitions, padding included, then 0 up to the capacity
	index    *gotorch.Tensor // int64 [rows, width]: where in distinct each place's item is
}

// NewBatch copies sequences, oldest item first and none empty, to the
// session's device.
func NewBatch(s *gotorch.Session, rows Rows, sequences [][]int32, maxLength int) (*Batch, error) {
	shape, words, err := Lay(rows, sequences, maxLength, Exact)
	if err != nil {
		return nil, err
	}
	return shape.View(s.FromInt64(words)), nil
}

// Session is the one whose device the batch is on.
func (b *Batch) Session() *gotorch.Session { return b.Items.Session() }

// Pairs says, as a bool tensor [rows, width, width], which two places of a row
// (the first index looks at the second) hold items of one sequence. With causal
// set a place does not look at newer ones.
func (b *Batch) Pairs(causal bool) *gotorch.Tensor {
	of, at := b.Segments.Unsqueeze(2), b.Segments.Unsqueeze(1)
	pairs := of.Eq(at).LogicalAnd(at.Gt(0))
	if causal {
		pairs = pairs.Tril(0)
	}
	return pairs
}

// At takes flat places of a tensor [rows, width, size]: [places, size]. Its
// backward pass is that of an embedding, which unlike index_select's runs in
// parallel and in a fixed order on the CPU.
func At(t, places *gotorch.Tensor) *gotorch.Tensor {
	return Lookup(t.Reshape(-1, t.Size(-1)), places, -1)
}

// Lookup takes rows of a matrix by index. Row padding gets no gradient; -1 says
// that there is no such row.
func Lookup(matrix, indices *gotorch.Tensor, padding int64) *gotorch.Tensor {
	return matrix.Session().Call1("aten::embedding", matrix, indices, padding)
}

// Distinct is the items of the batch without repetitions, padding included,
// int64 [distinct], and for each place its index in that list, int64 [rows,
// width]. What depends on the item alone need only be computed for the former.
func (b *Batch) Distinct() (items, index *gotorch.Tensor) { return b.distinct, b.index }
