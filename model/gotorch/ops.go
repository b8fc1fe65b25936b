package gotorch

// one calls an operator whose first argument is the receiver.
func (t *Tensor) one(op string, args ...any) *Tensor {
	s := t.own(op)
	return s.Call1(op, append([]any{t}, args...)...)
}

// two picks the overload for a tensor or for a number as second operand.
func (t *Tensor) two(op string, other any) *Tensor {
	s := t.own(op)
	if _, ok := other.(*Tensor); ok {
		return s.Call1(op+".Tensor", t, other)
	}
	return s.Call1(op+".Scalar", t, other)
}

// pair calls an operator that returns values and indices.
func (t *Tensor) pair(op string, args ...any) (values, indices *Tensor) {
	s := t.own(op)
	out := s.Call(op, append([]any{t}, args...)...)
	return out[0], out[1]
}

// inPlace calls an operator that changes the receiver.
func (t *Tensor) inPlace(op string, args ...any) *Tensor {
	s := t.own(op)
	s.callInPlace(op, append([]any{t}, args...)...)
	return t
}

// Add is t + other, elementwise with a number or a broadcast tensor.
func (t *Tensor) Add(other any) *Tensor { return t.two("aten::add", other) }

// Sub is t - other, elementwise with a number or a broadcast tensor.
func (t *Tensor) Sub(other any) *Tensor { return t.two("aten::sub", other) }

// Mul is t * other, elementwise with a number or a broadcast tensor.
func (t *Tensor) Mul(other any) *Tensor { return t.two("aten::mul", other) }

// Div is t / other, elementwise with a number or a broadcast tensor.
func (t *Tensor) Div(other any) *Tensor { return t.two("aten::div", other) }

// Eq is true where t == other, a bool mask; other is a number or a broadcast tensor.
func (t *Tensor) Eq(other any) *Tensor { return t.two("aten::eq", other) }

// Ne is true where t != other, a bool mask; other is a number or a broadcast tensor.
func (t *Tensor) Ne(other any) *Tensor { return t.two("aten::ne", other) }

// Lt is true where t < other, a bool mask; other is a number or a broadcast tensor.
func (t *Tensor) Lt(other any) *Tensor { return t.two("aten::lt", other) }

// Le is true where t <= other, a bool mask; other is a number or a broadcast tensor.
func (t *Tensor) Le(other any) *Tensor { return t.two("aten::le", other) }

// Gt is true where t > other, a bool mask; other is a number or a broadcast tensor.
func (t *Tensor) Gt(other any) *Tensor { return t.two("aten::gt", other) }

// Ge is true where t >= other, a bool mask; other is a number or a broadcast tensor.
func (t *Tensor) Ge(other any) *Tensor { return t.two("aten::ge", other) }

// Neg is -t, elementwise.
func (t *Tensor) Neg() *Tensor { return t.one("aten::neg") }

// Abs is |t|, elementwise.
func (t *Tensor) Abs() *Tensor { return t.one("aten::abs") }

// Exp is e to the t, elementwise.
func (t *Tensor) Exp() *Tensor { return t.one("aten::exp") }

// Log is the natural logarithm, elementwise; not a number below 0.
func (t *Tensor) Log() *Tensor { return t.one("aten::log") }

// Log1p is log(1 + t), elementwise, exact for small t.
func (t *Tensor) Log1p() *Tensor { return t.one("aten::log1p") }

// Sqrt is the square root, elementwise; not a number below 0.
func (t *Tensor) Sqrt() *Tensor { return t.one("aten::sqrt") }

// Rsqrt is one over the square root, elementwise; infinite at 0.
func (t *Tensor) Rsqrt() *Tensor { return t.one("aten::rsqrt") }

// Square is t * t, elementwise.
func (t *Tensor) Square() *Tensor { return t.one("aten::square") }

// Sin is the sine of radians, elementwise.
func (t *Tensor) Sin() *Tensor { return t.one("aten::sin") }

// Cos is the cosine of radians, elementwise.
func (t *Tensor) Cos() *Tensor { return t.one("aten::cos") }

// Sigmoid is 1 / (1 + exp(-t)), elementwise.
func (t *Tensor) Sigmoid() *Tensor { return t.one("aten::sigmoid") }

// LogSigmoid is log(Sigmoid), elementwise, finite for every finite t.
func (t *Tensor) LogSigmoid() *Tensor { return t.one("aten::log_sigmoid") }

// Tanh is the hyperbolic tangent, elementwise.
func (t *Tensor) Tanh() *Tensor { return t.one("aten::tanh") }

