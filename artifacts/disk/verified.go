package disk

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/groupmode"
)

// Verified is the path of a blob whose bytes were verified. They are hashed
// once and then trusted as long as the file is the one that was hashed (see
// Stamp). A blob that turns out corrupt is moved to quarantine/, for people
// to look at; the error then is both ErrNotFound and ErrCorrupt.
//
// The file must not be changed. It stays while a Lease is held that was taken
// before the digest was looked up or stored.
func (s *Store) Verified(ctx context.Context, d artifacts.Digest) (path string, err error) {
	hex, err := checkDigest(ctx, d)
	if err != nil {
		return "", err
	}
	path = s.blobPath(hex)
	st, err := s.stampOf(ctx, hex, path)
	if err != nil {
		return "", notFound("blob", d.Short(), err)
	}
	if st.Digest == d {
		return path, nil
	}
	return "", s.quarantine(ctx, d, st)
}

// quarantine moves a blob aside whose bytes are not d's, and returns the error
// that says so.
func (s *Store) quarantine(ctx context.Context, d artifacts.Digest, st Stamp) error {
	hex := d.Hex()
	aside := s.path("quarantine", fmt.Sprintf("%s.%d", hex, s.opts.Now().UnixNano()))
	err := s.sweep.swept(ctx, func() error {
		id, err := statFile(s.blobPath(hex))
		if err != nil || id != st.ID {
			return err // somebody replaced it in between: not ours to judge
		}
		if err := groupmode.MkdirAll(s.path("quarantine")); err != nil {
			return err
		}
		return os.Rename(s.blobPath(hex), aside)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fate := "moved to " + aside
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		fate = fmt.Sprintf("could not be moved to quarantine: %v", err)
	}
	return fmt.Errorf("blob %s: %w, %w: its bytes have digest %s, %s",
		d.Short(), artifacts.ErrNotFound, artifacts.ErrCorrupt, st.Digest.Short(), fate)
}
