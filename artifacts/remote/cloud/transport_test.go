package cloud

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts/remote/cloud/cloudtest"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// ask gets an object as an http.Client does.
func ask(t *testing.T, s *cloudtest.Server, path string, headers map[string]string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, s.URL(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	client := &http.Client{Transport: NewTransport(optionsFor(s))}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("reading %s: %v", path, err)
	}
	return response, body
}

func TestTransport(t *testing.T) {
	eachServer(t, func(t *testing.T, s *cloudtest.Server) {
		bucket := open(t, s, "team-cache")
		old, content := storetest.Random(100_000, 5), storetest.Random(120_000, 6)
		write := func(b []byte) {
			t.Helper()
			if err := bucket.Write(ctx, "data/r%20 ä.csv", remotetest.Bytes(b), false); err != nil {
				t.Fatal(err)
			}
		}
		const path = "team-cache/data/r%2520%20%C3%A4.csv"
		write(old)
		first, body := ask(t, s, path, nil)
		outdated := first.Header.Get("ETag")
		if first.StatusCode != http.StatusOK || !bytes.Equal(body, old) || first.ContentLength != int64(len(old)) || !strings.HasPrefix(outdated, `"`) {
			t.Fatalf("%s, %d bytes of %d, ETag %s", first.Status, len(body), first.ContentLength, outdated)
		}
		write(content)
		etag := func() string { r, _ := ask(t, s, path, nil); return r.Header.Get("ETag") }()
		for _, tt := range []struct {
			name    string
			headers map[string]string
			status  int
			body    []byte
			of      string
		}{
			{"whole", nil, 200, content, ""},
			{"unchanged", map[string]string{"If-None-Match": etag}, 304, nil, ""},
			{"changed", map[string]string{"If-None-Match": outdated}, 200, content, ""},
			{"the rest", map[string]string{"Range": "bytes=70000-", "If-Range": etag}, 206, content[70000:], "bytes 70000-119999/120000"},
			{"the rest of another", map[string]string{"Range": "bytes=70000-", "If-Range": outdated}, 200, content, ""},
			{"behind the end", map[string]string{"Range": "bytes=120000-", "If-Range": etag}, 416, nil, ""},
			{"another range", map[string]string{"Range": "bytes=5-9"}, 200, content, ""},
		} {
			got, body := ask(t, s, path, tt.headers)
			if got.StatusCode != tt.status || !bytes.Equal(body, tt.body) || got.Header.Get("Content-Range") != tt.of {
				t.Errorf("%s: %s, %d bytes, range %q", tt.name, got.Status, len(body), got.Header.Get("Content-Range"))
			}
		}
		for path, status := range map[string]int{
			"team-cache/absent": 404, "no-such-place/absent": 403, "team-cache/": 400, "UPPER/x": 400,
		} {
			if got, _ := ask(t, s, path, nil); got.StatusCode != status {
				t.Errorf("%s: %s, want %d", path, got.Status, status)
			}
		}
	})
}

// A body is of the version that was looked at, or there is none.
func TestChangedMeanwhile(t *testing.T) {
	eachServer(t, func(t *testing.T, s *cloudtest.Server) {
		d := open(t, s, "team-cache").(*driver)
		for _, b := range []string{"old", "newer"} {
			attributes, _ := d.attributes(ctx, "x") // of "old", the second time
			if err := d.Write(ctx, "x", remotetest.Bytes([]byte(b)), false); err != nil {
				t.Fatal(err)
			}
			if attributes == nil {
				continue
			}
			if _, err := d.read(ctx, "x", 1, -1, d.service.version(attributes)); !errors.Is(err, errChanged) {
				t.Errorf("reading on: %v, want errChanged", err)
			}
		}
	})
}

func TestTransportRefusesCredentials(t *testing.T) {
	s := &cloudtest.Server{Scheme: "s3"}
	got, _ := ask(t, s, "me:"+secret+"@team-cache/x", nil)
	if got.StatusCode != http.StatusBadRequest || strings.Contains(got.Status, secret) {
		t.Errorf("%s", got.Status)
	}
}

// A source's URL stands in a pipeline file, which may be of a stranger: it must
// not say to which server the user's credentials are shown.
func TestTransportShowsNoCredentials(t *testing.T) {
	options := Options{LookupEnv: func(name string) (string, bool) {
		value := map[string]string{"AZURE_STORAGE_ACCOUNT": "ours", "AZURE_STORAGE_SAS_TOKEN": "sv=2024&sig=" + secret}[name]
		return value, value != ""
	}}
	for _, endpoint := range []string{"https://evil.invalid", "https://127.0.0.1.evil.invalid", "https://localhost.evil.invalid/x", "https://10.0.0.1"} {
		request, err := http.NewRequest(http.MethodGet, "azblob://data/prices.csv?endpoint="+endpoint, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := NewTransport(options).RoundTrip(request)
		if err != nil || response.StatusCode != http.StatusForbidden || !strings.Contains(response.Status, "your credentials") {
			t.Errorf("%s: %v, %v, want a refusal", endpoint, response, err)
		}
	}
}
