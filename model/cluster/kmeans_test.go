package cluster

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// kmeans fails the test on an error.
func kmeans(t testing.TB, points *gotorch.Tensor, o Options) Result {
	t.Helper()
	result, err := KMeans(points, o)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// naive is Lloyd's algorithm in loops, for starts that leave no cluster empty.
func naive(t *testing.T, points, start [][]float64, iterations int) (centroids [][]float64, at []int64, inertia float64) {
	t.Helper()
	centroids = start
	for range iterations {
		at, _ = naiveNearest(points, centroids)
		moved, counts := make([][]float64, len(start)), make([]float64, len(start))
		for c := range moved {
			moved[c] = make([]float64, len(points[0]))
		}
		for i, c := range at {
			counts[c]++
			for j, v := range points[i] {
				moved[c][j] += v
			}
		}
		for c := range moved {
			if counts[c] == 0 {
				t.Fatal("the start leaves a cluster empty")
			}
			for j := range moved[c] {
				moved[c][j] /= counts[c]
			}
		}
		centroids = moved
	}
	at, inertia = naiveNearest(points, centroids)
	return centroids, at, inertia
}

func naiveNearest(points, centroids [][]float64) (at []int64, inertia float64) {
	for _, p := range points {
		best, index := math.Inf(1), 0
		for c, centroid := range centroids {
			distance := 0.0
			for j := range p {
				distance += (p[j] - centroid[j]) * (p[j] - centroid[j])
			}
			if distance < best {
				best, index = distance, c
			}
		}
		at = append(at, int64(index))
		inertia += best
	}
	return at, inertia
}

// table copies rows to the session's device.
func table(s *gotorch.Session, rows [][]float64) *gotorch.Tensor {
	return s.FromFloat64(slices.Concat(rows...), int64(len(rows)), int64(len(rows[0]))).To(gotorch.Float32)
}

func gaussian(random *rand.Rand, n, size int, mean, deviation float64) [][]float64 {
	rows := make([][]float64, n)
	for i := range rows {
		for range size {
			rows[i] = append(rows[i], mean+deviation*random.NormFloat64())
		}
	}
	return rows
}

func TestSameAsLoops(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			torchtest.Run(t, func(s *gotorch.Session) {
				points := gaussian(rand.New(rand.NewPCG(seed, 0)), 600, 5, 40, 1) // far from 0: the common mean must not cost digits
				start := points[:7]
				centroids, at, inertia := naive(t, points, start, 6)
				got := kmeans(t, table(s, points), Options{Clusters: 7, Iterations: 6, Start: table(s, start)})
				if !slices.Equal(got.Assignments.Int64s(), at) {
					t.Error("points are assigned to other clusters than by loops")
				}
				if math.Abs(got.Inertia-inertia) > 1e-4*inertia {
					t.Errorf("inertia %v, want %v", got.Inertia, inertia)
				}
				for i, v := range got.Centroids.Float64s() {
					if want := centroids[i/5][i%5]; math.Abs(v-want) > 1e-4 {
						t.Fatalf("centroid %d is %v at %d, want %v", i/5, v, i%5, want)
					}
				}
			})
		})
	}
}

// blobs are groups of points around far centres, in random order, with the
// group of each.
func blobs(groups, each int) (points [][]float64, group []int) {
	random := rand.New(rand.NewPCG(1, 2))
	centres := gaussian(random, groups, 8, 0, 20)
	for _, g := range random.Perm(groups * each) {
		point := gaussian(random, 1, 8, 0, 0.1)[0]
		for j := range point {
			point[j] += centres[g%groups][j]
		}
		points, group = append(points, point), append(group, g%groups)
	}
	return points, group
}

