package prism

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
	"github.com/prismflow/prismflow/model/ranking"
)

const (
	testItems  = 20
	testLength = 8
)

var testSequences = [][]int32{{3, 1, 4, 1, 5}, {9, 2}, {6, 5, 3, 5, 8, 9, 7, 9}, {12}, {20, 19, 18}}

func testConfig(mode Mode, modalities int) Config {
	c := Default()
	c.Mode, c.Items, c.MaxLength = mode, testItems, testLength
	c.Hidden, c.Heads, c.ExpertHidden, c.GateHidden = 8, 2, 6, 10
	for i := range modalities {
		c.Modalities = append(c.Modalities, Modality{Name: string(rune('a' + i)), Size: 5 + i, LambdaUnique: 0.1 * float64(i+1)})
	}
	return c
}

// testConfigs are all modes on the backbones that take several sequences a row.
func testConfigs(modalities int) []Config {
	return append(configsOf(backbone.SASRecName, modalities), configsOf(backbone.STOSAName, modalities)...)
}

func configsOf(name string, modalities int) []Config {
	var out []Config
	for _, mode := range Modes() {
		c := testConfig(mode, modalities)
		c.Backbone = name
		out = append(out, c)
	}
	return out
}

func testFeatures(c Config) []Features {
	random := rand.New(rand.NewPCG(3, 4))
	var out []Features
	for _, m := range c.Modalities {
		f := Features{Vectors: make([]float32, (c.Items+1)*m.Size), Present: make([]bool, c.Items+1)}
		for i := range f.Vectors {
			f.Vectors[i] = float32(random.NormFloat64())
			f.Present[i/m.Size] = i/m.Size%4 != 1
		}
		out = append(out, f)
	}
	return out
}

// testModel has parameters large enough that every part shows in the output.
func testModel(t *testing.T, s *gotorch.Session, c Config) *Model {
	t.Helper()
	m, err := New(s, c, testFeatures(c))
	if err != nil {
		t.Fatal(err)
	}
	s.NoGrad(func() {
		for _, p := range m.Parameters() {
			p.Tensor.AddInPlace(s.Randn(p.Tensor.Shape()...), 0.3)
		}
	})
	return m
}

func layout(t *testing.T, s *gotorch.Session, rows func([]int) backbone.Rows, sequences [][]int32) *backbone.Batch {
	t.Helper()
	var lengths []int
	for _, sequence := range sequences {
		lengths = append(lengths, len(sequence))
	}
	b, err := backbone.NewBatch(s, rows(lengths), sequences, testLength)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func padded(lengths []int) backbone.Rows { return backbone.Pad(lengths, testLength) }

// states gives the hidden states of real items, sequence by sequence.
func states(m *Model, b *backbone.Batch) []float32 {
	return backbone.At(m.Forward(b, Pass{}).Hidden, b.Tokens).Float32s()
}

func within(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !(math.Abs(float64(got[i])-want[i]) <= tolerance*(1+math.Abs(want[i]))) {
			t.Errorf("%s: element %d is %v, want %v", what, i, got[i], want[i])
			return
		}
	}
}

// scopedConfigs are testConfigs, and mode paper without pooling.
func scopedConfigs(modalities int) []Config {
	out := testConfigs(modalities)
	for _, c := range testConfigs(modalities) {
		if c.Mode == Paper {
			c.FusionScope = ScopeItem
			out = append(out, c)
		}
	}
	return out
}

// label tells scopedConfigs apart.
func label(c Config) string {
	return fmt.Sprintf("%s, mode %s, fusion scope %q", c.Backbone, c.Mode, c.FusionScope)
}

func TestPaddingChangesNothingExceptInReference(t *testing.T) {
	for _, c := range scopedConfigs(2) {
		torchtest.Run(t, func(s *gotorch.Session) {
			m := testModel(t, s, c)
			short := [][]int32{{3, 1, 4}, {9, 2}}
			tight := states(m, layout(t, s, func(n []int) backbone.Rows { return backbone.Pad(n, 3) }, short))
			wide := states(m, layout(t, s, padded, short))
			if same := largestDifference(tight, wide) < 1e-5; same != (c.Mode != Reference) {
				t.Errorf("%s: five more padding places change real outputs by %v", label(c), largestDifference(tight, wide))
			}
		})
	}
}

