package prism

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
	"github.com/prismflow/prismflow/model/gotorch/torchtest"
)

// A variant is a change of the options that makes sense in some modes.
type variant struct {
	name   string
	modes  []Mode
	change func(*Config)
}

// variants are the options one by one, and together where one changes what
// another means.
var variants = []variant{
	{"nothing changed", both, func(*Config) {}},
	{"loss on prediction", both, func(c *Config) { c.LossOn = LossOnPrediction }},
	{"euclidean distance", both, func(c *Config) { c.Distance = DistanceEuclidean }},
	{"small margin", both, func(c *Config) { c.Margin = 0.3 }},
	{"unit noise", both, func(c *Config) { c.Replacement = ReplaceUnit }},
	{"mean for noise", both, func(c *Config) { c.Replacement = ReplaceMean }},
	{"zero for noise", both, func(c *Config) { c.Replacement = ReplaceZero }},
	{"permuted", both, func(c *Config) { c.Replacement = ReplacePermute }},
	{"trained tables", both, func(c *Config) { c.Tables = TablesTrainable }},
	{"missing zero", both, func(c *Config) { c.Missing = MissingZero }},
	{"missing mean", both, func(c *Config) { c.Missing = MissingMean }},
	{"no direct sum", both, func(c *Config) { c.DirectSum = false }},
	{"item scope", []Mode{Paper}, func(c *Config) { c.FusionScope = ScopeItem }},
	{"prediction by item", []Mode{Paper}, func(c *Config) { c.LossOn, c.FusionScope = LossOnPrediction, ScopeItem }},
	{"prediction of permuted", both, func(c *Config) {
		c.LossOn, c.Distance, c.Replacement = LossOnPrediction, DistanceEuclidean, ReplacePermute
		c.Tables, c.Missing, c.DirectSum = TablesTrainable, MissingMean, false
	}},
}

var both = []Mode{Causal, Paper}

// eachVariant runs a test on variants of those of the configurations whose mode
// they are for.
func eachVariant(t *testing.T, variants []variant, configs []Config, test func(*testing.T, *gotorch.Session, *Model)) {
	for _, v := range variants {
		for _, c := range configs {
			if !slices.Contains(v.modes, c.Mode) {
				continue
			}
			t.Run(fmt.Sprintf("%s, %s, %s, %d modalities", v.name, c.Backbone, c.Mode, len(c.Modalities)), func(t *testing.T) {
				v.change(&c)
				torchtest.Run(t, func(s *gotorch.Session) { test(t, s, testModel(t, s, c)) })
			})
		}
	}
}

func TestModelEqualsLoopsInFloat64(t *testing.T) {
	for modalities := 1; modalities <= 3; modalities++ {
		eachVariant(t, variants, testConfigs(modalities), func(t *testing.T, s *gotorch.Session, m *Model) {
			compareWithLoops(t, s, m, backbone.Pack)
			compareWithLoops(t, s, m, padded)
		})
	}
}

func TestBackboneAloneEqualsLoopsInFloat64(t *testing.T) {
	for _, c := range testConfigs(0) {
		if c.Mode == Reference { // compared with the published code itself
			continue
		}
		torchtest.Run(t, func(s *gotorch.Session) {
			m := testModel(t, s, c)
			compareWithLoops(t, s, m, backbone.Pack)
			compareWithLoops(t, s, m, padded)
		})
	}
}

func compareWithLoops(t *testing.T, s *gotorch.Session, m *Model, rows func([]int) backbone.Rows) {
	t.Helper()
	slow := newNaive(m, testFeatures(m.config))
	var want []float64
	for _, sequence := range testSequences {
		want = append(want, slices.Concat(slow.hidden(sequence)...)...)
	}
	b := layout(t, s, rows, testSequences)
	out := m.Forward(b, Pass{Losses: true, Noise: recorded(s)})
	within(t, "states", backbone.At(out.Hidden, b.Tokens).Float32s(), want, 2e-5)
	if len(m.config.Modalities) == 0 {
		if out.Interaction != nil {
			t.Error("interaction losses without modalities")
		}
		return
	}
	loss := slow.interaction(testSequences, slow.replacements(testSequences, recordedRows()))
	within(t, "interaction loss", out.Interaction.Float32s(), []float64{loss}, 2e-5)
}

