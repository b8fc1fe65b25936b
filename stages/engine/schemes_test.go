package engine

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/remote/cloud"
	"github.com/prismflow/prismflow/artifacts/remote/cloud/cloudtest"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// A bucketWorld is a cache of what URLs served, and a bucket on a real server
// that it asks.
type bucketWorld struct {
	*testing.T
	*urlCache
	server *cloudtest.Server
	served int64 // bytes of the newest transfer that arrived
	first  int64 // those that were there when it began
}

// inBuckets runs a test with a bucket called data on the servers of some schemes.
func inBuckets(t *testing.T, schemes []string, test func(w *bucketWorld)) {
	for _, scheme := range schemes {
		server := cloudtest.Servers(t)[scheme]
		t.Run(scheme, func(t *testing.T) {
			server.Start(t)
			server.MakeBucket(t, "data")
			store, err := disk.Open(t.TempDir(), disk.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Close() })
			schemes := Schemes{server.Scheme: cloud.NewTransport(cloud.Options{LookupEnv: server.LookupEnv})}
			cache := &urlCache{store: store, dir: t.TempDir(), client: http.DefaultClient, schemes: schemes, stall: time.Minute, pause: time.Millisecond}
			test(&bucketWorld{T: t, urlCache: cache, server: server})
		})
	}
}

const object = "data/ratings 2026.csv"

func (w *bucketWorld) write(content []byte) {
	w.Helper()
	driver, err := cloud.Open(w.server.URL("data"), cloud.Options{LookupEnv: w.server.LookupEnv})
	if err == nil {
		err = driver.Write(context.Background(), "ratings 2026.csv", remotetest.Bytes(content), false)
	}
	if err != nil {
		w.Fatal(err)
	}
}

// get is what the object's file holds.
func (w *bucketWorld) get(pin string) (string, error) {
	w.served, w.first = 0, 0
	file, err := w.file(context.Background(), w.server.URL(object), pin, func(done, _ int64) {
		if w.first == 0 {
			w.first = done
		}
		w.served = done
	})
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(file.Path)
	return string(data), err
}

func (w *bucketWorld) want(content string) {
	w.Helper()
	if got, err := w.get(""); err != nil || got != content {
		w.Errorf("%d bytes, %v, want those %d", len(got), err, len(content))
	}
}

func TestObjectsAreAskedOnce(t *testing.T) {
	inBuckets(t, cloud.Schemes(), func(w *bucketWorld) {
		w.noFetch = true
		if _, err := w.get(""); !errors.Is(err, errNotFetched) {
			w.Errorf("status: %v", err)
		}
		w.noFetch = false
		w.write([]byte("first"))
		w.want("first")
		w.refresh = true
		if w.want("first"); w.served != 0 {
			w.Errorf("%d bytes were sent of what did not change", w.served)
		}
		w.write([]byte("second"))
		w.want("second")
		w.refresh = false
		w.server.Kill()
		w.want("second")
		record, err := os.ReadFile(w.recordPath(w.server.URL(object)))
		if err != nil || strings.Contains(string(record), "127.0.0.1") && w.server.Scheme == "s3" {
			w.Errorf("record %s, %v", record, err)
		}
	})
}

func TestObjectsThatCannotBeHad(t *testing.T) {
	inBuckets(t, cloud.Schemes(), func(w *bucketWorld) {
		if _, err := w.get(""); err == nil || !strings.Contains(err.Error(), "404 Not Found") {
			w.Errorf("a missing object: %v", err)
		}
		w.write([]byte("content"))
		wrong := artifacts.DigestOf([]byte("other")).Hex()
		resolver := sourceResolver{store: w.store, urls: w.urlCache}
		if !resolver.urls.serves(w.server.URL(object)) || resolver.urls.serves(w.server.Scheme) || resolver.urls.serves("ftp://data/x") {
			w.Error("serves is wrong")
		}
		if _, err := w.get(artifacts.DigestOf([]byte("content")).Hex()); err != nil {
			w.Errorf("pinned: %v", err)
		}
		w.offline = true
		if _, err := w.get(wrong); err == nil || !strings.Contains(err.Error(), "--offline") {
			w.Errorf("offline: %v", err)
		}
	})
}

// A server that goes away midway leaves what arrived to a later run, if it still
// has the same object then.
func TestObjectsThatAreCutMidway(t *testing.T) {
	content := storetest.Random(24<<20, 7)
	for _, changed := range []bool{false, true} {
		// azurite forgets what it had when it is killed.
		inBuckets(t, []string{"gs", "s3"}, func(w *bucketWorld) {
			w.write(content)
			url := w.server.URL(object)
			_, err := w.file(context.Background(), url, "", func(done, _ int64) {
				if done > 4<<20 {
					w.server.Kill()
				}
			})
			if err == nil {
				w.Fatal("all of it was on its way when the server was killed")
			}
			part, partErr := w.partial(url)
			arrived, _ := part.begun()
			if partErr != nil || arrived < worthMark {
				w.Fatalf("%d bytes are kept, %v, after %v", arrived, partErr, err)
			}
			w.server.Start(w.T)
			want := content
			if changed {
				want = storetest.Random(24<<20, 8)
				w.write(want)
			}
			w.want(string(want))
			if continued := w.first > arrived; continued == changed {
				w.Errorf("the transfer began with %d bytes, of which %d were there", w.first, arrived)
			}
		})
	}
}

// A web server that redirects to a bucket does not get at it with the user's credentials.
func TestRedirectsLeadToNoBucket(t *testing.T) {
	c, _ := urlTest(t, &fileServer{})
	c.schemes = Schemes{"s3": cloud.NewTransport(cloud.Options{})}
	web := httptest.NewServer(http.RedirectHandler("s3://private-bucket/x", http.StatusFound))
	defer web.Close()
	if _, err := c.file(context.Background(), web.URL, "", nil); err == nil || !strings.Contains(err.Error(), "unsupported protocol") {
		t.Errorf("error %v", err)
	}
}

// Without a scheme for it, an address is a path.
func TestUnknownSchemesArePaths(t *testing.T) {
	c, _ := urlTest(t, &fileServer{})
	if c.serves("s3://data/x") || c.serves(filepath.Join("s3", "x")) {
		t.Error("an address that nobody serves is taken for a URL")
	}
}
