package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	azblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
)

// azureService is Azure Blob Storage, or an emulator of it.
type azureService struct {
	address address
	opts    Options
}

func newAzure(a address, opts Options) service { return &azureService{a, opts} }

func (s *azureService) connection() string {
	return s.opts.env("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGEBLOB_CONNECTIONSTRING")
}

func (s *azureService) key() string {
	return s.opts.env("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY")
}

func (s *azureService) token() string {
	return strings.TrimPrefix(s.opts.env("AZURE_STORAGE_SAS_TOKEN"), "?")
}

func (s *azureService) secrets() []string {
	found := []string{s.key(), s.token()}
	for part := range strings.SplitSeq(s.connection(), ";") {
		name, value, _ := strings.Cut(part, "=")
		if name == "AccountKey" || name == "SharedAccessSignature" {
			found = append(found, value)
		}
	}
	return found
}

func (s *azureService) account() string {
	if account := s.address.params["account"]; account != "" {
		return account
	}
	return s.opts.env("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
}

// container is the URL of the container, without credentials.
func (s *azureService) container() (string, error) {
	base := s.address.params["endpoint"]
	if base == "" {
		base = s.opts.env("AZURE_STORAGE_SERVICE_ENDPOINT")
	}
	switch account := s.account(); {
	case base != "":
	case account == "":
		return "", fmt.Errorf("%w: no storage account is known: name it by ?account=, AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING", errNoCredentials)
	default:
		base = "https://" + account + ".blob.core.windows.net"
	}
	return url.JoinPath(base, s.address.bucket)
}

func (s *azureService) dial(ctx context.Context) (*blob.Bucket, error) {
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	return azureblob.OpenBucket(ctx, client, nil)
}

// client takes what there is first of: a connection string, an account's key, a
// shared access signature, and what azidentity finds.
func (s *azureService) client() (*container.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	tune(transport)
	options := &container.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: newClient(transport),
		Retry:     policy.RetryOptions{MaxRetries: -1}, // who asked decides
	}}
	if connection := s.connection(); connection != "" && !s.address.anonymous && s.address.params["endpoint"] == "" {
		client, err := container.NewClientFromConnectionString(connection, s.address.bucket, options)
		return client, asCredentials(err)
	}
	at, err := s.container()
	if err != nil {
		return nil, err
	}
	switch {
	case s.address.anonymous:
		return container.NewClientWithNoCredential(at, options)
	case s.key() != "" && s.account() != "":
		key, err := azblob.NewSharedKeyCredential(s.account(), s.key())
		if err != nil {
			return nil, asCredentials(err)
		}
		return container.NewClientWithSharedKeyCredential(at, key, options)
	case s.token() != "":
		return container.NewClientWithNoCredential(at+"?"+s.token(), options)
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, asCredentials(err)
	}
	return container.NewClient(at, credential, options)
}

func asCredentials(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errNoCredentials, err)
}

func (s *azureService) upload(ctx context.Context, bucket *blob.Bucket, key string, r io.Reader, size int64, ifAbsent bool) error {
	options := writing(ifAbsent)
	options.BufferSize, options.MaxConcurrency = partSize(size), sentAtOnce
	if size > int64(options.BufferSize) {
		ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: partRetries, RetryDelay: time.Second, MaxRetryDelay: mostPause})
	}
	return bucket.Upload(ctx, key, r, options) // a Writer would panic after an error
}

func (s *azureService) version(a *blob.Attributes) string { return a.ETag }

func (s *azureService) onlyVersion(version string) func(func(any) bool) error {
	return func(as func(any) bool) error {
		var options *azblob.DownloadStreamOptions
		if version == "" {
			return nil
		}
		if !as(&options) {
			return errors.New("the reader has no options")
		}
		etag := azcore.ETag(version)
		options.AccessConditions = &azblob.AccessConditions{ModifiedAccessConditions: &azblob.ModifiedAccessConditions{IfMatch: &etag}}
		return nil
	}
}
