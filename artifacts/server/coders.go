package server

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// coders deflate and inflate on the wire. Their number is bounded: each has some
// megabytes, and more than there are processors gain nothing.
type coders struct {
	deflating, inflating chan struct{} // one for each that is at work
	encoders, decoders   sync.Pool
	sampler              *zstd.Encoder
}

const (
	// maxInflating is how many bodies are inflated at once; their clients, and not
	// our processors, set their pace.
	maxInflating = 32

	// maxWindow is how far back a deflated body may refer, and so the memory that
	// it costs: what RFC 8878 recommends to support.
	maxWindow = 8 << 20

	deflateWindow = 1 << 20
	sampleBytes   = 32 << 10

	// worthwhile is the part of its size to which content has to shrink.
	worthwhile = 0.8
	// minDeflated is the size in bytes below which a packet holds the plain bytes.
	minDeflated = 1 << 10
)

func newCoders() (*coders, error) {
	c := &coders{
		deflating: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))),
		inflating: make(chan struct{}, maxInflating),
	}
	var err error
	c.sampler, err = newEncoder()
	return c, err
}

func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(deflateWindow), zstd.WithLowerEncoderMem(true))
}

// inflate is the body of a request inflated. done gives back what that takes.
func (c *coders) inflate(x *exchange) (body io.Reader, done func(), err error) {
	select {
	case c.inflating <- struct{}{}:
	default:
		return nil, nil, refuse(http.StatusServiceUnavailable, "%d deflated bodies are being read, which is all that this server takes at once", maxInflating)
	}
	decoder, _ := c.decoders.Get().(*zstd.Decoder)
	if decoder == nil {
		decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	}
	if err == nil {
		err = decoder.Reset(x.body)
	}
	if err != nil {
		<-c.inflating
		return nil, nil, inflating(err)
	}
	done = func() {
		if decoder.Reset(nil) == nil {
			c.decoders.Put(decoder)
		}
		<-c.inflating
	}
	return inflatedBody{decoder}, done, nil
}

// An inflatedBody tells errors of the connection from those of the content.
type inflatedBody struct{ r io.Reader }

func (b inflatedBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	return n, inflating(err)
}

func inflating(err error) error {
	if err == nil || err == io.EOF || errors.As(err, new(*bodyError)) {
		return err
	}
	return refuse(http.StatusBadRequest, "inflating the body: %v", err)
}

// sendDeflated answers with deflated content, if the client takes it, the
// content gains by it, and a processor is free for it. Ranges are of plain bytes
// and are answered so.
func (s *Server) sendDeflated(x *exchange, content io.ReadSeeker, size int64, tag string) (sent bool, err error) {
	if x.r.Method != http.MethodGet || size < minDeflated || !takesZstd(x.r.Header) || isConditional(x.r.Header) {
		return false, nil
	}
	select {
	case s.coders.deflating <- struct{}{}:
		defer func() { <-s.coders.deflating }()
	default:
		return false, nil
	}
	gains, err := s.coders.gains(content, size)
	if err != nil || !gains {
		return false, err
	}
	x.Header().Set("Content-Encoding", "zstd")
	x.Header().Set("ETag", `"`+tag+`.zst"`) // other bytes, another tag
	return true, s.coders.deflate(x, content)
}

func (c *coders) deflate(to io.Writer, content io.Reader) error {
	encoder, _ := c.encoders.Get().(*zstd.Encoder)
	if encoder == nil {
		var err error
		if encoder, err = newEncoder(); err != nil {
			return err
		}
	}
	defer c.encoders.Put(encoder)
	encoder.Reset(to)
	buffer := buffers.Get().(*[256 << 10]byte)
	defer buffers.Put(buffer)
	if _, err := io.CopyBuffer(onlyWriter{encoder}, onlyReader{content}, buffer[:]); err != nil {
		return err
	}
	return encoder.Close()
}

// onlyReader hides WriteTo.
type onlyReader struct{ io.Reader }

// gains says whether content is worth deflating, by a sample from its middle:
// files begin with a header that says little of what follows.
func (c *coders) gains(content io.ReadSeeker, size int64) (bool, error) {
	if _, err := content.Seek(max(0, size/2-sampleBytes/2), io.SeekStart); err != nil {
		return false, err
	}
	sample := make([]byte, min(size, sampleBytes))
	if _, err := io.ReadFull(content, sample); err != nil {
		return false, err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	deflated := c.sampler.EncodeAll(sample, nil)
	return float64(len(deflated)) < worthwhile*float64(len(sample)), nil
}

// takesZstd says whether a client takes an answer in zstd.
func takesZstd(header http.Header) bool {
	for _, line := range header.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(name), "zstd") {
				weight = strings.ReplaceAll(weight, " ", "")
				return strings.Trim(strings.TrimPrefix(weight, "q="), "0.") != "" || weight == ""
			}
		}
	}
	return false
}

// isConditional says whether a request asks for a part, or for nothing if the
// tag is right: net/http knows all about these.
func isConditional(header http.Header) bool {
	for _, name := range []string{"Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if header.Get(name) != "" {
			return true
		}
	}
	return false
}