// recorded gives always the same noise, and recordedRows the same to loops.
func recorded(s *gotorch.Session) backbone.Noise {
	random := rand.New(rand.NewPCG(5, 6))
	return func(shape ...int64) *gotorch.Tensor {
		values := make([]float32, shape[0]*shape[1])
		for i := range values {
			values[i] = float32(random.NormFloat64())
		}
		return s.FromFloat32(values, shape...)
	}
}

func recordedRows() noiseRows {
	random := rand.New(rand.NewPCG(5, 6))
	return func(rows, width int) []vector {
		out := make([]vector, rows)
		for i := range out {
			for range width {
				out[i] = append(out[i], float64(float32(random.NormFloat64())))
			}
		}
		return out
	}
}

func TestOptionsFollowFromTheMode(t *testing.T) {
	for _, test := range []struct {
		mode Mode
		want Config
	}{
		{Causal, Config{Distance: DistanceCosine, Replacement: ReplaceScaled, Tables: TablesFrozen, Missing: MissingLearned}},
		{Paper, Config{Distance: DistanceCosine, Replacement: ReplaceScaled, Tables: TablesFrozen, Missing: MissingLearned}},
		{Reference, Config{Distance: DistanceEuclidean, Replacement: ReplaceUnit, Tables: TablesTrainable, Missing: MissingZero}},
	} {
		got := Config{Mode: test.mode}.Resolve()
		test.want.Mode, test.want.LossOn, test.want.FusionScope = test.mode, LossOnEmbedding, ScopeSequence
		if text(t, got) != text(t, test.want) {
			t.Errorf("mode %s resolves to %s, want %s", test.mode, text(t, got), text(t, test.want))
		}
		test.want.LossOn, test.want.Distance, test.want.Replacement = LossOnPrediction, DistanceCosine, ReplacePermute
		test.want.Tables, test.want.Missing, test.want.FusionScope = TablesTrainable, MissingMean, ScopeItem
		if got := test.want.Resolve(); text(t, got) != text(t, test.want) {
			t.Errorf("mode %s: options that are set become %s, want %s", test.mode, text(t, got), text(t, test.want))
		}
	}
}

func text(t *testing.T, c Config) string {
	t.Helper()
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSnapshotsSayWhatTheyAre(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		c := testConfig(Causal, 2)
		m := testModel(t, s, c)
		m.Prepare()
		snapshot, err := m.Export()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := text(t, snapshot.Config), text(t, c.Resolve()); got != want {
			t.Errorf("a snapshot's configuration is %s, want %s", got, want)
		}
	})
}

func TestImpossibleOptionsAreNamed(t *testing.T) {
	for _, test := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.LossOn = "gate" }, `loss_on = "gate": want embedding or prediction`},
		{func(c *Config) { c.Distance = "l1" }, `distance = "l1": want cosine or euclidean`},
		{func(c *Config) { c.Replacement = "noise" }, `replacement = "noise": want scaled, unit, mean, zero or permute`},
		{func(c *Config) { c.Tables = "loose" }, `tables = "loose": want frozen or trainable`},
		{func(c *Config) { c.Missing = "row" }, `missing = "row": want learned, zero or mean`},
		{func(c *Config) { c.FusionScope = "user" }, `fusion_scope = "user": want sequence or item`},
		{func(c *Config) { c.FusionScope = ScopeItem }, `fusion_scope = "item": want "sequence" in mode causal`},
		{func(c *Config) { c.ExpertDropout = 1 }, `expert_dropout = 1: want 0 or more and less than 1`},
		{func(c *Config) { c.Margin = -1 }, `margin = -1: want 0 or more`},
	} {
		c := testConfig(Causal, 2)
		test.change(&c)
		if err := c.Validate(); err == nil || err.Error() != test.want {
			t.Errorf("got the error %v, want %s", err, test.want)
		}
	}
	for _, v := range variants {
		c := testConfig(v.modes[0], 2)
		v.change(&c)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}

