package web

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/server"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// ourServer starts `prismflow cache serve` behind one of plain and encrypted, and
// returns the options of who may write.
func ourServer(t testing.TB, start func(testing.TB, http.Handler) (string, Options)) (string, Options) {
	t.Helper()
	dir := t.TempDir()
	secret, line, err := server.NewToken("tester", server.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "tokens"), line+"\n")
	tokens, err := server.OpenTokens(filepath.Join(dir, "tokens"), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	store, err := disk.Open(filepath.Join(dir, "cache"), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	s, err := server.New(store, server.Options{Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	address, opts := start(t, s)
	opts.Token = secret
	return address, opts
}

var transports = map[string]func(testing.TB, http.Handler) (string, Options){"HTTP/1.1": plain, "HTTP/2": encrypted}

func TestOurServerDriver(t *testing.T) {
	for name, start := range transports {
		t.Run(name, func(t *testing.T) {
			address, opts := ourServer(t, start)
			remotetest.Run(t, func(t *testing.T) remote.Driver {
				d := acquainted(t, address, opts)
				if want := (remote.Traits{Ranges: true, Conditional: true}); d.Traits() != want {
					t.Fatalf("traits %+v, want %+v", d.Traits(), want)
				}
				return d
			})
		})
	}
}

func TestOurServerStore(t *testing.T) {
	for name, start := range transports {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) artifacts.Store {
				address, opts := ourServer(t, start)
				return openStore(t, address, opts)
			})
		})
	}
}

func openStore(t testing.TB, address string, opts Options) *remote.Store {
	t.Helper()
	store, err := remote.New(open(t, address, opts), remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}
