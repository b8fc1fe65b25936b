package gotorch

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// shimABI is the pf_abi of the shim that this file was written for.
const shimABI = 2

// errorBytes is the size of the buffer that the shim writes messages to
// (kErrorBytes there).
const errorBytes = 4096

// functions are the addresses of the shim's entry points.
type functions struct {
	abi, liveTensors, release, hasOperator, findOperator, describe, call, take    uintptr
	info, fromHost, toHost, backward, grad, setRequiresGrad, gradient, setGrad    uintptr
	setGradMode, enterThread, deviceCount, synchronize, memory, emptyCache        uintptr
	newGenerator, releaseGenerator, seedGenerator, generatorState, setGeneratorSt uintptr
	setDeterministic, buildInfo, defaultThreads, dropGradients                    uintptr
	allowTF32, enterAutocast, leaveAutocast                                       uintptr
	canCapture, newGraph, releaseGraph, graphEnter, graphLeave                    uintptr
	graphBegin, graphEnd, graphReplay                                             uintptr
}

// A Library is a loaded libtorch. It is safe for concurrent use and stays
// loaded until the process ends: libtorch cannot be unloaded.
type Library struct {
	inst Installation
	path string
	fn   functions

	mu        sync.Mutex // guards operators
	operators map[string]*operator
}

// loaded is the one libtorch of this process. Loading is global by nature:
// symbols of a second one would resolve to the first, so Open refuses that
// rather than let it crash.
var loaded struct {
	sync.Mutex // guards lib
	lib        *Library
}

// Open finds a libtorch, compiles the shim if that was not done before, and
// loads both into the process. Opening the same one again returns the same
// Library; opening another one in the same process is an error.
func Open(ctx context.Context, opts Options) (*Library, error) {
	inst, err := Find(ctx, opts)
	if err != nil {
		return nil, err
	}
	path, err := Build(ctx, inst, opts)
	if err != nil {
		return nil, err
	}
	loaded.Lock()
	defer loaded.Unlock()
	if lib := loaded.lib; lib != nil {
		if lib.inst.LibDir != inst.LibDir {
			return nil, fmt.Errorf("loading libtorch from %s: this process already uses the one in %s", inst.LibDir, lib.inst.LibDir)
		}
		return lib, nil
	}
	if err := tameOpenMP(opts.Getenv); err != nil {
		opts.logf("%v; trainings may be slow beside other programs", err)
	}
	lib, err := load(inst, path)
	if err != nil {
		return nil, err
	}
	loaded.lib = lib
	for _, line := range lib.Advice() {
		opts.logf("%s", line)
	}
	return lib, nil
}

func load(inst Installation, path string) (*Library, error) {
	runtime.LockOSThread() // what the linker says of a failure is kept for each thread
	defer runtime.UnlockOSThread()
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("loading libtorch %s: %w", inst.Version, err)
	}
	lib := &Library{inst: inst, path: path, operators: map[string]*operator{}}
	if err := lib.fn.resolve(handle); err != nil {
		return nil, fmt.Errorf("loading %s: %w", path, err)
	}
	if got := lib.invoke(lib.fn.abi); got != shimABI {
		return nil, fmt.Errorf("loading %s: shim has ABI %d, want %d", path, got, shimABI)
	}
	return lib, nil
}

