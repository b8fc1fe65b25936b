package gotorch

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// SessionOptions configure a [Session].
type SessionOptions struct {
	Device  string // "cpu", "cuda", "cuda:1", or "auto": cuda when there is a device, else cpu. Empty means cpu
	Threads int    // threads inside one operator on the CPU; 0 leaves libtorch's default (all cores). The number changes the last bits of sums
	Seed    uint64 // of the session's generator
}

// A Session is one thread of work: a device, a random generator, and the
// tensors made in it. Only one goroutine may use a session at a time; several
// sessions may run at once.
type Session struct {
	lib       *Library
	device    Device
	threads   int
	generator *Generator

	running    atomic.Bool
	closed     bool
	persistent *scope
	scope      *scope // the innermost; nil outside Run
	graphs     []*Graph
	inGraph    bool // a Graph is running its step

	operators map[string]*operator // read without the library's lock
	args      []uint64             // packed arguments of the call in hand
	results   []uint64
	release   []uint64
	errText   [errorBytes]byte
}

// scope owns the tensors that are freed together.
type scope struct {
	parent  *scope
	tensors []*Tensor
}

// resultWords is room for the results of an ordinary call without a second one.
const resultWords = 64

// NewSession starts a session. Close it when done.
func (l *Library) NewSession(opts SessionOptions) (*Session, error) {
	device, err := l.pickDevice(opts.Device)
	if err != nil {
		return nil, err
	}
	if opts.Threads < 0 {
		return nil, fmt.Errorf("threads %d: want 0 or more", opts.Threads)
	}
	if device.Type == CUDA {
		if err := l.allowTF32(false); err != nil { // cuDNN's default is on
			return nil, err
		}
	}
	s := &Session{
		lib: l, device: device, threads: opts.Threads, persistent: &scope{},
		operators: map[string]*operator{}, results: make([]uint64, resultWords),
	}
	if s.threads == 0 {
		s.threads = int(l.invoke(l.fn.defaultThreads))
	}
	g, err := l.newGenerator(device, opts.Seed)
	if err != nil {
		return nil, err
	}
	g.session = s
	s.generator = g
	return s, nil
}

func (l *Library) pickDevice(name string) (Device, error) {
	if name == "" {
		name = "cpu"
	}
	if name == "auto" {
		name = "cpu"
		if l.DeviceCount(CUDA) > 0 {
			name = "cuda"
		}
	}
	device, err := NewDevice(name)
	if err != nil {
		return Device{}, err
	}
	if n := l.DeviceCount(device.Type); device.Type != CPU && device.Index >= n {
		return Device{}, fmt.Errorf("device %s: libtorch %s in %s sees %d CUDA devices (built with CUDA: %v)",
			name, l.inst.Version, l.inst.LibDir, n, l.inst.CUDA)
	}
	return device, nil
}

// Library is what the session runs on.
func (s *Session) Library() *Library { return s.lib }

// Device is where the session's tensors are made.
func (s *Session) Device() Device { return s.device }

// Threads is the number of threads inside one operator on the CPU.
func (s *Session) Threads() int { return s.threads }

// Generator is the session's own. Every random operator called in the session
// draws from it unless another one is passed.
func (s *Session) Generator() *Generator { return s.generator }

// Run calls fn on a locked OS thread, within a scope, with gradients on and the
// session's number of threads, and returns the [*Error] that an operation in fn
// panicked with. Other panics pass through. Tensors made in fn are freed when it
// ends, unless fn made them outlive it with Persist. Run may not be nested; use
// Scoped inside.
func (s *Session) Run(fn func()) (err error) {
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("gotorch session: Run while another Run is in progress (inside one, use Scoped)")
	}
	defer s.running.Store(false)
	if s.closed {
		return errors.New("gotorch session: Run after Close")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if s.lib.invoke(s.lib.fn.enterThread, uintptr(s.threads), uintptr(unsafe.Pointer(&s.errText))) < 0 {
		return &Error{Op: "Run", Msg: message(&s.errText)}
	}
	defer recoverError(&err)
	s.Scoped(fn)
	return nil
}

// Scoped frees everything that was made in fn when fn ends, except what was
// kept or persisted. A training step belongs in one.
func (s *Session) Scoped(fn func()) {
	if !s.running.Load() {
		s.fail("Scoped", nil, "outside Session.Run")
	}
	s.scope = &scope{parent: s.scope}
	defer s.endScope()
	fn()
}

func (s *Session) endScope() {
	ended := s.scope
	s.scope = ended.parent
	s.free(ended)
}

// free releases what a scope still owns. Tensors that were moved elsewhere are
// in its list too, with another owner.
func (s *Session) free(sc *scope) {
	s.release = s.release[:0]
	for _, t := range sc.tensors {
		if t.owner != sc {
			continue
		}
		s.release = append(s.release, t.handle)
		t.handle, t.owner = 0, nil
	}
	sc.tensors = nil
	if len(s.release) > 0 {
		s.lib.invoke(s.lib.fn.release, uintptr(unsafe.Pointer(&s.release[0])), uintptr(len(s.release)))
	}
}