func TestWhereTheFutureIsKeptOut(t *testing.T) {
	for _, c := range scopedConfigs(2) {
		torchtest.Run(t, func(s *gotorch.Session) {
			m := testModel(t, s, c)
			before := states(m, layout(t, s, padded, [][]int32{{3, 1, 4, 1, 5}}))
			after := states(m, layout(t, s, padded, [][]int32{{3, 1, 4, 1, 6}}))
			past := len(before) / 5 * 4
			leak := largestDifference(before[:past], after[:past])
			if (leak == 0) != (c.Mode == Causal || c.FusionScope == ScopeItem) {
				t.Errorf("%s: the newest item changes earlier outputs by %v", label(c), leak)
			}
			if largestDifference(before[past:], after[past:]) == 0 {
				t.Errorf("%s: the newest item does not change its own output", label(c))
			}
		})
	}
}

func largestDifference(a, b []float32) float64 {
	most := 0.0
	for i := range a {
		most = max(most, math.Abs(float64(a[i]-b[i])))
	}
	return most
}

func TestSynergyAndRedundancyOfOneExpertSumToOne(t *testing.T) {
	for _, mode := range Modes() {
		for _, on := range []LossOn{LossOnEmbedding, LossOnPrediction} {
			torchtest.Run(t, func(s *gotorch.Session) {
				c := testConfig(mode, 2)
				c.LossOn, c.LambdaSynergy, c.LambdaRedundancy = on, 1, 1
				for i := range c.Modalities {
					c.Modalities[i].LambdaUnique = 0
				}
				m := testModel(t, s, c)
				m.experts[3] = m.experts[2]
				noise := []*gotorch.Tensor{s.Randn(5, 8), s.Randn(5, 8)}
				draws := 0
				again := func(...int64) *gotorch.Tensor { draws++; return noise[draws%2] }
				sum := m.Forward(layout(t, s, padded, testSequences), Pass{Losses: true, Noise: again}).Interaction.Item()
				if math.Abs(sum-1) > 1e-6 || draws != 4 {
					t.Errorf("mode %s, loss on %s: synergy + redundancy of one expert and noise is %v after %d draws, want 1 after 4", mode, on, sum, draws)
				}
			})
		}
	}
}

func TestUniquenessIsNotNegativeAndKnowsItsMargin(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		m := masked{full: s.Randn(1, 8), replaced: s.Randn(2, 1, 8)}
		same := masked{full: m.full, replaced: m.replaced.Narrow(0, 0, 1).Expand(2, 1, 8)}
		for _, distance := range []Distance{DistanceCosine, DistanceEuclidean} {
			c := testConfig(Causal, 2)
			c.Distance, c.Margin = distance, 0
			first, second := c.unique(m, 0).Item(), c.unique(m, 1).Item()
			if min(first, second) != 0 || max(first, second) == 0 { // opposites, but for the bound
				t.Errorf("%s: uniqueness losses without margin are %v and %v: want one to be 0", distance, first, second)
			}
			c.Margin = 0.7
			if loss := c.unique(same, 0).Item(); math.Abs(loss-c.Margin) > 1e-6 {
				t.Errorf("%s: positive = negative gives %v, want the margin %v", distance, loss, c.Margin)
			}
		}
	})
}

func TestLossesOfWeightZeroAreLeftOut(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		for _, mode := range Modes() {
			c := testConfig(mode, 2)
			c.LambdaSynergy, c.LambdaRedundancy = 0, 0
			for i := range c.Modalities {
				c.Modalities[i].LambdaUnique = 0
			}
			draw := func(...int64) *gotorch.Tensor { t.Fatalf("mode %s: noise is drawn for no loss", mode); return nil }
			if out := testModel(t, s, c).Forward(layout(t, s, padded, testSequences), Pass{Losses: true, Noise: draw}); out.Interaction != nil {
				t.Errorf("mode %s: there is an interaction loss, and all weights are 0", mode)
			}
		}
	})
}