// ReLU is max(t, 0), elementwise.
func (t *Tensor) ReLU() *Tensor { return t.one("aten::relu") }

// GELU is the exact form t/2 (1 + erf(t/√2)), elementwise.
func (t *Tensor) GELU() *Tensor { return t.one("aten::gelu") }

// SiLU is t * Sigmoid(t), elementwise.
func (t *Tensor) SiLU() *Tensor { return t.one("aten::silu") }

// Softplus is log(1 + exp(t)), elementwise, finite for every finite t.
func (t *Tensor) Softplus() *Tensor { return t.one("aten::softplus") }

// LogicalNot is true where t is zero: a bool mask of t's shape.
func (t *Tensor) LogicalNot() *Tensor { return t.one("aten::logical_not") }

// IsNaN is true where t is not a number: a bool mask of t's shape.
func (t *Tensor) IsNaN() *Tensor { return t.one("aten::isnan") }

// IsInf is true where t is infinite: a bool mask of t's shape.
func (t *Tensor) IsInf() *Tensor { return t.one("aten::isinf") }

// All is true when every element is: a bool scalar.
func (t *Tensor) All() *Tensor { return t.one("aten::all") }

// Any is true when one element is: a bool scalar.
func (t *Tensor) Any() *Tensor { return t.one("aten::any") }

// Contiguous lays the elements out row by row, copying when they are not.
func (t *Tensor) Contiguous() *Tensor { return t.one("aten::contiguous") }

// Clone copies the values into a tensor of the same shape; gradients flow through.
func (t *Tensor) Clone() *Tensor { return t.one("aten::clone") }

// Detach shares shape and memory, and stops gradients.
func (t *Tensor) Detach() *Tensor { return t.one("aten::detach") }

// Sign is -1, 0 or 1, elementwise.
func (t *Tensor) Sign() *Tensor { return t.one("aten::sign") }

// Floor rounds down, elementwise; the type stays.
func (t *Tensor) Floor() *Tensor { return t.one("aten::floor") }

// Erf is the error function, elementwise.
func (t *Tensor) Erf() *Tensor { return t.one("aten::erf") }

// ELU is t where t > 0 and exp(t) - 1 elsewhere, elementwise.
func (t *Tensor) ELU() *Tensor { return t.one("aten::elu") }

// Pow raises each element to a power, a number or a broadcast tensor.
func (t *Tensor) Pow(exponent any) *Tensor {
	if _, ok := exponent.(*Tensor); ok {
		return t.one("aten::pow.Tensor_Tensor", exponent)
	}
	return t.one("aten::pow.Tensor_Scalar", exponent)
}

// Clamp limits values to [low, high], elementwise; nil leaves a side open, but
// not both.
func (t *Tensor) Clamp(low, high any) *Tensor { return t.one("aten::clamp", low, high) }

// Maximum is the greater of two broadcast tensors, elementwise.
func (t *Tensor) Maximum(other *Tensor) *Tensor { return t.one("aten::maximum", other) }

// Minimum is the lesser of two broadcast tensors, elementwise.
func (t *Tensor) Minimum(other *Tensor) *Tensor { return t.one("aten::minimum", other) }

// LogicalAnd is true where both are: a bool mask of the broadcast shape.
func (t *Tensor) LogicalAnd(other *Tensor) *Tensor { return t.one("aten::logical_and", other) }

// LogicalOr is true where one is: a bool mask of the broadcast shape.
func (t *Tensor) LogicalOr(other *Tensor) *Tensor { return t.one("aten::logical_or", other) }

// MatMul is [..., n, k] times [..., k, m], a tensor [..., n, m]; leading
// dimensions are broadcast, and a vector counts as a column at the right and a
// row at the left. Both have one element type.
func (t *Tensor) MatMul(other *Tensor) *Tensor { return t.one("aten::matmul", other) }

// Bmm is [b, n, k] times [b, k, m], a tensor [b, n, m]; nothing is broadcast.
func (t *Tensor) Bmm(other *Tensor) *Tensor { return t.one("aten::bmm", other) }

// Dot is the inner product of two vectors of one length, a scalar.
func (t *Tensor) Dot(other *Tensor) *Tensor { return t.one("aten::dot", other) }

// T makes [n, m] of [m, n], sharing memory; more dimensions are an error.
func (t *Tensor) T() *Tensor { return t.one("aten::t") }

// Transpose swaps two dimensions, sharing memory.
func (t *Tensor) Transpose(dim0, dim1 int) *Tensor { return t.one("aten::transpose.int", dim0, dim1) }

