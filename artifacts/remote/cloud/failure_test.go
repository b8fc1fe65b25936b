package cloud

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/cloud/cloudtest"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
)

// answering is a server that gives one answer to all, with the credentials that
// it got in it, as some do to be helpful. It is each provider's server at once.
func answering(t *testing.T, status int, code string) map[string]*cloudtest.Server {
	t.Helper()
	return servedBy(t, func(w http.ResponseWriter, r *http.Request) {
		said := fmt.Sprintf("%s sig=%s %s", r.URL, secret, r.Header.Get("Authorization"))
		w.Header().Set("x-ms-error-code", code)
		w.Header().Set("Retry-After", "7")
		if strings.HasPrefix(r.URL.Path, "/storage/v1") || strings.HasPrefix(r.URL.Path, "/upload") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":{"code":%d,"message":%q,"errors":[{"reason":%q}]}}`, status, said, code)
			return
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(said))
	})
}

// servedBy has a handler be each provider's server at once.
func servedBy(t *testing.T, handler http.HandlerFunc) map[string]*cloudtest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return map[string]*cloudtest.Server{
		"s3": {Scheme: "s3", Params: "?region=us-east-1&use_path_style=true&endpoint=" + server.URL,
			Env: map[string]string{"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "session-" + secret}},
		"gs": {Scheme: "gs", Params: "?endpoint=" + server.URL},
		"azblob": {Scheme: "azblob", Params: "?endpoint=" + server.URL + "/ours",
			Env: map[string]string{"AZURE_STORAGE_SAS_TOKEN": "?sv=2024&sig=" + secret}},
	}
}

// TestAnswers: what a server's answers mean, whatever its protocol.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		status int
		code   string
		want   error // nil: it may pass
	}{
		{http.StatusUnauthorized, "Unauthorised", remote.ErrForbidden},
		{http.StatusForbidden, "AccessDenied", remote.ErrForbidden},
		{http.StatusRequestEntityTooLarge, "TooLarge", remote.ErrFull},
		{http.StatusInsufficientStorage, "Full", remote.ErrFull},
		{http.StatusInternalServerError, "InternalError", nil},
		{http.StatusServiceUnavailable, "SlowDown", nil},
		{http.StatusTooManyRequests, "TooMany", nil},
		{http.StatusMovedPermanently, "PermanentRedirect", remote.ErrForbidden},
		{http.StatusBadRequest, "Unlikely", nil},
	} {
		for name, s := range answering(t, tt.status, tt.code) {
			d := open(t, s, "team-cache/a")
			_, stat := d.Stat(ctx, "ac/1")
			_, read := d.Read(ctx, "ac/1", 0, -1)
			write := d.Write(ctx, "ac/1", remotetest.Bytes([]byte("x")), true)
			for what, err := range map[string]error{"Stat": stat, "Read": read, "Write": write} {
				doing := fmt.Sprintf("%s, %s, %d %s", name, what, tt.status, tt.code)
				if tt.want == nil {
					mayPass(t, doing, err)
				} else if !errors.Is(err, tt.want) {
					t.Errorf("%s: %v, want %v", doing, err, tt.want)
				}
				quietError(t, err)
				hinted := err != nil && strings.Contains(err.Error(), "s3:ListBucket")
				if hinted != (name == "s3" && what != "Write" && tt.status == http.StatusForbidden) {
					t.Errorf("%s: %v", doing, err)
				}
			}
		}
	}
}

// When a server wants to be asked again is passed on, whatever its protocol.
func TestRetryAfterIsTold(t *testing.T) {
	for name, s := range answering(t, http.StatusServiceUnavailable, "SlowDown") {
		d := open(t, s, "team-cache/a")
		_, stat := d.Stat(ctx, "ac/1")
		_, read := d.Read(ctx, "ac/1", 0, -1)
		write := d.Write(ctx, "ac/1", remotetest.Bytes([]byte("x")), true)
		for what, err := range map[string]error{"Stat": stat, "Read": read, "Write": write} {
			var asked interface{ RetryAfter() time.Duration }
			if !errors.As(err, &asked) || asked.RetryAfter() != 7*time.Second {
				t.Errorf("%s, %s: %v, want one that says 7s", name, what, err)
			}
		}
	}
}

// What cannot be reached is named without what opens it.
func TestNobodyAnswers(t *testing.T) {
	const at = "127.0.0.1:1" // where no test gets a port
	for name, s := range answering(t, http.StatusTeapot, "") {
		s.Params = s.Params[:strings.LastIndex(s.Params, "endpoint=")] + "endpoint=http://" + at + "/ours"
		d := open(t, s, "team-cache/a")
		_, err := d.Stat(ctx, "ac/1")
		mayPass(t, name, err)
		if err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%s: %v, want connection refused", name, err)
		}
	}
}

// TestNoCredentials: a place where the providers' tools find none either. The
// environment is the process's, since the SDKs look there.
func TestNoCredentials(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"HOME": t.TempDir(), "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere,
		"GOOGLE_APPLICATION_CREDENTIALS": nowhere, "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
	} {
		t.Setenv(name, value)
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	for _, url := range []string{
		"s3://team-cache", // nor a region
		"s3://team-cache?region=eu-central-1",
		"s3://team-cache?region=eu-central-1&profile=nobody",
		"gs://team-cache",
		"azblob://team-cache", // nor an account
		"azblob://team-cache?account=prismflowtest",
	} {
		d, err := Open(url, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Stat(ctx, "ac/1"); !errors.Is(err, remote.ErrForbidden) || errors.Is(err, artifacts.ErrNotFound) {
			t.Errorf("%s: %v, want ErrForbidden", url, err)
		}
	}
}

func TestRedact(t *testing.T) {
	s := answering(t, http.StatusTeapot, "")["s3"]
	d := open(t, s, "team-cache").(*driver)
	for _, text := range []string{
		`Get "https://x.blob.core.windows.net/c/k?sv=1&sig=` + secret + `": EOF`,
		"https://me:" + secret + "@host/path: no route",
		"AWS4-HMAC-SHA256 Credential=AKIA/20261126/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=" + secret,
		`{"access_token":"` + secret + `","refresh_token": "` + secret + `"}`,
		"Authorization: Bearer " + secret,
		"AccountKey=" + secret + ";BlobEndpoint=http://x",
		"the bare value " + secret,
	} {
		if got := d.redact(text); strings.Contains(got, secret) {
			t.Errorf("%s\nbecame %s", text, got)
		}
	}
	harmless := "dial tcp 127.0.0.1:9000: connect: connection refused"
	if got := d.redact(harmless); got != harmless {
		t.Errorf("%s became %s", harmless, got)
	}
}
