package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

// s3Service is Amazon S3, or a server that speaks its protocol.
type s3Service struct {
	address address
	opts    Options
}

func newS3(a address, opts Options) service { return &s3Service{a, opts} }

func (s *s3Service) secrets() []string {
	return []string{s.opts.env("AWS_SECRET_ACCESS_KEY"), s.opts.env("AWS_SESSION_TOKEN")}
}

// endpoint is that of another server than Amazon's, or empty.
func (s *s3Service) endpoint() string {
	if endpoint := s.address.params["endpoint"]; endpoint != "" {
		return endpoint
	}
	return s.opts.env("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
}

func (s *s3Service) dial(ctx context.Context) (*blob.Bucket, error) {
	loaded, err := config.LoadDefaultConfig(ctx, s.configuration()...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCredentials, err)
	}
	if loaded.Region == "" && s.endpoint() == "" {
		return nil, fmt.Errorf("%w: no region is known: name it by ?region= or AWS_REGION", errNoCredentials)
	}
	if loaded.Region == "" {
		loaded.Region = "us-east-1" // what other servers take if they are not told
	}
	if !s.address.anonymous {
		if _, err := loaded.Credentials.Retrieve(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoCredentials, err)
		}
	}
	if made, ok := loaded.HTTPClient.(*awshttp.BuildableClient); ok { // with the certificates of the profile
		loaded.HTTPClient = newClient(made.GetTransport())
	}
	client := s3.NewFromConfig(loaded, func(o *s3.Options) {
		o.UsePathStyle = s.address.pathStyle
		o.Retryer = aws.NopRetryer{} // who asked decides
		if endpoint := s.endpoint(); endpoint != "" {
			o.BaseEndpoint = &endpoint
			if s.opts.env("AWS_REQUEST_CHECKSUM_CALCULATION") == "" {
				o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired // not all servers know the others
			}
		}
		// Whoever reads verifies by SHA-256.
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	return s3blob.OpenBucket(ctx, client, s.address.bucket, nil)
}

// configuration is what the URL and the environment say, and no more than that,
// so that the SDK looks for the rest.
func (s *s3Service) configuration() []func(*config.LoadOptions) error {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(tune)),
		config.WithLogger(logging.Nop{}),
	}
	if region := s.address.params["region"]; region != "" {
		options = append(options, config.WithRegion(region))
	} else if region := s.opts.env("AWS_REGION", "AWS_DEFAULT_REGION"); region != "" {
		options = append(options, config.WithRegion(region))
	}
	profile := s.address.params["profile"]
	if profile == "" {
		profile = s.opts.env("AWS_PROFILE")
	}
	if profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	id, secret := s.opts.env("AWS_ACCESS_KEY_ID"), s.opts.env("AWS_SECRET_ACCESS_KEY")
	switch {
	case s.address.anonymous:
		options = append(options, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	case id != "" && secret != "" && s.address.params["profile"] == "":
		provider := credentials.NewStaticCredentialsProvider(id, secret, s.opts.env("AWS_SESSION_TOKEN"))
		options = append(options, config.WithCredentialsProvider(provider))
	}
	return options
}

func (s *s3Service) upload(ctx context.Context, bucket *blob.Bucket, key string, r io.Reader, size int64, ifAbsent bool) error {
	sender := &s3Sender{}
	if !bucket.As(&sender.Client) {
		return errors.New("the bucket has no S3 client")
	}
	checksums := sender.Client.Options().RequestChecksumCalculation
	options := writing(ifAbsent)
	options.BeforeWrite = func(as func(any) bool) error {
		var manager *transfermanager.Client
		var request *transfermanager.UploadObjectInput
		if !as(&manager) || !as(&request) {
			return errors.New("the writer has no transfer manager")
		}
		request.ContentLength = &size
		*manager = *transfermanager.New(sender, func(o *transfermanager.Options) {
			o.PartSizeBytes = int64(partSize(size))
			o.Concurrency = sentAtOnce
			o.FailTimeout = clearingTime // else it would clear away with a context that has ended
			o.RequestChecksumCalculation = checksums
		})
		return nil
	}
	if err := bucket.Upload(ctx, key, r, options); err != nil {
		return err
	}
	return sender.incomplete
}

// writing are the options that all providers have in common.
func writing(ifAbsent bool) *blob.WriterOptions {
	return &blob.WriterOptions{ContentType: "application/octet-stream", DisableContentTypeDetection: true, IfNotExist: ifAbsent}
}

// An s3Sender is the client that the transfer manager of one object uses. That
// one prints by package log when it cannot complete an upload, as it happens to
// each loser of a conditional one, so it is not told: the sender keeps the error,
// and clears away itself.
type s3Sender struct {
	*s3.Client
	incomplete error
}

// UploadPart sends a part again if it is not taken, so that a large object need
// not be sent again for one.
func (s *s3Sender) UploadPart(ctx context.Context, in *s3.UploadPartInput, options ...func(*s3.Options)) (*s3.UploadPartOutput, error) {
	return s.Client.UploadPart(ctx, in, append(options, again)...)
}

func again(o *s3.Options) {
	o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = 1+partRetries, mostPause
	})
}

// CompleteMultipartUpload implements transfermanager.S3APIClient.
func (s *s3Sender) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput, options ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	out, err := s.Client.CompleteMultipartUpload(ctx, in, options...)
	if err == nil {
		return out, nil
	}
	s.incomplete = err
	clearing, done := context.WithTimeout(context.WithoutCancel(ctx), clearingTime)
	defer done()
	// What cannot be cleared away is left to the bucket's own rules.
	_, _ = s.Client.AbortMultipartUpload(clearing, &s3.AbortMultipartUploadInput{Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId})
	return &s3.CompleteMultipartUploadOutput{}, nil
}

func (s *s3Service) version(a *blob.Attributes) string { return a.ETag }

func (s *s3Service) onlyVersion(version string) func(func(any) bool) error {
	return func(as func(any) bool) error {
		var in *s3.GetObjectInput
		if version == "" {
			return nil
		}
		if !as(&in) {
			return errors.New("the reader has no S3 request")
		}
		in.IfMatch = &version
		return nil
	}
}
