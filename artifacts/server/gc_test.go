package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

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

// endHolds lets go of what was used so far, as the server does in time. The clock of
// files is behind the processor's by up to a tick, and a lease begins by whichever
// is behind: so it waits until files made now are younger than what was stored.
func (r *rig) endHolds() {
	r.t.Helper()
	called := time.Now()
	file := filepath.Join(filepath.Dir(r.store.Dir()), "clock")
	r.eventually("the clock of files goes on", func() bool {
		must(r.t, os.WriteFile(file, []byte("x"), 0o600))
		return must1(os.Stat(file)).ModTime().After(called)
	})
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
	oldest := strings.TrimPrefix(ac(1), "/ac/")
	r.eventually("the oldest went", func() bool { // looked for in the directory, as a GET would be a use
		_, err := os.Stat(filepath.Join(r.store.Dir(), "ac", oldest[:2], oldest))
		return os.IsNotExist(err)
	})
	r.want(r.ask("GET", ac(1), nil), 404)
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

// Uploads in flight have their room to themselves: together they fit, whether
// they said how long they are or not.
func TestUploadsInFlightFit(t *testing.T) {
	const most, size = 1 << 20, 300 << 10                                                       // three fit into 110 %
	const last = 100                                                                            // bytes that a client keeps back
	for name, encode := range map[string]func(content []byte) (first, rest []byte, room int64){ // room that first takes
		"announced": func(content []byte) (first, rest []byte, room int64) {
			sent := append(fmt.Appendf(nil, "Content-Length: %d\r\n\r\n", size), content...)
			return sent[:len(sent)-last], sent[len(sent)-last:], size
		},
		"in chunks": func(content []byte) (first, rest []byte, room int64) {
			first = fmt.Appendf(nil, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", size-last, content[:size-last])
			return first, fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", last, content[size-last:]), size - last
		},
		"deflated": func(content []byte) (first, rest []byte, room int64) {
			deflated := deflate(t, content, zstd.WithWindowSize(1<<10), zstd.WithEncoderConcurrency(1))
			header := fmt.Appendf(nil, "Content-Encoding: zstd\r\nContent-Length: %d\r\n\r\n", len(deflated))
			first, rest = deflated[:len(deflated)-last], deflated[len(deflated)-last:]
			decoder := must1(zstd.NewReader(bytes.NewReader(first), zstd.WithDecoderConcurrency(1)))
			defer decoder.Close()
			room, _ = io.Copy(io.Discard, decoder) // to where it breaks off
			return append(header, first...), rest, room
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{MaxBytes: most, Stall: patience})
			begin := func(seed uint64) (conn net.Conn, rest []byte, room int64) {
				content := random(size, seed)
				first, rest, room := encode(content)
				conn = r.dial("PUT %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", cas(content))
				_, _ = conn.Write(first) // may be refused already
				return conn, rest, room
			}
			status := func(conn net.Conn, rest []byte, _ int64) string {
				_, _ = conn.Write(rest) // may be refused already
				answer, _ := io.ReadAll(conn)
				return string(answer[:min(12, len(answer))])
			}
			coming := func() int64 {
				r.s.quota.mu.Lock()
				defer r.s.quota.mu.Unlock()
				return r.s.quota.coming
			}
			var conns [3]net.Conn
			var rests [3][]byte
			var rooms, room int64
			for i := range conns {
				conns[i], rests[i], room = begin(uint64(i))
				rooms += room
			}
			// All of it: what they still took beside a fourth might be refused for it.
			r.eventually("three are coming", func() bool { return coming() == rooms })
			if got := status(begin(3)); got != "HTTP/1.1 507" {
				t.Errorf("the fourth upload: %q", got)
			}
			conns[2].Close() // broken off
			r.eventually("two are coming", func() bool { return coming() <= 2*size })
			if got := status(begin(4)); got != "HTTP/1.1 201" {
				t.Errorf("an upload in place of one that broke off: %q", got)
			}
			for i := range 2 {
				if got := status(conns[i], rests[i], 0); got != "HTTP/1.1 201" {
					t.Errorf("upload %d: %q", i, got)
				}
			}
			r.ended()
			if got := coming(); got != 0 {
				t.Errorf("%d bytes are coming, and no upload is in flight", got)
			}
			r.verify()
		})
	}
}

// An upload that has its room keeps it, also when the store grows by other hands.
func TestRoomIsKept(t *testing.T) {
	q := newQuota(1000, 0)
	first, err := q.reserve(500)
	must(t, err)
	q.stored = 2000
	must(t, first.widen(400))
	for _, bytes := range []int64{0, 1} {
		if _, err := q.reserve(bytes); err == nil {
			t.Errorf("a full store has room for %d bytes", bytes)
		}
	}
	if err := first.widen(501); err == nil || q.coming != 0 {
		t.Errorf("an upload that does not fit: %v, and %d bytes are coming", err, q.coming)
	}
}

// gc makes as much room as was refused, also where the store is within its bound.
func TestRoomForALargeBlob(t *testing.T) {
	const most = 1 << 20
	r := newRig(t, Options{MaxBytes: most})
	for n := range uint64(8) {
		content := random(100<<10, n)
		r.want(r.ask("PUT", cas(content), content), 201)
	}
	large := random(most, 9)
	r.want(r.ask("PUT", cas(large), large), 507) // what is there was used just now
	r.endHolds()
	r.eventually("room for it", func() bool {
		status := r.ask("PUT", cas(large), large).status
		return status == 201
	})
	r.verify()
}

// What comes in while the store is measured counts.
func TestRecountBesideUploads(t *testing.T) {
	r := newRig(t, Options{MaxBytes: 1 << 30})
	stop := make(chan struct{})
	var counting sync.WaitGroup
	counting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := r.s.recount(ctx); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for n := range uint64(100) {
		content := random(1000, n)
		r.want(r.ask("PUT", cas(content), content), 201)
		if used := r.s.quota.used(); used < int64(n+1)*1000 {
			t.Fatalf("%d bytes are known of %d", used, (n+1)*1000)
		}
	}
	close(stop)
	counting.Wait()
	must(t, r.s.recount(ctx))
	if used := r.s.quota.used(); used != 100_000 {
		t.Errorf("%d bytes are known, and no more come", used)
	}
}

// age makes an action and its blob look older.
func (r *rig) age(n byte, by time.Duration) {
	r.t.Helper()
	then := time.Now().Add(-by)
	hex := strings.TrimPrefix(ac(n), "/ac/")
	must(r.t, os.Chtimes(fmt.Sprintf("%s/ac/%s/%s", r.store.Dir(), hex[:2], hex), then, then))
}

// patience is for how long tests wait for what must come: longer than any machine
// takes for it, however loaded.
const patience = 5 * time.Minute

func (r *rig) eventually(what string, holds func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Errorf("not within %v: %s", patience, what)
			return
		}
	}
}
