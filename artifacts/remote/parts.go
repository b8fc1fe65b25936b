package remote

import (
	"bufio"
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

	"github.com/prismflow/prismflow/artifacts"
)

// A plan says in which parts an object is fetched.
type plan struct {
	digest artifacts.Digest
	form   form
	bytes  int64 // of the object
	part   int64 // of each part but the last
}

func (p plan) count() int { return int((p.bytes + p.part - 1) / p.part) }

func (p plan) bounds(i int) (from, to int64) {
	from = int64(i) * p.part
	return from, min(from+p.part, p.bytes)
}

// header is the first line of the record of parts of this plan.
func (p plan) header() string {
	return fmt.Sprintf("prismflow parts 1 %s form %d bytes %d part %d", p.digest, p.form, p.bytes, p.part)
}

// parts are those of an object that is being fetched into a file, and a record of
// them on the disk: a line for each that is whole, with its checksum. The record is
// not synced: after a power cut the checksum tells which of its parts the file has.
type parts struct {
	plan   plan
	file   *os.File
	record *os.File
	had    int64 // bytes that were there from an earlier time

	mu      sync.Mutex // guards what follows and writes of record
	changed *sync.Cond
	there   []int64 // how many bytes of each part the file has, from the part's beginning
	stopped error   // why no more parts will come: io.EOF when all are there
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openParts opens the file and the record, and keeps those parts of it that are
// of the plan and right.
func openParts(ctx context.Context, filePath, recordPath string, plan plan) (*parts, error) {
	file, err := openOwn(filePath, 0)
	if err != nil {
		return nil, err
	}
	record, err := openOwn(recordPath, 0)
	if err != nil {
		file.Close()
		return nil, err
	}
	p := &parts{plan: plan, file: file, record: record, there: make([]int64, plan.count())}
	p.changed = sync.NewCond(&p.mu)
	if err := p.resume(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// openOwn opens a file of a download, which is made where it is absent. Anything
// else in its place, as a link that somebody put there who may write to the
// directory, too, goes: what it leads to is not written to.
func openOwn(path string, flag int) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|flag, 0o666)
}

// resume reads what the record says, looks whether it is so, and writes the record
// anew.
func (p *parts) resume(ctx context.Context) error {
	recorded := readRecord(p.record, p.plan)
	if err := errors.Join(p.record.Truncate(0), p.file.Truncate(p.plan.bytes)); err != nil {
		return err
	}
	if _, err := p.record.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(p.record, p.plan.header()); err != nil {
		return err
	}
	for i := range p.there {
		if err := ctx.Err(); err != nil {
			return err
		}
		sum, ok := recorded[i]
		if !ok || p.sum(i) != sum {
			continue
		}
		if err := p.finish(i, sum); err != nil {
			return err
		}
		from, to := p.plan.bounds(i)
		p.reached(i, to-from)
		p.had += to - from
	}
	return nil
}

// maxRecord is how much of a record is read: enough for a million parts.
const maxRecord = 32 << 20

// readRecord is the checksums of the parts that a record of a plan lists. A line that
// is not one, as a death midway leaves, is none.
func readRecord(r io.Reader, plan plan) map[int]uint32 {
	sums := map[int]uint32{}
	lines := bufio.NewScanner(io.LimitReader(r, maxRecord))
	if !lines.Scan() || lines.Text() != plan.header() {
		return sums
	}
	for lines.Scan() {
		index, sum, _ := strings.Cut(lines.Text(), " ")
		i, err := strconv.Atoi(index)
		if err != nil || i < 0 || i >= plan.count() || len(sum) != 8 {
			continue
		}
		if value, err := strconv.ParseUint(sum, 16, 32); err == nil {
			sums[i] = uint32(value)
		}
	}
	return sums
}

// sum is the checksum of what the file has in the place of a part, 0 if it cannot
// be read.
func (p *parts) sum(i int) uint32 {
	from, to := p.plan.bounds(i)
	h := crc32.New(castagnoli)
	if _, err := io.Copy(h, io.NewSectionReader(p.file, from, to-from)); err != nil {
		return 0
	}
	return h.Sum32()
}

// has says whether the file has the whole part.
func (p *parts) has(i int) bool {
	from, to := p.plan.bounds(i)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.there[i] == to-from
}

// partBuffer is in which pieces a part is written: see CopyVerified for their size.
const partBuffer = 256 << 10

// buffer is one for receive.
func (p *parts) buffer() []byte { return make([]byte, min(p.plan.part, p.plan.bytes, partBuffer)) }

// receive writes a part that r yields, piece by piece through buf.
func (p *parts) receive(i int, r io.Reader, buf []byte) error {
	from, to := p.plan.bounds(i)
	h := crc32.New(castagnoli)
	for at := from; at < to; {
		n, err := io.ReadFull(r, buf[:min(to-at, int64(len(buf)))])
		if err != nil {
			return err
		}
		h.Write(buf[:n])
		if _, err := p.file.WriteAt(buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
		p.reached(i, at-from)
	}
	beginWriteback(p.file, from, to-from)
	return p.finish(i, h.Sum32())
}

// reached says that the file has so many bytes of a part.
func (p *parts) reached(i int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.there[i] = bytes
	p.changed.Broadcast()
}

// finish records a part that the file has.
func (p *parts) finish(i int, sum uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := fmt.Fprintf(p.record, "%d %08x\n", i, sum)
	return err
}

// stop says that no more parts will come, because of err or since all are there.
func (p *parts) stop(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		err = io.EOF
	}
	p.stopped = err
	p.changed.Broadcast()
}

// follow reads the file from its beginning on, right behind those who write it, and
// waits for what is still to come.
func (p *parts) follow() io.Reader { return &follower{p: p} }

type follower struct {
	p      *parts
	offset int64
}

func (f *follower) Read(b []byte) (int, error) {
	if f.offset == f.p.plan.bytes {
		return 0, io.EOF
	}
	end, err := f.p.wait(f.offset)
	if err != nil {
		return 0, err
	}
	n, err := f.p.file.ReadAt(b[:min(int64(len(b)), end-f.offset)], f.offset)
	f.offset += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// wait waits for the byte at offset, and says how far its part goes on by now; or it
// returns why the byte will not come.
func (p *parts) wait(offset int64) (end int64, err error) {
	i := int(offset / p.plan.part)
	from, _ := p.plan.bounds(i)
	p.mu.Lock()
	defer p.mu.Unlock()
	for from+p.there[i] <= offset {
		if p.stopped != nil {
			return 0, p.stopped
		}
		p.changed.Wait()
	}
	return from + p.there[i], nil
}

func (p *parts) close() {
	p.file.Close()
	p.record.Close()
}

// remove removes what is of no more use: all but the blob.
func (p *parts) remove(keepBlob bool) error {
	err := os.Remove(p.record.Name())
	if !keepBlob || p.plan.form == packed {
		err = errors.Join(err, os.Remove(p.file.Name()))
	}
	return err
}
