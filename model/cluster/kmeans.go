package cluster

import (
	"errors"
	"fmt"
	"math"

	"github.com/prismflow/prismflow/model/gotorch"
)

// Options say how points are grouped. Only Clusters has no default.
type Options struct {
	Clusters   int
	Iterations int // of each run; 0 means 20
	Restarts   int // runs from different starts, of which the one with the least inertia is kept; 0 means 1
	PerCluster int // centroids are found from at most this many points a cluster, drawn once; 0 means 4096

	// Start is where the first run starts from, [min(Clusters, n), size]. The
	// others, and the first without it, start from points drawn at random.
	Start *gotorch.Tensor
}

func (o Options) withDefaults() Options {
	if o.Iterations == 0 {
		o.Iterations = 20
	}
	if o.Restarts == 0 {
		o.Restarts = 1
	}
	if o.PerCluster == 0 {
		o.PerCluster = 4096
	}
	return o
}

// Validate lists every option out of bounds.
func (o Options) Validate() error {
	o = o.withDefaults()
	var problems []error
	for _, v := range []struct {
		name  string
		value int
	}{{"clusters", o.Clusters}, {"iterations", o.Iterations}, {"restarts", o.Restarts}, {"points per cluster", o.PerCluster}} {
		if v.value < 1 {
			problems = append(problems, fmt.Errorf("%s = %d: want at least 1", v.name, v.value))
		}
	}
	return errors.Join(problems...)
}

// Result is a grouping of n points. Its tensors belong to the scope in which
// KMeans was called.
type Result struct {
	Centroids   *gotorch.Tensor // float32 [min(Clusters, n), size]
	Assignments *gotorch.Tensor // int64 [n]: the nearest centroid of each point, the first of equally near ones
	Inertia     float64         // sum of the squared distances to them
}

// KMeans groups the points [n, size], float32, by Lloyd's algorithm (Least
// squares quantization in PCM, 1982) and assigns each to its nearest centroid.
// A cluster that loses all its points takes half of a large one. Fewer points
// than clusters give as many clusters as points. No points, and values that are
// not finite, are errors.
func KMeans(points *gotorch.Tensor, options Options) (Result, error) {
	o := options.withDefaults()
	if err := o.check(points); err != nil {
		return Result{}, fmt.Errorf("k-means: %w", err)
	}
	o.Clusters = min(o.Clusters, int(points.Size(0)))
	s := points.Session()
	var result Result
	s.NoGrad(func() {
		s.Scoped(func() {
			result = o.group(points.Detach())
			s.Keep(result.Centroids, result.Assignments)
		})
	})
	return result, nil
}

// check reads one number from the device, which is the price of an error
// instead of clusters of nonsense.
func (o Options) check(points *gotorch.Tensor) error {
	if err := o.Validate(); err != nil {
		return err
	}
	shape := points.Shape()
	if len(shape) != 2 || shape[0] == 0 || shape[1] == 0 || points.DType() != gotorch.Float32 {
		return fmt.Errorf("points are %v: want float32, at least one row and one column", points)
	}
	if err := finite("points", points); err != nil {
		return err
	}
	if o.Start == nil {
		return nil
	}
	want := []int64{min(int64(o.Clusters), shape[0]), shape[1]}
	if start := o.Start.Shape(); len(start) != 2 || start[0] != want[0] || start[1] != want[1] || o.Start.DType() != gotorch.Float32 {
		return fmt.Errorf("the start is %v: want float32 %v", o.Start, want)
	}
	return finite("the start", o.Start)
}

func finite(what string, t *gotorch.Tensor) error {
	var bad float64
	t.Session().Scoped(func() {
		bad = t.Session().Call1("aten::isfinite", t).LogicalNot().Sum().Item()
	})
	if bad > 0 {
		return fmt.Errorf("%.0f of the %d values of %s are not finite", bad, t.Numel(), what)
	}
	return nil
}

// group works on points without their mean: what all have in common would cost
// the distances, which are differences of squares, their last digits.
func (o Options) group(points *gotorch.Tensor) Result {
	mean := points.MeanKeep(0)
	points = points.Sub(mean)
	sample := o.sample(points)
	best := Result{Inertia: math.Inf(1)}
	for i := range o.Restarts {
		var start *gotorch.Tensor
		if i == 0 && o.Start != nil {
			start = o.Start.Detach().Sub(mean)
		}
		if r := o.run(sample, start); r.Inertia < best.Inertia || best.Centroids == nil {
			best = r
		}
	}
	if sample != points {
		best = assigned(points, best.Centroids)
	}
	best.Centroids = best.Centroids.Add(mean)
	return best
}

// sample draws the points that centroids are found from; all when they are few
// enough.
func (o Options) sample(points *gotorch.Tensor) *gotorch.Tensor {
	n, most := points.Size(0), int64(o.PerCluster)*int64(o.Clusters)
	if n <= most {
		return points
	}
	return draw(points, most)
}

