package training

import (
	"github.com/prismflow/prismflow/model/backbone"
	"github.com/prismflow/prismflow/model/prism"
)

// operations counts the floating-point operations of matrix products in one
// training step, forward and backward (twice the forward's), so that a baseline
// and what is compared with it can be told apart by more than their time.
// Element-wise work is not counted; it is bound by memory.
func operations(c prism.Config, shape stepShape, loss Loss, negatives int) float64 {
	forward := encoderOperations(c, shape.batch) + fusionOperations(c, shape.batch)
	if shape.partners.Sequences > 0 {
		forward += encoderOperations(c, shape.partners) + fusionOperations(c, shape.partners)
	}
	candidates := 1 + negatives
	if loss == CE {
		candidates = c.Items
	}
	streams := 1
	if c.Backbone == backbone.STOSAName {
		streams = 2
	}
	forward += product(shape.targets, streams*c.Hidden, candidates)
	return 3 * forward
}

// product is the operations of [a, b] × [b, c].
func product(a, b, c int) float64 { return 2 * float64(a) * float64(b) * float64(c) }

// encoderOperations are those of self-attention and feed-forward layers; STOSA
// has both for two streams.
func encoderOperations(c prism.Config, shape backbone.Shape) float64 {
	places := shape.Rows * shape.Width
	layer := 4*product(places, c.Hidden, c.Hidden) + 2*product(places, shape.Width, c.Hidden) + 2*product(places, c.Hidden, 4*c.Hidden)
	if c.Backbone == backbone.STOSAName {
		layer *= 2
	}
	return float64(c.Layers) * layer
}

// fusionOperations are those of projections, pooling, experts and gate.
func fusionOperations(c prism.Config, shape backbone.Shape) float64 {
	if len(c.Modalities) == 0 {
		return 0
	}
	places := shape.Rows * shape.Width
	sum := 0.0
	for _, m := range c.Modalities {
		sum += product(shape.Distinct, m.Size, c.Hidden)
	}
	experts, joined := c.Experts(), len(c.Modalities)*c.Hidden
	sum += float64(experts) * (product(places, joined, c.ExpertHidden) + product(places, c.ExpertHidden, c.Hidden))
	masked := shape.Sequences * len(c.Modalities)
	sum += float64(experts) * (product(masked, joined, c.ExpertHidden) + product(masked, c.ExpertHidden, c.Hidden))
	sum += product(places, (experts+1)*c.Hidden, c.GateHidden) + product(places, c.GateHidden, experts)
	if c.Backbone == backbone.STOSAName {
		sum *= 2
	}
	return sum
}
