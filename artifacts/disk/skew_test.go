package disk

import (
	"fmt"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// openSkewed opens a store as a host does whose clock is off.
func openSkewed(t *testing.T, dir string, skew time.Duration) *Store {
	t.Helper()
	s, err := Open(dir, Options{Now: func() time.Time { return time.Now().Add(skew) }})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// TestClocksThatDiffer: whatever the clocks of a run, of another run and of GC say,
// GC leaves alone what a run under a lease looked up or stored, also where the
// lease begins after GC looked for leases.
func TestClocksThatDiffer(t *testing.T) {
	skews := []time.Duration{0, -time.Hour, time.Hour}
	for _, mine := range skews {
		for _, others := range skews {
			for _, collectors := range skews {
				t.Run(fmt.Sprintf("run %v, other %v, gc %v", mine, others, collectors), func(t *testing.T) {
					clocksThatDiffer(t, mine, others, collectors)
				})
			}
		}
	}
}

func clocksThatDiffer(t *testing.T, mine, others, collectors time.Duration) {
	dir := t.TempDir()
	run, other, gc := openSkewed(t, dir, mine), openSkewed(t, dir, others), openSkewed(t, dir, collectors)
	old := storetest.Manifest(t, other, 1, map[string][]byte{"table": []byte("looked up")})
	_, err := artifacts.Publish(ctx, other, old)
	must(t, err)
	g, err := gc.survey(ctx, GCOptions{MaxBytes: 1})
	must(t, err)

	lease, err := run.Lease(ctx, "run")
	must(t, err)
	defer lease.Close()
	_, err = artifacts.Lookup(ctx, run, old.Key)
	must(t, err)
	stored := []byte("stored and not yet published")
	must(t, putBytes(run, stored))
	for _, s := range []*Store{run, other} { // one may store what the other has, by an earlier time
		theirs, err := other.Lease(ctx, "other")
		must(t, err)
		must(t, putBytes(s, stored))
		must(t, theirs.Close())
	}

	must(t, g.removeActions(ctx)) // of the gc that began before
	must(t, g.removeBlobs(ctx))
	_, err = gc.GC(ctx, GCOptions{MaxBytes: 1})
	must(t, err)
	if _, err := artifacts.Lookup(ctx, run, old.Key); err != nil {
		t.Errorf("what was looked up: %v", err)
	}
	if _, err := run.Verified(ctx, artifacts.DigestOf(stored)); err != nil {
		t.Errorf("what was stored: %v", err)
	}
}