func TestWithoutModalitiesTheModelIsItsBackbone(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		for _, c := range testConfigs(0) {
			plain := testModel(t, s, c)
			b := layout(t, s, padded, testSequences)
			alone := plain.backbone.Encode(b, plain.backbone.Embed(b), nn.Eval).Float32s()
			if got := plain.Forward(b, Pass{Losses: true}).Hidden.Float32s(); !slices.Equal(got, alone) {
				t.Errorf("%s, mode %s: the model without modalities is not its backbone to the bit", c.Backbone, c.Mode)
			}
			if got := silenced(t, s, plain).Forward(b, Pass{}).Hidden.Float32s(); !slices.Equal(got, alone) {
				t.Errorf("%s, mode %s: experts and modalities at zero change the output", c.Backbone, c.Mode)
			}
		}
	})
}

// silenced has a model's backbone, and modalities whose parameters are zero.
func silenced(t *testing.T, s *gotorch.Session, plain *Model) *Model {
	c := plain.config
	c.Modalities = testConfig(c.Mode, 2).Modalities
	m := testModel(t, s, c)
	params := plain.ExportParameters()
	for _, p := range m.ExportParameters() {
		if !slices.ContainsFunc(params, func(q Tensor) bool { return q.Name == p.Name }) {
			params = append(params, Tensor{p.Name, p.Shape, make([]float32, len(p.Values))})
		}
	}
	if err := m.ImportParameters(params); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSameSeedSameBackboneWithAndWithoutModalities(t *testing.T) {
	for _, c := range testConfigs(2) {
		var first []Tensor
		for modalities := range 3 {
			torchtest.Run(t, func(s *gotorch.Session) {
				c.Modalities = testConfig(c.Mode, modalities).Modalities
				m, err := New(s, c, testFeatures(c))
				if err != nil {
					t.Fatal(err)
				}
				params := m.ExportParameters()[:len(m.backbone.Parameters())]
				if first == nil {
					first = params
				}
				for i, p := range params {
					if !slices.Equal(p.Values, first[i].Values) {
						t.Errorf("%s, mode %s, %d modalities: %s begins otherwise", c.Backbone, c.Mode, modalities, p.Name)
					}
				}
			})
		}
	}
}

// Published STOSA draws around 0.01, and the parts of PRISM with it.
func TestPartsBeginAsTheirBackbone(t *testing.T) {
	for _, c := range testConfigs(2) {
		torchtest.Run(t, func(s *gotorch.Session) {
			m, err := New(s, c, testFeatures(c))
			if err != nil {
				t.Fatal(err)
			}
			var weights []*gotorch.Tensor
			for _, p := range m.Parameters()[len(m.backbone.Parameters()):] {
				if strings.HasSuffix(p.Name, ".weight") {
					weights = append(weights, p.Tensor.Flatten(0, -1))
				}
			}
			all := s.Cat(0, weights...)
			want := backbone.WeightsOf(c.Backbone, c.Mode == Reference).Mean
			if got, slack := all.Mean().Item(), 5*backbone.InitStd/math.Sqrt(float64(all.Numel())); math.Abs(got-want) > slack {
				t.Errorf("%s, mode %s: the weights of experts, gate and projections have the mean %v, want %v", c.Backbone, c.Mode, got, want)
			}
		})
	}
}

func TestGateWeightsSumToOneAndFlattenWithTemperature(t *testing.T) {
	for _, mode := range Modes() {
		for _, modalities := range []int{2, 3} {
			torchtest.Run(t, func(s *gotorch.Session) {
				c := testConfig(mode, modalities)
				m := testModel(t, s, c)
				b := layout(t, s, padded, testSequences)
				weights := m.Forward(b, Pass{}).Gates[0]
				for i, sum := range weights.Sum(-1).Float32s() {
					if math.Abs(float64(sum)-1) > 1e-6 {
						t.Errorf("mode %s: weights of place %d sum to %v", mode, i, sum)
					}
				}
				m.gate.temperature = 1e9
				want := 1 / float64(c.Experts())
				for _, w := range m.Forward(b, Pass{}).Gates[0].Float32s() {
					if math.Abs(float64(w)-want) > 1e-6 {
						t.Fatalf("mode %s: an infinite temperature gives a weight of %v, want %v", mode, w, want)
					}
				}
			})
		}
	}
}

func TestRanksDoNotDependOnTheBatch(t *testing.T) {
	for _, c := range testConfigs(2) {
		torchtest.Run(t, func(s *gotorch.Session) {
			m := testModel(t, s, c)
			m.Prepare()
			cases := testCases()
			var first []ranking.Rank
			for _, size := range []int{1, 3, 256} {
				options := ranking.DefaultOptions(testItems)
				options.Workers, options.Batch = 1, size
				ranks, err := ranking.Evaluate(t.Context(), m.Scorer(), cases, options)
				if err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = ranks
				}
				if len(ranks) != len(cases) || !slices.Equal(ranks, first) {
					t.Errorf("%s, mode %s: batches of %d give %v, want %v", c.Backbone, c.Mode, size, ranks, first)
				}
			}
		})
	}
}

