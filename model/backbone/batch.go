package backbone

import "github.com/prismflow/prismflow/model/gotorch"

// A Batch is a batch of sequences on a device, laid out by Rows. Its tensors
// live as long as the scope in which it was made.
type Batch struct {
	Rows      Rows
	MaxLength int

	items []int64 // of Items, on the host

	Items     *gotorch.Tensor // int64 [rows, width]: item ids, 0 where a place is empty
	Segments  *gotorch.Tensor // int64 [rows, width]: number of the sequence from 1, 0 where a place is empty
	Positions *gotorch.Tensor // int64 [rows, width]: 0…MaxLength-1, right-aligned
	Tokens    *gotorch.Tensor // int64 [items]: flat places that are not empty, sequence by sequence
	Newest    *gotorch.Tensor // int64 [sequences]: flat place of each newest item
}

// NewBatch copies sequences, oldest item first and none empty, to the
// session's device.
func NewBatch(s *gotorch.Session, rows Rows, sequences [][]int32, maxLength int) (*Batch, error) {
	if err := rows.validate(sequences, maxLength); err != nil {
		return nil, err
	}
	shape := []int64{int64(rows.Count), int64(rows.Width)}
	items := rows.items(sequences)
	return &Batch{
		Rows: rows, MaxLength: maxLength, items: items,
		Items:     s.FromInt64(items, shape...),
		Segments:  s.FromInt64(rows.segments(), shape...),
		Positions: s.FromInt64(rows.positions(maxLength), shape...),
		Tokens:    s.FromInt64(rows.Tokens()),
		Newest:    s.FromInt64(rows.Newest()),
	}, nil
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

// Distinct is the items of the batch without repetitions, padding included where
// there is some, int64 [distinct], and for each place its index in that list,
// int64 [rows, width]. What depends on the item alone need only be computed for
// the former.
func (b *Batch) Distinct() (items, index *gotorch.Tensor) {
	var list []int64
	at := make([]int64, len(b.items))
	indexOf := make(map[int64]int64, len(b.items))
	for place, item := range b.items {
		i, known := indexOf[item]
		if !known {
			i = int64(len(list))
			indexOf[item] = i
			list = append(list, item)
		}
		at[place] = i
	}
	s := b.Session()
	return s.FromInt64(list), s.FromInt64(at, int64(b.Rows.Count), int64(b.Rows.Width))
}
