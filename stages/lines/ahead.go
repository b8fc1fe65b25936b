package lines

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/gunzip"
)

const (
	blockBytes  = 1 << 19
	blocksAhead = 4  // of each file: enough to keep both sides busy while one of them hesitates
	blocksKept  = 32 // to be used again: as many as may be in use by who takes them
	filesAtOnce = 8  // at most: more need memory, and outrun whoever takes the lines
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

// ahead reads and inflates files, each in a goroutine, some of them side by side.
type ahead struct {
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	files   chan chan block // the blocks of each file, in the order of the files
	blocks  chan block      // of the current file
	free    chan []byte     // blocks' memory, to be used again
	member  string          // what is read of an archive
	most    int             // bytes of a line, where blocks end where lines do; 0 where they need not
	total   int64
	done    atomic.Int64
}

// readAhead starts reading. Where longestLine is 0 blocks end anywhere.
func readAhead(ctx context.Context, files []stages.File, member string, longestLine int) *ahead {
	ctx, cancel := context.WithCancel(ctx)
	atOnce := min(runtime.GOMAXPROCS(0), filesAtOnce, max(len(files), 1))
	a := &ahead{
		ctx: ctx, cancel: cancel, member: member, most: longestLine,
		files: make(chan chan block, atOnce-1), // beside the current one
		free:  make(chan []byte, blocksKept),
	}
	for _, f := range files {
		if info, err := os.Stat(f.Path); err == nil {
			a.total += info.Size()
		}
	}
	a.running.Go(func() { a.start(files) })
	return a
}

// start has the files read, each once there is room for its blocks in the queue.
func (a *ahead) start(files []stages.File) {
	defer close(a.files)
	for _, f := range files {
		blocks := make(chan block, blocksAhead)
		select {
		case a.files <- blocks:
		case <-a.ctx.Done():
			return
		}
		a.running.Go(func() {
			defer close(blocks)
			a.file(f, blocks)
		})
	}
}

func (a *ahead) stop() {
	a.cancel()
	a.running.Wait()
}

// next waits for the next block, whose memory the caller gives back by recycle.
// ok is false after the last block.
func (a *ahead) next() (next block, ok bool, err error) {
	for {
		if a.blocks != nil {
			if next, ok = <-a.blocks; ok {
				next.done = a.done.Load()
				return next, true, nil
			}
		}
		if a.blocks, ok = <-a.files; !ok || a.ctx.Err() != nil {
			return block{}, false, a.ctx.Err()
		}
	}
}

// file sends the blocks of one file.
func (a *ahead) file(f stages.File, to chan<- block) {
	opened, err := os.Open(f.Path)
	if err != nil {
		a.send(to, block{file: f.Name, first: true, end: true, err: err})
		return
	}
	defer opened.Close()
	name, text, err := a.text(f.Name, opened)
	if err != nil {
		a.send(to, block{file: f.Name, first: true, end: true, err: err})
		return
	}
	pieces := cutter{from: text, ahead: a}
	for first := true; ; first = false {
		b := block{file: name, first: first}
		b.data, err = pieces.next()
		b.end = err != nil
		if err != io.EOF {
			b.err = err
		}
		if !a.send(to, b) || b.end {
			return
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

// memory is at least size bytes for a block.
func (a *ahead) memory(size int) []byte {
	if size > blockBytes {
		return make([]byte, size)
	}
	select {
	case used := <-a.free:
		return used[:blockBytes]
	default:
		return make([]byte, blockBytes)
	}
}

// recycle takes back the memory of a block, unless a long line made it a large one.
func (a *ahead) recycle(used []byte) {
	if cap(used) != blockBytes {
		return
	}
	select {
	case a.free <- used:
	default:
	}
}

func (a *ahead) send(to chan<- block, b block) bool {
	select {
	case to <- b:
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
