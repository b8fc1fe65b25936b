package gotorch

import "unsafe"

// Autocast calls fn with mixed precision on: operators that gain from it (matrix
// products, convolutions, linear layers) compute in dtype and return it, those
// that need the range (losses, sums, norms, by libtorch's own lists, which
// differ between devices and versions) in float32. Parameters stay float32 and
// so do their gradients; each is cast once within fn.
//
// BFloat16 works on CPU and CUDA without scaling the loss, Float16 on CUDA and
// only with it. Put the forward pass and the loss into fn. Backward and Gradients
// repeat the casts of the forward pass and add none, within fn as behind it.
// Do not call NoGrad around a layer in fn that is used with gradients too: its
// cast parameters are remembered without. Autocast may be nested; what was set
// before is restored when fn ends, by a panic too.
func (s *Session) Autocast(dtype DType, fn func()) {
	s.mustRun("Autocast")
	if dtype != BFloat16 && dtype != Float16 {
		s.fail("Autocast", []any{dtype}, "wants bfloat16 or float16")
	}
	var before [2]uint64
	s.check("Autocast", []any{dtype}, s.lib.invoke(s.lib.fn.enterAutocast, uintptr(s.device.Type), uintptr(dtype), uintptr(unsafe.Pointer(&before)), uintptr(unsafe.Pointer(&s.errText))))
	defer func() {
		s.lib.invoke(s.lib.fn.leaveAutocast, uintptr(s.device.Type), uintptr(unsafe.Pointer(&before)), uintptr(unsafe.Pointer(&s.errText)))
	}()
	fn()
}

// AllowTF32 lets float32 matrix products and cuDNN's operators on CUDA round
// their operands to TensorFloat-32 (ten bits of mantissa), which is several times
// faster. It is off in a new CUDA session. libtorch has one such setting for the
// process, so the last call decides for all sessions.
func (s *Session) AllowTF32(on bool) {
	if err := s.lib.allowTF32(on); err != nil {
		panic(err) // an *Error
	}
}
