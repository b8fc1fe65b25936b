package web

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// zstdCoding is the name of the one content coding that is spoken (RFC 8878).
const zstdCoding = "zstd"

const (
	// maxWindow is what RFC 9659 lets senders of zstd have as their window: it
	// bounds what one body costs in memory.
	maxWindow = 8 << 20

	// What a body may inflate to: so many bytes, and so many more for each that
	// came. After more, zstd is asked for no more, so that a true file of zeros
	// arrives when the store asks again.
	inflateFree  = 16 << 20
	inflateRatio = 1000
)

// A coding keeps what (de)compressing needs for the next body. The zero value is
// ready for use.
type coding struct {
	decoders sync.Pool // of *zstd.Decoder
	encoders sync.Pool // of *zstd.Encoder
}

// contentCoding is that of an answer: "", or zstd where it was asked for.
func contentCoding(resp *http.Response, asked bool) (string, error) {
	switch coding := strings.ToLower(strings.Join(resp.Header.Values("Content-Encoding"), ", ")); {
	case coding == "" || coding == "identity":
		return "", nil
	case coding == zstdCoding && asked:
		return zstdCoding, nil
	default:
		return "", fmt.Errorf("the server answered with Content-Encoding %.40q, which was not asked for", coding)
	}
}

// inflate is what a compressed body stands for; excessive is set if that is more
// than is believed. Closing it closes body.
func (c *coding) inflate(body io.ReadCloser, excessive *atomic.Bool) (io.ReadCloser, error) {
	in := &inflation{body: body, pool: &c.decoders, excessive: excessive}
	in.decoder, _ = c.decoders.Get().(*zstd.Decoder)
	if in.decoder == nil {
		var err error
		// One goroutine, the caller's.
		in.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
	}
	if err := in.decoder.Reset(wire{in}); err != nil {
		return nil, fmt.Errorf("inflating: %w", err)
	}
	return in, nil
}

// An inflation is a body being inflated.
type inflation struct {
	body      io.ReadCloser
	decoder   *zstd.Decoder
	pool      *sync.Pool
	excessive *atomic.Bool
	came      int64 // bytes of body
	made      int64 // bytes inflated
	broken    error // of body
}

// wire is the reader of an inflation's body, which counts, and remembers an
// error: a decoder takes one before its first byte for the end.
type wire struct{ in *inflation }

func (w wire) Read(p []byte) (int, error) {
	n, err := w.in.body.Read(p)
	w.in.came += int64(n)
	if err != nil && err != io.EOF {
		w.in.broken = err
	}
	return n, err
}

func (in *inflation) Read(p []byte) (int, error) {
	if in.decoder == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := in.decoder.Read(p)
	in.made += int64(n)
	if in.made > inflateFree+inflateRatio*in.came {
		in.excessive.Store(true)
		return 0, fmt.Errorf("a compressed body of %d bytes inflates to more than %d", in.came, inflateFree+inflateRatio*in.came)
	}
	if err != nil && in.broken != nil {
		err = in.broken
	} else if err != nil && err != io.EOF {
		err = fmt.Errorf("inflating: %w", err)
	}
	return n, err
}

func (in *inflation) Close() error {
	if in.decoder != nil {
		if in.decoder.Reset(nil) == nil {
			in.pool.Put(in.decoder)
		}
		in.decoder = nil
	}
	return in.body.Close()
}

const (
	// minDeflate is the size in bytes from which on compressing can gain
	// anything over what the headers cost.
	minDeflate = 512
	// sampleSize is how much of a content says whether all of it is compressed.
	sampleSize = 256 << 10
	// worthwhile is the part of its size, in percent, that it must shrink below.
	worthwhile = 90
)

// encoder is one of those kept, or a new one; it goes back by c.encoders.Put.
func (c *coding) encoder() (*zstd.Encoder, error) {
	if e, ok := c.encoders.Get().(*zstd.Encoder); ok {
		return e, nil
	}
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
}

// shrinks compresses a sample, and says whether that gains something.
func (c *coding) shrinks(sample []byte) (compressed []byte, gains bool, err error) {
	e, err := c.encoder()
	if err != nil {
		return nil, false, err
	}
	defer c.encoders.Put(e)
	compressed = e.EncodeAll(sample, make([]byte, 0, len(sample)/2))
	return compressed, len(compressed) < len(sample)*worthwhile/100, nil
}

// deflate is the compressed form of content. Closing it closes content, which an
// error does, too.
func (c *coding) deflate(content io.ReadCloser) (io.ReadCloser, error) {
	e, err := c.encoder()
	if err != nil {
		content.Close()
		return nil, err
	}
	d := &deflation{content: content, encoder: e, pool: &c.encoders, buf: make([]byte, 64<<10)}
	e.Reset(&d.out)
	return d, nil
}

// A deflation is a content being compressed, by whoever reads it.
type deflation struct {
	content io.ReadCloser
	encoder *zstd.Encoder
	pool    *sync.Pool
	buf     []byte
	out     bytes.Buffer // compressed, and not read yet
	end     error
}

func (d *deflation) Read(p []byte) (int, error) {
	for d.out.Len() == 0 && d.end == nil {
		n, err := d.content.Read(d.buf)
		if _, werr := d.encoder.Write(d.buf[:n]); werr != nil {
			err = werr
		}
		if err == io.EOF {
			if cerr := d.encoder.Close(); cerr != nil { // writes what is left
				err = cerr
			}
		}
		d.end = err
	}
	if d.out.Len() == 0 || d.end != nil && d.end != io.EOF {
		return 0, d.end
	}
	return d.out.Read(p)
}

func (d *deflation) Close() error {
	if d.encoder != nil {
		d.encoder.Reset(nil)
		d.pool.Put(d.encoder)
		d.encoder = nil
	}
	return d.content.Close()
}
