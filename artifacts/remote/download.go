package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/sourcegraph/conc/pool"

	"github.com/prismflow/prismflow/artifacts"
)

// Download fetches a blob of a known size into the file at path, in parts side
// by side where the place can, and verifies it: after an error nobody may use
// the file, but a later Download to the same path goes on with what is right of
// it, also after the process died. A wrong byte is ErrCorrupt, and then nothing
// is left of the file.
//
// Beside the file it may keep path+".parts" and path+".zst" until the blob is
// whole. Only one Download at a time may be at a path. It does not sync, but has the
// system begin to write large blobs to the disk while they come in.
func (s *Store) Download(ctx context.Context, d artifacts.Digest, size int64, path string, progress Progress) error {
	err := s.eachForm(ctx, d, size, progress, func(f form, m *meter) error { return s.download(ctx, d, size, f, path, m) })
	if errors.Is(err, artifacts.ErrCorrupt) {
		_ = os.Remove(path)
	}
	return err
}

// eachForm fetches a blob in the form that it is there in.
func (s *Store) eachForm(ctx context.Context, d artifacts.Digest, size int64, progress Progress, fetch func(form, *meter) error) error {
	if err := checkDigest(ctx, d); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("remote %s: blob %s: negative size %d", s.driver, d.Short(), size)
	}
	if size > maxBlob {
		return s.failed(artifacts.ErrCorrupt, "blob %s is said to have %d bytes, at most %d are believed", d.Short(), size, int64(maxBlob))
	}
	err := error(nil)
	for _, form := range s.forms(size) {
		if err = fetch(form, newMeter(progress, size, size)); err == nil {
			s.found(size, form)
		}
		if !errors.Is(err, artifacts.ErrNotFound) {
			break
		}
	}
	return s.failed(err, "fetching blob %s", d.Short())
}

// What is believed of sizes, which come from the remote: with these bounds the
// memory that the record of parts takes is bounded, too.
const (
	maxBlob  = 1 << 50 // bytes
	maxParts = 1 << 20
)

func (s *Store) download(ctx context.Context, d artifacts.Digest, size int64, f form, path string, m *meter) error {
	if size <= s.opts.PartBytes || !s.driver.Traits().Ranges {
		return s.downloadStream(ctx, d, size, f, path, m)
	}
	bytes, err := s.objectSize(ctx, f.name(d)) // before parts of it are asked for that it may not have
	switch {
	case err != nil:
		return err
	case f == plain && bytes != size:
		return fmt.Errorf("%d bytes and not %d: %w", bytes, size, artifacts.ErrCorrupt)
	case f == packed && bytes > maxPackedBytes(size):
		return fmt.Errorf("%d bytes, packed, of a blob of %d: %w", bytes, size, artifacts.ErrCorrupt)
	case bytes <= s.opts.PartBytes:
		return s.downloadStream(ctx, d, size, f, path, m)
	}
	m.sized(bytes)
	return s.downloadParts(ctx, d, size, f, bytes, path, m)
}

// downloadStream fetches a blob by one request, if nothing breaks off.
func (s *Store) downloadStream(ctx context.Context, d artifacts.Digest, size int64, f form, path string, m *meter) error {
	r, w, err := s.stream(ctx, d, size, f, m)
	if err != nil {
		return err
	}
	defer w.Close()
	file, err := openOwn(path, os.O_TRUNC)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := artifacts.CopyVerified(ctx, file, r, d, size); err != nil {
		return err
	}
	return file.Close()
}

// downloadParts fetches a blob whose object has so many bytes in parts. When it
// turns out to be wrong and some parts are from an earlier time, they may have been
// of another object, so that it begins once more.
func (s *Store) downloadParts(ctx context.Context, d artifacts.Digest, size int64, f form, bytes int64, path string, m *meter) error {
	plan := plan{digest: d, form: f, bytes: bytes, part: max(s.opts.PartBytes, bytes/maxParts+1)}
	resumed, err := s.downloadPartsOnce(ctx, plan, size, path, m)
	if resumed && errors.Is(err, artifacts.ErrCorrupt) {
		m.restart()
		_, err = s.downloadPartsOnce(ctx, plan, size, path, m)
	}
	return err
}

func (s *Store) downloadPartsOnce(ctx context.Context, plan plan, size int64, path string, m *meter) (resumed bool, err error) {
	wirePath := path
	if plan.form == packed {
		wirePath = path + ".zst"
	}
	p, err := openParts(ctx, wirePath, path+".parts", plan)
	if err != nil {
		return false, err
	}
	defer p.close()
	m.add(p.had)
	both := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	both.Go(func(ctx context.Context) error {
		err := s.fetchParts(ctx, p, m)
		p.stop(err)
		return err
	})
	both.Go(func(ctx context.Context) error { return p.assemble(ctx, size, path) })
	err = both.Wait()
	if ctx.Err() != nil {
		return p.had > 0, ctx.Err()
	}
	if err == nil || errors.Is(err, artifacts.ErrCorrupt) {
		err = errors.Join(err, p.remove(err == nil))
	}
	return p.had > 0, err
}

// fetchParts fetches what is missing, some parts at a time, in their order.
func (s *Store) fetchParts(ctx context.Context, p *parts, m *meter) error {
	var next atomic.Int64
	workers := pool.New().WithContext(ctx).WithCancelOnError().WithFirstError()
	for range min(s.opts.Parallel, p.plan.count()) {
		workers.Go(func(ctx context.Context) error {
			buf := p.buffer()
			for i := int(next.Add(1)) - 1; i < p.plan.count(); i = int(next.Add(1)) - 1 {
				if p.has(i) {
					continue
				}
				if err := s.fetchPart(ctx, p, i, buf, m); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return workers.Wait()
}

func (s *Store) fetchPart(ctx context.Context, p *parts, i int, buf []byte, m *meter) error {
	from, to := p.plan.bounds(i)
	w := &wire{store: s, ctx: ctx, name: p.plan.form.name(p.plan.digest), meter: m, offset: from, resumed: from, end: to}
	defer w.Close()
	return p.receive(i, w, buf)
}

// assemble makes the verified blob of the parts as they come in.
func (p *parts) assemble(ctx context.Context, size int64, path string) error {
	if p.plan.form == plain {
		return artifacts.CopyVerified(ctx, io.Discard, p.follow(), p.plan.digest, size)
	}
	file, err := openOwn(path, os.O_TRUNC)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := artifacts.CopyVerified(ctx, file, &unpacked{src: p.follow(), size: size}, p.plan.digest, size); err != nil {
		return err
	}
	return file.Close()
}