// testCases are users with long, short and no histories.
func testCases() []ranking.Case {
	cases := []ranking.Case{{Query: ranking.Query{User: 99}, Answer: 4}}
	for i, sequence := range testSequences {
		long := slices.Concat(sequence, sequence, sequence)
		cases = append(cases,
			ranking.Case{Query: ranking.Query{User: 2 * i, History: sequence}, Answer: 10},
			ranking.Case{Query: ranking.Query{User: 2*i + 1, History: long}, Answer: 11})
	}
	return cases
}

func TestLoadedModelScoresAsTheTrainedOne(t *testing.T) {
	for modalities := range 3 {
		for _, c := range testConfigs(modalities) {
			compareLoaded(t, fmt.Sprintf("%s, mode %s, %d modalities", c.Backbone, c.Mode, modalities), c)
		}
	}
	for _, v := range variants {
		c := testConfig(v.modes[0], 2)
		v.change(&c)
		compareLoaded(t, v.name, c)
	}
}

func compareLoaded(t *testing.T, what string, c Config) {
	t.Helper()
	torchtest.Run(t, func(s *gotorch.Session) {
		m := testModel(t, s, c)
		m.Prepare()
		snapshot, err := m.Export()
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := Load(s, snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := scores(t, loaded), scores(t, m); !slices.Equal(got, want) {
			t.Errorf("%s: a loaded model scores otherwise", what)
		}
		m.Release()
		if got, want := scores(t, loaded), scores(t, m); largestDifference(got, want) > 1e-4 {
			t.Errorf("%s: projecting by batch changes scores by %v", what, largestDifference(got, want))
		}
	})
}

func scores(t *testing.T, m *Model) []float32 {
	t.Helper()
	var queries []ranking.Query
	for _, c := range testCases() {
		queries = append(queries, c.Query)
	}
	out := make([]float32, len(queries)*(testItems+1))
	if err := m.Scorer().Score(t.Context(), queries, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBrokenSnapshotsAreRefused(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		m := testModel(t, s, testConfig(Causal, 2))
		if _, err := m.Export(); err == nil {
			t.Error("a model that was not prepared was exported")
		}
		m.Prepare()
		for name, breakIt := range map[string]func(*Snapshot){
			"tensor missing":   func(p *Snapshot) { p.Tensors = p.Tensors[1:] },
			"tensor twice":     func(p *Snapshot) { p.Tensors[1] = p.Tensors[0] },
			"other shape":      func(p *Snapshot) { p.Tensors[0].Shape = []int64{1} },
			"too few values":   func(p *Snapshot) { p.Tensors[0].Values = p.Tensors[0].Values[1:] },
			"other items":      func(p *Snapshot) { p.Config.Items++ },
			"heads of nothing": func(p *Snapshot) { p.Config.Heads = 0 },
			"unknown backbone": func(p *Snapshot) { p.Config.Backbone = "gru" },
		} {
			snapshot, err := m.Export()
			if err != nil {
				t.Fatal(err)
			}
			breakIt(&snapshot)
			if _, err := Load(s, snapshot); err == nil {
				t.Errorf("%s: loaded without an error", name)
			} else {
				t.Log(err)
			}
		}
	})
}
