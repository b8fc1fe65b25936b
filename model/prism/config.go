package prism

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prismflow/prismflow/model/backbone"
)

// Mode says which reading of the method is built.
type Mode string

const (
	// Causal lets a position see its own past only: pooled values are means over the items up to it, so training and
	// serving agree. The interaction losses are taken at the newest item.
	Causal Mode = "causal"
	// Paper pools over the real items of the whole training window, as the paper's text has it, so that in training a
	// position sees its own target.
	Paper Mode = "paper"
	// Reference does what the published code does where it runs: pooling over padding too, Euclidean triplets,
	// unit-normal replacement noise, trainable feature tables and a row more than there are items.
	Reference Mode = "reference"
)

// Modes are all modes, the recommended one first.
func Modes() []Mode { return []Mode{Causal, Paper, Reference} }

// Config is everything that decides a model's shape and losses. It is stored
// with the parameters.
type Config struct {
	Backbone         string  `json:"backbone"`
	Mode             Mode    `json:"mode"`
	Items            int     `json:"items"` // ids are 1…Items
	Hidden           int     `json:"hidden"`
	Layers           int     `json:"layers"`
	Heads            int     `json:"heads"`
	MaxLength        int     `json:"max_length"`
	Dropout          float64 `json:"dropout"`
	DropoutAttention float64 `json:"dropout_attention"`

	STOSA   backbone.STOSA   `json:"stosa"`   // read by that backbone alone
	InDiRec backbone.InDiRec `json:"indirec"` // read by that backbone alone

	Modalities       []Modality `json:"modalities"` // none: the backbone alone
	ExpertHidden     int        `json:"expert_hidden"`
	GateHidden       int        `json:"gate_hidden"`
	GateDropout      float64    `json:"gate_dropout"`
	GateTemperature  float64    `json:"gate_temperature"`
	LambdaSynergy    float64    `json:"lambda_synergy"`
	LambdaRedundancy float64    `json:"lambda_redundancy"`
	Margin           float64    `json:"margin"` // of the uniqueness triplets
	ExpertDropout    float64    `json:"expert_dropout"`
	DirectSum        bool       `json:"direct_sum"` // whether an item's own modalities are added to the input beside the mixture

	// Empty ones follow from the mode: see Resolve. A model has none.
	LossOn      LossOn      `json:"loss_on"`
	Distance    Distance    `json:"distance"`
	Replacement Replacement `json:"replacement"`
	Tables      Tables      `json:"tables"`
	Missing     Missing     `json:"missing"`
	FusionScope FusionScope `json:"fusion_scope"`
}

// Modality names one kind of item feature.
type Modality struct {
	Name         string  `json:"name"`
	Size         int     `json:"size"` // length of a feature vector
	LambdaUnique float64 `json:"lambda_unique"`
}

// Default is the recommended model without items and modalities, which the data
// decide. Its numbers are those of S3-Rec's SASRec and of PRISM's code.
func Default() Config {
	return Config{
		Backbone: backbone.SASRecName, Mode: Causal,
		Hidden: 64, Layers: 2, Heads: 2, MaxLength: 50, Dropout: 0.5, DropoutAttention: 0.5,
		STOSA: backbone.DefaultSTOSA(), InDiRec: backbone.DefaultInDiRec(),
		ExpertHidden: 128, GateHidden: 128, GateDropout: 0.3, GateTemperature: 0.7,
		LambdaSynergy: DefaultLambda, LambdaRedundancy: DefaultLambda, Margin: 1,
		DirectSum: true,
	}
}

// DefaultLambda is the weight of each interaction loss in PRISM's code.
const DefaultLambda = 0.1

// Experts is their number: one for what each modality says alone, one for what
// only all together say, one for what each says. A single modality has nothing
// to be shared with and has one expert.
func (c Config) Experts() int {
	switch n := len(c.Modalities); n {
	case 0, 1:
		return n
	default:
		return n + 2
	}
}

// Rows is the number of rows of the item table: padding and the items, and in
// mode reference the published code's mask row, which nothing uses.
func (c Config) Rows() int {
	if c.Mode == Reference {
		return c.Items + 2
	}
	return c.Items + 1
}

// weights is how the first values are drawn.
func (c Config) weights() backbone.Weights {
	return backbone.WeightsOf(c.Backbone, c.Mode == Reference)
}

func (c Config) backbone() backbone.Config {
	return backbone.Config{
		Rows: c.Rows(), Hidden: c.Hidden, Layers: c.Layers, Heads: c.Heads, MaxLength: c.MaxLength,
		Dropout: c.Dropout, DropoutAttention: c.DropoutAttention, Reference: c.Mode == Reference,
		STOSA: c.STOSA, InDiRec: c.InDiRec,
	}
}