// Keep moves tensors made in the current scope to the enclosing one; from the
// outermost scope they move to the session, as with Persist. Tensors that
// already live longer, and nil ones, are left alone.
func (s *Session) Keep(ts ...*Tensor) {
	s.mustRun("Keep")
	target := s.scope.parent
	if target == nil {
		target = s.persistent
	}
	for _, t := range ts {
		if t != nil && s.valid("Keep", t).owner == s.scope {
			t.moveTo(target)
		}
	}
}

// Persist makes tensors live until the session is closed: parameters, optimizer
// state. Free them earlier with Free.
func (s *Session) Persist(ts ...*Tensor) {
	for _, t := range ts {
		if t != nil && s.valid("Persist", t).owner != s.persistent {
			t.moveTo(s.persistent)
		}
	}
}

// Free releases tensors now instead of at the end of their scope. Freeing nil
// or freed tensors does nothing.
func (s *Session) Free(ts ...*Tensor) {
	for _, t := range ts {
		if t == nil || t.handle == 0 {
			continue
		}
		handle := s.valid("Free", t).handle
		if t.owner == s.persistent {
			s.persistent.drop(t)
		}
		t.handle, t.owner = 0, nil
		s.release = append(s.release[:0], handle)
		s.lib.invoke(s.lib.fn.release, uintptr(unsafe.Pointer(&s.release[0])), 1)
	}
}

// drop forgets a tensor, so that a long session's list does not grow with what
// was freed.
func (sc *scope) drop(t *Tensor) {
	for i, other := range sc.tensors {
		if other == t {
			last := len(sc.tensors) - 1
			sc.tensors[i] = sc.tensors[last]
			sc.tensors = sc.tensors[:last]
			return
		}
	}
}

// NoGrad calls fn with the recording of gradients off: evaluation, optimizer
// steps, initialisation.
func (s *Session) NoGrad(fn func()) {
	s.mustRun("NoGrad")
	before := s.lib.invoke(s.lib.fn.setGradMode, 0)
	defer func() { s.lib.invoke(s.lib.fn.setGradMode, uintptr(before)) }()
	fn()
}

// Synchronize waits until the device has finished all work queued so far; on
// the CPU there is none.
func (s *Session) Synchronize() {
	s.check("Synchronize", nil, s.lib.invoke(s.lib.fn.synchronize, uintptr(s.device.word()), uintptr(unsafe.Pointer(&s.errText))))
}

// MemoryStats are a CUDA device's allocator figures, in bytes.
type MemoryStats struct {
	Allocated, PeakAllocated uint64 // in tensors
	Reserved, PeakReserved   uint64 // taken from the device
}

// Memory reports the allocator of the session's device; false on the CPU and
// where the shim was compiled without the toolkit's headers.
func (s *Session) Memory() (MemoryStats, bool) {
	if s.device.Type != CUDA {
		return MemoryStats{}, false
	}
	var out [4]uint64
	r := s.lib.invoke(s.lib.fn.memory, uintptr(s.device.Index), uintptr(unsafe.Pointer(&out)), uintptr(unsafe.Pointer(&s.errText)))
	s.check("Memory", nil, r)
	return MemoryStats{out[0], out[1], out[2], out[3]}, r == 1
}

// EmptyCache gives the allocator's unused memory back to the device.
func (s *Session) EmptyCache() {
	s.check("EmptyCache", nil, s.lib.invoke(s.lib.fn.emptyCache, uintptr(unsafe.Pointer(&s.errText))))
}

// Close frees the session's tensors, graphs and generator. Using them afterwards is an
// error. It may be called twice, but not inside Run.
func (s *Session) Close() error {
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("gotorch session: Close inside Run")
	}
	defer s.running.Store(false)
	if s.closed {
		return nil
	}
	s.closed = true
	for len(s.graphs) > 0 {
		s.graphs[0].Close()
	}
	s.free(s.persistent)
	s.generator.close()
	return nil
}

func (s *Session) mustRun(op string) {
	if s.scope == nil {
		s.fail(op, nil, "outside Session.Run")
	}
}

// valid returns t when it can be used in this session, and panics otherwise.
func (s *Session) valid(op string, t *Tensor) *Tensor {
	switch {
	case t == nil:
		s.fail(op, nil, "nil tensor")
	case t.session != s:
		s.fail(op, nil, "tensor of another session")
	case t.handle == 0:
		s.fail(op, nil, "tensor used after its scope ended (Keep or Persist it)")
	}
	return t
}

// check panics with libtorch's message when a shim call failed.
func (s *Session) check(op string, args []any, result int64) {
	if result < 0 {
		s.fail(op, args, message(&s.errText))
	}
}

func (s *Session) fail(op string, args []any, msg string) {
	panic(&Error{Op: op, Args: describeAll(args), Msg: msg})
}
