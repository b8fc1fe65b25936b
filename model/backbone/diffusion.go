package backbone

import (
	"fmt"
	"math"
	"slices"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// mlp is linear layers with GELU between them.
type mlp []*nn.Linear

// newMLP makes an mlp with the first values of a framework's default: only the
// sequence model has those of NewLinear.
func newMLP(s *gotorch.Session, widths ...int) mlp {
	var layers mlp
	for i, in := range widths[:len(widths)-1] {
		layers = append(layers, nn.NewLinear(s, int64(in), int64(widths[i+1]), nn.FanIn(int64(in)), nn.FanIn(int64(in))))
	}
	return layers
}

func (m mlp) Parameters() []nn.Named {
	var params []nn.Named
	for i, layer := range m {
		params = append(params, nn.Prefix(fmt.Sprint(i), layer)...)
	}
	return params
}

func (m mlp) forward(x *gotorch.Tensor) *gotorch.Tensor {
	for i, layer := range m {
		if i > 0 {
			x = x.GELU()
		}
		x = layer.Forward(x)
	}
	return x
}

// diffusion learns the items that follow sequences of an intent, as denoising
// of item vectors, and draws such vectors. It predicts x₀, not the noise.
type diffusion struct {
	schedule schedule
	guidance float64
	denoise  mlp             // of a noised x, a condition and a step's vector, side by side, to x₀
	step     mlp             // of a step's waves to its vector
	none     *gotorch.Tensor // [D]: the condition where there is none
	tables   tables
}

// tables are what steps need on the device.
type tables struct {
	waves         *gotorch.Tensor // [T, D]
	signal, noise *gotorch.Tensor // [T, 1], as in schedule

	// What each step but step 0 adds to its successor, float64, in the order of
	// affine.carried: of the guess [T], then of noise [T, 1, 1]. The last is the
	// start, which is all noise.
	guesses, deviations *gotorch.Tensor

	// What step n makes of x but for what it adds: stays·I + slopes·slope, both
	// [T, 1, 1], float64. Before step 0, of which neither tells, x is as it is.
	stays, slopes *gotorch.Tensor
}

func newDiffusion(s *gotorch.Session, c Config) *diffusion {
	width := c.Hidden
	d := &diffusion{
		schedule: c.InDiRec.schedule(),
		guidance: c.InDiRec.Guidance,
		denoise:  newMLP(s, c.InDiRec.denoiser(width)...),
		step:     newMLP(s, width, 2*width, width),
		none:     nn.NewParameter(s, nn.Normal(0, 1), int64(width)),
	}
	d.tables = d.schedule.tables(s, width)
	return d
}

// tables live as long as the session.
func (c schedule) tables(s *gotorch.Session, width int) tables {
	steps := int64(len(c.signal))
	t := tables{
		waves:      s.FromFloat64(waves(len(c.signal), width), steps, int64(width)).To(gotorch.Float32),
		signal:     s.FromFloat64(c.signal, steps, 1).To(gotorch.Float32),
		noise:      s.FromFloat64(c.noise, steps, 1).To(gotorch.Float32),
		guesses:    s.FromFloat64(slices.Concat(c.guess[1:], []float64{0})),
		deviations: s.FromFloat64(slices.Concat(c.spread[1:], []float64{1}), steps, 1, 1),
		stays:      s.FromFloat64(slices.Concat([]float64{1}, c.stay[1:]), steps, 1, 1),
		slopes:     s.FromFloat64(slices.Concat([]float64{0}, c.guess[1:]), steps, 1, 1),
	}
	s.Persist(t.waves, t.signal, t.noise, t.guesses, t.deviations, t.stays, t.slopes)
	return t
}

func (d *diffusion) Parameters() []nn.Named {
	return nn.Join(nn.Prefix("denoise", d.denoise), nn.Prefix("step", d.step), []nn.Named{{Name: "none", Tensor: d.none}})
}

// waves are sines, then cosines, of each step at frequencies from 1 down to
// 1/10000.
func waves(steps, width int) []float64 {
	half := width / 2
	values := make([]float64, 0, steps*width)
	for n := range steps {
		angle := func(k int) float64 {
			return float64(n) * math.Pow(10000, -float64(k)/float64(max(1, half-1)))
		}
		for k := range half {
			values = append(values, math.Sin(angle(k)))
		}
		for k := range half {
			values = append(values, math.Cos(angle(k)))
		}
	}
	return values
}

// predict guesses x₀ from noised x, conditions and vectors of steps, [n, D] each.
func (d *diffusion) predict(x, conditions, steps *gotorch.Tensor) *gotorch.Tensor {
	return d.denoise.forward(x.Session().Cat(1, x, conditions, steps))
}

// corruption is what the denoising loss draws.
type corruption struct {
	steps *gotorch.Tensor // int64 [n]
	keep  *gotorch.Tensor // bool [n, 1]: the condition is kept
	noise *gotorch.Tensor // [n, D]
}

// draw takes steps and conditions to leave out from the session's generator.
func (d *diffusion) draw(items *gotorch.Tensor, unconditional float64, noise Noise) corruption {
	s, n := items.Session(), items.Size(0)
	return corruption{
		steps: s.RandInt(0, int64(len(d.schedule.signal)), n),
		keep:  s.Rand(n, 1).Ge(unconditional),
		noise: noise(items.Shape()...),
	}
}

// denoised is the guess of x₀ = items [n, D] from their noised form.
func (d *diffusion) denoised(items, conditions *gotorch.Tensor, c corruption) *gotorch.Tensor {
	at := func(table *gotorch.Tensor) *gotorch.Tensor { return Lookup(table, c.steps, -1) }
	noised := items.Mul(at(d.tables.signal)).Add(c.noise.Mul(at(d.tables.noise)))
	conditions = items.Session().Where(c.keep, conditions, d.none)
	return d.predict(noised, conditions, d.step.forward(at(d.tables.waves)))
}

// sample draws a vector for each condition [n, D] by the reverse process, without
// gradients.
func (d *diffusion) sample(conditions *gotorch.Tensor, noise Noise) (items *gotorch.Tensor) {
	s, shape := conditions.Session(), conditions.Shape()
	s.NoGrad(func() {
		s.Scoped(func() {
			switch {
			case len(d.denoise) > 1:
				items = d.walk(d.guided(conditions), shape, noise)
			case conditions.Device().Type != gotorch.CPU:
				items = d.collapse(conditions).sample(fewKernels, noise)
			case atOnce(shape[0], shape[1]):
				items = d.collapse(conditions).sample(fewOperations, noise)
			default:
				items = d.walk(d.collapse(conditions).guess, shape, noise)
			}
			s.Keep(items)
		})
	})
	return items
}

// atOnce says whether affine.sample is faster on a CPU for n vectors than
// affine.guess at each step: its work grows with D³ and not with n. For 256
// vectors it takes 8 ms instead of 20 at a size of 64, and 97 instead of 49 at 128.
func atOnce(n, width int64) bool { return width*width <= 16*n }

// A guess of x₀ from x [n, D] at a step.
type guess func(x *gotorch.Tensor, step int) *gotorch.Tensor

// guided is the guess with conditions, moved away from the guess without
// (classifier-free guidance, Ho and Salimans, 2022).
func (d *diffusion) guided(conditions *gotorch.Tensor) guess {
	steps := d.step.forward(d.tables.waves)
	none := d.none.Expand(conditions.Shape()...)
	return func(x *gotorch.Tensor, step int) *gotorch.Tensor {
		at := steps.Narrow(0, int64(step), 1).Expand(conditions.Shape()...)
		with, without := d.predict(x, conditions, at), d.predict(x, none, at)
		return with.Mul(1+d.guidance).AddInPlace(without, -d.guidance)
	}
}

// walk goes from noise to x₀ step by step.
func (d *diffusion) walk(guess guess, shape []int64, noise Noise) *gotorch.Tensor {
	c := d.schedule
	x := noise(shape...).Clone()
	for n := len(c.signal) - 1; n >= 0; n-- {
		x.Session().Scoped(func() {
			items := guess(x, n)
			x.MulInPlace(c.stay[n]).AddInPlace(items, c.guess[n])
			if n > 0 {
				x.AddInPlace(noise(shape...), c.spread[n])
			}
		})
	}
	return x
}

// affine is the guided guess of a denoiser with one layer, which is
// x·slope + base + shift[n] for an x at step n.
type affine struct {
	schedule schedule
	tables   tables
	slope    *gotorch.Tensor // [D, D]
	base     *gotorch.Tensor // [n, D], of the conditions
	shift    *gotorch.Tensor // [T, D], of the steps
}

// collapse multiplies guidance into the one layer: what x and the step
// contribute is the same with the condition and without.
func (d *diffusion) collapse(conditions *gotorch.Tensor) affine {
	layer, width := d.denoise[0], d.none.Size(0)
	ofX, ofCondition, ofStep := layer.Weight.Narrow(1, 0, width), layer.Weight.Narrow(1, width, width), layer.Weight.Narrow(1, 2*width, width)
	guided := conditions.Mul(1 + d.guidance).Sub(d.none.Mul(d.guidance))
	return affine{
		schedule: d.schedule,
		tables:   d.tables,
		slope:    ofX.T(),
		base:     guided.MatMul(ofCondition.T()).Add(layer.Bias),
		shift:    d.step.forward(d.tables.waves).MatMul(ofStep.T()),
	}
}

func (a affine) guess(x *gotorch.Tensor, step int) *gotorch.Tensor {
	return x.MatMul(a.slope).Add(a.base).Add(a.shift.Narrow(0, int64(step), 1))
}

// An algebra is a way to the distribution of affine.sample.
type algebra struct {
	carried func(affine) *gotorch.Tensor               // [T, D, D], see affine.carried
	factor  func(rows *gotorch.Tensor) *gotorch.Tensor // float32 [·, D], with the transpose times itself that rows has
}

var (
	// fewOperations is for a CPU: it draws D numbers for a vector.
	fewOperations = algebra{affine.carried, root}

	// fewKernels is for a GPU, where a kernel costs more than what it does here: it
	// draws T·D numbers, and so needs no Cholesky factor, which may not be captured.
	fewKernels = algebra{affine.carriedByDoubling, func(rows *gotorch.Tensor) *gotorch.Tensor { return rows.To(gotorch.Float32) }}
)

// sample draws from the very distribution at which walk arrives, without
// walking. Each step of walk is x·M[n] + guess[n]·(base + shift[n]) +
// spread[n]·z with M[n] = stay[n]·I + guess[n]·slope; so after all steps but the
// last, x is normal with a mean and a covariance that products of the M[n]
// give. The last step has no noise, and is done.
func (a affine) sample(by algebra, noise Noise) *gotorch.Tensor {
	mean, factor := a.beforeLast(by)
	x := noise(a.base.Size(0), factor.Size(0)).MatMul(factor).Add(mean)
	return a.guess(x, 0)
}

// beforeLast is the mean [n, D] and a factor [·, D] of the covariance, its
// transpose times itself, of x when step 0 is left to do. The algebra is in
// float64: it has powers of slope up to the number of steps.
func (a affine) beforeLast(by algebra) (mean, factor *gotorch.Tensor) {
	steps, width := a.shift.Size(0), a.slope.Size(0)
	carried := by.carried(a)
	ofBase := a.tables.guesses.MatMul(carried.Reshape(steps, width*width)).Reshape(width, width)

	// The shift of a step lies one behind what carries it.
	shifts := a.shift.To(gotorch.Float64).Narrow(0, 1, steps-1).Mul(a.tables.guesses.Narrow(0, 0, steps-1).Unsqueeze(1))
	ofShift := shifts.Reshape(1, -1).MatMul(carried.Narrow(0, 0, steps-1).Reshape(-1, width))

	mean = a.base.MatMul(ofBase.To(gotorch.Float32)).Add(ofShift.To(gotorch.Float32))
	return mean, by.factor(carried.Mul(a.tables.deviations).Reshape(-1, width))
}

// carried [T, D, D], float64, is what becomes of what step n = 1…T adds (T: of the
// start) by the time that step 0 is left: I, M[1], M[1]·M[2], …, M[1]·…·M[T-1]. The
// M are polynomials in slope, so their order does not matter.
func (a affine) carried() *gotorch.Tensor {
	c, s := a.schedule, a.slope.Session()
	steps, width := a.shift.Size(0), a.slope.Size(0)
	slope := a.slope.To(gotorch.Float64)
	all := s.Empty(gotorch.Float64, steps, width, width)
	each := s.Call("aten::unbind.int", all, 0)
	each[0].CopyFrom(s.Eye(width))
	for n := 1; n < len(each); n++ {
		s.Call1("aten::addmm.out", each[n-1], each[n-1], slope,
			gotorch.Named("beta", c.stay[n]), gotorch.Named("alpha", c.guess[n]), gotorch.Named("out", each[n]))
	}
	return all
}

// carriedByDoubling is carried by log T products of many matrices instead of T of
// one: after each, a matrix is the product of twice as many M (Hillis and Steele,
// 1986).
func (a affine) carriedByDoubling() *gotorch.Tensor {
	s := a.slope.Session()
	steps, width := a.shift.Size(0), a.slope.Size(0)
	all := s.Eye(width).To(gotorch.Float64).Mul(a.tables.stays).Add(a.slope.To(gotorch.Float64).Mul(a.tables.slopes))
	for done := int64(1); done < steps; done *= 2 {
		further := all.Narrow(0, done, steps-done).MatMul(all.Narrow(0, 0, steps-done))
		all = s.Cat(0, all.Narrow(0, 0, done), further)
	}
	return all
}

// root is the upper triangular factor of rowsᵀ·rows, float32. Where rounding or
// values that are not finite leave no positive definite matrix it is NaN: the
// operator that would raise an error reads the outcome back from the device.
func root(rows *gotorch.Tensor) *gotorch.Tensor {
	s := rows.Session()
	out := s.Call("aten::linalg_cholesky_ex", rows.T().MatMul(rows), gotorch.Named("upper", true))
	factor, failed := out[0], out[1].Ne(0)
	return factor.MaskedFill(failed, math.NaN()).To(gotorch.Float32)
}
