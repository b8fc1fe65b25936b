package remote

import "io"

// A body is what a request reads: watched, counted, and at the store's pace.
type body struct {
	io.Closer
	r       io.Reader
	request *request
}

func newBody(r io.ReadCloser, req *request) *body { return &body{r, r, req} }

func (b *body) Read(p []byte) (int, error) {
	b.request.watch.arm(0)
	n, err := b.r.Read(p)
	b.request.watch.rest()
	b.request.watch.moved(n, 0)
	b.request.read += int64(n)
	s := b.request.store
	s.stats.received.Add(int64(n))
	if perr := s.pace.moved(b.request.ctx, n); perr != nil && err == nil {
		err = perr
	}
	return n, err
}
