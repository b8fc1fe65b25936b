package baseline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/prismflow/prismflow/model/ranking"
)

// KNNOptions are the constants of the co-occurrence kNN. Zero means zero: start from DefaultKNN.
type KNNOptions struct {
	MaxDistance        int     // places between two items of a pair, at most; 1…100
	BackwardWeight     float64 // weight of a pair from the later item to the earlier one, relative to forward; 0…1
	HistoryItems       int     // items at the end of the history that vote; at least 1
	PopularityExponent float64 // how much a candidate's training count is held against it; 0…1
}

// DefaultKNN are the values that prismflow's published baseline numbers were computed with. They were not tuned.
func DefaultKNN() KNNOptions {
	return KNNOptions{MaxDistance: 3, BackwardWeight: 0.5, HistoryItems: 10, PopularityExponent: 0.3}
}

// Validate lists every value that is out of bounds.
func (o KNNOptions) Validate() error {
	var problems []error
	if o.MaxDistance < 1 || o.MaxDistance > 100 {
		problems = append(problems, fmt.Errorf("a pair distance of %d: want 1…100", o.MaxDistance))
	}
	if !(o.BackwardWeight >= 0 && o.BackwardWeight <= 1) {
		problems = append(problems, fmt.Errorf("a backward weight of %v: want 0…1", o.BackwardWeight))
	}
	if o.HistoryItems < 1 {
		problems = append(problems, fmt.Errorf("%d history items: want at least 1", o.HistoryItems))
	}
	if !(o.PopularityExponent >= 0 && o.PopularityExponent <= 1) {
		problems = append(problems, fmt.Errorf("a popularity exponent of %v: want 0…1", o.PopularityExponent))
	}
	return errors.Join(problems...)
}

// KNN is a ranking.SparseScorer over item-to-item weights, and safe for concurrent use.
//
// In every training sequence each pair of items a, then b, at a distance of δ ≤ MaxDistance places adds 1/δ to w(a→b)
// and BackwardWeight/δ to w(b→a). For the history h_0, h_1, … (newest first, HistoryItems of them) a candidate c scores
//
//	Σ_d  w(h_d→c) / ( (1+d) · √(Σ_j w(h_d→j)) · count(c)^PopularityExponent )
//
// and every item that never occurred near the history scores 0. A sequence that repeats an item within MaxDistance
// gives it a weight to itself, which only matters where seen items are not filtered.
type KNN struct {
	items   int
	history int

	// The neighbours of item i, each with w(i→j) / (√(Σ w(i→·)) · count(j)^exponent), are at starts[i]…starts[i+1]-1.
	starts     []int
	neighbours []int32
	weights    []float64

	sums sync.Pool // of *sums
}

// FitKNN counts the pairs of the training part of each user's sequence over the items 1…items.
func FitKNN(ctx context.Context, items int, training [][]int32, options KNNOptions) (*KNN, error) {
	if err := options.Validate(); err != nil {
		return nil, fmt.Errorf("fitting the kNN: %w", err)
	}
	counts, err := trainingCounts(items, training)
	if err != nil {
		return nil, fmt.Errorf("fitting the kNN: %w", err)
	}
	k := &KNN{items: items, history: options.HistoryItems, starts: make([]int, items+2)}
	k.sums.New = func() any { return newSums(items) }
	popularity := make([]float64, items+1)
	for item, n := range counts {
		popularity[item] = math.Pow(float64(n), options.PopularityExponent)
	}
	text := newOccurrences(counts, training, options.MaxDistance)
	for item := int32(1); int(item) <= items; item++ {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("fitting the kNN, item %d of %d: %w", item, items, err)
		}
		k.fitItem(item, text, popularity, options)
	}
	return k, nil
}

