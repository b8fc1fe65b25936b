package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prismflow/prismflow/artifacts/remote"
)

const (
	// expectSize is the size in bytes from which on an upload waits for the server
	// to want it: less than that is on its way before the server could say no.
	expectSize = 1 << 20
	// continueTime is how long a server that has not heard of Expect holds up such
	// an upload.
	continueTime = time.Second
)

// Write implements remote.Driver. Where the server takes compressed bodies, what
// shrinks is compressed.
func (d *Driver) Write(ctx context.Context, name string, content remote.Content, ifAbsent bool) error {
	again, err := d.put(ctx, name, content, ifAbsent)
	if again {
		_, err = d.put(ctx, name, content, ifAbsent)
	}
	return err
}

// put sends one PUT. When it returns, the content is closed. again says that the
// server did not like how the PUT was sent, which is done otherwise from now on.
func (d *Driver) put(ctx context.Context, name string, content remote.Content, ifAbsent bool) (again bool, err error) {
	u := &upload{ctx: ctx, content: content, coding: &d.coding, length: content.Size, continueTime: d.continueTime}
	r := request{method: http.MethodPut, name: name, header: http.Header{"Content-Type": {"application/octet-stream"}}, upload: u}
	if ifAbsent {
		r.header.Set("If-None-Match", "*")
	}
	if d.learnt.inflates.Load() && !d.learnt.literal.Load() && content.Size >= minDeflate {
		if err := u.tryDeflate(); err != nil {
			return false, fmt.Errorf("%s: %w", r, err)
		}
		if u.deflated {
			r.header.Set("Content-Encoding", zstdCoding)
			r.header.Set("X-Digest-SizeBytes", strconv.FormatInt(content.Size, 10)) // bazel-remote wants it
		}
	}
	if content.Size >= expectSize && !d.learnt.impatient.Load() {
		r.header.Set("Expect", "100-continue")
		u.waits = true
	}
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := d.send(sending, r)
	if err == nil {
		again, err = d.written(r, resp, ifAbsent)
	}
	u.end()
	cancel()                                // of HTTP/2 a body may be waiting for room that never comes
	if failed := u.close(); failed != nil { // the cause of whatever else happened
		return false, fmt.Errorf("%s: reading the content: %w", r, failed)
	}
	return again, err
}

// written is what the answer to a PUT says, whose body it ends.
func (d *Driver) written(r request, resp *http.Response, ifAbsent bool) (again bool, err error) {
	switch {
	case resp.StatusCode == http.StatusOK && isPage(resp): // a 201 may have one
		discard(resp)
		return false, fmt.Errorf("%s: %w", r, errPage)
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		discard(resp)
		return false, nil
	case resp.StatusCode == http.StatusPreconditionFailed && ifAbsent:
		discard(resp)
		d.learnt.conditional.Store(true)
		return false, remote.ErrExists
	case resp.StatusCode == http.StatusUnsupportedMediaType:
		d.learnt.literal.Store(true)
		again = r.header.Get("Content-Encoding") != ""
	case resp.StatusCode == http.StatusExpectationFailed:
		d.learnt.impatient.Store(true)
		again = r.header.Get("Expect") != ""
	}
	return again, d.refused(r, resp)
}

// An upload is the content of one PUT, opened for each time that it is sent.
type upload struct {
	ctx      context.Context
	content  remote.Content
	coding   *coding
	deflated bool
	length   int64  // of the body in bytes; -1 if that shows at its end
	body     []byte // all of it, where it is small and was looked at
	waits    bool   // for the server to want it
	turn     *turn  // of being sent; there may be several, one after another

	continueTime time.Duration // see turn

	mu     sync.Mutex // guards the rest
	opened []*source
	err    error // the first of the content
}

// attach makes the upload the body of a request.
func (u *upload) attach(req *http.Request) error {
	u.turn = &turn{ctx: u.ctx, patience: u.continueTime, wanted: make(chan struct{}), over: make(chan struct{})}
	if !u.waits {
		u.turn.want()
	}
	body, err := u.reader()
	if err != nil {
		return err
	}
	if u.length == 0 { // package http takes 0 for unknown, unless there is no body
		defer body.Close()
		_, err = io.Copy(io.Discard, body)
		req.Body = http.NoBody
		return err
	}
	req.Body, req.GetBody, req.ContentLength = body, u.reader, u.length
	return nil
}

// reader opens the body.
func (u *upload) reader() (io.ReadCloser, error) {
	if u.body != nil {
		return reading{u.turn.gate(bytes.NewReader(u.body)), http.NoBody}, nil
	}
	body, err := u.source(u.content.Open)
	if err == nil && u.deflated {
		body, err = u.coding.deflate(body)
	}
	if err != nil {
		return nil, err
	}
	return reading{u.turn.gate(body), body}, nil
}

