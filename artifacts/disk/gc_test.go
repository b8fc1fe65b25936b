package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/internal/peertest"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// A clock stands still until a test moves it.
type clock struct{ now time.Time }

func (c *clock) read() time.Time         { return c.now }
func (c *clock) forward(d time.Duration) { c.now = c.now.Add(d) }

// openClocked is a store with a clock. It starts in the past, so that what
// the file system's clock says is never later.
func openClocked(t *testing.T) (*Store, *clock) {
	t.Helper()
	c := &clock{time.Now().Add(-24 * time.Hour).Truncate(time.Hour).Add(123456789)}
	s, err := Open(t.TempDir(), Options{Now: c.read})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, c
}

// publishAt publishes results of 1000 bytes and a shared blob, an hour apart.
func publishAt(t *testing.T, s *Store, c *clock, n int) []artifacts.Manifest {
	t.Helper()
	var all []artifacts.Manifest
	for i := range n {
		m := storetest.Manifest(t, s, i, map[string][]byte{"own": storetest.Random(1000, uint64(i)), "shared": storetest.Random(100, 99)})
		if _, err := artifacts.Publish(ctx, s, m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
		c.forward(time.Hour)
	}
	return all
}

func gc(t *testing.T, s *Store, opts GCOptions) GCReport {
	t.Helper()
	report, err := s.GC(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// wantHits checks which of the results are still there, without using them.
func wantHits(t *testing.T, s *Store, all []artifacts.Manifest, want ...bool) {
	t.Helper()
	for i, m := range all {
		_, err := os.Lstat(s.actionPath(m.Key))
		if hit := err == nil; hit != want[i] {
			t.Errorf("result %d is there: %v, want %v", i, hit, want[i])
			continue
		}
		_, err = s.Stat(ctx, m.Outputs["own"].Digest)
		if hit := err == nil; hit != want[i] {
			t.Errorf("blob of result %d is there: %v, want %v", i, hit, want[i])
		}
	}
}

func TestGCByAge(t *testing.T) {
	s, c := openClocked(t)
	all := publishAt(t, s, c, 4) // last used 4, 3, 2 and 1 hours ago
	report := gc(t, s, GCOptions{MaxAge: 150 * time.Minute})
	wantHits(t, s, all, false, false, true, true)
	if report.Actions != 2 || report.Blobs != 4 || report.KeptActions != 2 || report.KeptBlobs != 5 { // own, manifest; and the shared one stays
		t.Errorf("report %+v", report)
	}
	if _, err := artifacts.Lookup(ctx, s, all[3].Key); err != nil {
		t.Error(err)
	}
}

func TestGCBySizeRemovesLeastRecentlyUsed(t *testing.T) {
	s, c := openClocked(t)
	all := publishAt(t, s, c, 4)
	if _, err := artifacts.Lookup(ctx, s, all[0].Key); err != nil { // used now
		t.Fatal(err)
	}
	c.forward(time.Hour)
	u, err := s.Usage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	report := gc(t, s, GCOptions{MaxBytes: u.Blobs.Bytes - 1500})
	wantHits(t, s, all, true, false, true, true)
	if report.KeptBytes > u.Blobs.Bytes-1500 || report.KeptBytes+report.Bytes != u.Blobs.Bytes {
		t.Errorf("report %+v of %d bytes", report, u.Blobs.Bytes)
	}
}

func TestGCDryRun(t *testing.T) {
	s, c := openClocked(t)
	all := publishAt(t, s, c, 3)
	dry := gc(t, s, GCOptions{MaxBytes: 1, DryRun: true})
	wantHits(t, s, all, true, true, true)
	wet := gc(t, s, GCOptions{MaxBytes: 1})
	wantHits(t, s, all, false, false, false)
	if fmt.Sprint(dry) != fmt.Sprint(wet) || wet.Actions != 3 || wet.KeptBlobs != 0 {
		t.Errorf("dry run says %+v, then it was %+v", dry, wet)
	}
}

func TestGCKeepsPinned(t *testing.T) {
	s, c := openClocked(t)
	all := publishAt(t, s, c, 3)
	loose := storetest.Put(t, s, []byte("loose"))
	pinned := storetest.Put(t, s, []byte("pinned"))
	c.forward(time.Hour)
	keep := func(context.Context) ([]Keep, error) {
		return []Keep{
			{Why: "pinned", Keys: []artifacts.Key{all[1].Key}},
			{Why: "downloaded", Keys: []artifacts.Key{all[1].Key}, Blobs: []artifacts.Digest{pinned}},
		}, nil
	}
	report := gc(t, s, GCOptions{MaxBytes: 1, Keep: keep})
	wantHits(t, s, all, false, true, false)
	manifest, err := s.Stat(ctx, manifestOf(t, s, all[1].Key))
	if err != nil {
		t.Fatal(err)
	}
	want := []Stay{{Why: "pinned", Actions: 1, Blobs: 3, Bytes: 1100 + manifest}, {Why: "downloaded", Blobs: 1, Bytes: 6}}
	if !slices.Equal(report.Stays, want) {
		t.Errorf("what stays: %+v, want %+v", report.Stays, want)
	}
	storetest.Absent(t, s, loose)
	storetest.Get(t, s, pinned)
	if _, err := artifacts.Lookup(ctx, s, all[1].Key); err != nil {
		t.Error(err)
	}
}

// manifestOf is the digest of a result's manifest, found without using it.
func manifestOf(t *testing.T, s *Store, k artifacts.Key) artifacts.Digest {
	t.Helper()
	encoded, _, err := readAction(s.actionPath(k))
	if err != nil {
		t.Fatal(err)
	}
	action, err := artifacts.DecodeActionResult(encoded)
	if err != nil {
		t.Fatal(err)
	}
	file, _ := action.File(artifacts.ManifestPath)
	return file.Digest
}

func TestGCWithoutBoundsRemovesTheUnreferenced(t *testing.T) {
	s, c := openClocked(t)
	all := publishAt(t, s, c, 2)
	loose := storetest.Put(t, s, []byte("loose"))
	c.forward(time.Second)
	late := storetest.Put(t, s, []byte("stored at the time of gc"))
	report := gc(t, s, GCOptions{})
	wantHits(t, s, all, true, true)
	storetest.Absent(t, s, loose)
	storetest.Get(t, s, late)
	if report.Blobs != 1 || report.Bytes != 5 {
		t.Errorf("report %+v", report)
	}
	if _, err := s.GC(ctx, GCOptions{MaxBytes: -1}); err == nil {
		t.Error("negative bound: no error")
	}
}

// TestGCKeepsWhatALeaseNeeds: a process looks a result up, another is old; it
// is killed, and nothing is protected any more.
func TestGCKeepsWhatALeaseNeeds(t *testing.T) {
	s := openTest(t)
	// Used so lately that the use itself would not be recorded again, and clearly
	// before the lease, which begins by the clock of files if that is behind.
	lately := openSkewed(t, s.Dir(), -10*time.Second)
	var all []artifacts.Manifest
	for seed := range 3 {
		m := storetest.Manifest(t, lately, seed, map[string][]byte{"own": fmt.Append(nil, "result ", seed)})
		if _, err := artifacts.Publish(ctx, lately, m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	kept := storetest.Put(t, lately, []byte("kept by digest"))
	p := peertest.Start(t, "lease", s.Dir()) // looks up result 1
	p.Line()
	stored := artifacts.DigestOf([]byte("stored and not yet published"))
	report := gc(t, s, GCOptions{MaxBytes: 1})
	wantHits(t, s, all, false, true, false)
	storetest.Get(t, s, kept)
	storetest.Get(t, s, stored)
	if len(report.Leases) != 1 || report.Leases[0].Name != "a run with\na name" {
		t.Errorf("leases: %+v", report.Leases)
	}
	if len(report.Stays) != 1 || report.Stays[0].Why != WhyInUse || report.Stays[0].Actions != 1 || report.Stays[0].Blobs != 4 {
		t.Errorf("what stays: %+v", report.Stays)
	}
	p.Kill()
	report = gc(t, s, GCOptions{MaxBytes: 1})
	wantHits(t, s, all, false, false, false)
	storetest.Absent(t, s, kept)
	storetest.Absent(t, s, stored)
	if len(report.Leases) != 0 || report.KeptBlobs != 0 {
		t.Errorf("after the process died: %+v", report)
	}
	if files, err := os.ReadDir(s.path("state", "leases")); err != nil || len(files) > 0 {
		t.Errorf("leases left: %v, %v", files, err)
	}
}

// TestGCBesideUnreadableLease: a lease that cannot be understood protects all.
func TestGCBesideUnreadableLease(t *testing.T) {
	s, c := openClocked(t)
	all := publishAt(t, s, c, 1)
	l, err := tryLock(s.path("state", "leases", "OTHER"), exclusive)
	if l == nil || err != nil {
		t.Fatal(err)
	}
	gc(t, s, GCOptions{MaxBytes: 1})
	wantHits(t, s, all, true)
	l.unlock()
	gc(t, s, GCOptions{MaxBytes: 1})
	wantHits(t, s, all, false)
}

// TestGCOnCoarseTimes: on a file system of whole seconds, what was stored in
// the second in which the lease began has a time before it.
func TestGCOnCoarseTimes(t *testing.T) {
	s, c := openClocked(t)
	lease, err := s.Lease(ctx, "run")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	all := publishAt(t, s, c, 1)
	for _, path := range []string{s.actionPath(all[0].Key), s.blobPath(all[0].Outputs["own"].Digest.Hex())} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, info.ModTime().Truncate(time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	gc(t, s, GCOptions{MaxBytes: 1})
	wantHits(t, s, all, true)
}

func TestUseIsRecordedOnceAMinute(t *testing.T) {
	s, c := openClocked(t)
	m := publishAt(t, s, c, 1)[0] // an hour ago
	used := func() time.Duration {
		if _, err := s.GetAction(ctx, m.Key); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(s.actionPath(m.Key))
		if err != nil {
			t.Fatal(err)
		}
		return c.now.Sub(info.ModTime())
	}
	if d := used(); d != 0 {
		t.Errorf("first use recorded as %v ago", d)
	}
	c.forward(30 * time.Second)
	if d := used(); d != 30*time.Second {
		t.Errorf("use half a minute later recorded as %v ago", d)
	}
	lease, err := s.Lease(ctx, "run")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	if d := used(); d != 0 {
		t.Errorf("first use under a lease recorded as %v ago", d)
	}
}

// TestOnlookersUseNothing: what is looked up through Onlooker is not used for it.
func TestOnlookersUseNothing(t *testing.T) {
	s, c := openClocked(t)
	all := publishAt(t, s, c, 2)
	if _, err := artifacts.Lookup(ctx, s.Onlooker(), all[0].Key); err != nil {
		t.Error(err)
	}
	c.forward(time.Second)
	gc(t, s, GCOptions{MaxAge: 90 * time.Minute})
	wantHits(t, s, all, false, true)
}

func TestVerifyFindsAndRepairs(t *testing.T) {
	s := openTest(t)
	keys := fill(t, s, 3)
	var all []artifacts.Manifest
	for _, k := range keys {
		m, err := artifacts.Lookup(ctx, s, k)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	if r, err := s.Verify(ctx, VerifyOptions{}); err != nil || r.Blobs != 6 || r.Actions != 3 || len(r.Problems) != 0 {
		t.Errorf("of a sound store: %+v, %v", r, err)
	}
	// A disk that forgets does not tell stat: forge what is remembered.
	bad := all[0].Outputs["table"].Digest
	flip(t, s.blobPath(bad.Hex()))
	st, err := s.hashFile(ctx, s.blobPath(bad.Hex()))
	if err != nil {
		t.Fatal(err)
	}
	st.Digest = bad
	st.Hashed = st.ID.Changed + int64(time.Hour) // and long ago, or it is not trusted where times are coarse
	s.stamps.record(bad.Hex(), st)
	if _, err := artifacts.Lookup(ctx, s, keys[0]); err != nil {
		t.Errorf("the corruption is not as silent as this test wants it: %v", err)
	}
	if err := os.WriteFile(s.actionPath(keys[1]), []byte("\xff"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.blobPath(all[2].Outputs["table"].Digest.Hex())); err != nil {
		t.Fatal(err)
	}

	var last int64
	r, err := s.Verify(ctx, VerifyOptions{Progress: func(done, total int64) {
		if done < last || done > total {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	}})
	if err != nil || len(r.Problems) != 3 || last != r.Bytes {
		t.Errorf("report %+v, %v, want three problems; progress ended at %d", r, err, last)
	}
	if _, err := artifacts.Lookup(ctx, s, keys[0]); err == nil {
		t.Error("what Verify found corrupt is still trusted")
	}
	r, err = s.Verify(ctx, VerifyOptions{Repair: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		if !p.Repaired {
			t.Errorf("not repaired: %+v", p)
		}
	}
	if r, err := s.Verify(ctx, VerifyOptions{Repair: true}); err != nil || len(r.Problems) != 0 {
		t.Errorf("after the repair: %+v, %v", r, err)
	}
	for _, k := range keys {
		if _, err := artifacts.Lookup(ctx, s, k); err == nil {
			t.Errorf("%s is a hit", k.Short())
		}
	}
	if u, err := s.Usage(ctx); err != nil || u.Quarantine.Files != 1 {
		t.Errorf("usage %+v, %v, want one blob in quarantine", u, err)
	}
}

// TestVerifyCalledOff: what was found before is told.
func TestVerifyCalledOff(t *testing.T) {
	s := openTest(t)
	blobs := 2 * (50 + runtime.GOMAXPROCS(0)) // more than are being hashed when it is called off
	fill(t, s, blobs/2)
	off, cancel := context.WithCancel(ctx)
	defer cancel()
	report, err := s.Verify(off, VerifyOptions{Progress: func(done, total int64) {
		if done > total/2 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || report.Blobs == 0 || report.Blobs == blobs || report.Actions != 0 {
		t.Errorf("verified %+v, %v, want a part and that it was called off", report, err)
	}
}

// flip flips one bit of a file, against its mode, and keeps its size and
// modification time.
func flip(t *testing.T, path string) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, info.Mode()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

func TestUsage(t *testing.T) {
	s := openTest(t)
	fill(t, s, 2)
	dir, err := s.TempDir("x")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 77), 0o644); err != nil {
		t.Fatal(err)
	}
	u, err := s.Usage(ctx)
	if err != nil || u.Blobs.Files != 4 || u.Actions.Files != 2 || u.Temp.Bytes != 77 || u.Quarantine.Files != 0 {
		t.Errorf("%+v, %v", u, err)
	}
}

// TestPipesOfOthers: in a directory of several users somebody may put a pipe or a
// link where a file is to be. Nobody waits for it, or is led elsewhere by it.
func TestPipesOfOthers(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"pipe": func(path string) error { return syscall.Mkfifo(path, 0o666) },
		"link": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		s, c := openClocked(t)
		all := publishAt(t, s, c, 3)
		for _, path := range []string{
			s.actionPath(all[0].Key),
			s.blobPath(all[1].Outputs["own"].Digest.Hex()),
			s.path("state", "leases", "another"),
		} {
			must(t, os.MkdirAll(filepath.Dir(path), 0o777))
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			must(t, put(path))
		}
		if _, err := s.Get(ctx, all[1].Outputs["own"].Digest); err == nil {
			t.Errorf("a %s is read as a blob", what)
		}
		for i, m := range all {
			if _, err := artifacts.Lookup(ctx, s, m.Key); (err == nil) != (i == 2) {
				t.Errorf("beside a %s, result %d: %v", what, i, err)
			}
		}
		// A lease that cannot be read may be one: nothing is removed beside it.
		if _, err := s.GC(ctx, GCOptions{MaxBytes: 1}); (err != nil) != (what == "link") {
			t.Errorf("beside a %s: %v", what, err)
		}
	}
}
