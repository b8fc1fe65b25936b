package backbone

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// newTestInDiRec makes a small model; change adapts its settings.
func newTestInDiRec(t testing.TB, s *gotorch.Session, change func(*InDiRec)) *indirec {
	t.Helper()
	config := Config{Rows: 12, Hidden: 8, Layers: 1, Heads: 2, MaxLength: 5, InDiRec: DefaultInDiRec()}
	config.InDiRec.Steps = 12
	if change != nil {
		change(&config.InDiRec)
	}
	model, err := New(s, InDiRecName, config)
	if err != nil {
		t.Fatal(err)
	}
	return model.(*indirec)
}

// apart is the greatest difference of two tensors.
func apart(a, b *gotorch.Tensor) float64 { return a.Sub(b).Abs().Max().Item() }

func TestCollapsedGuessIsTheGuidedOne(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		d := newTestInDiRec(t, s, nil).diffusion
		s.NoGrad(func() {
			x, conditions := s.Randn(20, 8), s.Randn(20, 8)
			twice, once := d.guided(conditions), d.collapse(conditions).guess
			for step := range d.schedule.signal {
				if off := apart(twice(x, step), once(x, step)); !(off < 1e-5) {
					t.Errorf("step %d: guesses are %v apart", step, off)
				}
			}
			noise := s.Randn(13, 20, 8)
			replay := func() Noise {
				next := int64(-1)
				return func(...int64) *gotorch.Tensor { next++; return noise.Select(0, next) }
			}
			if off := apart(d.walk(twice, x.Shape(), replay()), d.walk(once, x.Shape(), replay())); !(off < 1e-5) {
				t.Errorf("walks are %v apart", off)
			}
		})
	})
}

// Whatever happens on the way, a denoiser that knows x₀ arrives there.
func TestWalkArrivesAtWhatIsGuessed(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		want := s.Randn(6, 8)
		for _, named := range schedules {
			d := newTestInDiRec(t, s, func(c *InDiRec) { c.Schedule = named.name }).diffusion
			s.NoGrad(func() {
				got := d.walk(func(*gotorch.Tensor, int) *gotorch.Tensor { return want }, want.Shape(), s.Randn)
				if off := apart(got, want); !(off < 1e-6) {
					t.Errorf("%s: %v from the guess", named.name, off)
				}
			})
		}
	})
}

// walk is linear in its noise, so its distribution is known from what it makes
// of unit vectors. sample must have the same mean and the same covariance.
func TestSampleHasTheDistributionOfWalk(t *testing.T) {
	for _, named := range schedules {
		for _, steps := range []int{1, 2, 12} {
			t.Run(fmt.Sprint(named.name, steps), func(t *testing.T) {
				torchtest.Run(t, func(s *gotorch.Session) {
					d := newTestInDiRec(t, s, func(c *InDiRec) { c.Schedule, c.Steps = named.name, steps }).diffusion
					s.NoGrad(func() {
						d.denoise[0].Weight.MulInPlace(2.0) // as after some training, when x counts more
						conditions := s.Randn(8, 8)
						mean, covariance := momentsOfWalk(s, d, conditions)
						for name, by := range algebras(s) {
							of := func(conditions *gotorch.Tensor, noise Noise) *gotorch.Tensor {
								return d.collapse(conditions).sample(by, noise)
							}
							if off := apart(of(conditions, s.Zeros), mean); !(off < 1e-5) {
								t.Errorf("%s: means are %v apart", name, off)
							}
							var unit Noise = func(shape ...int64) *gotorch.Tensor { return s.Eye(shape[1]) }
							_, factor := d.collapse(conditions).beforeLast(by)
							alike := conditions.Narrow(0, 0, 1).Expand(factor.Size(0), 8)
							spread := of(alike, unit).Sub(of(alike, s.Zeros))
							if off := apart(spread.T().MatMul(spread), covariance); !(off < 1e-5) {
								t.Errorf("%s: covariances are %v apart", name, off)
							}
						}
					})
				})
			})
		}
	}
}

