package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// A stampLog remembers stamps by name: a file's absolute path, or a blob's 64
// hex digits. It is a file of one line a stamp, to which every process
// appends; the last line for a name counts. All of it may be lost at the cost
// of hashing again, and a line that is not whole is passed over, so that a
// process killed while appending harms nobody.
type stampLog struct {
	path, lock string
	patience   time.Duration // with whoever holds the lock: remembering is not worth more waiting

	mu      sync.Mutex // guards what follows
	loaded  bool
	byName  map[string]Stamp
	pending []byte // lines not yet in the file
}

const (
	maxStampLog  = 256 << 20 // bytes that are read; more is dropped
	flushPending = 64 << 10  // bytes
)

func newStampLog(path, lock string) *stampLog {
	return &stampLog{path: path, lock: lock, patience: 5 * time.Second}
}

func (l *stampLog) lookup(name string) (Stamp, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load()
	s, ok := l.byName[name]
	return s, ok
}

// record remembers a stamp. That it could not be written down is no error:
// the file is hashed again then.
func (l *stampLog) record(name string, s Stamp) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load()
	l.byName[name] = s
	l.pending = appendStamp(l.pending, name, s)
	if len(l.pending) >= flushPending {
		_ = l.flushLocked()
	}
}

// forget makes sure that the named file is hashed again.
func (l *stampLog) forget(name string) { l.record(name, Stamp{}) }

func (l *stampLog) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flushLocked()
}

func (l *stampLog) flushLocked() error {
	if len(l.pending) == 0 {
		return nil
	}
	lines := append([]byte{'\n'}, l.pending...) // ends a line that a killed process left
	l.pending = l.pending[:0]
	held, err := l.hold()
	if err != nil {
		return fmt.Errorf("writing down what was hashed: %w", err)
	}
	defer held.unlock()
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o666)
	if err != nil {
		return fmt.Errorf("writing down what was hashed: %w", spaceError(err, l.path))
	}
	defer f.Close()
	groupmode.Share(f)
	if _, err := f.Write(lines); err != nil {
		return fmt.Errorf("writing down what was hashed: %w", spaceError(err, l.path))
	}
	return nil
}

// load reads the file at the first use, and writes it anew where most of it
// is outdated.
func (l *stampLog) load() {
	if l.loaded {
		return
	}
	l.loaded = true
	data := l.read()
	var lines int
	l.byName, lines = parseStamps(data)
	if lines > 1000 && lines > 2*len(l.byName) {
		_ = l.compactLocked(func(string) bool { return true })
	}
}

func (l *stampLog) read() []byte {
	f, err := openOwn(l.path)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() > maxStampLog {
		return nil
	}
	data := make([]byte, info.Size()) // no further than it was: it may be growing
	n, _ := io.ReadFull(f, data)
	return data[:n]
}

// compact writes the file anew with those of its stamps that keep wants, and
// what other processes added meanwhile.
func (l *stampLog) compact(keep func(name string) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load()
	return l.compactLocked(keep)
}

func (l *stampLog) compactLocked(keep func(name string) bool) error {
	held, err := l.hold()
	if err != nil {
		return fmt.Errorf("compacting %s: %w", l.path, err)
	}
	defer held.unlock()
	onDisk, _ := parseStamps(append(l.read(), l.pending...))
	var out []byte
	for name, s := range onDisk {
		if s != (Stamp{}) && keep(name) {
			out = appendStamp(out, name, s)
		} else {
			delete(onDisk, name)
		}
	}
	if err := replaceFile(l.path, out); err != nil {
		return fmt.Errorf("compacting %s: %w", l.path, err)
	}
	l.byName, l.pending = onDisk, l.pending[:0]
	return nil
}

// replaceFile writes a file whole; the caller holds the lock that keeps others
// from doing so. The rename alone makes it whole: what a crash of the machine
// loses of it is hashed again.
func replaceFile(path string, data []byte) error {
	fresh := path + ".new"
	os.Remove(fresh) // another user's, killed while writing it
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return spaceError(err, path)
	}
	groupmode.Share(f)
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(fresh)
		return spaceError(err, path)
	}
	return os.Rename(fresh, path)
}

