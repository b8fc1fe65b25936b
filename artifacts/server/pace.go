package server

import (
	"io"
	"net/http"
	"os"
	"time"
)

// slabBytes is how much of a transfer has to move within Options.Stall. With the
// defaults that is 8.7 kB/s: a fixed piece in a fixed time, so that a client
// that sends a byte now and then cannot hold a connection.
const slabBytes = 256 << 10

// A pace gives each slab of a transfer its time. Only what is spent waiting for
// the client counts, not what our disk takes.
type pace struct {
	stall time.Duration
	set   func(time.Time) error // the deadline of the connection

	left  int64         // bytes of the slab that still have to move
	spare time.Duration // for them
}

// move lets up to want bytes move by a call of once, with what is left to them as
// the deadline.
func (p *pace) move(want int64, once func(most int64) (int64, error)) (int64, error) {
	if p.left <= 0 {
		p.left, p.spare = slabBytes, p.stall
	}
	began := time.Now()
	_ = p.set(began.Add(p.spare)) // a connection without deadlines is a test's
	n, err := once(min(want, p.left))
	p.left -= n
	p.spare -= time.Since(began)
	return n, err
}

// A pacedBody reads a request's body at the least pace that is allowed.
type pacedBody struct {
	r    io.Reader
	pace pace
	read int64
}

func newPacedBody(r *http.Request, to http.ResponseWriter, stall time.Duration) *pacedBody {
	b := &pacedBody{r: r.Body, pace: pace{stall: stall, set: http.NewResponseController(to).SetReadDeadline}}
	if r.ContentLength != 0 {
		// Also for one that is refused unread: net/http then reads a little of it.
		_ = b.pace.set(time.Now().Add(stall))
	}
	return b
}

// Read implements io.Reader. Its errors are *bodyError.
func (b *pacedBody) Read(p []byte) (int, error) {
	n, err := b.pace.move(int64(len(p)), func(most int64) (int64, error) {
		n, err := b.r.Read(p[:most])
		return int64(n), err
	})
	b.read += n
	if err == io.EOF {
		// From here on net/http watches the connection for the client's leaving,
		// and would take the deadline for it.
		_ = b.pace.set(time.Time{})
		return int(n), err
	}
	if err != nil {
		err = &bodyError{err}
	}
	return int(n), err
}

// A reply is a ResponseWriter that keeps a least pace and remembers what was
// answered.
type reply struct {
	http.ResponseWriter
	pace   pace
	status int // 0 until the header is written
	sent   int64
}

func newReply(to http.ResponseWriter, stall time.Duration) *reply {
	return &reply{ResponseWriter: to, pace: pace{stall: stall, set: http.NewResponseController(to).SetWriteDeadline}}
}

// Unwrap lets http.ResponseController find the connection.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *reply) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *reply) Write(p []byte) (int, error) {
	w.begin()
	done := 0
	for {
		n, err := w.pace.move(int64(len(p)-done), func(most int64) (int64, error) {
			n, err := w.ResponseWriter.Write(p[done:][:most])
			return int64(n), err
		})
		w.sent += n
		done += int(n)
		if err != nil || done == len(p) {
			return done, err
		}
	}
}

// ReadFrom implements io.ReaderFrom: a file goes from the kernel's cache to the
// network without passing through this process. net/http does that for a file
// or a limited part of one and nothing else, hence the care for the form.
func (w *reply) ReadFrom(src io.Reader) (int64, error) {
	w.begin()
	to, fast := w.ResponseWriter.(io.ReaderFrom)
	part, limited := src.(*io.LimitedReader)
	if !fast || !limited {
		return io.Copy(onlyWriter{w}, src)
	}
	if _, isFile := part.R.(*os.File); !isFile {
		return io.Copy(onlyWriter{w}, src)
	}
	var sent int64
	for part.N > 0 {
		n, err := w.pace.move(part.N, func(most int64) (int64, error) {
			return to.ReadFrom(&io.LimitedReader{R: part.R, N: most})
		})
		w.sent += n
		sent += n
		part.N -= n
		if err != nil || n == 0 {
			return sent, err
		}
	}
	return sent, nil
}

// begin writes the header, unless it was.
func (w *reply) begin() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
}

// end gives what is still in buffers its time.
func (w *reply) end() { _ = w.pace.set(time.Now().Add(w.pace.stall)) }

// onlyWriter hides ReadFrom.
type onlyWriter struct{ io.Writer }
