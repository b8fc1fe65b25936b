package cloud

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/cloud/cloudtest"
)

// secret is a part of each credential in these tests, so that one finds it.
const secret = cloudtest.Secret

func optionsFor(s *cloudtest.Server) Options { return Options{LookupEnv: s.LookupEnv} }

// open is the driver of a path on a server.
func open(t testing.TB, s *cloudtest.Server, path string) remote.Driver {
	t.Helper()
	d, err := Open(s.URL(path), optionsFor(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// eachServer runs a test against every server, with a bucket called team-cache.
func eachServer(t *testing.T, test func(t *testing.T, s *cloudtest.Server)) {
	for name, s := range cloudtest.Servers(t) {
		t.Run(name, func(t *testing.T) {
			s.Start(t)
			s.MakeBucket(t, "team-cache")
			test(t, s)
		})
	}
}

// readAll is an object's bytes.
func readAll(d remote.Driver, name string) ([]byte, error) {
	r, err := d.Read(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// quietError checks that an error has no credential in it, whichever way it is
// looked at.
func quietError(t testing.TB, err error) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err)} {
			if strings.Contains(text, secret) || strings.Contains(text, cloudtest.AzureKey[:20]) {
				t.Errorf("a credential is in the error: %s", text)
			}
		}
	}
}