func TestBlobsAreFound(t *testing.T) {
	const groups, each = 6, 100
	points, group := blobs(groups, each)
	within := 8 * 0.1 * 0.1 * groups * each
	torchtest.Run(t, func(s *gotorch.Session) {
		for name, o := range map[string]Options{
			"all points": {Clusters: groups, Restarts: 20},
			"a sample":   {Clusters: groups, Restarts: 20, PerCluster: 20},
		} {
			result := kmeans(t, table(s, points), o)
			if result.Inertia > 1.5*within {
				t.Errorf("%s: inertia %v, want about %v", name, result.Inertia, within)
			}
			clusterOf := map[int]int64{}
			for i, at := range result.Assignments.Int64s() {
				if first, known := clusterOf[group[i]]; known && first != at {
					t.Fatalf("%s: blob %d is in clusters %d and %d", name, group[i], first, at)
				}
				clusterOf[group[i]] = at
			}
		}
	})
}

func TestRestartsKeepTheBest(t *testing.T) {
	points, _ := blobs(12, 20)
	torchtest.Run(t, func(s *gotorch.Session) {
		x := table(s, points)
		best := math.Inf(1)
		for range 8 {
			best = min(best, kmeans(t, x, Options{Clusters: 12, Iterations: 3}).Inertia)
		}
		if err := s.Generator().Seed(torchtest.Seed); err != nil {
			t.Fatal(err)
		}
		if got := kmeans(t, x, Options{Clusters: 12, Iterations: 3, Restarts: 8}).Inertia; got != best {
			t.Errorf("eight restarts give inertia %v, the best of eight runs is %v", got, best)
		}
	})
}

// A start that has all points in one cluster must not stay there.
func TestEmptyClustersAreSplitOff(t *testing.T) {
	points, _ := blobs(4, 50)
	torchtest.Run(t, func(s *gotorch.Session) {
		start := s.Full(1e4, 4, 8)
		start.Select(0, 2).FillInPlace(0)
		result := kmeans(t, table(s, points), Options{Clusters: 4, Start: start})
		counts := make([]int, 4)
		for _, at := range result.Assignments.Int64s() {
			counts[at]++
		}
		if slices.Min(counts) == 0 {
			t.Errorf("clusters have %v points: none should be empty", counts)
		}
	})
}

func TestSplitPairsEmptiestWithLargest(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		centroids := s.FromFloat32([]float32{1, 1, 2, 2, 3, 3, 4, 4, 5, 5}, 5, 2)
		const e = splitting
		for _, c := range []struct {
			counts []int64
			want   []float32
		}{
			{[]int64{3, 1, 2, 1, 9}, []float32{1, 1, 2, 2, 3, 3, 4, 4, 5, 5}},
			{[]int64{3, 0, 2, 1, 9}, []float32{1, 1, 5 + 5*e, 5 - 5*e, 3, 3, 4, 4, 5 - 5*e, 5 + 5*e}},
			{[]int64{3, 0, 2, 0, 9}, []float32{1 - e, 1 + e, 5 + 5*e, 5 - 5*e, 3, 3, 1 + e, 1 - e, 5 - 5*e, 5 + 5*e}},
			{[]int64{0, 0, 7, 0, 0}, []float32{3 + 3*e, 3 - 3*e, 2, 2, 3 - 3*e, 3 + 3*e, 4, 4, 5, 5}}, // one donor, one recipient a time
			{[]int64{0, 1, 1, 1, 1}, []float32{1, 1, 2, 2, 3, 3, 4, 4, 5, 5}},                         // a single point cannot be split
		} {
			if got := splitLargest(centroids, s.FromInt64(c.counts)).Float32s(); !slices.Equal(got, c.want) {
				t.Errorf("counts %v: %v, want %v", c.counts, got, c.want)
			}
		}
	})
}

func TestMoreClustersThanPoints(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		result := kmeans(t, s.FromFloat32([]float32{0, 0, 5, 5, 9, 0}, 3, 2), Options{Clusters: 8})
		at := result.Assignments.Int64s()
		slices.Sort(at)
		if !slices.Equal(at, []int64{0, 1, 2}) || result.Centroids.Size(0) != 3 || result.Inertia > 1e-10 {
			t.Errorf("assignments %v to %v with inertia %v: want each point its own cluster", at, result.Centroids, result.Inertia)
		}
	})
}

