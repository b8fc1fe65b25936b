package remote

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"github.com/prismflow/prismflow/artifacts"
)

// A verified reader passes on what is read and returns ErrCorrupt in place of
// io.EOF when it was not what a digest names. Other than that of package
// artifacts it can go on where a body was cut off without an error.
type verified struct {
	store *Store
	want  artifacts.Digest
	r     io.Reader
	wire  *wire
	hash  hash.Hash
	over  error
}

func newVerified(s *Store, d artifacts.Digest, r io.Reader, w *wire) *verified {
	return &verified{store: s, want: d, r: r, wire: w, hash: sha256.New()}
}

func (v *verified) Read(p []byte) (int, error) {
	for v.over == nil {
		n, err := v.r.Read(p)
		v.hash.Write(p[:n])
		if err == io.EOF {
			err = v.verdict()
		}
		if err != nil && err != io.EOF {
			err = v.store.failed(err, "reading blob %s", v.want.Short())
		}
		if v.over = err; n > 0 || len(p) == 0 {
			return n, err
		}
	}
	return 0, v.over
}

// verdict is io.EOF when what was read is what is wanted, and nil when there is
// more to read.
func (v *verified) verdict() error {
	got := artifacts.DigestOfHash(v.hash)
	if got == v.want {
		return io.EOF
	}
	if more, err := v.wire.goOn(); more || err != nil {
		return err
	}
	return fmt.Errorf("its bytes have digest %s: %w", got.Short(), artifacts.ErrCorrupt)
}

func (v *verified) Close() error { return v.wire.Close() }
