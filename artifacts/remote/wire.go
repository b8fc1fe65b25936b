package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/prismflow/prismflow/artifacts"
)

// A wire reads the bytes of an object, which never change, in order. A body that
// breaks off is taken up again where it did, by a request for the rest.
type wire struct {
	store  *Store
	ctx    context.Context // of the reader's caller
	name   string
	meter  *meter
	offset int64 // of the next byte
	end    int64 // the offset to stop at, negative: that of the object's end
	whole  bool  // end is the object's end

	request *request // of body
	body    *body
	tries   tries
	resumed int64 // the offset of the last failure
	over    error // what ended it
}

// open opens the body unless it is open, as often as it takes.
func (w *wire) open() error {
	for w.body == nil {
		err := w.openOnce()
		if err == nil {
			return nil
		}
		if err = w.again(err); err != nil {
			w.over = err
			return err
		}
	}
	return nil
}

func (w *wire) again(err error) error {
	if w.offset-w.resumed >= steady {
		w.tries.failed = 0
	}
	w.resumed = w.offset
	return w.tries.again(w.ctx, w.store, err)
}

func (w *wire) openOnce() error {
	s := w.store
	offset, length := w.offset, int64(-1)
	if w.end >= 0 && !w.whole {
		length = w.end - w.offset
	}
	var skip int64
	if !s.driver.Traits().Ranges {
		skip, offset, length = offset, 0, -1
	}
	r, err := s.begin(w.ctx)
	if err != nil {
		return err
	}
	r.watch.arm(0)
	opened, err := s.driver.Read(r.ctx, w.name, offset, length)
	r.watch.rest()
	if err != nil {
		return r.end(err)
	}
	r.answered()
	w.request, w.body = r, newBody(opened, r)
	if err := w.skip(skip); err != nil {
		return w.finish(err)
	}
	return nil
}

// skip reads over what was read before, where the place has no ranges.
func (w *wire) skip(n int64) error {
	buf := make([]byte, min(n, 64<<10))
	for n > 0 {
		got, err := w.body.Read(buf[:min(n, int64(len(buf)))])
		n -= int64(got)
		if n > 0 && err != nil {
			return noEOF(err)
		}
	}
	return nil
}

var errCutShort = errors.New("the body ended before its end")

func noEOF(err error) error {
	if err == io.EOF {
		return errCutShort
	}
	return err
}

// finish closes the body and ends its request with err.
func (w *wire) finish(err error) error {
	_ = w.body.Close() // after an error or the end it has nothing to say
	w.body = nil
	return w.request.end(err)
}

// Read implements io.Reader.
func (w *wire) Read(p []byte) (int, error) {
	for {
		if w.end == w.offset && w.offset > 0 && w.body == nil {
			w.over = cmp.Or(w.over, io.EOF) // it broke off behind the last byte
		}
		if w.over != nil {
			return 0, w.over
		}
		if err := w.open(); err != nil {
			return 0, err
		}
		if w.end >= 0 {
			p = p[:min(int64(len(p)), w.end-w.offset)]
		}
		if n, err := w.readOnce(p); n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// readOnce reads from the body. It yields nothing when that broke off and may be
// taken up again.
func (w *wire) readOnce(p []byte) (int, error) {
	n, err := 0, error(nil)
	if w.offset != w.end {
		n, err = w.body.Read(p)
		w.offset += int64(n)
		w.meter.add(int64(n))
	}
	switch {
	case w.offset == w.end, err == io.EOF && w.end < 0:
		_ = w.finish(nil)
		w.over = io.EOF
		if n > 0 {
			return n, nil
		}
		return 0, io.EOF
	case err == nil:
		return n, nil
	}
	w.over = w.again(w.brokenOff(err))
	if w.over == nil && w.end < 0 && w.offset > 0 {
		w.over = w.learnEnd() // there may be nothing to take up
	}
	return n, nil // w.over is the next read's
}

// brokenOff ends the request of a body that ended before its end. If it seemed
// to end well, the object may be shorter than it should be.
func (w *wire) brokenOff(err error) error {
	err = w.finish(noEOF(err))
	if !errors.Is(err, errCutShort) {
		return err
	}
	more, serr := w.goesOn()
	if serr == nil && !more {
		return fmt.Errorf("%d bytes and not %d: %w", w.offset, w.end, artifacts.ErrCorrupt)
	}
	return err
}

// goesOn asks whether the object has more bytes than were read.
func (w *wire) goesOn() (bool, error) {
	size, err := w.store.objectSize(w.ctx, w.name)
	return size > w.offset, err
}

// learnEnd asks where the object ends.
func (w *wire) learnEnd() error {
	size, err := w.store.objectSize(w.ctx, w.name)
	if err != nil {
		return err
	}
	if size < w.offset {
		return fmt.Errorf("%d bytes of an object of %d: %w", w.offset, size, artifacts.ErrCorrupt)
	}
	w.end = size
	return nil
}

// goOn makes a wire that did not know its end, and was told of one too early, go
// on. It says whether there is more.
func (w *wire) goOn() (bool, error) {
	if w.end >= 0 {
		return false, nil
	}
	if err := w.learnEnd(); err != nil || w.end == w.offset {
		return false, err
	}
	w.over = w.again(errCutShort)
	return w.over == nil, w.over
}

// Close ends the reading.
func (w *wire) Close() error {
	if w.over == nil {
		w.over = errors.New("read after it was closed")
	}
	if w.body != nil {
		w.request.cancel(nil) // the remote need not send the rest
		_ = w.finish(nil)
	}
	return nil
}