// source opens the content.
func (u *upload) source(open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	r, err := open()
	if err != nil {
		u.fail(err)
		return nil, err
	}
	s := &source{upload: u, r: r, left: u.content.Size}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.opened = append(u.opened, s)
	return s, nil
}

// tryDeflate decides by a sample whether the body is compressed. A content that is
// no larger is read once, for both.
func (u *upload) tryDeflate() error {
	whole := u.content.Size <= sampleSize
	open := u.content.Open
	if !whole && u.content.Sample != nil {
		open = u.content.Sample
	}
	r, err := u.source(open)
	if err != nil {
		return err
	}
	defer r.Close()
	sample, err := io.ReadAll(io.LimitReader(r, min(u.content.Size, sampleSize)+1)) // 1: to see that it ends
	if err != nil {
		return err
	}
	compressed, gains, err := u.coding.shrinks(sample)
	if err != nil {
		return err
	}
	u.deflated = gains
	switch {
	case whole && gains:
		u.body, u.length = compressed, int64(len(compressed))
	case whole:
		u.body = sample
	case gains:
		u.length = -1
	}
	return nil
}

func (u *upload) fail(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = err
	}
}

// end ends the turn, if there is one: nobody has a use for the rest of the body.
func (u *upload) end() {
	if u != nil && u.turn != nil {
		u.turn.end()
	}
}

// close closes the content wherever it is open, and returns the error with which
// that ended, if any. Package http goes on with a body for a moment after its
// answer was read, or its context ended, and over HTTP/2 may forget to close it.
func (u *upload) close() error {
	u.mu.Lock()
	opened := u.opened
	u.mu.Unlock()
	for _, s := range opened {
		_ = s.Close() // of what was only read
	}
	return u.failure()
}

func (u *upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// A turn is one sending of an upload. Package http can wait for "100 Continue",
// too, but sends the body all the same if the server refuses it and would keep
// the connection.
type turn struct {
	ctx               context.Context
	patience          time.Duration // with a server that may not know that it is asked
	wanted            chan struct{} // closed when the server asks for the body
	over              chan struct{} // closed when its answer was read
	wantOnce, endOnce sync.Once
}

func (t *turn) want() { t.wantOnce.Do(func() { close(t.wanted) }) }

func (t *turn) end() { t.endOnce.Do(func() { close(t.over) }) }

// gate is r from when it is wanted until the turn is over.
func (t *turn) gate(r io.Reader) io.Reader { return gated{t, r} }

type gated struct {
	turn *turn
	r    io.Reader
}

func (g gated) Read(p []byte) (int, error) {
	select {
	case <-g.turn.wanted:
	default:
		g.turn.await()
	}
	select {
	case <-g.turn.over:
		return 0, errClosed
	default:
		return g.r.Read(p)
	}
}

// await waits until the server wants the body, or has answered, or does not know
// that it is asked.
func (t *turn) await() {
	impatient := time.NewTimer(t.patience)
	defer impatient.Stop()
	select {
	case <-t.wanted:
	case <-t.over:
	case <-t.ctx.Done():
	case <-impatient.C:
		t.want()
	}
}

// A source is the content being read: exactly its size, until the context ends.
// Close may be called while Read is.
type source struct {
	upload *upload

	mu     sync.Mutex // guards what is below
	r      io.ReadCloser
	left   int64
	closed bool
}

var errClosed = errors.New("the body is closed")

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, errClosed
	}
	n, err := s.read(p)
	if err != nil && err != io.EOF {
		s.upload.fail(err)
	}
	return n, err
}

// read withholds the last bytes until the content has ended well: with them the
// server has all that was announced, and may store it.
func (s *source) read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if s.left -= int64(n); s.left == 0 && err == nil {
		err = s.end()
	}
	size := s.upload.content.Size
	switch {
	case s.upload.ctx.Err() != nil:
		return 0, context.Cause(s.upload.ctx)
	case s.left < 0:
		return 0, fmt.Errorf("more than the %d bytes that it should have", size)
	case err == io.EOF && s.left > 0:
		return 0, fmt.Errorf("only %d of the %d bytes that it should have", size-s.left, size)
	case err != nil && err != io.EOF:
		return 0, err
	}
	return n, err
}

// end is io.EOF if nothing follows.
func (s *source) end() error {
	var one [1]byte
	for {
		n, err := s.r.Read(one[:])
		s.left -= int64(n)
		if n > 0 || err != nil {
			return err
		}
	}
}

func (s *source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.r.Close()
}
