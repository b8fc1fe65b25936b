package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/internal/peertest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// TestGCBesideWriters: four processes compute and reuse results under leases, and
// lose nothing that they need, while everything else is removed again and again.
func TestGCBesideWriters(t *testing.T) {
	lasts := 3 * time.Second
	if os.Getenv("PRISMFLOW_LONG") != "" {
		lasts = time.Minute
	}
	s := openTest(t)
	o := collectBeside(t, s, "writer", func(o *outcome) bool {
		return o.lasted() < lasts || o.lasted() < patience && o.ended.Load() == 0 && !o.allHappened()
	})
	if len(o.lost) > 0 {
		t.Errorf("writers lost what they needed: %s", strings.Join(o.lost, "; "))
	}
	if !o.allHappened() {
		t.Errorf("in %v there were %d results and %d blobs removed, %d blobs read, and %d writers that found and made some: the test tested nothing",
			o.lasted(), o.actions, o.blobs, o.read.Load(), o.atWork.Load())
	}
	t.Logf("%d rounds of gc removed %d results and %d blobs beside %d hits and %d results made; %d blobs read without a lease",
		o.rounds, o.actions, o.blobs, o.hits, o.made, o.read.Load())
	if report, err := s.Verify(ctx, VerifyOptions{}); err != nil || len(report.Problems) > 0 {
		t.Errorf("the store afterwards: %v, %v", report.Problems, err)
	}
}

// TestGCBesideWritersWithoutLeases is the control of TestGCBesideWriters: the same
// without leases loses something at once. Otherwise that test would prove nothing.
func TestGCBesideWritersWithoutLeases(t *testing.T) {
	s := openTest(t)
	o := collectBeside(t, s, "unleased", func(o *outcome) bool { return o.ended.Load() == 0 && o.lasted() < patience })
	if len(o.lost) == 0 {
		t.Errorf("in %v no writer lost anything, and none had a lease: the test does not notice a loss", o.lasted())
	}
	t.Logf("after %v: %s", o.lasted().Round(time.Millisecond), strings.Join(o.lost, "; "))
}

// An outcome is what came of collecting beside writers.
type outcome struct {
	began  time.Time
	atWork atomic.Int64 // writers that have found and made results
	ended  atomic.Int64 // writers that gave up
	read   atomic.Int64 // blobs, by the reader

	rounds, actions, blobs int      // of gc
	hits, made             int      // of the writers
	lost                   []string // what writers missed, in words
}

func (o *outcome) lasted() time.Duration { return time.Since(o.began) }

// allHappened says whether everybody did, beside the others, what is tested.
func (o *outcome) allHappened() bool {
	return o.actions > 0 && o.blobs > 0 && o.read.Load() > 0 && o.atWork.Load() > 0
}

// patience is for how long these tests go on, on a slow machine, for something to
// happen that they need.
const patience = 5 * time.Minute

const writers = 4

// collectBeside empties the store in a loop as long as on says so, beside writers
// of the given helper and a reader that has no lease.
func collectBeside(t *testing.T, s *Store, helper string, on func(*outcome) bool) *outcome {
	t.Helper()
	o := &outcome{began: time.Now()}
	said := make(chan string, writers)
	var all []*peertest.Process
	for range writers {
		p := peertest.Start(t, helper, s.Dir())
		all = append(all, p)
		go func() {
			line, err := p.Next()
			if line == atWork {
				o.atWork.Add(1)
				line, err = p.Next()
			}
			if err != nil {
				line = fmt.Sprintf("lost its process: %v", err)
			}
			o.ended.Add(1)
			said <- line
		}()
	}
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() { readBeside(t, s, stop, &o.read) })
	if helper == "writer" { // without leases results lose blobs while they are published
		reader.Go(func() { lookBeside(t, s, stop) })
	}
	bounds := []GCOptions{{MaxBytes: 1}, {MaxAge: time.Nanosecond}, {}, {MaxBytes: 200}}
	for ; on(o); o.rounds++ {
		r, err := s.GC(ctx, bounds[o.rounds%len(bounds)])
		if err != nil {
			t.Errorf("GC: %v", err)
			break
		}
		o.actions += r.Actions
		o.blobs += r.Blobs
		time.Sleep(time.Millisecond)
	}
	close(stop)
	reader.Wait()
	for _, p := range all {
		p.Stop()
	}
	for range all {
		line := <-said
		var hits, made int
		if _, err := fmt.Sscanf(line, "hits %d made %d", &hits, &made); err != nil {
			o.lost = append(o.lost, line)
		}
		o.hits += hits
		o.made += made
	}
	for _, p := range all {
		p.Kill() // it has said all that it has to say
	}
	return o
}