// algebras are those that can be computed on the session's device.
func algebras(s *gotorch.Session) map[string]algebra {
	if s.Device().Type != gotorch.CPU {
		return map[string]algebra{"few kernels": fewKernels}
	}
	return map[string]algebra{"few operations": fewOperations, "few kernels": fewKernels}
}

func momentsOfWalk(s *gotorch.Session, d *diffusion, conditions *gotorch.Tensor) (mean, covariance *gotorch.Tensor) {
	walk := func(draw int) *gotorch.Tensor { // all noise zero but one draw, which is a unit vector for each row
		next := 0
		return d.walk(d.guided(conditions), conditions.Shape(), func(shape ...int64) *gotorch.Tensor {
			next++
			if next-1 == draw {
				return s.Eye(8)
			}
			return s.Zeros(shape...)
		})
	}
	mean, covariance = walk(-1), s.Zeros(8, 8)
	for draw := range d.schedule.signal {
		reached := walk(draw).Sub(mean)
		covariance = covariance.Add(reached.T().MatMul(reached))
	}
	return mean, covariance
}

// Every way to sample arrives at what is always guessed; how many times it draws
// noise tells which way it is.
func TestSampleOfADenoiserThatIgnoresNoise(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		inTurn := 12
		if s.Device().Type != gotorch.CPU {
			inTurn = 1
		}
		for _, c := range []struct {
			denoiser string
			n        int64
			draws    int
		}{{OneLayer, 4, 1}, {OneLayer, 3, inTurn}, {TwoLayers, 4, 12}} {
			d := newTestInDiRec(t, s, func(settings *InDiRec) { settings.Denoiser = c.denoiser }).diffusion
			last := d.denoise[len(d.denoise)-1]
			s.NoGrad(func() { last.Weight.ZeroInPlace() })
			draws := 0
			got := d.sample(s.Randn(c.n, 8), func(shape ...int64) *gotorch.Tensor { draws++; return s.Randn(shape...) })
			if off := apart(got, last.Bias); !(off < 1e-6) || draws != c.draws {
				t.Errorf("%s for %d: %v from the guess with %d draws of noise, want 0 with %d", c.denoiser, c.n, off, draws, c.draws)
			}
		}
	})
}

// A denoiser that lets noise grow without bounds must not give numbers that look
// like vectors.
func TestSampleThatDivergesIsNotANumber(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		d := newTestInDiRec(t, s, nil).diffusion
		s.NoGrad(func() {
			d.denoise[0].Weight.MulInPlace(1e30)
			for name, by := range algebras(s) {
				got := d.collapse(s.Randn(5, 8)).sample(by, s.Randn).Float32s()
				if slices.ContainsFunc(got, func(v float32) bool { return v-v == 0 }) {
					t.Errorf("%s: samples are %v", name, got)
				}
			}
		})
	})
}

// contrastInLoops is the contrastive loss as the paper's text reads.
func contrastInLoops(views, states [][]float64, targets []int64, similarity func(a, b []float64) float64) float64 {
	all := slices.Concat(views, states)
	n, loss := len(views), 0.0
	for a := range all {
		partner := (a + n) % (2 * n)
		positive := math.Exp(similarity(all[a], all[partner]))
		sum := positive
		for b := range all {
			if targets[a%n] != targets[b%n] {
				sum += math.Exp(similarity(all[a], all[b]))
			}
		}
		loss -= math.Log(positive/sum) / float64(2*n)
	}
	return loss
}