// hold takes the lock that appending and compacting need. It gives up on a
// holder that was stopped.
func (l *stampLog) hold() (*fileLock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.patience)
	defer cancel()
	return waitLock(ctx, l.lock, exclusive, time.Millisecond, 20*time.Millisecond)
}

// One line is, with single spaces between: CRC-32C of the rest in hex, digest
// or "-", device, inode, size, modified, changed, hashed, "exact" or "tick",
// name. In the name, \ and line feed are written \\ and \n.

var stampTable = crc32.MakeTable(crc32.Castagnoli)

const crcDigits = 8

func appendStamp(out []byte, name string, s Stamp) []byte {
	start := len(out)
	out = append(out, "00000000 "...)
	body := len(out)
	if s.Digest == "" {
		out = append(out, '-')
	}
	out = append(out, s.Digest...)
	for _, v := range []uint64{s.ID.Device, s.ID.Inode} {
		out = strconv.AppendUint(append(out, ' '), v, 10)
	}
	for _, v := range []int64{s.ID.Size, s.ID.Modified, s.ID.Changed, s.Hashed} {
		out = strconv.AppendInt(append(out, ' '), v, 10)
	}
	if s.exact {
		out = append(out, " exact "...)
	} else {
		out = append(out, " tick "...)
	}
	out = append(out, nameEscapes.Replace(name)...)
	sum := fmt.Appendf(nil, "%08x", crc32.Checksum(out[body:], stampTable))
	copy(out[start:], sum)
	return append(out, '\n')
}

var (
	nameEscapes   = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	nameUnescapes = strings.NewReplacer(`\\`, `\`, `\n`, "\n")
)

// parseStamps reads lines of stamps, and says how many whole ones there were.
func parseStamps(data []byte) (byName map[string]Stamp, lines int) {
	text := string(data) // names and digests are parts of this one string
	byName = make(map[string]Stamp, bytes.Count(data, []byte{'\n'}))
	for at := 0; at < len(text); {
		end := strings.IndexByte(text[at:], '\n')
		if end < 0 {
			break // a line without its end may be half of one
		}
		if name, s, ok := parseStamp(text[at:at+end], data[at:at+end]); ok {
			byName[name] = s
			lines++
		}
		at += end + 1
	}
	return byName, lines
}

// parseStamp reads one line, given as string and as bytes.
func parseStamp(line string, raw []byte) (name string, s Stamp, ok bool) {
	if len(line) < crcDigits+1 || line[crcDigits] != ' ' {
		return "", Stamp{}, false
	}
	sum, err := strconv.ParseUint(line[:crcDigits], 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(raw[crcDigits+1:], stampTable) {
		return "", Stamp{}, false
	}
	fields := fieldReader{rest: line[crcDigits+1:]}
	digest := fields.next()
	s.ID.Device, s.ID.Inode = fields.uint(), fields.uint()
	s.ID.Size, s.ID.Modified, s.ID.Changed, s.Hashed = fields.int(), fields.int(), fields.int(), fields.int()
	s.exact = fields.next() == "exact"
	name = fields.rest
	if strings.IndexByte(name, '\\') >= 0 {
		name = nameUnescapes.Replace(name)
	}
	if digest != "-" {
		d, err := artifacts.ParseDigest(digest)
		fields.bad = fields.bad || err != nil
		s.Digest = d
	}
	return name, s, !fields.bad && name != ""
}

// A fieldReader takes fields off a line; bad says that one was malformed.
type fieldReader struct {
	rest string
	bad  bool
}

func (f *fieldReader) next() string {
	field, rest, ok := strings.Cut(f.rest, " ")
	f.rest, f.bad = rest, f.bad || !ok
	return field
}

func (f *fieldReader) uint() uint64 {
	v, err := strconv.ParseUint(f.next(), 10, 64)
	f.bad = f.bad || err != nil
	return v
}

func (f *fieldReader) int() int64 {
	v, err := strconv.ParseInt(f.next(), 10, 64)
	f.bad = f.bad || err != nil
	return v
}
