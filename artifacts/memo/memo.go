package memo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prismflow/prismflow/artifacts"
)

// Options are the choices of a memo. The zero value is right for use.
type Options struct {
	// Provenance is recorded with what the memo adds to the store.
	Provenance artifacts.Provenance

	// Signer signs the list of segments. nil signs nothing.
	Signer artifacts.Signer

	// Warn hears, for people, what was lost and what could not be kept. It is
	// called from whichever method notices. nil: nobody hears.
	Warn func(message string)

	// Now is the clock by which journals are ordered. nil means time.Now.
	Now func() time.Time

	// SegmentBytes is the size from which a journal gets no further rows.
	// 0 means DefaultSegmentBytes.
	SegmentBytes int64
}

// DefaultSegmentBytes is 256 MiB: a segment is shared as a whole, and what is
// overridden in it is rewritten at once.
const DefaultSegmentBytes = 256 << 20

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	if o.SegmentBytes < 0 {
		return fmt.Errorf("option SegmentBytes is %d, must not be negative", o.SegmentBytes)
	}
	return nil
}

// A Store is what a memo needs of a store in a directory; *disk.Store has it.
type Store interface {
	artifacts.Store
	Verified(ctx context.Context, d artifacts.Digest) (path string, err error)
	Adopt(ctx context.Context, path string, d artifacts.Digest) error
	Lock(ctx context.Context, k artifacts.Key) (unlock func(), err error)
	TempDir(pattern string) (string, error)
	RemoveTemp(dir string) error
	StateDir() string
}

// A Memo is what is known of the rows of one scope. Its methods may be called
// by several goroutines at once. Whoever opens it closes it, and holds a lease
// on the store meanwhile, so that gc leaves the segments alone.
//
// Several memos of one scope may be open at once, in one process or several. One
// sees what others sealed before it was opened.
type Memo struct {
	store Store
	scope artifacts.Request // of the list
	key   artifacts.Key
	opts  Options
	hold  holder

	// A goroutine that takes both takes writing first.
	writing  sync.Mutex // guards journals
	journals []*journal // unsealed; the last one is written to, unless it is full

	mu       sync.RWMutex // guards what follows
	index    *index
	segments []*os.File
	closed   bool
	stats    Stats
}

// Stats count what a memo met.
type Stats struct {
	Rows     int   // known now
	Lost     int64 // rows of segments that are not there
	Damaged  int   // rows that could not be read as they were written
	CutBytes int64 // left out at the end of files that break off
}

// ErrClosed says that a memo was used after Close.
var ErrClosed = errors.New("the row memo is closed")

// Open opens the rows that were computed under a scope. The error is the
// context's, or that of a scope without a key: of what cannot be read Open
// warns, and its rows are not known.
func Open(ctx context.Context, store Store, scope artifacts.Request, opts Options) (*Memo, error) {
	return open(ctx, store, scope, opts, holdFile)
}

func open(ctx context.Context, store Store, scope artifacts.Request, opts Options, hold holder) (*Memo, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("opening a row memo: %w", err)
	}
	if opts.Warn == nil {
		opts.Warn = func(string) {}
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.SegmentBytes == 0 {
		opts.SegmentBytes = DefaultSegmentBytes
	}
	m := &Memo{store: store, scope: List(scope), opts: opts, hold: hold, index: newIndex()}
	var err error
	if m.key, err = m.scope.Key(); err != nil {
		return nil, fmt.Errorf("opening a row memo: %w", err)
	}
	// With the turn at the key nobody merges segments, and so makes them garbage,
	// between a look at the list and their opening.
	unlock, err := store.Lock(ctx, m.key)
	if err != nil {
		return nil, fmt.Errorf("opening the row memo %s: %w", m.key.Short(), err)
	}
	defer unlock()
	if err := m.load(ctx); err != nil {
		m.release()
		return nil, fmt.Errorf("opening the row memo %s: %w", m.key.Short(), err)
	}
	return m, nil
}

// Key is that of the result which lists the memo's segments.
func (m *Memo) Key() artifacts.Key { return m.key }

// dir is where the scope's journals are.
func (m *Memo) dir() string { return filepath.Join(journals(m.store.StateDir()), string(m.key)) }

