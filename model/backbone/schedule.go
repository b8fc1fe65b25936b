package backbone

import "math"

// The noise schedules that can be named: how much of the variance each of a
// number of steps replaces by noise.
var schedules = []struct {
	name  string
	betas func(steps int) []float64
}{
	{"exp", exponential},
	{"linear", linear},
	{"cosine", cosine},
	{"sqrt", squareRoot},
}

// schedule is what a diffusion's steps, numbered from 0, do.
type schedule struct {
	signal, noise []float64 // a noised x is signal·x₀ + noise·ε
	guess, stay   []float64 // a step back goes to guess·x̂₀ + stay·x on average
	spread        []float64 // standard deviation of a step back; 0 at step 0
}

// newSchedule derives the coefficients of DDPM (Ho et al., 2020, equations 4 and
// 7) from the variance that each step replaces.
func newSchedule(betas []float64) schedule {
	var c schedule
	kept := 1.0 // of the variance, after the steps so far: ᾱ
	for _, beta := range betas {
		before := kept
		kept *= 1 - beta
		c.signal = append(c.signal, math.Sqrt(kept))
		c.noise = append(c.noise, math.Sqrt(1-kept))
		c.guess = append(c.guess, beta*math.Sqrt(before)/(1-kept))
		c.stay = append(c.stay, (1-before)*math.Sqrt(1-beta)/(1-kept))
		c.spread = append(c.spread, math.Sqrt(beta*(1-before)/(1-kept)))
	}
	return c
}

// evenly is steps values from first to last, or the first alone.
func evenly(first, last float64, steps int) []float64 {
	values := make([]float64, steps)
	for i := range values {
		values[i] = first + (last-first)*float64(i)/float64(max(1, steps-1))
	}
	return values
}

// exponential is the variance-preserving process of Song et al. (2021) with a
// rate from 0.1 to 10, in the form of the published code.
func exponential(steps int) []float64 {
	const slowest, fastest = 0.1, 10
	n := float64(steps)
	betas := evenly(1, 2*n+1, steps)
	for i, u := range betas {
		betas[i] = -math.Expm1(-slowest/n - 0.5*(fastest-slowest)*u/(n*n))
	}
	return betas
}

// linear is DDPM's, whatever the number of steps.
func linear(steps int) []float64 { return evenly(1e-4, 0.02, steps) }

// cosine is that of Nichol and Dhariwal (2021), with the published code's limit.
func cosine(steps int) []float64 {
	const offset, most = 0.008, 0.9999
	return falling(steps, most, func(t float64) float64 {
		c := math.Cos((t + offset) / (1 + offset) * math.Pi / 2)
		return c * c
	})
}

// squareRoot is that of Diffusion-LM (Li et al., 2022).
func squareRoot(steps int) []float64 {
	const offset, most = 1e-4, 0.999
	return falling(steps, most, func(t float64) float64 { return 1 - math.Sqrt(t+offset) })
}

// falling has the kept variance follow a curve over [0, 1], replacing at most a
// part of it in a step.
func falling(steps int, most float64, kept func(t float64) float64) []float64 {
	betas := make([]float64, steps)
	for i := range betas {
		from, to := float64(i)/float64(steps), float64(i+1)/float64(steps)
		betas[i] = min(1-kept(to)/kept(from), most)
	}
	return betas
}
