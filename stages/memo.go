package stages

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/prismflow/prismflow/artifacts"
)

// A Memo remembers what a stage computed of single rows, so that a stage that
// maps items one by one computes only what is new. It outlives the stage, a
// kill, and a change of the stage's other inputs. All methods may be called by
// several goroutines at once. Who opened it need not close it.
type Memo interface {
	// Get is the value that was put last under key. A value that is lost or
	// damaged is one that is not known: the row is computed again.
	Get(key MemoKey) (value []byte, known bool, err error)

	// Has says whether Get would know the key, without reading the value.
	Has(key MemoKey) bool

	// Put remembers a value, in place of an earlier one. When it returns, the
	// value survives a kill of the process. It does not keep value.
	Put(key MemoKey, value []byte) error
}

// A MemoKey is the SHA-256 of everything that one row depends on beside what
// all rows of its memo do.
type MemoKey = [sha256.Size]byte

// MemoKeyOf is the key of a row that depends on these parts, in this order.
func MemoKeyOf(parts ...[]byte) MemoKey {
	h := sha256.New()
	var length [8]byte
	for _, part := range parts {
		binary.LittleEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
	return MemoKey(h.Sum(nil))
}

// Memo opens the rows that were computed before under scope: what all rows
// depend on, such as a kind, its version, the parameters that matter to a row
// and the files of a model. It is not the request of the stage, which changes
// with every item that is added.
func (e *Env) Memo(ctx context.Context, scope artifacts.Request) (Memo, error) {
	if e.OpenMemo != nil {
		return e.OpenMemo(ctx, scope)
	}
	key, err := scope.Key()
	if err != nil {
		return nil, err
	}
	if e.memos == nil {
		e.memos = map[artifacts.Key]Memo{}
	}
	if e.memos[key] == nil {
		e.memos[key] = &volatileMemo{values: map[MemoKey][]byte{}}
	}
	return e.memos[key], nil
}

// A volatileMemo is a memo in the process's memory, for tests and for using a
// stage without a pipeline.
type volatileMemo struct {
	mu     sync.Mutex
	values map[MemoKey][]byte // guarded by mu
}

func (m *volatileMemo) Get(key MemoKey) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, known := m.values[key]
	return value, known, nil
}

func (m *volatileMemo) Has(key MemoKey) bool {
	_, known, _ := m.Get(key)
	return known
}

func (m *volatileMemo) Put(key MemoKey, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] = append([]byte{}, value...)
	return nil
}

// Incomplete says that some rows failed in a way that may pass, and how: the
// result serves, and the next run enters the stage again for those rows.
func (e *Env) Incomplete(reason string) { e.incomplete = reason }

// IncompleteReason is what Incomplete was last told; empty for a complete result.
func (e *Env) IncompleteReason() string { return e.incomplete }

// A Revalidator is a stage that may be told to look again at what it has, as
// images.download asks servers whether pictures changed. When Revalidates
// returns a reason, the stage runs although its result is in the cache.
type Revalidator interface{ Revalidates() (reason string) }

// LooksOutside says whether a stage is a Revalidator, whatever it is told: what
// it reads is no file and may change by itself, so that to compute its result
// again proves nothing.
func LooksOutside(s Stage) bool {
	if d, ok := s.(*declared); ok {
		_, ok = d.runner.(Revalidator)
		return ok
	}
	_, ok := s.(Revalidator)
	return ok
}