func (f *functions) resolve(handle uintptr) error {
	for name, slot := range map[string]*uintptr{
		"pf_abi": &f.abi, "pf_live_tensors": &f.liveTensors, "pf_release": &f.release,
		"pf_has_operator": &f.hasOperator, "pf_find_operator": &f.findOperator, "pf_describe": &f.describe,
		"pf_call": &f.call, "pf_take": &f.take, "pf_info": &f.info, "pf_from_host": &f.fromHost,
		"pf_to_host": &f.toHost, "pf_backward": &f.backward, "pf_grad": &f.grad,
		"pf_set_requires_grad": &f.setRequiresGrad, "pf_gradient": &f.gradient, "pf_set_gradient": &f.setGrad,
		"pf_set_grad_mode": &f.setGradMode, "pf_enter_thread": &f.enterThread, "pf_device_count": &f.deviceCount,
		"pf_synchronize": &f.synchronize, "pf_memory": &f.memory, "pf_empty_cache": &f.emptyCache,
		"pf_new_generator": &f.newGenerator, "pf_release_generator": &f.releaseGenerator,
		"pf_seed_generator": &f.seedGenerator, "pf_generator_state": &f.generatorState,
		"pf_set_generator_state": &f.setGeneratorSt, "pf_set_deterministic": &f.setDeterministic,
		"pf_build_info": &f.buildInfo, "pf_default_threads": &f.defaultThreads,
		"pf_drop_gradients": &f.dropGradients, "pf_allow_tf32": &f.allowTF32,
		"pf_enter_autocast": &f.enterAutocast, "pf_leave_autocast": &f.leaveAutocast,
		"pf_can_capture": &f.canCapture, "pf_new_graph": &f.newGraph, "pf_release_graph": &f.releaseGraph,
		"pf_graph_enter": &f.graphEnter, "pf_graph_leave": &f.graphLeave, "pf_graph_begin": &f.graphBegin,
		"pf_graph_end": &f.graphEnd, "pf_graph_replay": &f.graphReplay,
	} {
		address, err := purego.Dlsym(handle, name)
		if err != nil {
			return err
		}
		*slot = address
	}
	return nil
}

// invoke calls a shim function. A pointer among args must be written as
// uintptr(unsafe.Pointer(p)) in the argument list itself: that keeps it alive
// and in place during the call.
//
//go:uintptrescapes
func (l *Library) invoke(fn uintptr, args ...uintptr) int64 {
	r, _, _ := purego.SyscallN(fn, args...)
	return int64(r)
}

// message is what the shim wrote to an error buffer.
func message(buffer *[errorBytes]byte) string {
	text := string(buffer[:])
	if end := strings.IndexByte(text, 0); end >= 0 {
		text = text[:end]
	}
	return firstLine(text)
}

// Installation says which libtorch this is.
func (l *Library) Installation() Installation { return l.inst }

// Path is the compiled shim's file.
func (l *Library) Path() string { return l.path }

// LiveTensors counts the tensor handles that Go holds, over all sessions. A
// number that grows from step to step is a leak.
func (l *Library) LiveTensors() int64 { return l.invoke(l.fn.liveTensors) }

// DeviceCount is the number of usable devices of a type; CPU counts one.
func (l *Library) DeviceCount(t DeviceType) int {
	return int(l.invoke(l.fn.deviceCount, uintptr(t)))
}

// BuildInfo is libtorch's own account of its version and how it was built
// (BLAS, OpenMP, vector extensions, CUDA), several lines.
func (l *Library) BuildInfo() (string, error) {
	return l.text(func(dst *byte, capacity int, err *[errorBytes]byte) int64 {
		return l.invoke(l.fn.buildInfo, uintptr(unsafe.Pointer(dst)), uintptr(capacity), uintptr(unsafe.Pointer(err)))
	})
}

// Advice names what makes this libtorch needlessly slow, each with its remedy;
// nothing when all is well.
func (l *Library) Advice() []string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil // not Linux: no Debian alternatives either
	}
	if referenceBLAS.Match(maps) {
		return []string{"libtorch multiplies matrices with the reference BLAS, over ten times slower than OpenBLAS: apt-get install libopenblas0-openmp"}
	}
	return nil
}

// referenceBLAS is where Debian keeps the BLAS that comes with libtorch when no
// better one is installed.
var referenceBLAS = regexp.MustCompile(`(?m)/blas/libblas\.so[^/\n]*$`)

