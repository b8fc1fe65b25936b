package gotorch

import "unsafe"

// RequiresGrad turns the recording of gradients for a leaf tensor on or off and
// returns the tensor.
func (t *Tensor) RequiresGrad(on bool) *Tensor {
	s := t.own("RequiresGrad")
	s.check("RequiresGrad", []any{t}, s.lib.invoke(s.lib.fn.setRequiresGrad, uintptr(t.handle), word(on), uintptr(unsafe.Pointer(&s.errText))))
	return t
}

// Grad is the gradient that Backward accumulated, or nil when there is none. It
// shares memory with the accumulated one; zeroing it in place zeroes that.
func (t *Tensor) Grad() *Tensor {
	s := t.own("Grad")
	s.mustRun("Grad")
	var handle uint64
	s.check("Grad", []any{t}, s.lib.invoke(s.lib.fn.gradient, uintptr(t.handle), uintptr(unsafe.Pointer(&handle)), uintptr(unsafe.Pointer(&s.errText))))
	return s.adopt(handle)
}

// SetGrad replaces the accumulated gradient; nil drops it, which is the cheap
// way to zero it.
func (t *Tensor) SetGrad(gradient *Tensor) {
	s := t.own("SetGrad")
	var handle uint64
	if gradient != nil {
		handle = s.valid("SetGrad", gradient).handle
	}
	s.check("SetGrad", []any{t, gradient}, s.lib.invoke(s.lib.fn.setGrad, uintptr(t.handle), uintptr(handle), uintptr(unsafe.Pointer(&s.errText))))
}

// BackwardOptions refine [Tensor.BackwardWith] and [Session.Gradients].
type BackwardOptions struct {
	RetainGraph bool // keep the graph for another backward pass
	CreateGraph bool // record the gradients' own computation, for second derivatives
	AllowUnused bool // Gradients only: an input that the outputs do not depend on gives nil instead of an error
}

// Backward adds the gradients of a one-element tensor to every leaf that it was
// computed from, and frees the graph.
func (t *Tensor) Backward() { t.BackwardWith(nil, BackwardOptions{}) }

// BackwardWith is Backward for any tensor, given the gradient with respect to it.
func (t *Tensor) BackwardWith(gradient *Tensor, opts BackwardOptions) {
	s := t.own("Backward")
	s.mustRun("Backward")
	var handle uint64
	if gradient != nil {
		handle = s.valid("Backward", gradient).handle
	}
	r := s.lib.invoke(s.lib.fn.backward, uintptr(t.handle), uintptr(handle), word(opts.RetainGraph || opts.CreateGraph), word(opts.CreateGraph), uintptr(unsafe.Pointer(&s.errText)))
	s.check("Backward", []any{t}, r)
}

// Gradients returns the gradients of the sum of outputs with respect to inputs,
// one for each, without touching what Backward accumulates. weights are the
// gradients with respect to the outputs; nil when those have one element each.
func (s *Session) Gradients(outputs, inputs, weights []*Tensor, opts BackwardOptions) []*Tensor {
	s.mustRun("Gradients")
	if len(outputs) == 0 || len(inputs) == 0 {
		s.fail("Gradients", []any{outputs, inputs}, "want at least one output and one input")
	}
	if len(weights) != 0 && len(weights) != len(outputs) {
		s.fail("Gradients", []any{outputs, weights}, "want one weight for each output, or none")
	}
	out, in, w := s.handles("Gradients", outputs), s.handles("Gradients", inputs), s.handles("Gradients", weights)
	found := make([]uint64, len(inputs))
	r := s.lib.invoke(s.lib.fn.grad,
		uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)),
		uintptr(unsafe.Pointer(&in[0])), uintptr(len(in)),
		uintptr(unsafe.Pointer(unsafe.SliceData(w))), uintptr(len(w)),
		word(opts.RetainGraph || opts.CreateGraph), word(opts.CreateGraph), word(opts.AllowUnused),
		uintptr(unsafe.Pointer(&found[0])), uintptr(unsafe.Pointer(&s.errText)))
	s.check("Gradients", []any{outputs, inputs}, r)
	gradients := make([]*Tensor, len(found))
	for i, h := range found {
		gradients[i] = s.adopt(h)
	}
	return gradients
}

func (s *Session) handles(op string, ts []*Tensor) []uint64 {
	out := make([]uint64, len(ts))
	for i, t := range ts {
		out[i] = s.valid(op, t).handle
	}
	return out
}