// Validate lists everything that is wrong with the configuration.
func (c Config) Validate() error {
	problems := c.ValidateSettings()
	if c.Items < 1 {
		problems = append(problems, fmt.Errorf("items = %d: want at least 1", c.Items))
	}
	names := map[string]bool{}
	for _, m := range c.Modalities {
		if m.Name == "" || names[m.Name] {
			problems = append(problems, fmt.Errorf("modality %q: want a name of its own", m.Name))
		}
		names[m.Name] = true
		if m.Size < 1 {
			problems = append(problems, fmt.Errorf("modality %s: size %d: want at least 1", m.Name, m.Size))
		}
		if !(m.LambdaUnique >= 0) {
			problems = append(problems, fmt.Errorf("lambda_unique_%s = %v: want 0 or more", m.Name, m.LambdaUnique))
		}
	}
	return errors.Join(problems...)
}

// ValidateSettings lists what is wrong with the part of the configuration that
// a person sets, before the data are known.
func (c Config) ValidateSettings() []error {
	var problems []error
	add := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	add(slices.Contains(backbone.Names(), c.Backbone), "backbone = %q: want %s", c.Backbone, strings.Join(backbone.Names(), " or "))
	add(slices.Contains(Modes(), c.Mode), "mode = %q: want causal, paper or reference", c.Mode)
	for _, v := range []struct {
		name        string
		value, most int
	}{
		{"hidden", c.Hidden, 1 << 16}, {"layers", c.Layers, 1 << 8}, {"heads", c.Heads, 1 << 16}, {"max_length", c.MaxLength, 1 << 16},
		{"expert_hidden", c.ExpertHidden, 1 << 16}, {"gate_hidden", c.GateHidden, 1 << 16},
	} {
		add(v.value >= 1 && v.value <= v.most, "%s = %d: want 1…%d", v.name, v.value, v.most)
	}
	if c.Heads >= 1 {
		add(c.Hidden%c.Heads == 0, "hidden = %d, heads = %d: hidden must be a multiple of heads", c.Hidden, c.Heads)
	}
	for _, v := range []struct {
		name  string
		value float64
	}{{"dropout", c.Dropout}, {"dropout_attention", c.DropoutAttention}, {"gate_dropout", c.GateDropout}, {"expert_dropout", c.ExpertDropout}} {
		add(v.value >= 0 && v.value < 1, "%s = %v: want 0 or more and less than 1", v.name, v.value)
	}
	for _, v := range []struct {
		name  string
		value float64
	}{{"lambda_synergy", c.LambdaSynergy}, {"lambda_redundancy", c.LambdaRedundancy}, {"margin", c.Margin}, {"pvn_weight", c.STOSA.PVNWeight}} {
		add(v.value >= 0, "%s = %v: want 0 or more", v.name, v.value)
	}
	if c.Backbone == backbone.InDiRecName {
		problems = append(problems, c.InDiRec.Validate(c.Hidden)...)
	}
	add(c.GateTemperature > 0, "gate_temperature = %v: want more than 0", c.GateTemperature)
	return append(problems, c.validateOptions()...)
}

func (c Config) validateOptions() []error {
	problems := slices.Concat(
		oneOf("loss_on", c.LossOn, LossOnEmbedding, LossOnPrediction),
		oneOf("distance", c.Distance, DistanceCosine, DistanceEuclidean),
		oneOf("replacement", c.Replacement, ReplaceScaled, ReplaceUnit, ReplaceMean, ReplaceZero, ReplacePermute),
		oneOf("tables", c.Tables, TablesFrozen, TablesTrainable),
		oneOf("missing", c.Missing, MissingLearned, MissingZero, MissingMean),
		oneOf("fusion_scope", c.FusionScope, ScopeSequence, ScopeItem),
	)
	if c.FusionScope == ScopeItem && c.Mode != Paper {
		problems = append(problems, fmt.Errorf("fusion_scope = %q: want %q in mode %s", c.FusionScope, ScopeSequence, c.Mode))
	}
	return problems
}

// oneOf complains about an option that is neither empty nor known.
func oneOf[T ~string](name string, value T, known ...T) []error {
	if value == "" || slices.Contains(known, value) {
		return nil
	}
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = string(k)
	}
	last := len(names) - 1
	return []error{fmt.Errorf("%s = %q: want %s or %s", name, value, strings.Join(names[:last], ", "), names[last])}
}