// load makes known what the scope's segments and orphaned journals hold.
func (m *Memo) load(ctx context.Context) error {
	segments, err := list(ctx, m.store, m.key)
	var miss *artifacts.Miss
	if errors.As(err, &miss) {
		m.warn("the row memo %s starts empty: %v", m.key.Short(), miss)
	} else if err != nil {
		return err
	}
	for _, s := range segments {
		if err := m.loadSegment(ctx, s); err != nil {
			return err
		}
	}
	if m.stats.Lost > 0 {
		m.warn("%d rows of the row memo %s are no longer in the cache, or damaged there: they are computed again", m.stats.Lost, m.key.Short())
	}
	if err := m.takeOver(); err != nil {
		m.warn("rows that a killed process left are not known: %v", err)
	}
	return nil
}

// loadSegment makes a segment known. The error is the context's.
func (m *Memo) loadSegment(ctx context.Context, s segment) error {
	f, err := openSegment(ctx, m.store, s)
	if err != nil {
		m.stats.Lost += s.rows
		return ctx.Err()
	}
	m.segments = append(m.segments, f)
	number := m.index.file(f)
	end, _ := eachHeader(f, s.bytes, func(key Key, at span) { m.index.add(key, number, at) })
	m.stats.CutBytes += s.bytes - end
	return nil
}

func (m *Memo) warn(format string, args ...any) { m.opts.Warn(fmt.Sprintf(format, args...)) }

// Has says whether Get would know a key, as long as nothing is damaged.
func (m *Memo) Has(key Key) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, known := m.index.places[key]
	return known && !m.closed
}

// Get is the value that was put last under a key, which is the caller's to
// keep. The error is ErrClosed or none.
func (m *Memo) Get(key Key) (value []byte, known bool, err error) {
	value, at, err := m.get(key)
	if err != nil && !errors.Is(err, ErrClosed) {
		m.damaged(key, at)
		err = nil
	}
	return value, value != nil, err
}

// get is a nil value for a key that is not known.
func (m *Memo) get(key Key) (value []byte, at place, err error) {
	m.mu.RLock() // for as long as the file is read: Close waits
	defer m.mu.RUnlock()
	if m.closed {
		return nil, place{}, ErrClosed
	}
	at, known := m.index.places[key]
	if known {
		value, err = m.index.read(key, at)
	}
	return value, at, err
}

// damaged takes note of a value that cannot be read.
func (m *Memo) damaged(key Key, at place) {
	m.mu.Lock()
	if m.index.places[key] == at {
		m.index.forget(key)
	}
	m.stats.Damaged++
	first := m.stats.Damaged == 1
	m.mu.Unlock()
	if first {
		m.warn("a row of the row memo %s is damaged: it is computed again, and so is any other that is", m.key.Short())
	}
}

// Put remembers a value of up to MaxValue bytes in place of an earlier one. When
// it returns nil, the value survives a kill of the process; a power cut may lose
// those of the last moments. It does not keep value.
func (m *Memo) Put(key Key, value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("remembering a row: its value has %d bytes, at most %d are kept", len(value), MaxValue)
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	if m.isClosed() {
		return ErrClosed
	}
	j, err := m.journal(int64(len(value)) + overhead)
	if err != nil {
		return fmt.Errorf("remembering a row: %w", err)
	}
	at, err := j.append(key, value)
	if err != nil {
		return fmt.Errorf("remembering a row: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index.add(key, j.number, at)
	return nil
}

func (m *Memo) isClosed() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.closed
}

// Stats are what the memo met so far.
func (m *Memo) Stats() Stats {
	m.mu.RLock()
	defer m.mu.RUnlock()
	stats := m.stats
	stats.Rows = len(m.index.places)
	return stats
}

// Close seals what was put, so that everybody knows it, and ends the memo. After
// an error, also that of a ctx which ended before its turn came, the rows that
// could not be sealed stay where the next memo of the scope takes them over.
func (m *Memo) Close(ctx context.Context) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	if m.isClosed() {
		return nil
	}
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	err := m.seal(ctx)
	m.release()
	if err != nil {
		return fmt.Errorf("sealing the row memo %s: %w", m.key.Short(), err)
	}
	return nil
}

// release closes all files; those that are still journals are orphans then.
func (m *Memo) release() {
	for _, j := range m.journals {
		j.file.Close()
	}
	for _, f := range m.segments {
		f.Close()
	}
	_ = os.Remove(m.dir()) // only if no journal is left
}
