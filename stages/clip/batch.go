package clip

import (
	"slices"
	"sync/atomic"

	"github.com/prismflow/prismflow/stages"
)

// Where a batch has few rows, libtorch's BLAS takes other kernels, which add in
// another order. From leastRows on, a row's vector was the same to the bit in
// batches of any size, at any place in them, on any number of threads
// (OpenBLAS on AVX-512: from 3 rows). So no smaller batch is encoded: what
// lacks is filled up.
const leastRows = 8

// A text's padding changes the last bits of what attention adds up, too. So a
// text is padded to a length that follows from the text alone, the next
// multiple of lengthStep, and no batch has texts of two such lengths.
const lengthStep = 8

// A batch is rows of one modality on their way to the encoder.
type batch struct {
	modality modality
	keys     []stages.MemoKey
	failures []error // why no vector can be made of a row; of pictures, as long as a batch can be, since they are set while it fills

	pixels []float32 // of pictures, side by side, with room for leastRows at least
	values int       // of one picture
	free   chan<- *batch
	open   atomic.Int64 // decodings that are not done, and 1 as long as rows are added

	ids [][]int64 // of texts
}

// newPictureBatch makes a batch of at most rows pictures, which goes to free
// when it was encoded.
func newPictureBatch(rows, values int, free chan<- *batch) *batch {
	return &batch{modality: image, values: values, free: free, failures: make([]error, rows), pixels: make([]float32, max(rows, leastRows)*values)}
}

// start empties a batch of pictures.
func (b *batch) start() {
	b.keys = b.keys[:0]
	clear(b.failures)
	b.open.Store(1)
}

// add makes room for a picture and returns its place. leave has to be called
// when it is decoded.
func (b *batch) add(key stages.MemoKey) int {
	b.open.Add(1)
	b.keys = append(b.keys, key)
	return len(b.keys) - 1
}

// leave says that a picture is decoded, or that no more are added. It reports
// whether that was all that the batch waited for.
func (b *batch) leave() bool { return b.open.Add(-1) == 0 }

// row is the place of a picture's pixels.
func (b *batch) row(i int) []float32 { return b.pixels[i*b.values : (i+1)*b.values] }

// recycle gives the batch back, if somebody waits for its room.
func (b *batch) recycle() {
	if b.free != nil {
		b.free <- b
	}
}

// encode makes the vectors of the rows [from, to), side by side.
func (b *batch) encode(e encoder, from, to, width int) ([]float32, error) {
	rows := max(to-from, leastRows)
	var vectors []float32
	var err error
	if b.modality == image {
		// Whatever stands in the room of the filling rows is numbers.
		start := min(from, len(b.pixels)/b.values-rows)
		if vectors, err = e.images(b.pixels[start*b.values:(start+rows)*b.values], rows); err == nil {
			vectors = vectors[(from-start)*width:]
		}
	} else {
		ids := slices.Clone(b.ids[from:to])
		for len(ids) < rows {
			ids = append(ids, ids[0])
		}
		vectors, err = e.texts(ids)
	}
	if err != nil {
		return nil, err
	}
	return vectors[:(to-from)*width], nil
}

// paddedLength is how many tokens a text of n has for the encoder.
func paddedLength(n, positions int) int {
	return min((n+lengthStep-1)/lengthStep*lengthStep, positions)
}
