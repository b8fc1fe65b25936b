package gotorch

import (
	"fmt"
	"unsafe"
)

// A Generator is a source of random numbers on one device. The stream depends
// on the seed, the device type and the libtorch version.
type Generator struct {
	lib     *Library
	session *Session
	handle  uint64
}

// NewGenerator makes a generator on the session's device, apart from the
// session's own. Close it when done.
func (s *Session) NewGenerator(seed uint64) (*Generator, error) {
	if s.closed {
		return nil, fmt.Errorf("making a random generator: its session is closed")
	}
	g, err := s.lib.newGenerator(s.device, seed)
	if err != nil {
		return nil, err
	}
	g.session = s
	return g, nil
}

func (l *Library) newGenerator(device Device, seed uint64) (*Generator, error) {
	var buffer [errorBytes]byte
	g := &Generator{lib: l}
	if l.invoke(l.fn.newGenerator, uintptr(device.word()), uintptr(seed), uintptr(unsafe.Pointer(&g.handle)), uintptr(unsafe.Pointer(&buffer))) < 0 {
		return nil, fmt.Errorf("making a random generator on %s: %s", device, message(&buffer))
	}
	return g, nil
}

// Seed restarts the stream.
func (g *Generator) Seed(seed uint64) error {
	return g.do("seeding", func(err *[errorBytes]byte) int64 {
		return g.lib.invoke(g.lib.fn.seedGenerator, uintptr(g.handle), uintptr(seed), uintptr(unsafe.Pointer(err)))
	})
}

// State is the point that the stream has reached, in libtorch's own format: a
// few bytes on CUDA, about 5 kB on the CPU.
func (g *Generator) State() ([]byte, error) {
	if g.handle == 0 {
		return nil, fmt.Errorf("reading the state of a random generator: it is closed")
	}
	state, err := g.lib.text(func(dst *byte, capacity int, err *[errorBytes]byte) int64 {
		return g.lib.invoke(g.lib.fn.generatorState, uintptr(g.handle), uintptr(unsafe.Pointer(dst)), uintptr(capacity), uintptr(unsafe.Pointer(err)))
	})
	if err != nil {
		return nil, fmt.Errorf("reading the state of a random generator: %w", err)
	}
	return []byte(state), nil
}

// SetState continues from a point that State returned on the same device type.
func (g *Generator) SetState(state []byte) error {
	if len(state) == 0 {
		return fmt.Errorf("setting the state of a random generator: no bytes")
	}
	return g.do("setting the state of", func(err *[errorBytes]byte) int64 {
		return g.lib.invoke(g.lib.fn.setGeneratorSt, uintptr(g.handle), uintptr(unsafe.Pointer(&state[0])), uintptr(len(state)), uintptr(unsafe.Pointer(err)))
	})
}

func (g *Generator) do(what string, call func(err *[errorBytes]byte) int64) error {
	if g.handle == 0 {
		return fmt.Errorf("%s a random generator: it is closed", what)
	}
	var buffer [errorBytes]byte
	if call(&buffer) < 0 {
		return fmt.Errorf("%s a random generator: %s", what, message(&buffer))
	}
	return nil
}

// Close frees the generator. The session closes its own.
func (g *Generator) Close() error {
	if g.session != nil && g == g.session.generator && !g.session.closed {
		return fmt.Errorf("closing a random generator: it is its session's; close the session")
	}
	g.close()
	return nil
}

func (g *Generator) close() {
	if g.handle != 0 {
		g.lib.invoke(g.lib.fn.releaseGenerator, uintptr(g.handle))
		g.handle = 0
	}
}
