package gotorch

// shapeOf keeps an empty variadic from turning into an absent argument.
func shapeOf(shape []int64) []int64 {
	if shape == nil {
		return []int64{}
	}
	return shape
}

func (s *Session) onDevice() NamedArg { return Named("device", s.device) }

// Empty makes a tensor without setting its values. Without sizes it is a scalar;
// a negative size, and more memory than there is, are an error. So it is for all
// that take a shape.
func (s *Session) Empty(dtype DType, shape ...int64) *Tensor {
	return s.Call1("aten::empty.memory_format", shapeOf(shape), Named("dtype", dtype), s.onDevice())
}

// Zeros makes a float32 tensor of zeros.
func (s *Session) Zeros(shape ...int64) *Tensor { return s.ZerosOf(Float32, shape...) }

// ZerosOf is Zeros of any element type.
func (s *Session) ZerosOf(dtype DType, shape ...int64) *Tensor {
	return s.Call1("aten::zeros", shapeOf(shape), Named("dtype", dtype), s.onDevice())
}

// Ones makes a float32 tensor of ones.
func (s *Session) Ones(shape ...int64) *Tensor { return s.Full(1, shape...) }

// Full makes a float32 tensor of one value.
func (s *Session) Full(value float64, shape ...int64) *Tensor {
	return s.FullOf(Float32, value, shape...)
}

// FullOf is Full of any element type.
func (s *Session) FullOf(dtype DType, value float64, shape ...int64) *Tensor {
	return s.Call1("aten::full", shapeOf(shape), value, Named("dtype", dtype), s.onDevice())
}

// ZerosLike makes zeros of a tensor's shape, type and device.
func (s *Session) ZerosLike(t *Tensor) *Tensor { return s.Call1("aten::zeros_like", t) }

// OnesLike makes ones of a tensor's shape, type and device.
func (s *Session) OnesLike(t *Tensor) *Tensor { return s.Call1("aten::ones_like", t) }

// Eye makes the float32 identity matrix [n, n].
func (s *Session) Eye(n int64) *Tensor { return s.Call1("aten::eye", n, s.onDevice()) }

// Arange makes the int64 vector start, start+step, … below end; a step of 0, or
// one that leads away from end, is an error.
func (s *Session) Arange(start, end, step int64) *Tensor {
	return s.Call1("aten::arange.start_step", start, end, step, Named("dtype", Int64), s.onDevice())
}

// Randn draws float32 values of the standard normal distribution from the
// session's generator.
func (s *Session) Randn(shape ...int64) *Tensor {
	return s.Call1("aten::randn.generator", shapeOf(shape), Named("dtype", Float32), s.onDevice())
}

// Rand draws float32 values uniform in [0, 1) from the session's generator.
func (s *Session) Rand(shape ...int64) *Tensor {
	return s.Call1("aten::rand.generator", shapeOf(shape), Named("dtype", Float32), s.onDevice())
}

// RandInt draws int64 values uniform in [low, high) from the session's generator;
// an empty range is an error.
func (s *Session) RandInt(low, high int64, shape ...int64) *Tensor {
	return s.Call1("aten::randint.low_generator", low, high, shapeOf(shape), Named("dtype", Int64), s.onDevice())
}

// RandPerm draws a permutation of 0 … n-1, an int64 vector [n].
func (s *Session) RandPerm(n int64) *Tensor {
	return s.Call1("aten::randperm.generator", n, Named("dtype", Int64), s.onDevice())
}

// Cat joins tensors along an existing dimension, in which alone their sizes may
// differ. No tensors are an error.
func (s *Session) Cat(dim int, ts ...*Tensor) *Tensor { return s.Call1("aten::cat", ts, dim) }

// Stack joins tensors of one shape along a new dimension, dim of the result. No
// tensors are an error.
func (s *Session) Stack(dim int, ts ...*Tensor) *Tensor { return s.Call1("aten::stack", ts, dim) }

// Where takes from a where a bool condition holds and from b elsewhere; the three
// are broadcast.
func (s *Session) Where(condition, a, b *Tensor) *Tensor {
	return s.Call1("aten::where.self", condition, a, b)
}
