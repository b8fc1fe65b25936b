package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"gocloud.dev/blob"

	"github.com/prismflow/prismflow/artifacts/remote"
)

// Options are what a bucket needs beside its URL.
type Options struct {
	// LookupEnv is the environment in which credentials, region and endpoint are
	// looked for. What the SDKs look up by themselves, they look up in that of the
	// process: the rest of Amazon's chain (shared files, web identity, containers,
	// instances), Google's Application Default Credentials, and Azure's default
	// credential. nil is an empty environment.
	LookupEnv func(string) (string, bool)
}

func (o Options) env(names ...string) string {
	for _, name := range names {
		if o.LookupEnv == nil {
			break
		}
		if value, _ := o.LookupEnv(name); value != "" {
			return value
		}
	}
	return ""
}

// A service is what differs from one provider to the next.
type service interface {
	// dial makes a client. It does not ask the bucket, but may ask for credentials.
	dial(ctx context.Context) (*blob.Bucket, error)

	// upload makes an object of what r yields. Where it takes several requests, it
	// leaves nothing behind after an error, and repeats single ones.
	upload(ctx context.Context, bucket *blob.Bucket, key string, r io.Reader, size int64, ifAbsent bool) error

	// version tells an object from another of the same name, as an ETag does.
	version(*blob.Attributes) string

	// onlyVersion restricts a read to a version, if it is not empty. One that is
	// gone is an error of status 412 or 404.
	onlyVersion(version string) func(as func(any) bool) error

	// secrets are what no text may contain.
	secrets() []string
}

const (
	// partBytes is the size of what a large object is sent in; of a very large one
	// it is more, since there may be only so many (see partSize).
	partBytes   = 8 << 20
	mostParts   = 10_000          // of S3; Azure takes more
	sentAtOnce  = 4               // parts of one object
	partRetries = 2               // of a part that was not taken
	mostPause   = 5 * time.Second // before one of them

	clearingTime = 5 * time.Second // for what a broken upload leaves behind
)

func partSize(size int64) int { return int(max(partBytes, size/(mostParts-1)+1)) }

// A driver implements remote.Driver.
type driver struct {
	address address
	prefix  string
	service service

	mu     sync.Mutex   // guards bucket
	bucket *blob.Bucket // nil until it was dialled

	isThere atomic.Bool // the bucket, as far as is known
}

// Open makes the driver for a URL such as s3://BUCKET/PREFIX, gs://BUCKET/PREFIX
// or azblob://CONTAINER/PREFIX. It asks nobody: a bucket that is missing, or
// credentials that are, are errors of the first request.
//
// Parameters behind a ? say how the bucket is reached: endpoint (of another server
// than the provider's), anonymous (true: without credentials), for S3 region,
// profile and use_path_style, for Azure account.
func Open(url string, opts Options) (remote.Driver, error) {
	a, err := parse(url)
	if err != nil {
		return nil, fmt.Errorf("the remote's URL: %w", err)
	}
	d := newDriver(a, opts)
	if d.prefix, err = a.prefix(); err != nil {
		return nil, fmt.Errorf("the remote's URL: %w", err)
	}
	return d, nil
}

func newDriver(a address, opts Options) *driver {
	return &driver{address: a, service: providers()[a.scheme].make(a, opts)}
}

// String implements remote.Driver.
func (d *driver) String() string { return d.address.String() }

// Traits implements remote.Driver.
func (d *driver) Traits() remote.Traits {
	return remote.Traits{AnyName: true, Ranges: true, Conditional: true}
}

// Close implements remote.Driver.
func (d *driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bucket == nil {
		return nil
	}
	bucket := d.bucket
	d.bucket = nil
	return bucket.Close()
}

