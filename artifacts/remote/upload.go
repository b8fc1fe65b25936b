package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/prismflow/prismflow/artifacts"
)

// unasked is the size in bytes of the largest blob that is sent without a look
// whether it is there, to places that then refuse it: mostly it is not, and a
// request costs more time than so many bytes.
const unasked = 32 << 10

// Upload sends a blob unless it is there, and returns how many bytes went over
// the wire: 0 if it was, or for a small one at most its size. The content is checked against the digest as it is sent,
// and what is not what the digest names becomes no object: it is ErrCorrupt.
//
// What is there in another size than it should have is replaced. Wrong bytes of
// the right size are not seen, since nothing is read: see Repair.
func (s *Store) Upload(ctx context.Context, d artifacts.Digest, content Content, progress Progress) (sent int64, err error) {
	release, err := s.beginUpload(ctx, d, content)
	if err != nil {
		return 0, err
	}
	defer release()
	sent, err = s.upload(ctx, d, content, progress)
	return sent, s.failed(err, "sending blob %s", d.Short())
}

func (s *Store) upload(ctx context.Context, d artifacts.Digest, content Content, progress Progress) (int64, error) {
	f, err := s.choose(content)
	if err != nil {
		return 0, err
	}
	if content.Size <= unasked && s.driver.Traits().Conditional {
		return s.sendBlob(ctx, d, content, f, false, progress)
	}
	for _, form := range s.formsFrom(f, content.Size) {
		there, err := s.isThere(ctx, d, content.Size, form)
		switch {
		case errors.Is(err, artifacts.ErrNotFound):
			continue
		case err != nil:
			return 0, err
		case there:
			return 0, nil
		}
		return s.sendBlob(ctx, d, content, form, true, progress)
	}
	return s.sendBlob(ctx, d, content, f, false, progress)
}

// Repair sends a blob in place of what the remote has under its name: for one
// of which Get or Download said that it is corrupt. Both forms are replaced, if
// both are there.
func (s *Store) Repair(ctx context.Context, d artifacts.Digest, content Content, progress Progress) (sent int64, err error) {
	release, err := s.beginUpload(ctx, d, content)
	if err != nil {
		return 0, err
	}
	defer release()
	sent, err = s.repair(ctx, d, content, progress)
	return sent, s.failed(err, "repairing blob %s", d.Short())
}

func (s *Store) repair(ctx context.Context, d artifacts.Digest, content Content, progress Progress) (int64, error) {
	f, err := s.choose(content)
	if err != nil {
		return 0, err
	}
	sent, err := s.sendBlob(ctx, d, content, f, true, progress)
	if err != nil || !s.mayPack(content.Size) {
		return sent, err
	}
	if there, err := s.exists(ctx, f.other().name(d)); err != nil || !there {
		return sent, err
	}
	more, err := s.sendBlob(ctx, d, content, f.other(), true, nil)
	return sent + more, err
}

// beginUpload checks what is to be sent, and waits until nobody else sends it.
func (s *Store) beginUpload(ctx context.Context, d artifacts.Digest, content Content) (release func(), err error) {
	if err := checkDigest(ctx, d); err != nil {
		return nil, err
	}
	if content.Size < 0 {
		return nil, fmt.Errorf("remote %s: blob %s: negative size %d", s.driver, d.Short(), content.Size)
	}
	if content.Size == 0 && d != artifacts.DigestOf(nil) {
		return nil, fmt.Errorf("remote %s: blob %s is not empty: %w", s.driver, d.Short(), artifacts.ErrCorrupt)
	}
	return s.names.take(ctx, plain.name(d))
}

// formsFrom are the forms in which a blob may be there, beginning with f.
func (s *Store) formsFrom(f form, size int64) []form {
	if !s.mayPack(size) {
		return []form{f}
	}
	return []form{f, f.other()}
}

// isThere says whether a blob is there whole in a form: false is for what should be
// replaced. The error is ErrNotFound where nothing is.
func (s *Store) isThere(ctx context.Context, d artifacts.Digest, size int64, f form) (bool, error) {
	got, err := s.blobSize(ctx, d, f)
	if errors.Is(err, artifacts.ErrCorrupt) {
		return false, nil
	}
	return got == size, err
}

// sendBlob sends a blob in a form. Unless it is to replace what is there, it is
// content with an object of the right size that is there by then.
func (s *Store) sendBlob(ctx context.Context, d artifacts.Digest, content Content, f form, replace bool, progress Progress) (int64, error) {
	o := outgoing{name: f.name(d), size: content.Size, open: content.Open, want: d}
	if f == packed {
		spool, err := s.pack(ctx, d, content)
		switch {
		case isSpoolFull(err) && !replace:
			o.name = plain.name(d)
			f = plain
		case err != nil:
			return 0, err
		default:
			defer spool.Close()
			o.size, o.open, o.want = spool.size, spool.open, ""
		}
	}
	if !replace {
		o.there = func(ctx context.Context, _ error) (bool, error) { return s.isThere(ctx, d, content.Size, f) }
	}
	o.meter = newMeter(progress, o.size, content.Size)
	return s.send(ctx, o)
}

// Put implements artifacts.Store. What is there in the right size is not sent.
func (s *Store) Put(ctx context.Context, d artifacts.Digest, size int64, r io.Reader) error {
	if err := checkDigest(ctx, d); err != nil {
		return err
	}
	spool := s.newSpool()
	defer spool.Close()
	if err := artifacts.CopyVerified(ctx, spool, r, d, size); err != nil {
		return err
	}
	_, err := s.Upload(ctx, d, Content{Size: size, Open: spool.open}, nil)
	return err
}
