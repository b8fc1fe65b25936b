package lines

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/gunzip"
)

const (
	blockBytes  = 1 << 20
	blocksAhead = 4 // enough to keep both sides busy while one of them hesitates
)

// A block is a piece of one file.
type block struct {
	file  string
	first bool  // of its file
	end   bool  // the last of its file
	err   error // what ended the file after data, if that was not its end
	data  []byte
	done  int64 // bytes on the disk that were taken up so far, of all files
}

// ahead reads and inflates files in a goroutine.
type ahead struct {
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	blocks  chan block
	free    chan []byte // blocks' memory, to be used again
	member  string      // what is read of an archive
	total   int64
	done    atomic.Int64
}

func readAhead(ctx context.Context, files []stages.File, member string) *ahead {
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{
		ctx: ctx, cancel: cancel, member: member,
		blocks: make(chan block, blocksAhead),
		free:   make(chan []byte, blocksAhead+2), // one is being read and one being filled
	}
	for _, f := range files {
		if info, err := os.Stat(f.Path); err == nil {
			a.total += info.Size()
		}
	}
	a.running.Go(func() {
		defer close(a.blocks)
		for _, f := range files {
			if !a.file(f) {
				return
			}
		}
	})
	return a
}

func (a *ahead) stop() {
	a.cancel()
	a.running.Wait()
}

// next waits for the block after used, whose memory it takes back. ok is false
// after the last block.
func (a *ahead) next(used block) (next block, ok bool, err error) {
	if used.data != nil {
		a.free <- used.data
	}
	next, ok = <-a.blocks
	if !ok {
		return block{}, false, a.ctx.Err()
	}
	return next, true, nil
}

// file sends the blocks of one file and says whether to go on.
func (a *ahead) file(f stages.File) bool {
	opened, err := os.Open(f.Path)
	if err != nil {
		a.send(block{file: f.Name, first: true, end: true, err: err})
		return false
	}
	defer opened.Close()
	name, text, err := a.text(f.Name, opened)
	if err != nil {
		a.send(block{file: f.Name, first: true, end: true, err: err})
		return false
	}
	for first := true; ; first = false {
		b := block{file: name, first: first}
		b.data, err = fill(text, a.memory())
		b.end = err != nil
		if err != io.EOF {
			b.err = err
		}
		switch sent := a.send(b); {
		case !sent, b.err != nil:
			return false
		case b.end:
			return true
		}
	}
}

// text is what is to be read of a file, and what that is called.
func (a *ahead) text(name string, file io.Reader) (string, io.Reader, error) {
	inflated, err := plainText(countingReader{file, &a.done, a.ctx})
	if err != nil {
		return name, nil, err
	}
	within, text, err := member(inflated, a.member)
	if within != "" {
		name += "/" + within
	}
	return name, withoutMark(text), err
}

// fill reads into buffer and returns how much of it is full, with io.EOF at
// the end of r.
func fill(r io.Reader, buffer []byte) ([]byte, error) {
	for n := 0; n < len(buffer); {
		k, err := r.Read(buffer[n:])
		n += k
		if err != nil {
			return buffer[:n], err
		}
	}
	return buffer, nil
}

func (a *ahead) memory() []byte {
	select {
	case used := <-a.free:
		return used[:blockBytes]
	default:
		return make([]byte, blockBytes)
	}
}

func (a *ahead) send(b block) bool {
	b.done = a.done.Load()
	select {
	case a.blocks <- b:
		return true
	case <-a.ctx.Done():
		return false
	}
}

// A countingReader counts what is read, until ctx is done: to go over a large
// part of an archive may take minutes.
type countingReader struct {
	io.Reader
	n   *atomic.Int64
	ctx context.Context
}

func (c countingReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// plainText is what a file holds, inflated if need be.
func plainText(file io.Reader) (*bufio.Reader, error) {
	buffered := bufio.NewReaderSize(file, 256<<10)
	head, err := buffered.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if name := packedAs(head); name != "" {
		return nil, fmt.Errorf("this is a %s file: unpack it first, or pack it with gzip", name)
	}
	if !bytes.HasPrefix(head, []byte("\x1f\x8b")) {
		return buffered, nil
	}
	return bufio.NewReaderSize(inflated{gunzip.NewReader(buffered)}, 4<<10), nil
}

// packedAs names a compressed format that is not read.
func packedAs(head []byte) string {
	for _, format := range []struct{ name, magic string }{
		{"zstd", "\x28\xb5\x2f\xfd"},
		{"zip", "PK\x03\x04"},
		{"bzip2", "BZh"},
		{"xz", "\xfd7zXZ\x00"},
	} {
		if bytes.HasPrefix(head, []byte(format.magic)) {
			return format.name
		}
	}
	return ""
}

// withoutMark is a text without its byte order mark.
func withoutMark(r *bufio.Reader) io.Reader {
	const mark = "\xef\xbb\xbf"
	if head, _ := r.Peek(len(mark)); string(head) == mark {
		r.Discard(len(mark))
	}
	return r
}

// inflated says in its errors what a person can do about them. It has no other
// way to read than Read, so that nothing gets around that.
type inflated struct{ from *gunzip.Reader }

func (r inflated) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		err = damaged(err)
	}
	return n, err
}

func damaged(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the file ends before its end mark; it is incomplete, so copy or download it again", ErrDamaged)
	}
	return fmt.Errorf("%w: %w; copy or download the file again", ErrDamaged, err)
}