// Permute puts the dimensions into the order of dims, which names each once;
// memory is shared.
func (t *Tensor) Permute(dims ...int) *Tensor { return t.one("aten::permute", dims) }

// Reshape gives the elements another shape, copying when it must; one size may
// be -1.
func (t *Tensor) Reshape(shape ...int64) *Tensor { return t.one("aten::reshape", shapeOf(shape)) }

// View is Reshape that fails rather than copy.
func (t *Tensor) View(shape ...int64) *Tensor { return t.one("aten::view", shapeOf(shape)) }

// Flatten joins the dimensions from start to end, both included, into one.
func (t *Tensor) Flatten(start, end int) *Tensor {
	return t.one("aten::flatten.using_ints", start, end)
}

// Unsqueeze inserts a dimension of size one before dim, sharing memory.
func (t *Tensor) Unsqueeze(dim int) *Tensor { return t.one("aten::unsqueeze", dim) }

// Squeeze removes dim if its size is one, sharing memory.
func (t *Tensor) Squeeze(dim int) *Tensor { return t.one("aten::squeeze.dim", dim) }

// Expand repeats dimensions of size one without copying; -1 keeps a size.
func (t *Tensor) Expand(shape ...int64) *Tensor { return t.one("aten::expand", shapeOf(shape)) }

// Repeat copies the tensor times[i] times along dimension i; more times than
// dimensions add leading ones.
func (t *Tensor) Repeat(times ...int64) *Tensor { return t.one("aten::repeat", shapeOf(times)) }

// Narrow is the part of length elements from start along a dimension, sharing
// memory.
func (t *Tensor) Narrow(dim int, start, length int64) *Tensor {
	return t.one("aten::narrow", dim, start, length)
}

// Slice is the elements start, start+step, … below end along a dimension,
// sharing memory. Negative bounds count from the end.
func (t *Tensor) Slice(dim int, start, end, step int64) *Tensor {
	return t.one("aten::slice.Tensor", dim, start, end, step)
}

// Select is one index along a dimension, which disappears; memory is shared and
// a negative index counts from the end.
func (t *Tensor) Select(dim int, index int64) *Tensor {
	return t.one("aten::select.int", dim, index)
}

// Split cuts into parts of size elements along a dimension, sharing memory; the
// last may be smaller.
func (t *Tensor) Split(size int64, dim int) []*Tensor {
	return t.own("Split").Call("aten::split.Tensor", t, size, dim)
}

// Chunk cuts into at most n parts of equal size along a dimension, sharing
// memory; the last may be smaller.
func (t *Tensor) Chunk(n, dim int) []*Tensor {
	return t.own("Chunk").Call("aten::chunk", t, n, dim)
}

// IndexSelect takes the slices of a dimension that an int64 vector names; the
// dimension gets its length. Negative indices are an error.
func (t *Tensor) IndexSelect(dim int, indices *Tensor) *Tensor {
	return t.one("aten::index_select", dim, indices)
}

// Gather takes one element of a dimension for each element of indices, int64 and
// of the result's shape, which has as many dimensions as t and no greater sizes
// but along dim. Negative indices are an error.
func (t *Tensor) Gather(dim int, indices *Tensor) *Tensor {
	return t.one("aten::gather", dim, indices)
}

// ScatterAdd is a copy of t with each element of values added at its index along
// a dimension; indices are int64 and no greater than values in any size.
func (t *Tensor) ScatterAdd(dim int, indices, values *Tensor) *Tensor {
	return t.one("aten::scatter_add", dim, indices, values)
}

// Index takes elements by integer or bool tensors, one for each leading
// dimension; nil takes all of a dimension.
func (t *Tensor) Index(indices ...*Tensor) *Tensor { return t.one("aten::index.Tensor", indices) }

// NonZero is the indices of the elements that are not zero: int64 [count,
// dimensions]. It waits for the device, since the result's shape depends on
// values.
func (t *Tensor) NonZero() *Tensor { return t.one("aten::nonzero") }

// MaskedFill puts a number where a bool mask, broadcast to t, holds.
func (t *Tensor) MaskedFill(mask *Tensor, value float64) *Tensor {
	return t.one("aten::masked_fill.Scalar", maskFor("MaskedFill", t, mask), value)
}

// MaskedSelect is the vector of elements where a bool mask holds. It waits for
// the device, as NonZero does.
func (t *Tensor) MaskedSelect(mask *Tensor) *Tensor {
	return t.one("aten::masked_select", maskFor("MaskedSelect", t, mask))
}

