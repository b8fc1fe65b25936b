package ranking

import "math"

// PairedTest is the outcome of a paired t-test.
type PairedTest struct {
	Pairs int
	Mean  float64 // of the differences; NaN without pairs
	Error float64 // its standard error; NaN for fewer than two pairs
	T     float64 // Mean in standard errors; infinite when all differences are the same and not 0, NaN when they are 0 or fewer than two
	P     float64 // two-sided; 1 where T is NaN for want of a difference
}

// PairedT tests whether paired differences have the mean 0, by Student's t with one degree of freedom fewer than
// there are pairs. Unlike Wilcoxon it keeps the pairs without a difference and takes the mean to be normal, which it
// nearly is from some hundred pairs on. A difference that is not a number makes T and P so.
//
// Source: Student, "The probable error of a mean", Biometrika 6 (1908).
func PairedT(differences []float64) PairedTest {
	mean, standardError := meanAndError(differences)
	t := PairedTest{Pairs: len(differences), Mean: mean, Error: standardError, T: mean / standardError}
	switch {
	case math.IsNaN(mean) && t.Pairs > 0:
		t.P = math.NaN()
	case math.IsNaN(t.T):
		t.P = 1
	default:
		t.P = studentTails(t.T, float64(t.Pairs-1))
	}
	return t
}

// studentTails is the probability that Student's t is as far from 0 as t, or farther.
func studentTails(t, freedom float64) float64 {
	if math.IsInf(t, 0) {
		return 0
	}
	return incompleteBeta(freedom/(freedom+t*t), t*t/(freedom+t*t), freedom/2, 0.5)
}

// incompleteBeta is the regularised incomplete beta function I_x(a, b) for 0 ≤ x ≤ 1 and positive a, b, within about
// 1e-13 for small a, b and 1e-8 for millions. It is given 1 - x as well, which beside an x near 1 has digits of its own.
//
// Source: NIST Digital Library of Mathematical Functions, 8.17.4 and the continued fraction 8.17.22, evaluated by
// the modified method of Lentz.
func incompleteBeta(x, rest, a, b float64) float64 {
	if x <= 0 || rest <= 0 {
		return x
	}
	if x > (a+1)/(a+b+2) { // where the fraction of the mirrored function converges sooner
		return 1 - incompleteBeta(rest, x, b, a)
	}
	front := math.Exp(a*math.Log(x) + b*math.Log(rest) + logGamma(a+b) - logGamma(a) - logGamma(b))
	return front / a * betaFraction(x, a, b)
}

func logGamma(x float64) float64 {
	value, _ := math.Lgamma(x)
	return value
}

// betaFraction is the continued fraction of incompleteBeta. It needs some √max(a, b) steps.
func betaFraction(x, a, b float64) float64 {
	const tiny, precision, most = 1e-300, 1e-15, 100_000
	away := func(v float64) float64 { // from 0, by which it is divided
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/away(1-(a+b)*x/(a+1))
	fraction := d
	for m := 1.0; m < most; m++ {
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		change := 1.0
		for _, term := range []float64{even, odd} {
			c, d = away(1+term/c), 1/away(1+term*d)
			change = c * d
			fraction *= change
		}
		if math.Abs(change-1) < precision {
			break
		}
	}
	return fraction
}
