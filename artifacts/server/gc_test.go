package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
)

// gc collects as another process would.
func (r *rig) gc(most int64) {
	r.t.Helper()
	store, err := disk.Open(r.store.Dir(), disk.Options{})
	must(r.t, err)
	defer store.Close()
	_, err = store.GC(ctx, disk.GCOptions{MaxBytes: most})
	must(r.t, err)
}

// endHolds lets go of what was used so far, as the server does in time.
func (r *rig) endHolds() {
	r.t.Helper()
	time.Sleep(5 * time.Millisecond) // what was stored is older than the new leases, whatever the clock of files
	for range 2 {
		must(r.t, r.s.holds.renew(ctx))
	}
}

// What a client stored or was told of stays for a while, whoever collects.
func TestGCBesideClients(t *testing.T) {
	r := newRig(t, Options{})
	told, refused, forgotten, stored := []byte("told"), []byte("refused"), []byte("forgotten"), []byte("stored")
	for _, content := range [][]byte{told, refused, forgotten} {
		r.want(r.ask("PUT", cas(content), content), 201)
	}
	r.endHolds()
	r.want(r.ask("HEAD", cas(told), nil), 200)
	r.want(r.ask("PUT", cas(refused), refused, "If-None-Match", "*"), 412)
	r.want(r.ask("PUT", cas(stored), stored), 201)
	must(t, r.s.holds.renew(ctx)) // one is not enough to let go
	r.gc(1)
	for _, content := range [][]byte{told, refused, stored} {
		r.want(r.ask("GET", cas(content), nil), 200, string(content))
	}
	r.want(r.ask("GET", cas(forgotten), nil), 404)
	r.endHolds()
	r.gc(1)
	for _, content := range [][]byte{told, refused, stored} {
		r.want(r.ask("GET", cas(content), nil), 404)
	}
	r.verify()
}

// Names that are not here cost a lease nothing, however many are asked for, and
// one that is here costs it a line, however often.
func TestAbsentBlobsCostNothing(t *testing.T) {
	r := newRig(t, Options{})
	here := []byte("here")
	r.want(r.ask("PUT", cas(here), here), 201)
	leaseBytes := func() (sum int64) {
		t.Helper()
		leases, err := filepath.Glob(filepath.Join(r.store.Dir(), "state", "leases", "*"))
		must(t, err)
		for _, lease := range leases {
			sum += must1(os.Stat(lease)).Size()
		}
		return sum
	}
	before := leaseBytes()
	if before == 0 {
		t.Fatal("no lease was found")
	}
	for n := range byte(50) {
		for _, method := range []string{"HEAD", "GET"} {
			r.want(r.ask(method, cas([]byte{n}), nil), 404)
		}
		r.want(r.ask("PUT", cas([]byte{n}), []byte("a lie"), "If-None-Match", "*"), 400)
		r.want(r.ask("HEAD", cas(here), nil), 200)
	}
	if grown, line := leaseBytes()-before, int64(len(digestOf(here))+1); grown != line || len(r.s.holds.kept) != 1 {
		t.Errorf("the leases grew by %d bytes and not by %d, %d blobs are kept", grown, line, len(r.s.holds.kept))
	}
}

// The server keeps to its size: what was used longest ago goes first.
func TestQuota(t *testing.T) {
	const most = 100_000
	pinned := disk.Keep{Why: "pinned", Keys: []artifacts.Key{artifacts.Key(strings.TrimPrefix(ac(2), "/ac/"))}}
	r := newRig(t, Options{MaxBytes: most, Keep: func(context.Context) ([]disk.Keep, error) { return []disk.Keep{pinned}, nil }})
	publish := func(n byte) int {
		content := random(4000, uint64(n))
		if got := r.ask("PUT", cas(content), content); got.status != 201 {
			return got.status
		}
		action := artifacts.ActionResult{OutputFiles: []artifacts.OutputFile{{Path: "x", Digest: digestOf(content), Bytes: 4000}}}.Encode()
		return r.ask("PUT", ac(n), action).status
	}
	for n := range byte(23) {
		if status := publish(n); status != 201 {
			t.Fatalf("result %d: status %d", n, status)
		}
		r.age(n, time.Duration(60-n)*time.Hour)
	}
	r.endHolds()
	r.want(r.ask("GET", ac(0), nil), 200) // used: now 1 is the oldest
	r.endHolds()

	// Above the bound, something goes.
	for n := byte(23); n < 25; n++ {
		if status := publish(n); status != 201 {
			t.Fatalf("result %d: status %d", n, status)
		}
	}
	r.eventually("the oldest went", func() bool { return r.ask("GET", ac(1), nil).status == 404 })
	r.want(r.ask("GET", ac(0), nil), 200)
	r.want(r.ask("GET", ac(24), nil), 200)
	r.want(r.ask("GET", ac(2), nil), 200) // as old as those that went, and pinned
	r.want(r.ask("GET", ac(3), nil), 404)

	// What was used just now stays, and when that is all, nothing more is taken.
	full := 0
	for n := byte(30); n < 70 && full == 0; n++ {
		if status := publish(n); status != 201 {
			full = status
		}
	}
	if full != 507 {
		t.Errorf("a full cache answers %d", full)
	}
	r.eventually("room after a while", func() bool {
		r.endHolds()
		_ = r.s.collect(ctx)
		return publish(80) == 201
	})
	if used, err := usedBytes(ctx, r.store); err != nil || used > most {
		t.Errorf("%d bytes are used, %v", used, err)
	}
	r.verify()
}

// age makes an action and its blob look older.
func (r *rig) age(n byte, by time.Duration) {
	r.t.Helper()
	then := time.Now().Add(-by)
	hex := strings.TrimPrefix(ac(n), "/ac/")
	must(r.t, os.Chtimes(fmt.Sprintf("%s/ac/%s/%s", r.store.Dir(), hex[:2], hex), then, then))
}

func (r *rig) eventually(what string, holds func() bool) {
	r.t.Helper()
	for range 200 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.t.Errorf("not within 10 s: %s", what)
}