// maskFor refuses what is no mask: on the CPU some libtorch take another type's
// bytes for truth values.
func maskFor(op string, t, mask *Tensor) *Tensor {
	s := t.own(op)
	if s.valid(op, mask).DType() != Bool {
		s.fail(op, []any{t, mask}, "not a bool mask: compare it with Ne(0)")
	}
	return mask
}

// Tril keeps the elements of [..., n, m] on and below a diagonal, 0 being the
// main one and 1 the next above, and zeroes the others.
func (t *Tensor) Tril(diagonal int) *Tensor { return t.one("aten::tril", diagonal) }

// Triu keeps the elements of [..., n, m] on and above a diagonal, counted as for
// Tril, and zeroes the others.
func (t *Tensor) Triu(diagonal int) *Tensor { return t.one("aten::triu", diagonal) }

// Sum adds up over dimensions, which disappear; over all, to a scalar, when none
// is given.
func (t *Tensor) Sum(dims ...int) *Tensor {
	if len(dims) == 0 {
		return t.one("aten::sum")
	}
	return t.one("aten::sum.dim_IntList", dims)
}

// SumKeep is Sum with the dimensions left at size one.
func (t *Tensor) SumKeep(dims ...int) *Tensor { return t.one("aten::sum.dim_IntList", dims, true) }

// Mean averages over dimensions, which disappear; over all, to a scalar, when
// none is given. Integers are an error.
func (t *Tensor) Mean(dims ...int) *Tensor {
	if len(dims) == 0 {
		return t.one("aten::mean")
	}
	return t.one("aten::mean.dim", dims)
}

// MeanKeep is Mean with the dimensions left at size one.
func (t *Tensor) MeanKeep(dims ...int) *Tensor { return t.one("aten::mean.dim", dims, true) }

// Max is the greatest element, a scalar; an error for an empty tensor.
func (t *Tensor) Max() *Tensor { return t.one("aten::max") }

// Min is the least element, a scalar; an error for an empty tensor.
func (t *Tensor) Min() *Tensor { return t.one("aten::min") }

// MaxDim is the greatest element along a dimension and its int64 index; the
// dimension disappears, or stays with size one when keep is set.
func (t *Tensor) MaxDim(dim int, keep bool) (values, indices *Tensor) {
	return t.pair("aten::max.dim", dim, keep)
}

// MinDim is MaxDim for the least element.
func (t *Tensor) MinDim(dim int, keep bool) (values, indices *Tensor) {
	return t.pair("aten::min.dim", dim, keep)
}

// ArgMax is the int64 index of the greatest element along a dimension, which
// disappears.
func (t *Tensor) ArgMax(dim int) *Tensor { return t.one("aten::argmax", dim) }

// ArgMin is the int64 index of the least element along a dimension, which
// disappears.
func (t *Tensor) ArgMin(dim int) *Tensor { return t.one("aten::argmin", dim) }

// TopK is the k greatest elements of the last dimension, greatest first, and
// their int64 indices, both [..., k]; an error when there are fewer. Which of
// equal elements comes first is not defined.
func (t *Tensor) TopK(k int64) (values, indices *Tensor) { return t.pair("aten::topk", k) }

// Sort orders along a dimension, equal elements as they came, and gives their
// int64 indices; both have t's shape.
func (t *Tensor) Sort(dim int, descending bool) (values, indices *Tensor) {
	return t.pair("aten::sort.stable", Named("stable", true), Named("dim", dim), Named("descending", descending))
}

// Cumsum is the running sum along a dimension, of t's shape.
func (t *Tensor) Cumsum(dim int) *Tensor { return t.one("aten::cumsum", dim) }

// Softmax is exp(t) divided by its sum along a dimension, of t's shape.
func (t *Tensor) Softmax(dim int) *Tensor { return t.one("aten::softmax.int", dim) }

// LogSoftmax is the logarithm of Softmax, finite where Softmax would be 0.
func (t *Tensor) LogSoftmax(dim int) *Tensor { return t.one("aten::log_softmax.int", dim) }

// LogSumExp is the logarithm of the sum of exp(t) along a dimension, which
// disappears.
func (t *Tensor) LogSumExp(dim int) *Tensor { return t.one("aten::logsumexp", []int{dim}) }

// Norm is the Euclidean norm of all elements, a scalar.
func (t *Tensor) Norm() *Tensor { return t.one("aten::norm.Scalar") }

// NormKeep is the Euclidean norm along dimensions, left at size one.
func (t *Tensor) NormKeep(dims ...int) *Tensor {
	return t.one("aten::norm.ScalarOpt_dim", 2.0, dims, true)
}