// readBeside reads results as a server of the directory does, without a lease:
// what is gone is ordinary, what is wrong is not. It counts the blobs.
func readBeside(t *testing.T, s *Store, stop <-chan struct{}, read *atomic.Int64) {
	for seed := 0; ; seed++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond):
		}
		action, _, err := readAction(s.actionPath(seedKey(seed % seeds)))
		if os.IsNotExist(err) {
			continue
		}
		var decoded artifacts.ActionResult
		if err == nil {
			decoded, err = artifacts.DecodeActionResult(action)
		}
		if err != nil {
			t.Errorf("reading an action: %v", err)
			return
		}
		for _, f := range decoded.OutputFiles {
			r, err := s.Get(ctx, f.Digest)
			if errors.Is(err, artifacts.ErrNotFound) {
				continue
			}
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				r.Close()
			}
			if err != nil {
				t.Errorf("reading %s: %v", f.Path, err)
				return
			}
			read.Add(1)
		}
	}
}

// lookBeside lists and verifies: what is collected meanwhile is not damaged.
func lookBeside(t *testing.T, s *Store, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
		err := s.EachResult(ctx, func(r Result) error { return r.Damaged })
		report, failure := s.Verify(ctx, VerifyOptions{})
		if err != nil || failure != nil || len(report.Problems) > 0 {
			t.Errorf("beside gc: listing: %v; verifying: %v, %v", err, report.Problems, failure)
			return
		}
	}
}

// seeds is how many different results the writers have among them.
const seeds = 100

// seedKey is the key of a result.
func seedKey(seed int) artifacts.Key { return storetest.Manifest(quiet{}, nil, seed, nil).Key }

// atWork is what a writer says when it has both found and made results.
const atWork = "at work"

// write is a process that computes and reuses a small set of results until it is
// told to end. It says how many, or what it lost that it needed.
func write(dir string, leased bool) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	told, stop := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	w := writer{s: s, rng: rand.New(rand.NewPCG(uint64(os.Getpid()), 1)), leased: leased}
	for said := false; told.Err() == nil; {
		if err := w.run(); err != nil {
			fmt.Println("lost", err)
			return nil
		}
		if !said && w.hits > 0 && w.made > 0 {
			said = true
			fmt.Println(atWork)
		}
	}
	fmt.Println("hits", w.hits, "made", w.made)
	return nil
}

// A writer is what a process does to the store.
type writer struct {
	s      *Store
	rng    *rand.Rand
	leased bool
	hits   int
	made   int
}

// run is one run of ten stages: the results of all that it has looked up or made
// so far must be there as long as it goes on.
func (w *writer) run() error {
	if w.leased {
		lease, err := w.s.Lease(ctx, "a writer")
		if err != nil {
			return err
		}
		defer lease.Close()
	}
	var used []artifacts.Manifest
	for range 10 {
		found, err := w.stage(w.rng.IntN(seeds))
		if err != nil {
			return err
		}
		used = append(used, found)
		for _, m := range used {
			for name, out := range m.Outputs {
				if _, err := w.s.Verified(ctx, out.Digest); err != nil {
					return fmt.Errorf("output %s of a result in use: %w", name, err)
				}
			}
		}
	}
	return nil
}

// stage finds a result or, in the turn at its key, makes it.
func (w *writer) stage(seed int) (artifacts.Manifest, error) {
	key := seedKey(seed)
	var miss *artifacts.Miss
	found, err := artifacts.Lookup(ctx, w.s, key)
	if !errors.As(err, &miss) {
		w.hits++
		return found, err
	}
	unlock, err := w.s.Lock(ctx, key)
	if err != nil {
		return found, err
	}
	defer unlock()
	if found, err = artifacts.Lookup(ctx, w.s, key); !errors.As(err, &miss) {
		w.hits++
		return found, err
	}
	w.made++
	return w.make(seed)
}

// make publishes a result of an output that is adopted, as those of stages are,
// and one that others have, too, which some collect while it is stored again.
func (w *writer) make(seed int) (artifacts.Manifest, error) {
	m := storetest.Manifest(quiet{}, w.s, seed, map[string][]byte{"common": fmt.Append(nil, "common ", seed%3)})
	dir, err := w.s.TempDir("stage-")
	if err != nil {
		return m, err
	}
	defer w.s.RemoveTemp(dir)
	own := fmt.Append(nil, "result ", seed)
	path := filepath.Join(dir, "own")
	if err := os.WriteFile(path, own, 0o644); err != nil {
		return m, err
	}
	m.Outputs["own"] = artifacts.Output{Digest: artifacts.DigestOf(own), Bytes: int64(len(own))}
	if err := w.s.Adopt(ctx, path, m.Outputs["own"].Digest); err != nil {
		return m, err
	}
	return artifacts.Publish(ctx, w.s, m)
}
