package fileshare

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// readBuffer is the size of the pieces in which objects are read.
const readBuffer = 1 << 20

// Read implements remote.Driver.
func (d *Driver) Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	at, err := location(name)
	if err != nil {
		return nil, err
	}
	r, err := call(ctx, d, func() (*reader, error) { return d.read(at, offset, length) }, (*reader).drop)
	if err != nil {
		return nil, d.explain(at, err)
	}
	r.ctx = ctx
	return r, nil
}

// A reader reads one object in pieces of its own: a buffer of the caller's could
// still be written to, when a mount comes back, long after the caller is gone.
type reader struct {
	d    *Driver
	ctx  context.Context // that of Read: the reader is part of the call
	at   string
	file *os.File
	next int64 // where in the file the next piece begins
	left int64 // bytes that are still to be read of it

	piece []byte // the buffer; nil while, or since, an operation has it
	ready []byte // what of it the caller has not had yet
	err   error  // the verdict, once there is one
}

func (d *Driver) read(at string, offset, length int64) (*reader, error) {
	share, err := d.open()
	if err != nil {
		return nil, err
	}
	defer share.Close()
	f, size, err := d.openObject(share, at)
	if err != nil {
		return nil, err
	}
	if offset < 0 || offset > size {
		f.Close()
		return nil, fmt.Errorf("offset %d is not within its %d bytes", offset, size)
	}
	left := size - offset
	if length >= 0 {
		left = length // of which some may turn out to be missing
	}
	return &reader{d: d, at: at, file: f, next: offset, left: left}, nil
}

// openObject opens a regular file, and nothing else. One that is swapped after the
// look for a pipe does not block, and for a link leads nowhere but into the share.
func (d *Driver) openObject(share *os.Root, at string) (*os.File, int64, error) {
	looked, err := d.lstat(share, at)
	if err != nil {
		return nil, 0, err
	}
	var f *os.File
	err = d.do("open", at, func() (err error) {
		f, err = share.OpenFile(at, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		return err
	})
	if os.IsNotExist(err) {
		return nil, 0, d.absent(share)
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = irregular(info)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	if strings.HasPrefix(at, "ac/") {
		touch(share, at, looked)
	}
	return f, info.Size(), nil
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.ready) == 0 && r.err == nil {
		r.fill()
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	if n > 0 {
		return n, nil
	}
	return 0, r.err
}

// fill reads the next piece.
func (r *reader) fill() {
	if r.left == 0 {
		r.err = io.EOF
		return
	}
	piece := r.piece
	r.piece = nil
	if piece == nil {
		piece = make([]byte, min(r.left, readBuffer))
	}
	piece = piece[:min(int64(cap(piece)), r.left)]
	file, next := r.file, r.next
	n, err := call(r.ctx, r.d, func() (n int, err error) {
		err = r.d.do("read", r.at, func() (err error) {
			n, err = file.ReadAt(piece, next)
			return err
		})
		return n, err
	}, func(int) { file.Close() })
	if abandoned(err) {
		r.file, r.err = nil, r.d.explain(r.at, err) // the operation has it, and closes it
		return
	}
	r.piece, r.ready = piece, piece[:n]
	r.next += int64(n)
	r.left -= int64(n)
	if err == io.EOF && r.left > 0 {
		err = fmt.Errorf("%d bytes are missing at its end: %w", r.left, io.ErrUnexpectedEOF)
	}
	if err != nil && err != io.EOF {
		r.err = r.d.explain(r.at, err)
	}
}

// Close implements io.Closer.
func (r *reader) Close() error {
	r.err = cmp.Or(r.err, fs.ErrClosed)
	r.ready = nil
	if file := r.file; file != nil {
		r.file = nil
		r.d.tidy(r.ctx, func() { file.Close() })
	}
	return nil
}

// drop closes a reader that nobody took.
func (r *reader) drop() {
	if r != nil {
		r.file.Close()
	}
}
