package ranking

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// The differences of Student's own example, hours of sleep under two drugs: t = 4.0621 with 9 degrees of freedom and
// p = 0.00283, as every textbook has it.
func TestPairedTOnStudentsSleep(t *testing.T) {
	got := PairedT([]float64{1.2, 2.4, 1.3, 1.3, 0, 1.0, 1.8, 0.8, 4.6, 1.4})
	want := PairedTest{Pairs: 10, Mean: 1.58, Error: 1.58 / 4.0621, T: 4.0621, P: 0.002833}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(2e-5, 1e-6)); diff != "" {
		t.Error(diff)
	}
}

func TestPairedTWithoutSpread(t *testing.T) {
	for _, tt := range []struct {
		name        string
		differences []float64
		t, p        float64
	}{
		{"no pairs", nil, math.NaN(), 1},
		{"one pair", []float64{1}, math.NaN(), 1},
		{"no difference", []float64{0, 0, 0}, math.NaN(), 1},
		{"the same difference", []float64{-2, -2, -2}, math.Inf(-1), 0},
		{"not a number", []float64{1, math.NaN(), 2}, math.NaN(), math.NaN()},
	} {
		got := PairedT(tt.differences)
		if diff := cmp.Diff([]float64{tt.t, tt.p}, []float64{got.T, got.P}, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// With 1 and 2 degrees of freedom Student's distribution has closed forms; with very many it is the normal one.
func TestStudentTails(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float64Range(-30, 30).Draw(t, "t")
		for _, tt := range []struct{ freedom, want, tolerance float64 }{
			{1, 1 - 2*math.Atan(math.Abs(x))/math.Pi, 1e-12},
			{2, 1 - math.Abs(x)/math.Sqrt(2+x*x), 1e-12},
			{1e7, math.Erfc(math.Abs(x) / math.Sqrt2), 1e-6},
		} {
			if got := studentTails(x, tt.freedom); math.Abs(got-tt.want) > tt.tolerance {
				t.Fatalf("%v degrees of freedom, t = %v: p = %v, want %v", tt.freedom, x, got, tt.want)
			}
		}
	})
}

// The density of Student's t, summed over its tails.
func TestStudentTailsAreTheAreaUnderTheDensity(t *testing.T) {
	for _, freedom := range []float64{3, 7, 30, 250} {
		scale := math.Exp(logGamma((freedom+1)/2)-logGamma(freedom/2)) / math.Sqrt(freedom*math.Pi)
		density := func(x float64) float64 { return scale * math.Pow(1+x*x/freedom, -(freedom+1)/2) }
		for _, x := range []float64{0.1, 1, 2.5} {
			const steps = 20000
			middle := 0.0
			for i := range steps {
				middle += density((float64(i)+0.5)/steps*x) * x / steps
			}
			if got, want := studentTails(x, freedom), 1-2*middle; math.Abs(got-want) > 1e-8 {
				t.Errorf("%v degrees of freedom, t = %v: p = %v, want %v", freedom, x, got, want)
			}
		}
	}
}

// The example of Holm's procedure that R's manual of p.adjust computes.
func TestHolm(t *testing.T) {
	for _, tt := range []struct{ ps, want []float64 }{
		{[]float64{0.01, 0.02, 0.03, 0.04, 0.05}, []float64{0.05, 0.08, 0.09, 0.09, 0.09}},
		{[]float64{0.04, 0.001, 0.9}, []float64{0.08, 0.003, 0.9}},
		{[]float64{0.6, 0.5}, []float64{1, 1}},
		{[]float64{0.01, math.NaN(), 0.02}, []float64{0.02, math.NaN(), 0.02}},
		{nil, nil},
	} {
		if diff := cmp.Diff(tt.want, Holm(tt.ps), cmpopts.EquateApprox(0, 1e-15), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%v: %s", tt.ps, diff)
		}
	}
}

// What Holm rejects at a level is what going through the sorted p-values one by one rejects.
func TestHolmRejectsStepByStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := rapid.SliceOfN(rapid.Float64Range(0, 0.2), 1, 12).Draw(t, "p")
		level := rapid.Float64Range(0.01, 0.2).Draw(t, "level")
		sorted := slices.Sorted(slices.Values(ps))
		rejected := 0
		for rejected < len(ps) && sorted[rejected]*float64(len(ps)-rejected) <= level {
			rejected++
		}
		got := 0
		for _, p := range Holm(ps) {
			got += one(p <= level)
		}
		if got != rejected {
			t.Fatalf("%d rejected, want %d", got, rejected)
		}
	})
}

// For a mean the bootstrap's interval nears that of the normal distribution.
func TestBootstrapIsNormalForAMean(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	rows := make([][]float64, 3)
	for range 2000 {
		common := random.NormFloat64()
		rows[0] = append(rows[0], common)
		rows[1] = append(rows[1], common+0.1+0.5*random.NormFloat64())
		rows[2] = append(rows[2], common)
	}
	b, err := NewBootstrap(rows, 4000, 7)
	if err != nil {
		t.Fatal(err)
	}
	differences := make([]float64, len(rows[0]))
	for u := range differences {
		differences[u] = rows[1][u] - rows[0][u]
	}
	mean, standardError := meanAndError(differences)
	want := Interval{mean - 1.96*standardError, mean + 1.96*standardError}
	if diff := cmp.Diff(want, b.Difference(1, 0, 0.95), cmpopts.EquateApprox(0, standardError/8)); diff != "" {
		t.Error(diff)
	}
	if got := b.Difference(2, 0, 0.95); got != (Interval{}) { // the same users were drawn for both
		t.Errorf("equal rows differ within %v", got)
	}
	again, err := NewBootstrap(rows[:2], 4000, 7)
	if err != nil || again.Difference(1, 0, 0.9) != b.Difference(1, 0, 0.9) {
		t.Errorf("another interval for the same seed (%v)", err)
	}
	other, err := NewBootstrap(rows, 4000, 8)
	if err != nil || other.Difference(1, 0, 0.9) == b.Difference(1, 0, 0.9) {
		t.Errorf("the same interval for another seed (%v)", err)
	}
}

func TestBootstrapRefuses(t *testing.T) {
	for _, tt := range []struct {
		rows  [][]float64
		draws int
		want  string
	}{
		{nil, 10, "no values"},
		{[][]float64{{}}, 10, "no values"},
		{[][]float64{{1, 2}, {1}}, 10, "row 1 has 1 users and row 0 has 2"},
		{[][]float64{{1}}, 0, "0 draws: want at least 1"},
	} {
		if _, err := NewBootstrap(tt.rows, tt.draws, 1); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %q", tt.rows, err, tt.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	for _, tt := range []struct{ share, want float64 }{{0, 1}, {0.5, 2.5}, {1, 10}, {0.25, 1.75}} {
		if got := quantile([]float64{1, 2, 3, 10}, tt.share); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.share, got, tt.want)
		}
	}
}

func TestSpread(t *testing.T) {
	got := MeanSDOf([]float64{2, 4, 4, 4, 5, 5, 7, 9})
	if diff := cmp.Diff(MeanSD{Runs: 8, Mean: 5, SD: math.Sqrt(32. / 7)}, got, almost); diff != "" {
		t.Error(diff)
	}
	if got := MeanSDOf([]float64{3}); got.Mean != 3 || !math.IsNaN(got.SD) {
		t.Errorf("a single run: %+v", got)
	}
}