// SetDeterministic makes operators that have no deterministic implementation
// fail instead of giving results that differ from run to run. Process-wide.
func (l *Library) SetDeterministic(on bool) error {
	var buffer [errorBytes]byte
	if l.invoke(l.fn.setDeterministic, word(on), uintptr(unsafe.Pointer(&buffer))) < 0 {
		return &Error{Op: "SetDeterministic", Msg: message(&buffer)}
	}
	return nil
}

// allowTF32 is process-wide as well; see [Session.AllowTF32].
func (l *Library) allowTF32(on bool) error {
	var buffer [errorBytes]byte
	if l.invoke(l.fn.allowTF32, word(on), uintptr(unsafe.Pointer(&buffer))) < 0 {
		return &Error{Op: "AllowTF32", Msg: message(&buffer)}
	}
	return nil
}

func word(b bool) uintptr {
	if b {
		return 1
	}
	return 0
}

// text reads a string of unknown length: fill returns the length that it wants.
func (l *Library) text(fill func(dst *byte, capacity int, err *[errorBytes]byte) int64) (string, error) {
	var buffer [errorBytes]byte
	dst := make([]byte, 2048)
	for {
		n := fill(&dst[0], len(dst), &buffer)
		if n < 0 {
			return "", fmt.Errorf("%s", message(&buffer))
		}
		if int(n) <= len(dst) {
			return string(dst[:n]), nil
		}
		dst = make([]byte, n)
	}
}

// operator is one ATen operator, found once.
type operator struct {
	name      string // "aten::add.Tensor"
	handle    uintptr
	schema    string
	params    []string
	generator int // index of the Generator? parameter, or -1
}

func (o *operator) index(param string) (int, bool) {
	for i, p := range o.params {
		if p == param {
			return i, true
		}
	}
	return 0, false
}

// cName is a NUL-terminated copy for C.
func cName(s string) *byte {
	b := append([]byte(s), 0)
	return &b[0]
}

// HasOperator asks the dispatcher whether this libtorch has an operator, named
// as "aten::add.Tensor" (the overload after the dot, none for the default).
func (l *Library) HasOperator(name string) bool {
	base, overload, _ := strings.Cut(name, ".")
	return l.invoke(l.fn.hasOperator, uintptr(unsafe.Pointer(cName(base))), uintptr(unsafe.Pointer(cName(overload)))) != 0
}

// Schema is an operator's signature in libtorch's notation.
func (l *Library) Schema(name string) (string, error) {
	op, err := l.operator(name)
	if err != nil {
		return "", err
	}
	return op.schema, nil
}

func (l *Library) operator(name string) (*operator, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if op := l.operators[name]; op != nil {
		return op, nil
	}
	op, err := l.findOperator(name)
	if err != nil {
		return nil, err
	}
	l.operators[name] = op
	return op, nil
}

func (l *Library) findOperator(name string) (*operator, error) {
	base, overload, _ := strings.Cut(name, ".")
	var buffer [errorBytes]byte
	handle := new(uint64)
	if l.invoke(l.fn.findOperator, uintptr(unsafe.Pointer(cName(base))), uintptr(unsafe.Pointer(cName(overload))),
		uintptr(unsafe.Pointer(handle)), uintptr(unsafe.Pointer(&buffer))) < 0 {
		return nil, &Error{Op: name, Msg: "libtorch " + l.inst.Version + " has no such operator: " + message(&buffer)}
	}
	description, err := l.text(func(dst *byte, capacity int, err *[errorBytes]byte) int64 {
		return l.invoke(l.fn.describe, uintptr(*handle), uintptr(unsafe.Pointer(dst)), uintptr(capacity), uintptr(unsafe.Pointer(err)))
	})
	if err != nil {
		return nil, &Error{Op: name, Msg: err.Error()}
	}
	lines := strings.Split(description, "\n")
	op := &operator{name: name, handle: uintptr(*handle), schema: lines[0], params: lines[1:], generator: -1}
	if i, ok := op.index("generator"); ok {
		op.generator = i
	}
	return op, nil
}
