package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// A failure says what went wrong in words of this package. The SDKs' errors have
// whole requests in them, signatures included, so they are not in its chain.
type failure struct {
	text  string
	kind  error         // that errors.Is is to find; may be nil
	after time.Duration // when the server wants to be asked again, if it said so
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.kind }

// RetryAfter is how long the server asks to be left alone, 0 if it does not.
func (f *failure) RetryAfter() time.Duration { return f.after }

var (
	errNoBucket      = errors.New("no such bucket")
	errNoCredentials = errors.New("no credentials")
)

// An answer is what a server said instead of what was asked for. Its status is 0
// where none answered.
type answer struct {
	status int
	code   string
	header http.Header // nil where it is not known
}

func (a answer) String() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.status, cmp.Or(a.code, http.StatusText(a.status))))
}

// answerOf is the answer that an SDK made an error of.
func answerOf(err error) answer {
	var azure *azcore.ResponseError
	var google *googleapi.Error
	switch {
	case errors.As(err, &azure):
		a := answer{status: azure.StatusCode, code: azure.ErrorCode}
		if azure.RawResponse != nil {
			a.header = azure.RawResponse.Header
		}
		return a
	case errors.As(err, &google):
		a := answer{status: google.Code, header: google.Header}
		if len(google.Errors) > 0 {
			a.code = google.Errors[0].Reason
		}
		return a
	case errors.Is(err, storage.ErrBucketNotExist):
		return answer{status: http.StatusNotFound, code: "NoSuchBucket"}
	case errors.Is(err, storage.ErrObjectNotExist):
		return answer{status: http.StatusNotFound}
	}
	return answerOfS3(err)
}

func answerOfS3(err error) answer {
	var a answer
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.Response != nil {
		a.status = response.HTTPStatusCode()
		a.header = response.Response.Header
	}
	var withCode smithy.APIError
	if errors.As(err, &withCode) {
		a.code = withCode.ErrorCode()
	}
	return a
}

// kind is what the answer means, whoever gives it: nil for what may pass.
func (a answer) kind() error {
	switch a.code {
	case "NoSuchBucket", "ContainerNotFound", "ResourceNotFound", "ContainerBeingDeleted":
		return errNoBucket
	case "ExpiredToken", "InvalidToken", "AuthorizationHeaderMalformed", "InvalidAccessKeyId", "AuthorizationQueryParametersError":
		return remote.ErrForbidden
	case "EntityTooLarge", "QuotaExceeded", "quotaExceeded", "XMinioStorageFull", "InsufficientStorage":
		return remote.ErrFull
	case "BlobAlreadyExists":
		return remote.ErrExists
	case "NoSuchUpload": // which is not about an object
		return nil
	}
	switch a.status {
	case http.StatusNotFound:
		return artifacts.ErrNotFound
	case http.StatusPreconditionFailed:
		return remote.ErrExists
	case http.StatusUnauthorized, http.StatusForbidden:
		return remote.ErrForbidden
	case http.StatusRequestEntityTooLarge, http.StatusInsufficientStorage:
		return remote.ErrFull
	}
	return nil
}

// explain makes an error of an SDK one that may be shown, and that says what the
// interface of drivers promises. doing is what it happened at.
func (d *driver) explain(ctx context.Context, doing string, err error) error {
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("%s: %w", doing, ended)
	}
	said := answerOf(err)
	kind := said.kind()
	var refused *oauth2.RetrieveError
	var final interface{ NonRetriable() } // of azidentity: asking again does not help
	switch {
	case errors.Is(err, errNoBucket) || kind == errNoBucket:
		text := fmt.Sprintf("there is no %s %s, or not for these credentials", providers()[d.address.scheme].bucket, d.address.bucket)
		return &failure{text: text, kind: remote.ErrForbidden}
	case errors.Is(err, errNoCredentials), errors.As(err, &refused), errors.As(err, &final):
		return &failure{text: doing + ": " + d.redact(text(err)), kind: remote.ErrForbidden}
	case said.status == http.StatusMovedPermanently:
		return &failure{text: fmt.Sprintf("%s: the bucket %s is in another region: name it by ?region=", doing, d.address.bucket), kind: remote.ErrForbidden}
	case kind == artifacts.ErrNotFound, kind == remote.ErrExists:
		return fmt.Errorf("%s: %w", doing, kind)
	case kind != nil:
		return fmt.Errorf("%s: %w (%s%s)", doing, kind, d.redact(said.String()), d.hint(said, doing))
	case said.status != 0:
		return &failure{text: fmt.Sprintf("%s: the server answered %s", doing, d.redact(said.String())), after: remote.ParseRetryAfter(said.header)}
	}
	return &failure{text: doing + ": " + d.redact(text(err))}
}

// hint says what an answer may mean beside what it says: without the right to list
// a bucket, S3 refuses to tell what is absent, though what is there can be read.
func (d *driver) hint(said answer, doing string) string {
	if d.address.scheme != "s3" || said.status != http.StatusForbidden || strings.HasPrefix(doing, "writing ") {
		return ""
	}
	return "; S3 says that of what is absent, too, to those without the right s3:ListBucket"
}

// text is an error on one line, and without the URL that was asked.
func text(err error) string {
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

const mostText = 400 // bytes of an error of others

var (
	queries     = regexp.MustCompile(`(://[^\s"'?]*)\?[^\s"']*`)
	users       = regexp.MustCompile(`://[^\s"'/@]*@`)
	assignments = regexp.MustCompile(`(?i)\b(sig|[a-z_-]*signature|[a-z_-]*key|[a-z_-]*secret|[a-z_-]*token|[a-z_-]*credential|password|assertion)(=|":\s*")[^\s&;,"'}]+`)
	bearers     = regexp.MustCompile(`(?i)\b(bearer|basic|sharedkey)\s+\S+`)
)

// redact takes out of a text what is a credential or looks like one.
func (d *driver) redact(text string) string {
	secrets := slices.DeleteFunc(d.service.secrets(), func(s string) bool { return len(s) < 4 })
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "***")
		text = strings.ReplaceAll(text, url.QueryEscape(secret), "***")
	}
	text = queries.ReplaceAllString(text, "$1?***")
	text = users.ReplaceAllString(text, "://***@")
	text = assignments.ReplaceAllString(text, "$1$2***")
	text = bearers.ReplaceAllString(text, "$1 ***")
	if len(text) > mostText {
		text = strings.ToValidUTF8(text[:mostText], "") + "…"
	}
	return text
}
