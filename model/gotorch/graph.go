package gotorch

import (
	"slices"
	"unsafe"
)

// warmUpRuns is how many real steps run before one is captured, so that
// libraries make their handles and workspaces, and algorithms are chosen,
// outside the capture.
const warmUpRuns = 3

// A Graph is a step that is run again and again, on CUDA as one launch: after a
// few ordinary runs it is captured as a CUDA graph and from then on replayed,
// which spares the host the work of queueing hundreds of small kernels. On the
// CPU, and where capturing is not possible, Run calls the step itself, with the
// same effects.
//
// What a step may do follows from the replay, which repeats the device's work at
// the same addresses while no Go code of the step runs:
//
//   - read and change only tensors that outlive the Graph ([Session.Persist]),
//     of shapes that stay the same. Input is copied into them before Run
//     ([Tensor.CopyFrom]), results out of them after it;
//   - not read values back (Item, Float32s, …) nor copy them from the host;
//   - not depend on Go values that change from run to run: they are those of the
//     captured run for ever. Learning rates and step counts are tensors for that
//     reason (package optim);
//   - not run another Graph;
//   - draw random numbers: they come from the session's generator, which moves
//     on at each replay as it would have without one.
//
// A run begins with gradients dropped: those of all persistent tensors. After a
// run gradients are undefined; a step uses its own.
//
// The first three runs are ordinary ones on a stream of their own, the fourth is
// captured. A step that cannot be captured goes on as before, and
// [Graph.Reason] says why; Go code of the step has then run once more.
type Graph struct {
	session *Session
	step    func()
	handle  uint64 // of the shim; zero where steps are not captured
	runs    int
	done    bool // captured
	closed  bool
	reason  string
}

// NewGraph makes a Graph of a step, which does not run yet.
func (s *Session) NewGraph(step func()) *Graph {
	g := &Graph{session: s, step: step}
	s.mustRun("NewGraph")
	s.graphs = append(s.graphs, g)
	if g.reason = s.whyNotCaptured(); g.reason != "" {
		return g
	}
	s.check("NewGraph", nil, s.lib.invoke(s.lib.fn.newGraph, uintptr(s.device.word()), uintptr(unsafe.Pointer(&g.handle)), uintptr(unsafe.Pointer(&s.errText))))
	return g
}

func (s *Session) whyNotCaptured() string {
	if s.device.Type != CUDA {
		return "only CUDA captures, and the session is on " + s.device.String()
	}
	if s.lib.invoke(s.lib.fn.canCapture, uintptr(unsafe.Pointer(&s.errText))) == 0 {
		return message(&s.errText)
	}
	return ""
}

// Captured reports whether runs are replays by now.
func (g *Graph) Captured() bool { return g.done }

// Reason says why steps are not captured; empty while they are, or may still be.
func (g *Graph) Reason() string { return g.reason }

// Run runs the step once, in a scope of its own. It fails with what the step
// failed with, as any operation does.
func (g *Graph) Run() {
	s := g.session
	s.mustRun("Graph.Run")
	if g.closed {
		s.fail("Graph.Run", nil, "after Close")
	}
	if s.inGraph {
		s.fail("Graph.Run", nil, "inside the step of a Graph")
	}
	s.inGraph = true
	defer func() { s.inGraph = false }()
	g.runs++
	switch {
	case g.done:
		g.replay()
	case g.handle == 0:
		g.runStep()
	case g.runs <= warmUpRuns:
		g.aside(g.runStep)
	default:
		g.captureOrGiveUp()
	}
}

func (g *Graph) runStep() {
	g.session.dropGradients()
	g.session.Scoped(g.step)
}

func (s *Session) dropGradients() {
	handles := s.release[:0]
	for _, t := range s.persistent.tensors {
		handles = append(handles, t.handle)
	}
	s.release = handles
	if len(handles) > 0 {
		s.check("Graph.Run", nil, s.lib.invoke(s.lib.fn.dropGradients, uintptr(unsafe.Pointer(&handles[0])), uintptr(len(handles)), uintptr(unsafe.Pointer(&s.errText))))
	}
}

// aside calls fn with the graph's own stream as the current one.
func (g *Graph) aside(fn func()) {
	g.call(g.session.lib.fn.graphEnter)
	defer g.call(g.session.lib.fn.graphLeave)
	fn()
}

func (g *Graph) call(fn uintptr) {
	s := g.session
	s.check("Graph.Run", nil, s.lib.invoke(fn, uintptr(g.handle), uintptr(unsafe.Pointer(&s.errText))))
}

func (g *Graph) replay() { g.call(g.session.lib.fn.graphReplay) }

// captureOrGiveUp captures the step and runs it by a replay. A step that cannot
// be captured has done nothing on the device by then, and runs as ever.
func (g *Graph) captureOrGiveUp() {
	if err := g.capture(); err != nil {
		g.reason = err.Error()
		g.release()
		g.runStep()
		return
	}
	g.done = true
	g.replay()
}

func (g *Graph) capture() (err error) {
	s := g.session
	defer recoverError(&err)
	g.aside(func() {
		s.check("capturing", nil, s.lib.invoke(s.lib.fn.graphBegin, uintptr(g.handle), uintptr(s.generator.handle), uintptr(unsafe.Pointer(&s.errText))))
		whole := false
		defer func() {
			r := s.lib.invoke(s.lib.fn.graphEnd, uintptr(g.handle), word(whole), uintptr(unsafe.Pointer(&s.errText)))
			if whole { // else the step's own failure is the reason
				s.check("capturing", nil, r)
			}
		}()
		g.runStep()
		whole = true
	})
	return nil
}

// Close frees what a captured step holds on the device, its memory above all.
// The graph must not run any more then. The session closes those left.
func (g *Graph) Close() {
	g.closed = true
	g.release()
	g.session.graphs = slices.DeleteFunc(g.session.graphs, func(other *Graph) bool { return other == g })
}

func (g *Graph) release() {
	if g.handle != 0 {
		g.session.lib.invoke(g.session.lib.fn.releaseGraph, uintptr(g.handle))
		g.handle = 0
	}
	g.done = false
}
