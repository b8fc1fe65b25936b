package optim

import (
	"github.com/prismflow/prismflow/model/gotorch"
	"github.com/prismflow/prismflow/model/gotorch/nn"
)

// clipEps keeps a division by a norm of zero finite, as in PyTorch.
const clipEps = 1e-6

// ClipGradNorm multiplies all gradients by min(1, max/(norm + 1e-6)), where norm
// is their joint Euclidean norm, and returns the norm: a float32 scalar of the
// current scope, zero when no parameter has a gradient. Norm and factor stay on
// the device, so a captured step may clip.
func ClipGradNorm(s *gotorch.Session, params []nn.Named, max float64) *gotorch.Tensor {
	var norm *gotorch.Tensor
	s.NoGrad(func() {
		s.Scoped(func() {
			grads := gradients(params)
			if len(grads) == 0 {
				norm = s.Scalar(0)
			} else {
				norm = scaleTo(s, grads, max)
			}
			s.Keep(norm)
		})
	})
	return norm
}

func gradients(params []nn.Named) []*gotorch.Tensor {
	var grads []*gotorch.Tensor
	for _, p := range params {
		if g := p.Tensor.Grad(); g != nil {
			grads = append(grads, g)
		}
	}
	return grads
}

func scaleTo(s *gotorch.Session, grads []*gotorch.Tensor, max float64) *gotorch.Tensor {
	norm := s.Stack(0, s.Call("aten::_foreach_norm.Scalar", grads)...).Norm()
	scale := s.Scalar(max).DivInPlace(norm.Add(clipEps)).ClampInPlace(nil, 1)
	for _, g := range grads {
		g.MulInPlace(scale)
	}
	return norm
}
