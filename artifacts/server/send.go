package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/prismflow/prismflow/artifacts"
)

// emptyBlob is the blob of no bytes. It is always here: some clients never send
// it, for who has its name knows all of it.
var emptyBlob = artifacts.DigestOf(nil)

// getBlob answers GET and HEAD of a blob. Its bytes were verified before the
// first is sent: here, or at an earlier time since which the file is unchanged.
func (s *Server) getBlob(x *exchange, d artifacts.Digest) error {
	if d == emptyBlob {
		return s.send(x, bytes.NewReader(nil), 0, d.Hex())
	}
	if x.r.Method == http.MethodHead {
		if err := s.keep(x.r.Context(), d); err != nil {
			return err
		}
	}
	f, err := s.openBlob(x.r.Context(), d)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return s.send(x, f, info.Size(), d.Hex())
}

// openBlob opens a verified blob.
func (s *Server) openBlob(ctx context.Context, d artifacts.Digest) (*os.File, error) {
	path, err := s.verified(ctx, d)
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// verified is where a verified blob is. One that was damaged is told of, and is
// not there.
func (s *Server) verified(ctx context.Context, d artifacts.Digest) (path string, err error) {
	path, err = s.store.Verified(ctx, d)
	if errors.Is(err, artifacts.ErrCorrupt) {
		s.metrics.corrupt.Inc()
		s.opts.Log.Error().Err(err).Msg("a blob was damaged in the store")
	}
	return path, err
}

// keep has a blob stay that is here, before a client is told so: it will not send
// it, and counts on it. Afterwards it may be gone nevertheless, until one looks.
func (s *Server) keep(ctx context.Context, d artifacts.Digest) error {
	if _, err := s.store.Stat(ctx, d); err != nil {
		return err // not kept: a client could ask for any number of names
	}
	return s.holds.keep(ctx, d)
}

// hasBlob says whether a blob is here, verified, and will stay for a while.
func (s *Server) hasBlob(x *exchange, d artifacts.Digest) (bool, error) {
	if d == emptyBlob {
		return true, nil
	}
	err := s.keep(x.r.Context(), d)
	if errors.Is(err, artifacts.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	f, err := s.openBlob(x.r.Context(), d)
	if errors.Is(err, artifacts.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// send answers with content: whole or the ranges that are asked for, or a 304
// or 412 where the conditions of the request say so. The tag is that of the
// plain bytes.
func (s *Server) send(x *exchange, content io.ReadSeeker, size int64, tag string) error {
	header := x.Header()
	header.Set("ETag", `"`+tag+`"`)
	header.Set("Content-Type", "application/octet-stream")
	header.Set("X-Content-Type-Options", "nosniff")
	if !s.opts.NoZstd {
		header.Set("Vary", "Accept-Encoding")
		sent, err := s.sendDeflated(x, content, size, tag)
		if sent || err != nil {
			return err
		}
	}
	http.ServeContent(x, x.r, "", time.Time{}, content)
	return nil
}

// readFile is the whole of a file that is at most of a size.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("%s: more than %d bytes", path, most)
	}
	return content, err
}
