package backbone

import "github.com/prismflow/prismflow/model/gotorch"

// A Shape is the sizes of a batch's tensors. Batches of one shape can take one
// another's place, also in a captured graph of operators.
type Shape struct {
	Rows, Width int // of the rectangle of places
	Tokens      int // capacity of Batch.Tokens
	Sequences   int
	Distinct    int // capacity of the list of distinct items
	MaxLength   int
}

// Fill says up to which multiples the sizes of a shape are filled up with
// nothing, so that batches that differ a little have one shape.
type Fill struct {
	Rows     int
	Distinct int
}

// Exact fills nothing up, which is the least work.
var Exact = Fill{Rows: 1, Distinct: 1}

// Lay writes sequences, oldest item first and none empty, as the words that
// Shape.View reads.
func Lay(rows Rows, sequences [][]int32, maxLength int, fill Fill) (Shape, []int64, error) {
	if err := rows.validate(sequences, maxLength); err != nil {
		return Shape{}, nil, err
	}
	tokens := rows.Tokens()
	if fill != Exact {
		rows.Count = multiple(rows.Count, fill.Rows)
		tokens = fillUp(tokens, rows.Places())
	}
	items := rows.items(sequences)
	distinct, index := distinctItems(items)
	distinct = fillUp(distinct, multiple(len(distinct), fill.Distinct))
	shape := Shape{
		Rows: rows.Count, Width: rows.Width, Tokens: len(tokens), Sequences: len(sequences), Distinct: len(distinct), MaxLength: maxLength,
	}
	words := make([]int64, 0, shape.Words())
	for _, part := range [][]int64{items, rows.segments(), rows.positions(maxLength), index, tokens, rows.Newest(), distinct} {
		words = append(words, part...)
	}
	return shape, words, nil
}

// Words is how many a batch of the shape takes.
func (s Shape) Words() int { return 4*s.Rows*s.Width + s.Tokens + s.Sequences + s.Distinct }

// View reads a batch from the words that Lay wrote, on a device: int64 [Words].
func (s Shape) View(words *gotorch.Tensor) *Batch {
	next := int64(0)
	take := func(shape ...int64) *gotorch.Tensor {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		part := words.Narrow(0, next, n).View(shape...)
		next += n
		return part
	}
	rectangle := func() *gotorch.Tensor { return take(int64(s.Rows), int64(s.Width)) }
	return &Batch{
		Shape: s,
		Items: rectangle(), Segments: rectangle(), Positions: rectangle(), index: rectangle(),
		Tokens: take(int64(s.Tokens)), Newest: take(int64(s.Sequences)), distinct: take(int64(s.Distinct)),
	}
}

// distinctItems are the items without repetitions, in the order in which they
// first occur, and for each place its index in that list.
func distinctItems(items []int64) (list, index []int64) {
	index = make([]int64, len(items))
	indexOf := make(map[int64]int64, len(items))
	for place, item := range items {
		i, known := indexOf[item]
		if !known {
			i = int64(len(list))
			indexOf[item] = i
			list = append(list, item)
		}
		index[place] = i
	}
	return list, index
}

func multiple(n, of int) int { return (n + of - 1) / of * of }

// fillUp appends zeros to a list up to a length.
func fillUp(list []int64, length int) []int64 {
	return append(list, make([]int64, max(0, length-len(list)))...)
}