// fitItem appends the neighbours of one item. Items come in ascending order.
func (k *KNN) fitItem(item int32, o *occurrences, popularity []float64, options KNNOptions) {
	s := k.sums.Get().(*sums)
	defer k.sums.Put(s)
	s.reset()
	for _, place := range o.of(item) {
		for distance := 1; distance <= options.MaxDistance; distance++ {
			s.add(o.text[place+distance], 1/float64(distance))
			s.add(o.text[place-distance], options.BackwardWeight/float64(distance))
		}
	}
	total := 0.0
	for _, neighbour := range s.items {
		total += s.of[neighbour]
	}
	for _, neighbour := range s.items {
		k.neighbours = append(k.neighbours, neighbour)
		k.weights = append(k.weights, s.of[neighbour]/(math.Sqrt(total)*popularity[neighbour]))
	}
	k.starts[item+1] = len(k.neighbours)
}

// occurrences is the training text and where in it each item stands.
type occurrences struct {
	text   []int32 // all sequences, padded before, between and behind so that no window reaches into the next
	places []int   // of item 1, ascending, then of item 2, …
	starts []int   // by item, into places
}

func newOccurrences(counts []int, training [][]int32, padding int) *occurrences {
	total := 0
	o := &occurrences{starts: make([]int, len(counts)+1)}
	for item, n := range counts {
		total += n
		o.starts[item+1] = total
	}
	o.text = make([]int32, padding, total+padding*(len(training)+1))
	o.places = make([]int, total)
	next := append([]int(nil), o.starts...)
	for _, sequence := range training {
		for _, item := range sequence {
			o.places[next[item]] = len(o.text)
			next[item]++
			o.text = append(o.text, item)
		}
		o.text = append(o.text, make([]int32, padding)...)
	}
	return o
}

func (o *occurrences) of(item int32) []int { return o.places[o.starts[item]:o.starts[item+1]] }

// AppendScores appends every item that co-occurred with one of the newest items of the history, at most once each.
func (k *KNN) AppendScores(dst []ranking.Scored, query ranking.Query) ([]ranking.Scored, error) {
	s := k.sums.Get().(*sums)
	defer k.sums.Put(s)
	if err := k.score(s, query); err != nil {
		return nil, err
	}
	for _, item := range s.items {
		dst = append(dst, ranking.Scored{Item: item, Score: float32(s.of[item])})
	}
	return dst, nil
}

// Score fills one row for each query: the scores of AppendScores, 0 elsewhere.
func (k *KNN) Score(_ context.Context, queries []ranking.Query, scores []float32) error {
	width := k.items + 1
	if len(scores) != len(queries)*width {
		return shapeError(len(scores), len(queries), width)
	}
	clear(scores)
	s := k.sums.Get().(*sums)
	defer k.sums.Put(s)
	for i, query := range queries {
		if err := k.score(s, query); err != nil {
			return fmt.Errorf("user %d: %w", query.User, err)
		}
		for _, item := range s.items {
			scores[i*width+int(item)] = float32(s.of[item])
		}
	}
	return nil
}

func (k *KNN) score(s *sums, query ranking.Query) error {
	s.reset()
	for d := range min(k.history, len(query.History)) {
		item := query.History[len(query.History)-1-d]
		if item < 1 || int(item) > k.items {
			return fmt.Errorf("the history has item %d, but the kNN was fitted on items 1…%d", item, k.items)
		}
		decay := 1 / float64(1+d)
		for at := k.starts[item]; at < k.starts[item+1]; at++ {
			s.add(k.neighbours[at], k.weights[at]*decay)
		}
	}
	return nil
}

// sums adds up numbers by item and remembers which items got any.
type sums struct {
	of    []float64
	items []int32
	added []bool
}

func newSums(items int) *sums {
	return &sums{of: make([]float64, items+1), added: make([]bool, items+1)}
}

func (s *sums) reset() {
	for _, item := range s.items {
		s.of[item], s.added[item] = 0, false
	}
	s.items = s.items[:0]
}

// add ignores padding and zero. The conversion keeps compilers from fusing the caller's product into the sum, which
// would round otherwise on some processors.
func (s *sums) add(item int32, value float64) {
	if item == 0 || value == 0 {
		return
	}
	if !s.added[item] {
		s.added[item] = true
		s.items = append(s.items, item)
	}
	s.of[item] += float64(value)
}
