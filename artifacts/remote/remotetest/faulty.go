package remotetest

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/prismflow/prismflow/artifacts/remote"
)

// A Call is one of a driver's methods, as it is made.
type Call struct {
	Op   Op
	N    int // 1 is the first call of this Op
	Name string
}

// An Op is a kind of call.
type Op string

// Kinds of calls.
const (
	Stat  Op = "stat"
	Read  Op = "read"
	Write Op = "write"
)

// A Fault is what goes wrong with a call. The zero value is no fault.
type Fault struct {
	Err  error // the answer, and nothing is done
	Lost error // the answer to a write that was done nevertheless
	Hang bool  // no answer until the context ends

	Size int64 // what Stat says, if not 0

	// What happens at so many tenths of the length, 0 to 10, of the body of a read
	// or the content of a write.
	Tenth int
	Break error // it breaks off with that error
	Stall bool  // no more of it moves until the context ends
	Flip  bool  // it has a bit that is another
	End   bool  // it ends as if it were whole; of reads only
	More  bool  // it goes on behind its end; of reads only
}

// Faulty is a driver that fails as it is told. NewFaulty makes one.
type Faulty struct {
	remote.Driver
	plan func(Call) Fault

	mu    sync.Mutex // guards calls
	calls map[Op]int
}

// NewFaulty is a driver over another; plan says, possibly to several goroutines at
// once, what goes wrong with each call. A nil plan lets nothing go wrong.
func NewFaulty(d remote.Driver, plan func(Call) Fault) *Faulty {
	if plan == nil {
		plan = func(Call) Fault { return Fault{} }
	}
	return &Faulty{Driver: d, plan: plan, calls: map[Op]int{}}
}

// Once is a plan in which one call goes wrong: the n-th of its kind.
func Once(op Op, n int, f Fault) func(Call) Fault {
	return func(c Call) Fault {
		if c.Op == op && c.N == n {
			return f
		}
		return Fault{}
	}
}

// Always is a plan in which all calls go wrong, or all of the kinds that are named.
func Always(f Fault, ops ...Op) func(Call) Fault {
	return func(c Call) Fault {
		for _, op := range ops {
			if c.Op == op {
				return f
			}
		}
		if len(ops) == 0 {
			return f
		}
		return Fault{}
	}
}

// Calls is how many calls of a kind were made.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// call counts a call and does of its fault what comes before an answer.
func (f *Faulty) call(ctx context.Context, op Op, name string) (Fault, error) {
	f.mu.Lock()
	f.calls[op]++
	n := f.calls[op]
	f.mu.Unlock()
	fault := f.plan(Call{Op: op, N: n, Name: name})
	if fault.Hang {
		<-ctx.Done()
		return fault, ctx.Err()
	}
	return fault, fault.Err
}

// Stat implements remote.Driver.
func (f *Faulty) Stat(ctx context.Context, name string) (int64, error) {
	fault, err := f.call(ctx, Stat, name)
	if err != nil {
		return 0, err
	}
	size, err := f.Driver.Stat(ctx, name)
	if fault.Size != 0 && err == nil {
		size = fault.Size
	}
	return size, err
}

// Read implements remote.Driver.
func (f *Faulty) Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	fault, err := f.call(ctx, Read, name)
	if err != nil {
		return nil, err
	}
	r, err := f.Driver.Read(ctx, name, offset, length)
	if err != nil || !fault.inBody() {
		return r, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(fault.body(ctx, b)), nil
}

func (f Fault) inBody() bool { return f.Break != nil || f.End || f.Stall || f.Flip || f.More }

// body is what a fault makes of a body.
func (f Fault) body(ctx context.Context, b []byte) io.Reader {
	at := len(b) * f.Tenth / 10
	switch {
	case f.Flip:
		return &pieces{b: flipped(b, at), end: io.EOF}
	case f.More:
		return &pieces{b: append(b[:len(b):len(b)], b...), end: io.EOF}
	case f.End:
		return &pieces{b: b[:at], end: io.EOF}
	case f.Stall:
		return io.MultiReader(&pieces{b: b[:at], end: io.EOF}, readerFunc(func([]byte) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}))
	}
	return &pieces{b: b[:at], end: f.Break}
}

// pieces are bytes that come a few at a time, and then an end.
type pieces struct {
	b   []byte
	end error
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, p.end
	}
	n := copy(to[:min(len(to), 32<<10)], p.b)
	p.b = p.b[n:]
	return n, nil
}

// flipped is a copy of b with another bit at a place, the last one at most.
func flipped(b []byte, at int) []byte {
	b = append([]byte{}, b...)
	if len(b) > 0 {
		b[min(at, len(b)-1)] ^= 0x10
	}
	return b
}

// Write implements remote.Driver.
func (f *Faulty) Write(ctx context.Context, name string, content remote.Content, ifAbsent bool) error {
	fault, err := f.call(ctx, Write, name)
	if err != nil {
		return err
	}
	switch {
	case fault.Flip:
		content, err = fault.flippedContent(content)
	case fault.Break != nil || fault.Stall:
		return fault.stopWriting(ctx, content)
	}
	if err != nil {
		return err
	}
	err = f.Driver.Write(ctx, name, content, ifAbsent)
	if err == nil && fault.Lost != nil {
		return fmt.Errorf("the answer was lost: %w", fault.Lost)
	}
	return err
}

// flippedContent is what becomes of a content behind the sender's back.
func (f Fault) flippedContent(c remote.Content) (remote.Content, error) {
	r, err := c.Open()
	if err != nil {
		return c, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return Bytes(flipped(b, len(b)*f.Tenth/10)), err
}

// stopWriting takes some of a content, of which no object becomes.
func (f Fault) stopWriting(ctx context.Context, c remote.Content) error {
	r, err := c.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, c.Size*int64(f.Tenth)/10); err != nil {
		return err
	}
	if f.Stall {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.Break
}
