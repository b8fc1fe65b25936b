package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/option"
)

// gcsService is Google Cloud Storage, or an emulator of it.
type gcsService struct {
	address address
	opts    Options
}

func newGCS(a address, opts Options) service { return &gcsService{a, opts} }

func (s *gcsService) secrets() []string { return nil } // the SDK reads them from files

// endpoint is that of an emulator, or empty.
func (s *gcsService) endpoint() string {
	if endpoint := s.address.params["endpoint"]; endpoint != "" {
		return endpoint
	}
	host := s.opts.env("STORAGE_EMULATOR_HOST")
	if host != "" && !strings.Contains(host, "://") {
		return "http://" + host
	}
	return host
}

func (s *gcsService) dial(ctx context.Context) (*blob.Bucket, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	tune(transport)
	var options []option.ClientOption
	endpoint := s.endpoint()
	if endpoint != "" {
		options = append(options, option.WithEndpoint(strings.TrimSuffix(endpoint, "/")+"/storage/v1/"))
	}
	var authorised http.RoundTripper = transport
	if s.address.anonymous || endpoint != "" {
		options = append(options, option.WithoutAuthentication())
	} else {
		// The context is that of all refreshing to come.
		credentials, err := google.FindDefaultCredentials(context.WithoutCancel(ctx), storage.ScopeReadWrite)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNoCredentials, err)
		}
		authorised = &oauth2.Transport{Source: credentials.TokenSource, Base: transport}
		options = append(options, option.WithTokenSource(credentials.TokenSource))
	}
	options = append(options, option.WithHTTPClient(newClient(authorised)))
	client, err := storage.NewClient(context.WithoutCancel(ctx), options...)
	if err != nil {
		return nil, err
	}
	client.SetRetry(storage.WithPolicy(storage.RetryNever)) // who asked decides
	return gcsblob.OpenBucket(ctx, nil, s.address.bucket, &gcsblob.Options{Client: client})
}

func (s *gcsService) upload(ctx context.Context, bucket *blob.Bucket, key string, r io.Reader, size int64, ifAbsent bool) error {
	options := writing(ifAbsent)
	options.BufferSize = partSize(size)
	options.BeforeWrite = func(as func(any) bool) error {
		var object **storage.ObjectHandle
		if !as(&object) {
			return errors.New("the writer has no object")
		}
		if size > int64(options.BufferSize) {
			*object = (*object).Retryer(storage.WithPolicy(storage.RetryIdempotent), storage.WithMaxAttempts(1+partRetries))
		}
		var writer *storage.Writer
		if !as(&writer) {
			return errors.New("the writer is none of Google's")
		}
		writer.ChunkRetryDeadline = partRetries * mostPause
		return nil
	}
	return bucket.Upload(ctx, key, r, options)
}

// version is the generation, as an ETag would be.
func (s *gcsService) version(a *blob.Attributes) string {
	var attributes storage.ObjectAttrs
	if !a.As(&attributes) {
		return a.ETag
	}
	return strconv.Quote(strconv.FormatInt(attributes.Generation, 10))
}

func (s *gcsService) onlyVersion(version string) func(func(any) bool) error {
	return func(as func(any) bool) error {
		var object **storage.ObjectHandle
		if !as(&object) {
			return errors.New("the reader has no object")
		}
		*object = (*object).ReadCompressed(true) // what is stored, of files that say that they are compressed
		if version == "" {
			return nil
		}
		generation, err := strconv.ParseInt(strings.Trim(version, `"`), 10, 64)
		if err != nil {
			return fmt.Errorf("the version %.80q is no generation", version)
		}
		*object = (*object).Generation(generation)
		return nil
	}
}
