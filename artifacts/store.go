package artifacts

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

var (
	// ErrNotFound says that a store does not have what was asked for. It is an
	// ordinary answer.
	ErrNotFound = errors.New("not found in the store")

	// ErrCorrupt says that bytes are not those that their digest or size names.
	ErrCorrupt = errors.New("content does not match its digest")
)

// A Store holds blobs by digest and action results by key. Every
// implementation passes the suite of package storetest. All methods may be
// called by several goroutines at once.
//
// A blob is visible only whole and right. An action is a few bytes that a
// store neither reads nor trusts: Lookup and Publish give it its meaning.
type Store interface {
	// Stat is the size in bytes of a blob that is present, whose bytes it does
	// not look at. The error is ErrNotFound for one that is not.
	Stat(ctx context.Context, d Digest) (size int64, err error)

	// Get opens a blob for reading, verified while streaming: when the bytes
	// do not match the digest, Read returns ErrCorrupt in place of io.EOF. So
	// whoever acts on the bytes before the end acts on unverified ones. The
	// caller closes it. The error is ErrNotFound for a blob that is absent.
	Get(ctx context.Context, d Digest) (io.ReadCloser, error)

	// Put stores what r yields under d. The bytes must be size long and match
	// the digest, else the error is ErrCorrupt and nothing becomes visible.
	// A blob that is there already may be put again.
	Put(ctx context.Context, d Digest, size int64, r io.Reader) error

	// GetAction is the action published under a key, or ErrNotFound.
	GetAction(ctx context.Context, k Key) ([]byte, error)

	// PutAction publishes an action under a key. The first one published
	// stays, silently, unless replace is set.
	PutAction(ctx context.Context, k Key, action []byte, replace bool) error
}

// copyBuffer is the size of the pieces in which large blobs are written. A file
// written in small pieces is slower to map afterwards, and one written in large ones
// slower to write where memory is a guest's: the system keeps a piece in pages as
// large, which are seldom free but fresh from the host. In a virtual machine in use,
// 256 MiB took 90 to 110 ms of processor time in pieces of up to 256 KiB, 60 to 600
// in pieces of 1 MiB and 500 to 700 in pieces of 4 MiB; the first touch of the mapped
// file takes 20 to 70 ms from 64 KiB, and 7 from 256 KiB on.
const copyBuffer = 256 << 10

// CopyVerified copies a blob from r to w and returns ErrCorrupt when r yields
// fewer or more bytes than size or bytes that d does not name. Every store
// writes through it. What w received must not be made visible after an error.
func CopyVerified(ctx context.Context, w io.Writer, r io.Reader, d Digest, size int64) error {
	if size < 0 {
		return fmt.Errorf("blob %s: negative size %d", d.Short(), size)
	}
	h := sha256.New()
	buf := make([]byte, min(size+1, copyBuffer)) // one more, to see that r ends
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := io.ReadFull(r, buf)
		if n += int64(got); n > size {
			return fmt.Errorf("blob %s: more than its %d bytes: %w", d.Short(), size, ErrCorrupt)
		}
		h.Write(buf[:got])
		if _, werr := w.Write(buf[:got]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("blob %s: reading its content: %w", d.Short(), err)
		}
	}
	if n != size {
		return fmt.Errorf("blob %s: %d bytes and not %d: %w", d.Short(), n, size, ErrCorrupt)
	}
	return matches(d, h)
}

func matches(want Digest, h hash.Hash) error {
	if got := DigestOfHash(h); got != want {
		return fmt.Errorf("blob %s: bytes have digest %s: %w", want.Short(), got.Short(), ErrCorrupt)
	}
	return nil
}

// VerifyReader passes r through and returns ErrCorrupt in place of io.EOF
// when what was read is not what d names. Every store reads through it.
// Closing the result closes r.
func VerifyReader(r io.ReadCloser, d Digest) io.ReadCloser {
	return &verifyReader{r: r, want: d, hash: sha256.New()}
}

type verifyReader struct {
	r    io.ReadCloser
	want Digest
	hash hash.Hash
	end  error // the verdict, once r has ended
}

func (v *verifyReader) Read(p []byte) (int, error) {
	if v.end != nil {
		return 0, v.end
	}
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	if err == nil {
		return n, nil
	}
	v.end = err
	if err == io.EOF {
		if bad := matches(v.want, v.hash); bad != nil {
			v.end = bad
		}
	}
	return n, v.end
}

func (v *verifyReader) Close() error { return v.r.Close() }

// readAll reads a whole verified blob that may be at most limit bytes.
func readAll(ctx context.Context, s Store, d Digest, size, limit int64) ([]byte, error) {
	if size > limit {
		return nil, fmt.Errorf("blob %s: %d bytes where at most %d are believed", d.Short(), size, limit)
	}
	r, err := s.Get(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	buf := make([]byte, size)
	if _, err := io.ReadFull(r, buf); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
			err = fmt.Errorf("blob %s: shorter than its %d bytes: %w", d.Short(), size, ErrCorrupt)
		}
		return nil, err
	}
	// The verdict comes with the end, so the end has to be reached.
	if extra, err := bufio.NewReaderSize(r, 16).Peek(1); len(extra) > 0 {
		return nil, fmt.Errorf("blob %s: longer than its %d bytes: %w", d.Short(), size, ErrCorrupt)
	} else if err != io.EOF {
		return nil, err
	}
	return buf, nil
}