// AllDim is true where every element along a dimension, which disappears, is.
func (t *Tensor) AllDim(dim int) *Tensor { return t.one("aten::all.dim", dim) }

// AnyDim is true where one element along a dimension, which disappears, is.
func (t *Tensor) AnyDim(dim int) *Tensor { return t.one("aten::any.dim", dim) }

// To converts to an element type, copying only when it differs.
func (t *Tensor) To(dtype DType) *Tensor { return t.one("aten::to.dtype", dtype) }

// ToDevice moves to a device, copying only when it differs.
func (t *Tensor) ToDevice(device Device) *Tensor {
	return t.one("aten::to.device", device, t.DType())
}

// AddInPlace is t += scale * other, a number or a tensor broadcast to t. As for
// all that change t in place, t's shape and type stay, and a leaf that records
// gradients is changed within NoGrad only.
func (t *Tensor) AddInPlace(other any, scale float64) *Tensor {
	if _, ok := other.(*Tensor); ok {
		return t.inPlace("aten::add_.Tensor", other, Named("alpha", scale))
	}
	return t.inPlace("aten::add_.Scalar", other, scale)
}

// MulInPlace is t *= other, a number or a tensor broadcast to t.
func (t *Tensor) MulInPlace(other any) *Tensor {
	if _, ok := other.(*Tensor); ok {
		return t.inPlace("aten::mul_.Tensor", other)
	}
	return t.inPlace("aten::mul_.Scalar", other)
}

// DivInPlace is t /= other, a number or a tensor broadcast to t.
func (t *Tensor) DivInPlace(other any) *Tensor {
	if _, ok := other.(*Tensor); ok {
		return t.inPlace("aten::div_.Tensor", other)
	}
	return t.inPlace("aten::div_.Scalar", other)
}

// AddcmulInPlace is t += scale * a * b, broadcast to t.
func (t *Tensor) AddcmulInPlace(a, b *Tensor, scale float64) *Tensor {
	return t.inPlace("aten::addcmul_", a, b, Named("value", scale))
}

// AddcdivInPlace is t += scale * a / b, broadcast to t.
func (t *Tensor) AddcdivInPlace(a, b *Tensor, scale float64) *Tensor {
	return t.inPlace("aten::addcdiv_", a, b, Named("value", scale))
}

// ZeroInPlace sets every element to zero.
func (t *Tensor) ZeroInPlace() *Tensor { return t.inPlace("aten::zero_") }

// FillInPlace sets every element to a value.
func (t *Tensor) FillInPlace(value float64) *Tensor { return t.inPlace("aten::fill_.Scalar", value) }

// CopyFrom sets the elements from another tensor, broadcast to t and converted to
// its type and device.
func (t *Tensor) CopyFrom(src *Tensor) *Tensor { return t.inPlace("aten::copy_", src) }

// ExpInPlace raises e to every element.
func (t *Tensor) ExpInPlace() *Tensor { return t.inPlace("aten::exp_") }

// ScatterAddInPlace adds each element of values, which has the shape of indices,
// at its index along a dimension. It fails for indices out of range.
func (t *Tensor) ScatterAddInPlace(dim int, indices, values *Tensor) *Tensor {
	return t.inPlace("aten::scatter_add_", dim, indices, values)
}

// ClampInPlace limits values to [low, high]; nil leaves a side open.
func (t *Tensor) ClampInPlace(low, high any) *Tensor { return t.inPlace("aten::clamp_", low, high) }

// MaskedFillInPlace puts a number where a bool mask, broadcast to t, holds.
func (t *Tensor) MaskedFillInPlace(mask *Tensor, value float64) *Tensor {
	return t.inPlace("aten::masked_fill_.Scalar", maskFor("MaskedFillInPlace", t, mask), value)
}

// LtInPlace sets one where t < bound and zero elsewhere.
func (t *Tensor) LtInPlace(bound float64) *Tensor { return t.inPlace("aten::lt_.Scalar", bound) }

// NormalInPlace draws every element from a normal distribution, from the
// session's generator.
func (t *Tensor) NormalInPlace(mean, std float64) *Tensor {
	return t.inPlace("aten::normal_", mean, std)
}

// UniformInPlace draws every element uniformly from [low, high).
func (t *Tensor) UniformInPlace(low, high float64) *Tensor {
	return t.inPlace("aten::uniform_", low, high)
}

// BernoulliInPlace sets every element to one with a probability, else to zero.
func (t *Tensor) BernoulliInPlace(p float64) *Tensor {
	return t.inPlace("aten::bernoulli_.float", p)
}
