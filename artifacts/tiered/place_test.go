package tiered

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
)

// A place is a remote that counts and spoils what is asked of it.
type place struct {
	*remotetest.Memory
	name string

	mu    sync.Mutex // guards what follows
	asked []string   // "read cas/…" and so on
	fail  func(op, name string) error
	spoil func(name string, b []byte) []byte // what is read
}

func newPlace(name string) *place {
	return &place{Memory: remotetest.NewMemory(remotetest.AllTraits), name: name}
}

func (p *place) String() string { return "memory://" + p.name }

func (p *place) ask(op, name string) error {
	p.mu.Lock()
	p.asked = append(p.asked, op+" "+name)
	fail := p.fail
	p.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(op, name)
}

func (p *place) Stat(ctx context.Context, name string) (int64, error) {
	if err := p.ask("stat", name); err != nil {
		return 0, err
	}
	return p.Memory.Stat(ctx, name)
}

func (p *place) Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := p.ask("read", name); err != nil {
		return nil, err
	}
	p.mu.Lock()
	spoil := p.spoil
	p.mu.Unlock()
	r, err := p.Memory.Read(ctx, name, offset, length)
	if err != nil || spoil == nil {
		return r, err
	}
	b, err := io.ReadAll(r)
	return io.NopCloser(bytes.NewReader(spoil(name, b))), err
}

func (p *place) Write(ctx context.Context, name string, content remote.Content, ifAbsent bool) error {
	if err := p.ask("write", name); err != nil {
		return err
	}
	return p.Memory.Write(ctx, name, content, ifAbsent)
}

// failWith makes requests fail; nil ends that.
func (p *place) failWith(fail func(op, name string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
}

// requests are those since the last call, that begin so.
func (p *place) requests(prefix string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, asked := range p.asked {
		if strings.HasPrefix(asked, prefix) {
			n++
		}
	}
	p.asked = nil
	return n
}

// patience is for how long tests wait for what must come: longer than any machine
// takes for it, however loaded.
const patience = 5 * time.Minute

// store is a remote store in the place, which asks once.
func (p *place) store(t testing.TB) *remote.Store {
	t.Helper()
	s, err := remote.New(p, remote.Options{
		Timeout: patience, Attempts: 1,
		Sleep: func(time.Duration) <-chan time.Time {
			done := make(chan time.Time)
			close(done)
			return done
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A user is somebody with a store of their own.
type user struct {
	t     testing.TB
	name  string
	store *disk.Store
	told  *[]string
	opts  Options
}

func newUser(t testing.TB, name string) *user {
	t.Helper()
	store, err := disk.Open(t.TempDir(), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return &user{t: t, name: name, store: store, told: new([]string)}
}

// cache is a new cache of the user's, as a new run has one.
func (u *user) cache(remotes ...Remote) *Cache {
	u.t.Helper()
	*u.told = nil
	var mu sync.Mutex
	opts := u.opts
	told := u.told
	opts.Warn = func(message string) {
		mu.Lock()
		defer mu.Unlock()
		*told = append(*told, message)
	}
	c, err := New(u.store, remotes, opts)
	if err != nil {
		u.t.Fatal(err)
	}
	return c
}

func at(t testing.TB, places ...*place) (remotes []Remote) {
	for _, p := range places {
		remotes = append(remotes, Remote{Store: p.store(t)})
	}
	return remotes
}

func requestOf(what string) artifacts.Request {
	return artifacts.Request{Kind: "test", Version: 1, Params: map[string]any{"what": what}}
}

func keyOf(t testing.TB, what string) artifacts.Key {
	t.Helper()
	key, err := requestOf(what).Key()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// compute publishes a result with these outputs, named a, b, …
func (u *user) compute(what string, outputs ...string) artifacts.Manifest {
	u.t.Helper()
	return u.publish(u.manifest(what, outputs...))
}

func (u *user) publish(m artifacts.Manifest) artifacts.Manifest {
	u.t.Helper()
	stands, err := artifacts.Publish(context.Background(), u.store, m)
	if err != nil {
		u.t.Fatal(err)
	}
	return stands
}

func (u *user) manifest(what string, outputs ...string) artifacts.Manifest {
	u.t.Helper()
	m := artifacts.Manifest{
		Format: artifacts.ManifestFormat, Key: keyOf(u.t, what), Request: requestOf(what), Outputs: map[string]artifacts.Output{},
		Provenance: artifacts.Provenance{Stage: what, User: u.name, Host: "host", Started: time.Unix(1764150000, 0).UTC()},
	}
	for i, content := range outputs {
		d := artifacts.DigestOf([]byte(content))
		if err := u.store.Put(context.Background(), d, int64(len(content)), strings.NewReader(content)); err != nil {
			u.t.Fatal(err)
		}
		m.Outputs[fmt.Sprint(string(rune('a'+i)))] = artifacts.Output{Digest: d, Bytes: int64(len(content))}
	}
	return m
}

// share sends a user's results and ends the cache.
func (u *user) share(remotes []Remote, what ...string) Report {
	u.t.Helper()
	c := u.cache(remotes...)
	for _, w := range what {
		c.Share(keyOf(u.t, w))
	}
	return c.Finish(context.Background(), true, nil)
}

// has says whether the user's store has the result, whole.
func (u *user) has(what string) bool {
	u.t.Helper()
	_, err := artifacts.Lookup(context.Background(), u.store, keyOf(u.t, what))
	return err == nil
}
