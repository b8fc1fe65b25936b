package prism

import (
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/gotorch"
)

// A goldenCase is a file of what the published PRISM computes with one backbone on
// a tiny input, with its crashes mended, and how to read it.
type goldenCase struct {
	backbone string
	file     string
	names    []string // pairs: part of our name of a parameter, what the published code has there
	flat     string   // parameters with this suffix have a gradient of zero in theory; what stands there is rounding
	states   []string // what the file calls the parts of a state, in their order
	distance bool     // scores are minus what the file has

	// loss is the recommendation loss of targets by their scores and those of their negatives.
	loss func(wanted, unwanted *gotorch.Tensor) *gotorch.Tensor
}

var goldenCases = []goldenCase{
	{
		backbone: backbone.SASRecName,
		file:     "testdata/sasrec_prism.safetensors",
		names: []string{
			"backbone.items.", "item_embeddings.",
			"backbone.positions.", "position_embeddings.",
			".query.", ".attention.query.", ".key.", ".attention.key.", ".value.", ".attention.value.",
			".output.", ".attention.dense.",
			".inner.", ".intermediate.dense_1.", ".outer.", ".intermediate.dense_2.", ".forward_norm.", ".intermediate.LayerNorm.",
		},
		flat:   "key.bias",
		states: []string{"out.sequence_output"},
		loss: func(wanted, unwanted *gotorch.Tensor) *gotorch.Tensor {
			return wanted.Neg().Softplus().Add(unwanted.Softplus())
		},
	},
	{
		backbone: backbone.STOSAName,
		file:     "testdata/stosa_prism.safetensors",
		names:    append(stosaNames("mean"), stosaNames("cov")...),
		states:   []string{"out.mean_output", "out.cov_output"},
		distance: true,
		loss: func(wanted, unwanted *gotorch.Tensor) *gotorch.Tensor {
			return unwanted.Sub(wanted).Softplus()
		},
	},
}

func stosaNames(stream string) []string {
	attention, intermediate := ".attention."+stream+"_", "."+stream+"_intermediate."
	return []string{
		"backbone." + stream + ".items.", "item_" + stream + "_embeddings.",
		"backbone." + stream + ".positions.", "position_" + stream + "_embeddings.",
		"." + stream + ".query.", attention + "query.",
		"." + stream + ".key.", attention + "key.",
		"." + stream + ".value.", attention + "value.",
		"." + stream + ".output.", attention + "dense.",
		"." + stream + ".inner.", intermediate + "dense_1.",
		"." + stream + ".outer.", intermediate + "dense_2.",
		"." + stream + ".forward_norm.", intermediate + "LayerNorm.",
	}
}

// reference is a parameter's name in the published code.
func (c goldenCase) reference(name string) string {
	names := []string{
		"backbone.norm.", "LayerNorm.",
		"backbone.layers.", "item_encoder.layer.",
		".attention_norm.", ".attention.LayerNorm.",
		"gate.inner.", "adaptive_fusion_layer.adaptive_fusion_mlp.mlp.network.0.",
		"gate.outer.", "adaptive_fusion_layer.adaptive_fusion_mlp.mlp.network.3.",
	}
	for i, expert := range expertNames(c.config()) {
		published := fmt.Sprintf("interaction_expert_layer.interaction_experts.%d.expert_model.", i)
		names = append(names, "experts."+expert+".inner.", published+"fc1.", "experts."+expert+".outer.", published+"fc2.")
	}
	for i, stream := range []string{"mean", "cov"} {
		for _, modality := range []string{"image", "text"} {
			ours := fmt.Sprintf("modalities.%d.%s.", i, modality)
			names = append(names, ours+"projection.", "fc_"+stream+"_"+modality+".", ours+"table", modality+"_"+stream+"_embeddings.weight")
		}
	}
	return strings.NewReplacer(append(names, c.names...)...).Replace(name)
}

func (c goldenCase) isFlat(name string) bool { return c.flat != "" && strings.HasSuffix(name, c.flat) }

const (
	goldenUsers  = 6
	goldenLength = 8
	goldenItems  = 40
)

func (c goldenCase) config() Config {
	config := Default()
	config.Backbone, config.Mode, config.Items = c.backbone, Reference, goldenItems
	config.Hidden, config.Layers, config.Heads, config.MaxLength, config.GateHidden = 16, 2, 2, goldenLength, 32
	config.Modalities = []Modality{{"image", 12, DefaultLambda}, {"text", 12, DefaultLambda}}
	return config
}
