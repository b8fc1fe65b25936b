package remotetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// AllTraits are those of a place that can do everything.
var AllTraits = remote.Traits{AnyName: true, Ranges: true, Conditional: true}

// Memory is a remote.Driver whose place is the process's memory. NewMemory makes
// one. Several stores may share one, as several machines share a bucket.
type Memory struct {
	traits  remote.Traits
	mu      sync.Mutex // guards objects; the slices are never changed
	objects map[string][]byte
}

var _ remote.Driver = (*Memory)(nil)

// NewMemory is an empty place with the given abilities. What it cannot do, it
// refuses: a store that counts on more than the traits say fails its tests.
func NewMemory(traits remote.Traits) *Memory {
	return &Memory{traits: traits, objects: map[string][]byte{}}
}

// Traits implements remote.Driver.
func (m *Memory) Traits() remote.Traits { return m.traits }

// String implements remote.Driver.
func (m *Memory) String() string { return "memory://" }

// Close implements remote.Driver. What is in the place stays.
func (m *Memory) Close() error { return nil }

// Stat implements remote.Driver.
func (m *Memory) Stat(ctx context.Context, name string) (int64, error) {
	b, err := m.object(ctx, name)
	return int64(len(b)), err
}

// Read implements remote.Driver.
func (m *Memory) Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	b, err := m.object(ctx, name)
	if err != nil {
		return nil, err
	}
	if !m.traits.Ranges && (offset != 0 || length >= 0) {
		return nil, fmt.Errorf("object %s: a range was asked for where there are none", name)
	}
	if offset < 0 || offset > 0 && offset >= int64(len(b)) {
		return nil, fmt.Errorf("object %s: offset %d is not within its %d bytes", name, offset, len(b))
	}
	b = b[offset:]
	if length >= 0 && length < int64(len(b)) {
		b = b[:length]
	}
	return io.NopCloser(contextReader{ctx, bytes.NewReader(b)}), nil
}

func (m *Memory) object(ctx context.Context, name string) ([]byte, error) {
	if err := m.check(ctx, name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[name]
	if !ok {
		return nil, fmt.Errorf("object %s: %w", name, artifacts.ErrNotFound)
	}
	return b, nil
}

// Write implements remote.Driver. Where the place is not conditional, ifAbsent
// is not honoured.
func (m *Memory) Write(ctx context.Context, name string, content remote.Content, ifAbsent bool) error {
	if err := m.check(ctx, name); err != nil {
		return err
	}
	r, err := content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	b := make([]byte, content.Size)
	if n, err := io.ReadFull(contextReader{ctx, r}, b); err != nil {
		return fmt.Errorf("object %s: after %d of %d bytes of its content: %w", name, n, content.Size, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, stands := m.objects[name]; stands && ifAbsent && m.traits.Conditional {
		return remote.ErrExists
	}
	m.objects[name] = b
	return nil
}

func (m *Memory) check(ctx context.Context, name string) error {
	if !m.traits.AnyName && !commonName(name) {
		return fmt.Errorf("object %s: a place for cas/<hex> and ac/<hex> alone", name)
	}
	return ctx.Err()
}

// Names are those of all objects, sorted.
func (m *Memory) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.objects))
}

// Object is a copy of an object's bytes, nil if there is none.
func (m *Memory) Object(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.objects[name])
}

// Set makes an object of b, or removes it where b is nil: damage, seen from the
// store above.
func (m *Memory) Set(name string, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b == nil {
		delete(m.objects, name)
		return
	}
	m.objects[name] = bytes.Clone(b)
}

// A contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Combinations are all there are of traits.
func Combinations() []remote.Traits {
	var all []remote.Traits
	for i := range 8 {
		all = append(all, remote.Traits{AnyName: i&1 != 0, Ranges: i&2 != 0, Conditional: i&4 != 0})
	}
	return all
}