func TestCycleLeavesNoneItsOwn(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		for _, n := range []int64{1, 2, 3, 100} {
			next := cycle(s.Randn(n, 1)).Int64s()
			at := int64(0)
			for step := int64(1); step <= n; step++ {
				if at = next[at]; (at == 0) != (step == n) {
					t.Fatalf("%d rows: after %d steps of %v the first row is %d", n, step, next, at)
				}
			}
		}
		if first, second := cycle(s.Randn(100, 1)).Int64s(), cycle(s.Randn(100, 1)).Int64s(); slices.Equal(first, second) {
			t.Error("two draws give one cycle")
		}
	})
}

func TestExpertDropoutDropsInnerValuesInTraining(t *testing.T) {
	torchtest.Run(t, func(s *gotorch.Session) {
		c := testConfig(Causal, 2)
		c.ExpertHidden, c.ExpertDropout = c.Hidden, 0.25
		e := newExpert(s, c)
		s.NoGrad(func() { e.outer.Weight.CopyFrom(s.Eye(int64(c.Hidden))) }) // so that the inner values come out
		x := s.Randn(50, int64(2*c.Hidden))
		all, kept, dropped := e.forward(x, nn.Eval).Float32s(), e.forward(x, nn.Train).Float32s(), 0
		for i, v := range kept {
			if v == 0 {
				dropped++
				continue
			}
			within(t, "value that was kept", kept[i:i+1], []float64{float64(all[i]) / 0.75}, 1e-6)
		}
		if share := float64(dropped) / float64(len(kept)); share < 0.15 || share > 0.35 {
			t.Errorf("%v of the values were dropped, want about 0.25", share)
		}
	})
}

func TestTablesAreTrainedWhereWanted(t *testing.T) {
	for _, mode := range Modes() {
		for _, tables := range []Tables{TablesFrozen, TablesTrainable} {
			torchtest.Run(t, func(s *gotorch.Session) {
				c := testConfig(mode, 2)
				c.Tables = tables
				m := testModel(t, s, c)
				m.Forward(layout(t, s, padded, testSequences), Pass{}).Hidden.Square().Sum().Backward()
				trained := slices.ContainsFunc(m.Parameters(), func(p nn.Named) bool { return strings.HasSuffix(p.Name, ".table") })
				moved := m.streams[0][0].table.Weight.Grad() != nil
				if want := tables == TablesTrainable; trained != want || moved != want {
					t.Errorf("mode %s, tables %s: listed as parameters: %v, with a gradient: %v", mode, tables, trained, moved)
				}
			})
		}
	}
}

func TestLossOnPredictionRunsInEveryMode(t *testing.T) {
	for _, c := range testConfigs(2) {
		torchtest.Run(t, func(s *gotorch.Session) {
			c.LossOn = LossOnPrediction
			m := testModel(t, s, c)
			encoder := &counted{Backbone: m.backbone}
			m.backbone = encoder
			b := layout(t, s, padded, testSequences)
			m.Forward(b, Pass{Losses: true}).Interaction.Backward()
			if want := 1 + 4*3; encoder.passes != want {
				t.Errorf("%s, mode %s: %d passes of the encoder, want %d", c.Backbone, c.Mode, encoder.passes, want)
			}
			for _, p := range m.Parameters() {
				gate := strings.HasPrefix(p.Name, "gate.")
				if got := p.Tensor.Grad() != nil; got == gate {
					t.Errorf("%s, mode %s: whether the losses reach %s is %v", c.Backbone, c.Mode, p.Name, got)
				}
			}
		})
	}
}

// counted counts the passes of a backbone.
type counted struct {
	backbone.Backbone
	passes int
}

func (b *counted) Encode(batch *backbone.Batch, streams []*gotorch.Tensor, mode nn.Mode) *gotorch.Tensor {
	b.passes++
	return b.Backbone.Encode(batch, streams, mode)
}