func dot(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

func TestContrastIsThatOfLoops(t *testing.T) {
	const n, size, temperature = 7, 8, 0.7
	random := rand.New(rand.NewPCG(3, 4))
	draw := func() (rows [][]float64) {
		for range n {
			row := make([]float64, size)
			for j := range row {
				row[j] = random.NormFloat64()
			}
			rows = append(rows, row)
		}
		return rows
	}
	views, states := draw(), draw()
	similarities := map[string]func(a, b []float64) float64{
		Dot:    func(a, b []float64) float64 { return dot(a, b) / temperature },
		Cosine: func(a, b []float64) float64 { return dot(a, b) / math.Sqrt(dot(a, a)*dot(b, b)) / temperature },
	}
	torchtest.Run(t, func(s *gotorch.Session) {
		tensor := func(rows [][]float64) *gotorch.Tensor {
			return s.FromFloat64(slices.Concat(rows...), n, size).To(gotorch.Float32)
		}
		for name, similarity := range similarities {
			m := newTestInDiRec(t, s, func(c *InDiRec) { c.Similarity, c.Temperature = name, temperature })
			for _, targets := range [][]int64{{1, 2, 3, 4, 5, 6, 7}, {1, 2, 1, 4, 4, 4, 7}, {5, 5, 5, 5, 5, 5, 5}} {
				got := m.contrast(tensor(views), tensor(states), s.FromInt64(targets)).Item()
				if want := contrastInLoops(views, states, targets, similarity); math.Abs(got-want) > 1e-5 {
					t.Errorf("%s, targets %v: %v, want %v", name, targets, got, want)
				}
			}
		}
	})
}

// pairs is a batch of n states, targets and partners.
func pairs(s *gotorch.Session, m *indirec, n int64) (states, targets, partners *gotorch.Tensor) {
	width := int64(m.config.Hidden)
	return s.Randn(n, width).RequiresGrad(true), s.RandInt(1, int64(m.config.Rows), n), s.Randn(n, width).RequiresGrad(true)
}

func TestPairLossReachesWhatItShould(t *testing.T) {
	const all = "states partners items diffusion"
	for _, c := range []struct {
		denoiser            string
		contrast, diffusion float64
		want                string
	}{
		{OneLayer, 0.2, 1, all},
		{TwoLayers, 0.2, 1, all},
		{OneLayer, 0, 1, "partners items diffusion"},
		{OneLayer, 0.2, 0, "states"}, // what is sampled has no gradient
	} {
		torchtest.Run(t, func(s *gotorch.Session) {
			m := newTestInDiRec(t, s, func(settings *InDiRec) {
				settings.Denoiser, settings.ContrastWeight, settings.DiffusionWeight = c.denoiser, c.contrast, c.diffusion
			})
			states, targets, partners := pairs(s, m, 32)
			m.PairLoss(states, targets, partners, s.Randn).Backward()
			reached := map[string]bool{"states": hasGradient(states), "partners": hasGradient(partners), "items": hasGradient(m.items.Weight), "diffusion": true}
			for _, p := range m.diffusion.Parameters() {
				reached["diffusion"] = reached["diffusion"] && hasGradient(p.Tensor)
			}
			for what, got := range reached {
				if want := slices.Contains(strings.Fields(c.want), what); got != want {
					t.Errorf("%s with weights %v and %v: gradient of %s: %v, want %v", c.denoiser, c.contrast, c.diffusion, what, got, want)
				}
			}
		})
	}
}

func hasGradient(t *gotorch.Tensor) bool {
	gradient := t.Grad()
	return gradient != nil && gradient.Abs().Sum().Item() > 0
}

func TestPairLossIsTheWeightedSum(t *testing.T) {
	loss := func(contrast, diffusion float64) (value float64) {
		torchtest.Run(t, func(s *gotorch.Session) {
			m := newTestInDiRec(t, s, func(c *InDiRec) { c.ContrastWeight, c.DiffusionWeight = contrast, diffusion })
			states, targets, partners := pairs(s, m, 32)
			value = m.PairLoss(states, targets, partners, s.Zeros).Item()
		})
		return value
	}
	if got := loss(0, 0); got != 0 {
		t.Errorf("without weights the loss is %v", got)
	}
	if got, want := loss(0.5, 3), loss(0.5, 0)+loss(0, 3); !(math.Abs(got-want) < 1e-5) {
		t.Errorf("loss %v, its parts add up to %v", got, want)
	}
	if got, want := loss(0, 3), 3*loss(0, 1); !(math.Abs(got-want) < 1e-5) {
		t.Errorf("three times the weight gives %v, want %v", got, want)
	}
	if loss(0.2, 1) != loss(0.2, 1) {
		t.Error("one seed gives two losses")
	}
}

func TestPairLossInMixedPrecision(t *testing.T) {
	for _, denoiser := range []string{OneLayer, TwoLayers} {
		torchtest.Run(t, func(s *gotorch.Session) {
			m := newTestInDiRec(t, s, func(c *InDiRec) { c.Denoiser = denoiser })
			states, targets, partners := pairs(s, m, 32)
			if err := s.Generator().Seed(torchtest.Seed); err != nil {
				t.Fatal(err)
			}
			want := m.PairLoss(states, targets, partners, s.Zeros).Item()
			if err := s.Generator().Seed(torchtest.Seed); err != nil {
				t.Fatal(err)
			}
			var loss *gotorch.Tensor
			s.Autocast(gotorch.BFloat16, func() { loss = m.PairLoss(states, targets, partners, s.Zeros) })
			loss.Backward()
			if got := loss.Item(); !(math.Abs(got-want) < 0.02*want) {
				t.Errorf("%s: loss %v, in float32 %v", denoiser, got, want)
			}
			for _, p := range m.diffusion.Parameters() {
				if !hasGradient(p.Tensor) {
					t.Errorf("%s: %s has no gradient", denoiser, p.Name)
				}
			}
		})
	}
}

func TestUnconditionalShareIsLeftOut(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		const n, share = 20_000, 0.1
		drawn := newTestInDiRec(t, s, nil).diffusion.draw(s.Zeros(n, 8), share, s.Zeros)
		kept := drawn.keep.To(gotorch.Float32).Mean().Item()
		if sd := math.Sqrt(share * (1 - share) / n); math.Abs(kept-(1-share)) > 5*sd {
			t.Errorf("%v of the conditions are kept, want %v", kept, 1-share)
		}
		for step, count := range s.Call1("aten::bincount", drawn.steps, nil, 12).Int64s() {
			if mean := n / 12.0; math.Abs(float64(count)-mean) > 5*math.Sqrt(mean) {
				t.Errorf("step %d is drawn %d times, want about %.0f", step, count, mean)
			}
		}
	})
}

