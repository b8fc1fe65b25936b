// Package nn holds the layers that prismflow's models are made of: values with
// named parameters and a Forward method.
//
//	fc := nn.NewLinear(s, 64, 128, nn.Normal(0, 0.02), nn.Zeros)
//	norm := nn.NewLayerNorm(s, 128, 1e-12)
//	drop := nn.Dropout{P: 0.3}
//	y := drop.Forward(norm.Forward(fc.Forward(x)), nn.Train)
//	params := nn.Join(nn.Prefix("fc", fc), nn.Prefix("norm", norm))
//
// Parameters live as long as their session. Their first values are drawn from
// the session's generator by an [Init] that the caller names, in the order in
// which the layers are made, so one seed gives one model. The package has no
// module registry and no training mode of its own: whether a step trains is an
// argument.
package nn

import (
	"math"

	"github.com/prismflow/prismflow/model/gotorch"
)

// Named is a parameter under the name that checkpoints know it by.
type Named struct {
	Name   string
	Tensor *gotorch.Tensor
}

// A Module has parameters, always in the same order.
type Module interface {
	Parameters() []Named
}

// Prefix names a module's parameters "prefix.name".
func Prefix(prefix string, m Module) []Named {
	params := m.Parameters()
	out := make([]Named, len(params))
	for i, p := range params {
		out[i] = Named{prefix + "." + p.Name, p.Tensor}
	}
	return out
}

// Join concatenates parameter lists.
func Join(lists ...[]Named) []Named {
	var out []Named
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// Count is the number of values in all parameters.
func Count(params []Named) int64 {
	var n int64
	for _, p := range params {
		n += p.Tensor.Numel()
	}
	return n
}

// Init sets the first values of a parameter.
type Init func(*gotorch.Tensor)

// Normal draws from a normal distribution.
func Normal(mean, std float64) Init {
	return func(t *gotorch.Tensor) { t.NormalInPlace(mean, std) }
}

// Uniform draws uniformly from [low, high).
func Uniform(low, high float64) Init {
	return func(t *gotorch.Tensor) { t.UniformInPlace(low, high) }
}

// FanIn draws uniformly from ±1/√inputs, PyTorch's default for the weight and
// the bias of a linear layer.
func FanIn(inputs int64) Init {
	bound := 1 / math.Sqrt(float64(inputs))
	return Uniform(-bound, bound)
}

// Constant sets one value.
func Constant(value float64) Init {
	return func(t *gotorch.Tensor) { t.FillInPlace(value) }
}

// Zeros sets zeros.
func Zeros(t *gotorch.Tensor) { t.ZeroInPlace() }

// Ones sets ones.
func Ones(t *gotorch.Tensor) { t.FillInPlace(1) }

// NewParameter makes a float32 tensor that records gradients and lives as long
// as its session.
func NewParameter(s *gotorch.Session, init Init, shape ...int64) *gotorch.Tensor {
	p := s.Empty(gotorch.Float32, shape...)
	s.NoGrad(func() { init(p) })
	s.Persist(p)
	return p.RequiresGrad(true)
}

// Linear is y = x Wᵀ + b over the last dimension.
type Linear struct {
	Weight *gotorch.Tensor // [out, in]
	Bias   *gotorch.Tensor // [out], or nil
}

// NewLinear makes a linear layer; a nil bias leaves the bias out.
func NewLinear(s *gotorch.Session, in, out int64, weight, bias Init) *Linear {
	l := &Linear{Weight: NewParameter(s, weight, out, in)}
	if bias != nil {
		l.Bias = NewParameter(s, bias, out)
	}
	return l
}

// Parameters are "weight" and, where there is one, "bias".
func (l *Linear) Parameters() []Named {
	params := []Named{{"weight", l.Weight}}
	if l.Bias != nil {
		params = append(params, Named{"bias", l.Bias})
	}
	return params
}

// Forward maps [..., in] to [..., out].
func (l *Linear) Forward(x *gotorch.Tensor) *gotorch.Tensor {
	return x.Session().Call1("aten::linear", x, l.Weight, l.Bias)
}

// NoPadding is the padding row of an [Embedding] without one.
const NoPadding = -1

// Embedding is a table of rows looked up by index.
type Embedding struct {
	Weight  *gotorch.Tensor // [rows, width]
	Padding int64           // this row gets no gradient; NoPadding: every row does
}

// NewEmbedding makes a table. The padding row starts at zero and, getting no
// gradient, stays there.
func NewEmbedding(s *gotorch.Session, rows, width, padding int64, init Init) *Embedding {
	e := &Embedding{Weight: NewParameter(s, init, rows, width), Padding: padding}
	if padding >= 0 {
		s.NoGrad(func() { e.Weight.Select(0, padding).ZeroInPlace() })
	}
	return e
}

// Parameters are "weight".
func (e *Embedding) Parameters() []Named { return []Named{{"weight", e.Weight}} }

// Forward maps int64 indices [...] to rows [..., width].
func (e *Embedding) Forward(indices *gotorch.Tensor) *gotorch.Tensor {
	return indices.Session().Call1("aten::embedding", e.Weight, indices, e.Padding)
}

// LayerNorm gives the last dimension mean 0 and variance 1 (divided by n), then
// scales and shifts it: (x - mean) / √(var + eps) · weight + bias.
type LayerNorm struct {
	Weight *gotorch.Tensor // [width]
	Bias   *gotorch.Tensor // [width]
	Eps    float64
}

// NewLayerNorm makes a layer that first only normalises: weight 1, bias 0.
func NewLayerNorm(s *gotorch.Session, width int64, eps float64) *LayerNorm {
	return &LayerNorm{Weight: NewParameter(s, Ones, width), Bias: NewParameter(s, Zeros, width), Eps: eps}
}

// Parameters are "weight" and "bias".
func (l *LayerNorm) Parameters() []Named {
	return []Named{{"weight", l.Weight}, {"bias", l.Bias}}
}

// Forward keeps the shape [..., width].
func (l *LayerNorm) Forward(x *gotorch.Tensor) *gotorch.Tensor {
	return x.Session().Call1("aten::layer_norm", x, l.Weight.Shape(), l.Weight, l.Bias, l.Eps)
}

// Mode says whether a forward pass trains.
type Mode bool

// The modes.
const (
	Eval  Mode = false
	Train Mode = true
)

// Dropout zeroes each value with probability P in training and divides the
// others by 1-P; in evaluation it does nothing.
type Dropout struct {
	P float64
}

// Forward draws its mask from the session's generator. libtorch's own dropout
// would draw from one generator that the whole process shares.
func (d Dropout) Forward(x *gotorch.Tensor, mode Mode) *gotorch.Tensor {
	if mode == Eval || d.P == 0 {
		return x
	}
	if d.P >= 1 {
		return x.Mul(0)
	}
	s := x.Session()
	var mask *gotorch.Tensor
	s.NoGrad(func() {
		// A uniform draw and a comparison take a third of the time of
		// bernoulli_, which on the CPU draws 53 bits for each value.
		mask = s.Call1("aten::empty_like", x, gotorch.Named("dtype", gotorch.Float32)).UniformInPlace(0, 1)
		mask = mask.LtInPlace(1 - d.P).MulInPlace(1 / (1 - d.P)).To(x.DType())
	})
	return x.Mul(mask)
}
