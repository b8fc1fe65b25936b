package ranking

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// byAllSigns is the distribution of the sum of ranks of positive differences, found by giving the sizes every
// combination of signs: its mean, its variance, and the share that is at least as far from the mean as this sum.
func byAllSigns(differences []float64) (better, mean, variance, p float64) {
	var sizes []float64
	for _, d := range differences {
		if d != 0 {
			sizes = append(sizes, math.Abs(d))
		}
	}
	rank := func(size float64) float64 { // 1 + the smaller ones + half of the other tied ones
		r := 0.5
		for _, other := range sizes {
			if other < size {
				r++
			} else if other == size {
				r += 0.5
			}
		}
		return r
	}
	for _, d := range differences {
		if d > 0 {
			better += rank(d)
		}
	}
	var ranks, sums []float64
	for _, size := range sizes {
		ranks = append(ranks, rank(size))
	}
	for signs := range 1 << len(sizes) {
		sum := 0.0
		for i, rank := range ranks {
			if signs>>i&1 == 1 {
				sum += rank
			}
		}
		sums = append(sums, sum)
		mean += sum
	}
	n := float64(len(sums))
	mean /= n
	for _, sum := range sums {
		variance += (sum - mean) * (sum - mean) / n
		if math.Abs(sum-mean) >= math.Abs(better-mean) {
			p += 1 / n
		}
	}
	return better, mean, variance, p
}

func TestWilcoxonIsThatOfAllSigns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		differences := rapid.SliceOfN(rapid.SampledFrom([]float64{-3, -2, -1, -.5, 0, .5, 1, 2, 3, 4, 5}), 0, 10).Draw(t, "differences")
		better, mean, variance, _ := byAllSigns(differences)
		got := Wilcoxon(differences)
		if got.Pairs == 0 {
			if got.P != 1 || !math.IsNaN(got.Z) {
				t.Fatalf("without a difference: %+v", got)
			}
			return
		}
		if got.Better != better || got.Better+got.Worse != 2*mean {
			t.Fatalf("sums of ranks %v and %v, want %v and %v", got.Better, got.Worse, better, 2*mean-better)
		}
		if z := (better - mean) / math.Sqrt(variance); math.Abs(got.Z-z) > 1e-9 {
			t.Fatalf("z = %v, want %v", got.Z, z)
		}
	})
}

// With 16 pairs the approximation is off by up to half the probability of one sum, 0.03, ties and zeros or not.
func TestWilcoxonApproximatesTheExactTest(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for trial := range 20 {
		differences := []float64{0, 0}
		for range 16 {
			d := random.NormFloat64() + 0.4
			if trial%2 == 1 {
				d = math.Round(d*4) / 4
			}
			differences = append(differences, d)
		}
		_, _, _, want := byAllSigns(differences)
		if got := Wilcoxon(differences).P; math.Abs(got-want) > 0.03 {
			t.Errorf("trial %d: p = %v, exactly %v", trial, got, want)
		}
	}
}

// The heights of Darwin's maize, as in textbooks: of 15 pairs the sum of the smaller ranks is 24, and z is 2.045.
func TestWilcoxonOnDarwinsMaize(t *testing.T) {
	got := Wilcoxon([]float64{49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48, 0})
	want := SignedRank{Pairs: 15, Zeros: 1, Better: 96, Worse: 24, Z: 36 / math.Sqrt(310), P: 0.0409}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 5e-5)); diff != "" {
		t.Error(diff)
	}
	if got := Wilcoxon([]float64{1, math.NaN()}); !math.IsNaN(got.P) {
		t.Errorf("a difference that is not a number gives %+v", got)
	}
}

// Means over three runs that are equal but for their last digits are tied, or zero, as the counts are that they are of.
func TestWilcoxonIgnoresRounding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const runs = 3
		hits := rapid.SliceOfN(rapid.IntRange(0, runs), 2, 40)
		a, b := hits.Draw(t, "a"), hits.Draw(t, "b")
		var counts, means []float64
		for i := range min(len(a), len(b)) {
			counts = append(counts, float64(a[i]-b[i]))
			means = append(means, float64(a[i])/runs-float64(b[i])/runs)
		}
		if diff := cmp.Diff(Wilcoxon(counts), Wilcoxon(means), cmpopts.EquateNaNs()); diff != "" {
			t.Fatal(diff)
		}
	})
	if got := Wilcoxon([]float64{0.1 + 0.2 - 0.3, 1, -1}); got.Zeros != 1 || got.P != 1 {
		t.Errorf("a difference of 0 but for rounding: %+v", got)
	}
}

func TestComparePlaces(t *testing.T) {
	ranks := func(places ...int) []Rank {
		out := []Rank{{Outcome: Unanswered}}
		for i, place := range places {
			out = append(out, Rank{User: i + 1, Answer: 9, First: place, Last: place})
		}
		return out
	}
	baseline := [][]Rank{ranks(5, 100, 7, 4), ranks(5, 300, 7, 4)}
	candidate := [][]Rank{ranks(5, 50, 8, 2), ranks(5, 50, 10, 2)}
	got, err := ComparePlaces(baseline, candidate) // nearer by 0, 150, -2, 2
	want := SignedRank{Pairs: 3, Zeros: 1, Better: 4.5, Worse: 1.5, Z: 3 / math.Sqrt(13.5), P: math.Erfc(3 / math.Sqrt(27))}
	if diff := cmp.Diff(want, got, almost); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := ComparePlaces(baseline, candidate[:1]); err == nil || !strings.Contains(err.Error(), "2 runs of the baseline and 1") {
		t.Errorf("got %v", err)
	}
}