func (d *driver) dialled(ctx context.Context) (*blob.Bucket, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bucket != nil {
		return d.bucket, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	bucket, err := d.service.dial(ctx)
	if err != nil {
		return nil, err
	}
	d.bucket = bucket
	return bucket, nil
}

// Stat implements remote.Driver.
func (d *driver) Stat(ctx context.Context, name string) (int64, error) {
	attributes, err := d.attributes(ctx, name)
	if err != nil {
		return 0, err
	}
	return attributes.Size, nil
}

func (d *driver) attributes(ctx context.Context, name string) (*blob.Attributes, error) {
	bucket, err := d.dialled(ctx)
	if err != nil {
		return nil, d.explain(ctx, "dialling", err)
	}
	attributes, err := bucket.Attributes(ctx, d.prefix+name)
	if err != nil {
		return nil, d.explain(ctx, "looking for "+name, d.orNoBucket(ctx, bucket, err))
	}
	return attributes, nil
}

// orNoBucket is the error, or, where it says that an object is not there, that
// the bucket is not: a HEAD request's answer does not tell. It asks until the
// bucket was there once.
func (d *driver) orNoBucket(ctx context.Context, bucket *blob.Bucket, err error) error {
	if d.isThere.Load() || answerOf(err).status != http.StatusNotFound {
		return err
	}
	_, _, listing := bucket.ListPage(ctx, blob.FirstPageToken, 1, nil)
	switch status := answerOf(listing).status; {
	case status == http.StatusNotFound:
		return errNoBucket
	case listing == nil, status == http.StatusForbidden:
		d.isThere.Store(true)
	}
	return err
}

// Read implements remote.Driver.
func (d *driver) Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		_, err := d.Stat(ctx, name)
		return http.NoBody, err
	}
	return d.read(ctx, name, offset, length, "")
}

// errChanged says that an object of the version that was asked for is not there
// any more.
var errChanged = errors.New("it changed since it was looked at")

// read opens the bytes of a version of an object, or of any if it is empty.
func (d *driver) read(ctx context.Context, name string, offset, length int64, version string) (io.ReadCloser, error) {
	bucket, err := d.dialled(ctx)
	if err != nil {
		return nil, d.explain(ctx, "dialling", err)
	}
	r, err := bucket.NewRangeReader(ctx, d.prefix+name, offset, length, &blob.ReaderOptions{BeforeRead: d.service.onlyVersion(version)})
	if err != nil {
		if status := answerOf(err).status; version != "" && (status == http.StatusPreconditionFailed || status == http.StatusNotFound) {
			return nil, errChanged
		}
		return nil, d.explain(ctx, "reading "+name, d.orNoBucket(ctx, bucket, err))
	}
	left := r.Size() - offset
	if length >= 0 {
		left = min(left, length)
	}
	return &body{Reader: r, left: left, explain: func(err error) error { return d.explain(ctx, "reading "+name, err) }}, nil
}

// A body is that of an object. It ends with io.EOF only where it ought to.
type body struct {
	*blob.Reader
	left    int64
	explain func(error) error
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.left -= int64(n)
	switch {
	case err == io.EOF && b.left > 0:
		err = b.explain(io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		err = b.explain(err)
	}
	return n, err
}

// Write implements remote.Driver.
func (d *driver) Write(ctx context.Context, name string, content remote.Content, ifAbsent bool) error {
	bucket, err := d.dialled(ctx)
	if err != nil {
		return d.explain(ctx, "dialling", err)
	}
	source, err := content.Open()
	if err != nil {
		return fmt.Errorf("opening what is to be %s: %w", name, err)
	}
	// Some SDKs take a body that fails for one that ends; that its context has
	// ended, they all understand.
	sending, stop := context.WithCancel(ctx)
	defer stop()
	whole := &whole{source: source, left: content.Size, stop: stop}
	defer whole.Close()
	err = d.service.upload(sending, bucket, d.prefix+name, whole, content.Size, ifAbsent)
	if broken := whole.failure(); broken != nil && ctx.Err() == nil {
		return fmt.Errorf("reading what is to be %s: %w", name, broken)
	}
	if err == nil {
		return nil
	}
	return d.explain(ctx, "writing "+name, d.orNoBucket(ctx, bucket, err))
}

// A whole reader yields exactly as many bytes as were promised, or an error, and
// with it stops who reads. A client may read on in the background when the
// upload has ended; then there is nothing any more.
type whole struct {
	mu     sync.Mutex // guards the rest
	source io.ReadCloser
	left   int64
	stop   func()
	err    error
}

func (w *whole) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.source.Read(p)
	w.left -= int64(n)
	switch {
	case w.left < 0:
		n, err = 0, errors.New("it has more bytes than it is to have")
	case err == io.EOF && w.left > 0:
		err = fmt.Errorf("it is %d bytes short: %w", w.left, io.ErrUnexpectedEOF)
	}
	if err != nil && err != io.EOF {
		w.err = err
		w.stop()
	}
	return n, err
}

func (w *whole) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *whole) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = errors.New("the upload has ended")
	_ = w.source.Close() // of what was read
}