func TestClusterFindsIntents(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		m := newTestInDiRec(t, s, func(c *InDiRec) { c.Intents = 3 })
		centres := s.Eye(8).Narrow(0, 0, 3).Mul(100)
		intents := m.Cluster(s.Cat(0, centres, centres).Add(s.Randn(6, 8).Mul(0.01)))
		if distinct := slices.Compact(slices.Sorted(slices.Values(intents))); len(distinct) != 3 || !slices.Equal(intents[:3], intents[3:]) {
			t.Errorf("intents are %v: want the first three different, then the same again", intents)
		}
	})
}

func TestClusterOfNonsenseIsAnError(t *testing.T) {
	s := torchtest.Session(t)
	err := s.Run(func() {
		newTestInDiRec(t, s, nil).Cluster(s.Full(math.NaN(), 4, 8))
	})
	var failed *gotorch.Error
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "not finite") {
		t.Errorf("error %v: want one that says that states are not finite", err)
	}
}

// The backbone scores as SASRec does, which is what evaluation sees.
func TestInDiRecIsSASRecInEvaluation(t *testing.T) {
	scores := func(name string) (out []float32) {
		torchtest.Run(t, func(s *gotorch.Session) {
			model, err := New(s, name, Config{Rows: 12, Hidden: 8, Layers: 1, Heads: 2, MaxLength: 5, InDiRec: DefaultInDiRec()})
			if err != nil {
				t.Fatal(err)
			}
			batch, err := NewBatch(s, Pack([]int{3, 2}), [][]int32{{1, 5, 2}, {7, 4}}, 5)
			if err != nil {
				t.Fatal(err)
			}
			hidden := model.Encode(batch, model.Embed(batch), nn.Eval)
			out = model.ScoreRange(At(hidden, batch.Newest), 1, 11).Float32s()
		})
		return out
	}
	if !slices.Equal(scores(InDiRecName), scores(SASRecName)) {
		t.Error("scores differ from those of SASRec with the same seed")
	}
}

func TestInDiRecSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Hidden = 7 }, "hidden = 7: want an even number"},
		{func(c *Config) { c.InDiRec.Intents = 0 }, "intents = 0: want at least 1"},
		{func(c *Config) { c.InDiRec.Steps = 10_001 }, "steps = 10001: want 1…10000"},
		{func(c *Config) { c.InDiRec.Schedule = "square" }, `schedule = "square": want exp or linear or cosine or sqrt`},
		{func(c *Config) { c.InDiRec.Denoiser = "" }, `denoiser = "": want mlp1 or mlp2`},
		{func(c *Config) { c.InDiRec.Similarity = "l2" }, `similarity = "l2": want dot or cosine`},
		{func(c *Config) { c.InDiRec.Unconditional = 1.5 }, "unconditional = 1.5: want 0…1"},
		{func(c *Config) { c.InDiRec.Temperature = 0 }, "temperature = 0: want more than 0"},
		{func(c *Config) { c.InDiRec.Guidance = math.NaN() }, "guidance = NaN: want 0 or more"},
		{func(c *Config) { c.InDiRec.ContrastWeight = -1 }, "contrast_weight = -1: want 0 or more"},
		{func(c *Config) { c.InDiRec.DiffusionWeight = math.Inf(1) }, "diffusion_weight = +Inf: want 0 or more"},
	} {
		config := Config{Rows: 5, Hidden: 8, Layers: 1, Heads: 1, MaxLength: 5, InDiRec: DefaultInDiRec()}
		c.change(&config)
		if _, err := New(nil, InDiRecName, config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

// BenchmarkPairLoss is a step's share beside encoding and recommendation loss,
// with gradients, and the ways to draw what it contrasts with.
func BenchmarkPairLoss(b *testing.B) {
	config := Config{Rows: 12_102, Hidden: 64, Layers: 2, Heads: 2, MaxLength: 50, InDiRec: DefaultInDiRec()}
	for _, c := range []struct {
		name string
		step func(s *gotorch.Session, m *indirec, states, targets, partners *gotorch.Tensor)
	}{
		{"loss", func(s *gotorch.Session, m *indirec, states, targets, partners *gotorch.Tensor) {
			m.PairLoss(states, targets, partners, s.Randn).Backward()
		}},
		{"sample/at_once", func(s *gotorch.Session, m *indirec, _, _, partners *gotorch.Tensor) {
			m.diffusion.sample(partners, s.Randn)
		}},
		{"sample/collapsed", func(s *gotorch.Session, m *indirec, _, _, partners *gotorch.Tensor) {
			d := m.diffusion
			s.NoGrad(func() { d.walk(d.collapse(partners).guess, partners.Shape(), s.Randn) })
		}},
		{"sample/two_calls", func(s *gotorch.Session, m *indirec, _, _, partners *gotorch.Tensor) {
			d := m.diffusion
			s.NoGrad(func() { d.walk(d.guided(partners), partners.Shape(), s.Randn) })
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			torchtest.Run(b, func(s *gotorch.Session) {
				model, err := New(s, InDiRecName, config)
				if err != nil {
					b.Fatal(err)
				}
				m := model.(*indirec)
				states, targets, partners := pairs(s, m, 256)
				b.ResetTimer()
				for range b.N {
					s.Scoped(func() { c.step(s, m, states, targets, partners) })
				}
			})
		})
	}
}