// draw takes count different rows at random.
func draw(points *gotorch.Tensor, count int64) *gotorch.Tensor {
	s := points.Session()
	return points.IndexSelect(0, s.RandPerm(points.Size(0)).Narrow(0, 0, count))
}

// run is one descent to a local optimum, from points drawn at random where there
// is no start.
func (o Options) run(points, start *gotorch.Tensor) (result Result) {
	s := points.Session()
	s.Scoped(func() {
		if start == nil {
			start = draw(points, int64(o.Clusters))
		}
		result = assigned(points, o.descend(points, start))
		s.Keep(result.Centroids, result.Assignments)
	})
	return result
}

// descend splits clusters before a step, not behind it, so that the last
// centroids are means of their points.
func (o Options) descend(points, centroids *gotorch.Tensor) *gotorch.Tensor {
	s := points.Session()
	var counts *gotorch.Tensor
	for i := range o.Iterations {
		s.Scoped(func() {
			if i > 0 {
				centroids = splitLargest(centroids, counts)
			}
			centroids, counts = lloyd(points, centroids)
			s.Keep(centroids, counts)
		})
	}
	return centroids
}

// lloyd moves every centroid to the mean of the points nearest to it, and gives
// their numbers, int64 [clusters]. One without points stays.
func lloyd(points, centroids *gotorch.Tensor) (moved, counts *gotorch.Tensor) {
	s, k := points.Session(), centroids.Size(0)
	at := nearest(points, centroids)
	counts = s.Call1("aten::bincount", at, nil, k)
	// The gradient of a table that was looked up is a sum of rows by index, and
	// unlike index_add's it adds in a fixed order on every device.
	sums := s.Call1("aten::embedding_dense_backward", points, at, k, -1, false)
	means := sums.Div(counts.Unsqueeze(1))
	return s.Where(counts.Gt(0).Unsqueeze(1), means, centroids), counts
}

// splitting is how far, relatively, two halves of a cluster start from its
// centroid. It is faiss's number.
const splitting = 1.0 / 1024

// splitLargest gives each centroid without points the place of a large cluster's
// centroid, the emptiest that of the largest and so on, and moves the two a
// little apart. In the order of counts recipients and donors are mirror images,
// so nothing has to be read back to find out how many there are.
func splitLargest(centroids, counts *gotorch.Tensor) *gotorch.Tensor {
	s := centroids.Session()
	counts, order := counts.Sort(0, false)
	mirrored := func(t *gotorch.Tensor) *gotorch.Tensor { return s.Call1("aten::flip", t, []int{0}) }
	ordered := centroids.IndexSelect(0, order)
	recipient := counts.Eq(0).LogicalAnd(mirrored(counts).Gt(1))
	apart := ordered.Mul(alternating(s, centroids.Size(1)).Mul(splitting))
	split := s.Where(recipient.Unsqueeze(1), mirrored(ordered.Add(apart)), ordered)
	split = s.Where(mirrored(recipient).Unsqueeze(1), ordered.Sub(apart), split)
	_, back := order.Sort(0, false)
	return split.IndexSelect(0, back)
}

// alternating is 1, -1, 1, …
func alternating(s *gotorch.Session, size int64) *gotorch.Tensor {
	odd := s.Call1("aten::remainder.Scalar", s.Arange(0, size, 1), 2).To(gotorch.Float32)
	return odd.Mul(-2.0).Add(1.0)
}

// blockValues bounds the distances that exist at a time. On a CPU they had
// better stay in its cache: four times as many take twice as long.
const blockValues = 1 << 21

// nearest is the index of each point's nearest centroid, int64 [n].
func nearest(points, centroids *gotorch.Tensor) *gotorch.Tensor {
	s, n := points.Session(), points.Size(0)
	// The nearest c has the greatest x·c - |c|²/2, since |x|² is the same for all.
	directions, offset := centroids.T(), centroids.Square().Sum(1).Mul(-0.5)
	indices := s.Empty(gotorch.Int64, n)
	rows := max(1, blockValues/centroids.Size(0))
	for from := int64(0); from < n; from += rows {
		s.Scoped(func() {
			count := min(rows, n-from)
			closeness := s.Call1("aten::addmm", offset, points.Narrow(0, from, count), directions)
			_, at := closeness.MaxDim(1, false)
			indices.Narrow(0, from, count).CopyFrom(at)
		})
	}
	return indices
}

// assigned is the grouping that centroids make of points. Its inertia is summed
// from differences, not from the differences of squares that find the nearest.
func assigned(points, centroids *gotorch.Tensor) Result {
	s := points.Session()
	at := nearest(points, centroids)
	squares := points.Sub(centroids.IndexSelect(0, at)).Square()
	inertia := s.Call1("aten::sum", squares, gotorch.Named("dtype", gotorch.Float64)).Item()
	return Result{Centroids: centroids, Assignments: at, Inertia: inertia}
}
