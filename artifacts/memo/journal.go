package memo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// journals is the directory of all scopes' journals, by the keys of their lists.
func journals(stateDir string) string { return filepath.Join(stateDir, "memo") }

// A journal is a file of rows that this memo holds: the process that dies gives
// it to whoever opens the scope next.
type journal struct {
	path   string
	file   file
	number uint32 // in the index
	size   int64
	full   bool   // gets no further rows
	record []byte // buffer for one
}

// A file is what a journal needs of an *os.File.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
}

// A holder opens a file for this process alone; nil when another one holds it.
type holder func(path string) (file, error)

func holdFile(path string) (file, error) {
	f, err := disk.HoldFile(path)
	if f == nil {
		return nil, err
	}
	return f, nil
}

// journal is the one that a record of this size goes to. The caller holds writing.
func (m *Memo) journal(size int64) (*journal, error) {
	if n := len(m.journals); n > 0 {
		last := m.journals[n-1]
		last.full = last.full || last.size > int64(len(magic)) && last.size+size > m.opts.SegmentBytes
		if !last.full {
			return last, nil
		}
	}
	j, err := m.begin()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	j.number = m.index.file(j.file)
	m.journals = append(m.journals, j)
	return j, nil
}

// begin makes a journal. Another process may look at a new file before it is
// held, and one that closes its memo removes an empty directory: then it is
// tried again.
func (m *Memo) begin() (*journal, error) {
	for {
		if err := groupmode.MkdirAll(m.dir()); err != nil {
			return nil, err
		}
		stamp, err := m.stamp()
		if err != nil {
			return nil, err
		}
		path := filepath.Join(m.dir(), fmt.Sprintf("%020d-%s", stamp, rand.Text()))
		f, err := m.hold(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && f == nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, err := f.WriteAt([]byte(magic), 0); err != nil {
			os.Remove(path)
			f.Close()
			return nil, err
		}
		return &journal{path: path, file: f, size: int64(len(magic))}, nil
	}
}

// stamp is the time in the name of a journal that begins now. It is later than
// those of the journals that are there, also where the clock was put back, or is
// that of another host: what stands in a later journal overrides.
func (m *Memo) stamp() (int64, error) {
	stamp := m.opts.Now().UnixNano()
	entries, err := os.ReadDir(m.dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	for _, entry := range entries {
		time, _, _ := strings.Cut(entry.Name(), "-")
		if earlier, err := strconv.ParseInt(time, 10, 64); err == nil && earlier >= stamp && earlier < math.MaxInt64 {
			stamp = earlier + 1
		}
	}
	return stamp, nil
}

// append writes a record with one call.
func (j *journal) append(key Key, value []byte) (span, error) {
	j.record = appendRecord(j.record[:0], key, value)
	if _, err := j.file.WriteAt(j.record, j.size); err != nil {
		// What was written of it goes, so that no part of the value can ever
		// pass for a record; where it cannot go, nothing may follow it.
		j.full = j.file.Truncate(j.size) != nil
		return span{}, err
	}
	at := span{j.size, uint32(len(value))}
	j.size += at.size()
	if cap(j.record) > largeRecord {
		j.record = nil
	}
	return at, nil
}

// largeRecord is the size in bytes of a buffer that is not kept.
const largeRecord = 4 << 20

// takeOver holds and makes known the journals of processes that died. It goes on
// after one that cannot be read.
func (m *Memo) takeOver() error {
	entries, err := os.ReadDir(m.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	failed := []error{err}
	for _, entry := range entries { // by name, and so in the order of their times
		j, err := m.takeOverOne(filepath.Join(m.dir(), entry.Name()))
		if j != nil {
			m.journals = append(m.journals, j)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// takeOverOne is nil when the file is somebody's, or has no row in it.
func (m *Memo) takeOverOne(path string) (*journal, error) {
	f, err := m.hold(path)
	if f == nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	j := &journal{path: path, file: f, size: info.Size(), full: true, number: m.index.file(f)}
	rows := 0
	end, err := eachRecord(f, j.size, func(record []byte, at span) {
		m.index.add(Key(record[keyAt:valueAt]), j.number, at)
		rows++
	})
	if err != nil {
		return j, err // it is not cut: what follows may be read another time
	}
	if rows == 0 {
		os.Remove(path)
		f.Close()
		return nil, nil
	}
	if cut := j.size - end; cut > 0 {
		m.stats.CutBytes += cut
		m.warn("the last %d bytes of what a killed process wrote to the row memo %s are damaged: those rows are computed again", cut, m.key.Short())
	}
	j.size = end
	return j, nil
}

// check reads a journal again and says what segment it makes.
func (j *journal) check() (s segment, err error) {
	h := sha256.New()
	h.Write([]byte(magic))
	s.bytes, err = eachRecord(j.file, j.size, func(record []byte, _ span) {
		h.Write(record)
		s.rows++
	})
	s.digest = artifacts.DigestOfHash(h)
	if err == nil && s.bytes != j.size {
		err = fmt.Errorf("%s: %w at byte %d", j.path, errDamaged, s.bytes)
	}
	return s, err
}

// keep makes the journal a blob of the store: by moving it there, or by copying
// what cannot be moved, such as another user's file. It is closed then.
func (j *journal) keep(ctx context.Context, store Store, s segment) error {
	info, err := j.file.Stat()
	if err == nil && info.Size() > s.bytes {
		err = j.file.Truncate(s.bytes)
	}
	if err == nil {
		err = store.Adopt(ctx, j.path, s.digest)
	}
	if err != nil {
		if copying := store.Put(ctx, s.digest, s.bytes, io.NewSectionReader(j.file, 0, s.bytes)); copying != nil {
			return errors.Join(err, copying)
		}
		os.Remove(j.path)
	}
	return j.file.Close()
}

// giveBack makes a journal again of a blob that no list came to name. A second
// name of the blob costs no space, which may be what is missing.
func giveBack(ctx context.Context, store Store, j *journal, s segment) error {
	blob, err := store.Verified(context.WithoutCancel(ctx), s.digest)
	if err != nil {
		return err
	}
	return os.Link(blob, j.path)
}

// RemoveJournals removes the journals of dead processes in which nothing was
// written since a time, and says how many. They hold rows of scopes that nobody
// opened again.
func RemoveJournals(stateDir string, before time.Time) (int, error) {
	paths, err := filepath.Glob(filepath.Join(journals(stateDir), "*", "*"))
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, path := range paths {
		gone, err := removeJournal(path, before)
		if err != nil {
			return removed, fmt.Errorf("removing rows that a killed process left: %w", err)
		}
		if gone {
			removed++
		}
	}
	return removed, nil
}

func removeJournal(path string, before time.Time) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // taken over just now
	}
	if err != nil || !info.ModTime().Before(before) {
		return false, err
	}
	f, err := disk.HoldFile(path)
	if f == nil {
		return false, err
	}
	defer f.Close()
	if err := os.Remove(path); err != nil {
		return false, err
	}
	_ = os.Remove(filepath.Dir(path)) // only if it is empty
	return true, nil
}
