package yelp

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// An event is a review whose user and business are numbers.
type event struct {
	time, row  int64
	user, item uint32
	stars      float32
}

// earlier orders events by time, and those of the same time by their row, which
// no two share.
func earlier(a, b event) int {
	return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.row, b.row))
}

const (
	eventBytes = 28
	runLength  = 1 << 20  // events that are sorted in memory: 32 MiB
	runBuffer  = 64 << 10 // bytes of each run that are read ahead
)

// A chronology puts events in order. It keeps runLength of them in memory, and
// the others in a scratch file as runs, which are sorted each and then merged.
type chronology struct {
	dir       string
	runLength int
	pending   []event
	file      *os.File // nil as long as memory is enough
	runs      []int64  // bytes of each
}

func newChronology(dir string, runLength int) *chronology {
	return &chronology{dir: dir, runLength: runLength}
}

// close lets go of the scratch file, which is left to whoever owns the directory.
func (c *chronology) close() {
	if c.file != nil {
		_ = c.file.Close()
	}
}

func (c *chronology) add(e event) error {
	if len(c.pending) == c.runLength {
		if err := c.spill(); err != nil {
			return fmt.Errorf("writing a scratch file: %w", err)
		}
	}
	c.pending = append(c.pending, e)
	return nil
}

// spill writes the pending events as a run.
func (c *chronology) spill() (err error) {
	if c.file == nil {
		if c.file, err = os.Create(filepath.Join(c.dir, "reviews.spill")); err != nil {
			return err
		}
	}
	slices.SortFunc(c.pending, earlier)
	out := bufio.NewWriterSize(c.file, 1<<20)
	var buffer [eventBytes]byte
	for _, e := range c.pending {
		if _, err := out.Write(e.encode(buffer[:0])); err != nil {
			return err
		}
	}
	c.runs = append(c.runs, int64(len(c.pending))*eventBytes)
	c.pending = c.pending[:0]
	return out.Flush()
}

func (e event) encode(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(e.time))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.row))
	b = binary.LittleEndian.AppendUint32(b, e.user)
	b = binary.LittleEndian.AppendUint32(b, e.item)
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(e.stars))
}

func decodeEvent(b *[eventBytes]byte) event {
	return event{
		time:  int64(binary.LittleEndian.Uint64(b[0:])),
		row:   int64(binary.LittleEndian.Uint64(b[8:])),
		user:  binary.LittleEndian.Uint32(b[16:]),
		item:  binary.LittleEndian.Uint32(b[20:]),
		stars: math.Float32frombits(binary.LittleEndian.Uint32(b[24:])),
	}
}

// events are all that were added, in order. It is called once, after the last.
func (c *chronology) events() iter.Seq2[event, error] {
	return func(yield func(event, error) bool) {
		slices.SortFunc(c.pending, earlier)
		if c.file == nil {
			for _, e := range c.pending {
				if !yield(e, nil) {
					return
				}
			}
			return
		}
		if err := c.merge(yield); err != nil {
			yield(event{}, fmt.Errorf("reading a scratch file: %w", err))
		}
	}
}

// merge yields the earliest event that any of the runs has, until they have none.
func (c *chronology) merge(yield func(event, error) bool) error {
	var queue runs
	offset := int64(0)
	for _, bytes := range c.runs {
		from := bufio.NewReaderSize(io.NewSectionReader(c.file, offset, bytes), runBuffer)
		queue = append(queue, &run{from: from})
		offset += bytes
	}
	queue = append(queue, &run{rest: c.pending})
	for i := len(queue) - 1; i >= 0; i-- {
		if more, err := queue[i].next(); err != nil {
			return err
		} else if !more {
			queue = slices.Delete(queue, i, i+1)
		}
	}
	for heap.Init(&queue); len(queue) > 0; {
		if !yield(queue[0].event, nil) {
			return nil
		}
		more, err := queue[0].next()
		switch {
		case err != nil:
			return err
		case more:
			heap.Fix(&queue, 0)
		default:
			heap.Pop(&queue)
		}
	}
	return nil
}

// A run is a sorted part of the events, in the scratch file or in memory.
type run struct {
	event event
	from  io.Reader // nil when the run is in memory
	rest  []event
}

// next goes to the next event, and says whether there is one.
func (r *run) next() (bool, error) {
	if r.from == nil {
		if len(r.rest) == 0 {
			return false, nil
		}
		r.event, r.rest = r.rest[0], r.rest[1:]
		return true, nil
	}
	var b [eventBytes]byte
	if _, err := io.ReadFull(r.from, b[:]); err == io.EOF {
		return false, nil
	} else if err != nil {
		return false, err
	}
	r.event = decodeEvent(&b)
	return true, nil
}

// runs are a heap whose first run has the earliest event.
type runs []*run

func (r runs) Len() int           { return len(r) }
func (r runs) Less(i, j int) bool { return earlier(r[i].event, r[j].event) < 0 }
func (r runs) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *runs) Push(x any)        { *r = append(*r, x.(*run)) }
func (r *runs) Pop() any {
	last := len(*r) - 1
	popped := (*r)[last]
	*r = (*r)[:last]
	return popped
}
