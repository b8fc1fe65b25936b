package tiered

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/remote"
)

func TestManyAskForOneResult(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	ann.compute("split", "train", "test")
	ann.compute("other", "train") // shares a blob
	ann.share(at(t, p), "split", "other")
	p.requests("")
	c := bob.cache(at(t, p)...)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			what := []string{"split", "other"}[i%2]
			if _, from, err := c.Fetch(ctx, keyOf(t, what), nil); err != nil || from != "memory://bucket" {
				t.Errorf("%s from %q: %v", what, from, err)
			}
		})
	}
	group.Wait()
	if n := p.requests("read " + blob("train")); n != 1 {
		t.Errorf("a blob was read %d times", n)
	}
}

// A blob that is here already, and wrong, is fetched with the rest: taken for
// right, it would fail whoever wants the result.
func TestFetchOverWrongBytes(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	ann.compute("split", "train", "test")
	ann.share(at(t, p), "split")
	bob.compute("other", "train")
	d := artifacts.DigestOf([]byte("train"))
	path, err := bob.store.Verified(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, []byte("wrong"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := bob.cache(at(t, p)...).Fetch(ctx, keyOf(t, "split"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.store.Verified(ctx, d); err != nil || !bob.has("split") {
		t.Errorf("the fetched result is not whole: %v", err)
	}
}

// A full disk is no miss: what cannot be fetched for want of space could not be
// computed either.
func TestFullDisk(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	ann.compute("split", "train")
	ann.share(at(t, p), "split")
	p.failWith(func(op, name string) error {
		if op == "read" && name == blob("train") {
			return &os.PathError{Op: "write", Path: "downloads", Err: syscall.ENOSPC}
		}
		return nil
	})
	_, _, err := bob.cache(at(t, p)...).Fetch(ctx, keyOf(t, "split"), nil)
	if !errors.Is(err, syscall.ENOSPC) || isMiss(err) {
		t.Errorf("error is %v", err)
	}
}

func TestOldDownloadsAreRemoved(t *testing.T) {
	u := newUser(t, "ann")
	c := u.cache()
	old, err := c.downloadPath(artifacts.DigestOf([]byte("old")))
	if err != nil {
		t.Fatal(err)
	}
	for path, age := range map[string]time.Duration{old: 2 * time.Hour, old + "-new": time.Minute} {
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := RemoveDownloads(u.store.StateDir(), time.Now().Add(-time.Hour)); n != 1 || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
	if _, err := os.Stat(old + "-new"); err != nil {
		t.Error(err)
	}
}

// Where several users have one directory, one of them can put links where another
// one writes: what they lead to stays as it is, and so does the result.
func TestLinksInTheStateAreNotFollowed(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	made := ann.compute("split", "train")
	ann.share(at(t, p), "split")
	private := filepath.Join(t.TempDir(), "private")
	if err := os.WriteFile(private, []byte("private"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := bob.cache(at(t, p)...)
	path, err := c.downloadPath(artifacts.DigestOf([]byte("train")))
	if err != nil {
		t.Fatal(err)
	}
	known := c.remotes[0].known.path
	if err := os.MkdirAll(filepath.Dir(known), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{path, known} {
		if err := os.Symlink(private, link); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := c.Fetch(ctx, made.Key, nil); err != nil || !bob.has("split") {
		t.Errorf("Fetch: %v", err)
	}
	c.Finish(ctx, true, nil)
	if got, err := os.ReadFile(private); err != nil || string(got) != "private" {
		t.Errorf("the private file has %q, %v", got, err)
	}
}

func TestFetchAsksNotAgainForWhatFindSaw(t *testing.T) {
	near, far := newPlace("near"), newPlace("far")
	ann, bob := newUser(t, "ann"), newUser(t, "bob")
	made := ann.compute("split", "train")
	ann.share(at(t, far), "split")
	c := bob.cache(at(t, near, far)...)
	if _, from, err := c.Find(ctx, made.Key); err != nil || from != "memory://far" {
		t.Fatalf("found at %q: %v", from, err)
	}
	near.requests("")
	far.requests("")
	if _, _, err := c.Fetch(ctx, made.Key, nil); err != nil {
		t.Fatal(err)
	}
	if n, m := near.requests(""), far.requests(""); n != 0 || m != 1 {
		t.Errorf("%d and %d requests, want one for the blob", n, m)
	}
	// What was fetched from afar is sent to the nearer remote.
	c.Share(made.Key)
	if got := c.Finish(ctx, true, nil); got.Uploaded != 1 || near.Object(blob("train")) == nil || far.requests("") != 0 {
		t.Errorf("the report is %+v", got)
	}
}

// What came of a large blob before the process ended is not fetched again.
func TestFetchGoesOnWithAPart(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	random := rand.New(rand.NewPCG(1, 2))
	large := make([]byte, 1<<20)
	for i := range large {
		large[i] = byte(random.Uint32())
	}
	made := ann.compute("embeddings", string(large))
	ann.share(at(t, p), "embeddings")

	cut, stop := context.WithCancel(ctx)
	defer stop()
	reads := 0
	p.failWith(func(op, name string) error {
		if op == "read" && name == blob(string(large)) {
			if reads++; reads > 8 {
				stop()
				return context.Canceled
			}
		}
		return nil
	})
	parts := func() Remote {
		s, err := remote.New(p, remote.Options{PartBytes: 64 << 10, Parallel: 1})
		if err != nil {
			t.Fatal(err)
		}
		return Remote{Store: s}
	}
	if _, _, err := bob.cache(parts()).Fetch(cut, made.Key, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	p.failWith(nil)
	p.requests("")
	if _, _, err := bob.cache(parts()).Fetch(ctx, made.Key, nil); err != nil || !bob.has("embeddings") {
		t.Fatal(err)
	}
	if n := p.requests("read " + blob(string(large))); n == 0 || n > 9 {
		t.Errorf("%d of 16 parts were read the second time", n)
	}
	if left, err := os.ReadDir(downloads(bob.store.StateDir())); err != nil || len(left) > 0 {
		t.Errorf("left in downloads: %v, %v", left, err)
	}
}

// A collection of garbage that goes on all the time takes nothing that a fetch
// found to be here already.
func TestFetchBesideGC(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	for i := range 20 {
		ann.compute(fmt.Sprint("stage", i), "common", fmt.Sprint("own", i))
		ann.share(at(t, p), fmt.Sprint("stage", i))
	}
	stop := make(chan struct{})
	var rounds atomic.Int64
	var collecting sync.WaitGroup
	collecting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := bob.store.GC(ctx, disk.GCOptions{MaxBytes: 1}); err != nil {
				t.Error(err)
			}
			rounds.Add(1)
		}
	})
	for i := range 20 {
		bob.manifest("garbage", "common", fmt.Sprint("own", i)) // here without a result, and before the lease
		lease, err := bob.store.Lease(ctx, "a run")
		if err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprint("stage", i)
		c := bob.cache(at(t, p)...)
		if _, _, err := c.Fetch(ctx, keyOf(t, what), nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for begun := rounds.Load() + 1; rounds.Load() <= begun; { // a whole round of gc
			time.Sleep(time.Millisecond)
		}
		if !bob.has(what) {
			t.Errorf("%s was fetched and is gone", what)
		}
		c.Finish(ctx, true, nil)
		lease.Close()
	}
	close(stop)
	collecting.Wait()
}
