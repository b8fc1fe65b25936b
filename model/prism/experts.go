package prism

import (
	"fmt"

	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// expert is a network of two layers on the modality vectors side by side. No
// two experts share parameters: synergy and redundancy losses are exact
// opposites, and cancel on a shared trunk.
type expert struct {
	inner, outer *nn.Linear
	dropout      nn.Dropout
}

func newExpert(s *gotorch.Session, c Config) *expert {
	return &expert{
		inner:   c.weights().Linear(s, len(c.Modalities)*c.Hidden, c.ExpertHidden),
		outer:   c.weights().Linear(s, c.ExpertHidden, c.Hidden),
		dropout: nn.Dropout{P: c.ExpertDropout},
	}
}

func (e *expert) Parameters() []nn.Named {
	return nn.Join(nn.Prefix("inner", e.inner), nn.Prefix("outer", e.outer))
}

// forward maps [..., modalities·hidden] to [..., hidden].
func (e *expert) forward(modalities *gotorch.Tensor, mode nn.Mode) *gotorch.Tensor {
	return e.outer.Forward(e.dropout.Forward(e.inner.Forward(modalities).GELU(), mode))
}

// gate weighs the experts by what they say and by the user's items.
type gate struct {
	inner, outer *nn.Linear
	dropout      nn.Dropout
	temperature  float64
}

func newGate(s *gotorch.Session, c Config) *gate {
	return &gate{
		inner:   c.weights().Linear(s, (c.Experts()+1)*c.Hidden, c.GateHidden),
		outer:   c.weights().Linear(s, c.GateHidden, c.Experts()),
		dropout: nn.Dropout{P: c.GateDropout}, temperature: c.GateTemperature,
	}
}

func (g *gate) Parameters() []nn.Named {
	return nn.Join(nn.Prefix("inner", g.inner), nn.Prefix("outer", g.outer))
}

// weights are softmax(·/τ) over the experts: [n, experts].
func (g *gate) weights(opinions []*gotorch.Tensor, items *gotorch.Tensor, mode nn.Mode) *gotorch.Tensor {
	joined := items.Session().Cat(-1, append(append([]*gotorch.Tensor{}, opinions...), items)...)
	hidden := g.dropout.Forward(g.inner.Forward(joined).GELU(), mode)
	return g.outer.Forward(hidden).Div(g.temperature).Softmax(-1)
}

// mix is the sum of the opinions by weight: [n, hidden]. n small matrix products
// would take twice as long.
func mix(opinions []*gotorch.Tensor, weights *gotorch.Tensor) *gotorch.Tensor {
	return weights.Session().Stack(1, opinions...).Mul(weights.Unsqueeze(-1)).Sum(1)
}

// expertNames label experts in parameter names: by modality, then synergy and
// redundancy.
func expertNames(c Config) []string {
	var names []string
	for _, m := range c.Modalities {
		names = append(names, "unique_"+m.Name)
	}
	if c.Experts() > len(names) {
		names = append(names, "synergy", "redundancy")
	}
	return names
}

func expertParameters(c Config, experts []*expert) []nn.Named {
	var params []nn.Named
	for i, name := range expertNames(c) {
		params = append(params, nn.Prefix(fmt.Sprintf("experts.%s", name), experts[i])...)
	}
	return params
}