func TestIdenticalPoints(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		result := kmeans(t, s.Full(3, 50, 4), Options{Clusters: 5})
		if result.Inertia != 0 {
			t.Errorf("inertia %v, want 0", result.Inertia)
		}
		for _, v := range result.Centroids.Float32s() {
			if v != 3 {
				t.Fatalf("a centroid is at %v, want 3", v)
			}
		}
	})
}

func TestBlocksChangeNothing(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		const clusters = 1 << 13 // blocks of 256 points
		points, centroids := s.Randn(600, 2), s.Randn(clusters, 2)
		at := nearest(points, centroids)
		for _, i := range []int64{0, 255, 256, 599} {
			if got, want := at.Narrow(0, i, 1).Int64s()[0], nearest(points.Narrow(0, i, 1), centroids).Int64s()[0]; got != want {
				t.Errorf("point %d is nearest to %d, alone to %d", i, got, want)
			}
		}
	})
}

func TestSeedDecides(t *testing.T) {
	run := func(seed uint64) (at []int64) {
		torchtest.Run(t, func(s *gotorch.Session) {
			points := s.Randn(2000, 8)
			if err := s.Generator().Seed(seed); err != nil {
				t.Fatal(err)
			}
			at = kmeans(t, points, Options{Clusters: 16, Restarts: 2, PerCluster: 50}).Assignments.Int64s()
		})
		return at
	}
	if !slices.Equal(run(7), run(7)) {
		t.Error("one seed gives two groupings")
	}
	if slices.Equal(run(7), run(8)) {
		t.Error("two seeds give one grouping")
	}
}

func TestBadInput(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		spoilt := func(value float64) *gotorch.Tensor {
			points := s.Randn(10, 2)
			points.Select(0, 4).FillInPlace(value)
			return points
		}
		points := s.Randn(10, 2)
		for _, c := range []struct {
			name    string
			points  *gotorch.Tensor
			options Options
			want    string
		}{
			{"no points", s.Zeros(0, 2), Options{Clusters: 2}, "at least one row"},
			{"no columns", s.Zeros(3, 0), Options{Clusters: 2}, "one column"},
			{"a vector", s.Zeros(3), Options{Clusters: 2}, "float32[3]"},
			{"doubles", s.ZerosOf(gotorch.Float64, 3, 2), Options{Clusters: 2}, "float64"},
			{"NaN", spoilt(math.NaN()), Options{Clusters: 2}, "2 of the 20 values of points are not finite"},
			{"infinity", spoilt(math.Inf(-1)), Options{Clusters: 2}, "2 of the 20 values of points are not finite"},
			{"no clusters", points, Options{}, "clusters = 0: want at least 1"},
			{"all options", points, Options{Clusters: -1, Iterations: -2, Restarts: -3, PerCluster: -4}, "points per cluster = -4"},
			{"start of other size", points, Options{Clusters: 2, Start: s.Zeros(2, 3)}, "want float32 [2 2]"},
			{"start with NaN", points, Options{Clusters: 10, Start: spoilt(math.NaN())}, "the start are not finite"},
		} {
			if _, err := KMeans(c.points, c.options); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
			}
		}
	})
}

// BenchmarkKMeans is the size of Amazon Beauty's training examples.
func BenchmarkKMeans(b *testing.B) {
	for _, restarts := range []int{1, 5} {
		b.Run(fmt.Sprint("restarts=", restarts), func(b *testing.B) {
			s, err := torchtest.Open(b).NewSession(gotorch.SessionOptions{Threads: 2, Seed: torchtest.Seed})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			err = s.Run(func() {
				points := s.Randn(131_413, 64)
				b.ResetTimer()
				for range b.N {
					s.Scoped(func() {
						b.ReportMetric(kmeans(b, points, Options{Clusters: 256, Restarts: restarts}).Inertia, "inertia")
					})
				}
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}
