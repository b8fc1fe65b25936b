package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/prismflow/prismflow/artifacts"
)

// A form is one in which a blob is kept.
type form int

const (
	plain  form = iota // as it is
	packed             // compressed by zstd, where objects may have any name
)

func (f form) name(d artifacts.Digest) string {
	if f == packed {
		return "cas/" + d.Hex() + ".zst"
	}
	return "cas/" + d.Hex()
}

// other is the one that a blob is not expected in.
func (f form) other() form { return packed - f }

// minPacked is the size of the smallest blob that is kept packed: below it, looking
// for a second name costs more than the bytes that are saved.
const minPacked = 16 << 10

// forms are those in which a blob of a size may be there, the likelier one
// first. A negative size is not known.
func (s *Store) forms(size int64) []form {
	switch {
	case !s.mayPack(size):
		return []form{plain}
	case s.packedFirst.Load():
		return []form{packed, plain}
	}
	return []form{plain, packed}
}

func (s *Store) mayPack(size int64) bool {
	return s.driver.Traits().AnyName && (size < 0 || size >= minPacked)
}

// found hears in which form a blob of a size was.
func (s *Store) found(size int64, f form) {
	if s.mayPack(size) {
		s.packedFirst.Store(f == packed)
	}
}

// What a reader believes of a packed object.
const (
	maxWindow   = 8 << 20 // bytes of memory that decompressing takes
	headerBytes = 14      // the longest header of a frame
)

// maxPackedBytes is how many bytes a packed blob of a size can have: what does not
// shrink grows by a header a block. What claims more is not even begun.
func maxPackedBytes(size int64) int64 { return size + size/256 + 64<<10 }

// packedSize is the size that a packed blob says it has.
func (s *Store) packedSize(ctx context.Context, d artifacts.Digest) (size int64, err error) {
	length := int64(headerBytes)
	if !s.driver.Traits().Ranges {
		length = -1
	}
	header := make([]byte, headerBytes)
	err = s.ask(ctx, func(r *request) error {
		opened, err := s.driver.Read(r.ctx, packed.name(d), 0, length)
		if err != nil {
			return err
		}
		body := newBody(opened, r)
		defer body.Close()
		n, err := io.ReadFull(body, header)
		if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		size, err = headerSize(header[:n])
		return err
	})
	return size, err
}

// headerSize is the size of the blob that the header of a packed one states.
func headerSize(header []byte) (int64, error) {
	var h zstd.Header
	if err := h.Decode(header); err != nil {
		return 0, fmt.Errorf("a packed blob's header: %v: %w", err, artifacts.ErrCorrupt)
	}
	if !h.HasFCS || h.Skippable || h.FrameContentSize > 1<<62 {
		return 0, fmt.Errorf("a packed blob does not state its size: %w", artifacts.ErrCorrupt)
	}
	return int64(h.FrameContentSize), nil
}

// An unpacked reader yields the blob of a packed one: no more bytes than its size
// or, where that is not known (negative), than it states itself. What was not
// packed, or is cut short, is ErrCorrupt.
type unpacked struct {
	src     io.Reader
	size    int64
	decoder *zstd.Decoder // nil before the first read
	failed  error         // of src, which the decoder may wrap or hide
}

func (u *unpacked) Read(p []byte) (int, error) {
	if u.decoder == nil {
		if err := u.start(); err != nil {
			return 0, u.cause(err)
		}
	}
	n, err := u.decoder.Read(p[:min(int64(len(p)), u.size+1)])
	if u.size -= int64(n); u.size < 0 {
		return 0, fmt.Errorf("a packed blob is longer than it should be: %w", artifacts.ErrCorrupt)
	}
	if err == io.EOF {
		u.decoder.Close()
		return n, io.EOF
	}
	return n, u.cause(err)
}

func (u *unpacked) start() error {
	buffered := bufio.NewReader(sourceReader{u})
	header, err := buffered.Peek(headerBytes)
	if err != nil && err != io.EOF {
		return err
	}
	stated, err := headerSize(header)
	if err != nil {
		return err
	}
	if u.size >= 0 && stated != u.size {
		return fmt.Errorf("a packed blob states %d bytes and not %d: %w", stated, u.size, artifacts.ErrCorrupt)
	}
	u.size = stated
	// A single goroutine, the caller's, so that nothing is left if it stops reading.
	u.decoder, err = zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	return err
}

// cause is the source's error where it has one; any other is what the decoder
// thinks of its bytes.
func (u *unpacked) cause(err error) error {
	switch {
	case err == nil || errors.Is(err, artifacts.ErrCorrupt):
		return err
	case u.failed != nil:
		return u.failed
	}
	return fmt.Errorf("unpacking: %v: %w", err, artifacts.ErrCorrupt)
}

// sourceReader is an unpacked reader's source, whose errors it remembers.
type sourceReader struct{ u *unpacked }

func (s sourceReader) Read(p []byte) (int, error) {
	n, err := s.u.src.Read(p)
	if err != nil && err != io.EOF {
		s.u.failed = err
	}
	return n, err
}
