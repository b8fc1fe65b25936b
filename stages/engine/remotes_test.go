package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/tiered"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages/engine"
)

// A bucket is a remote of a test, that counts and may fail.
type bucket struct {
	*remotetest.Memory
	asked    atomic.Int64
	fail     func() error
	parallel int // requests at once; 0: as many as usual
}

func newBucket() *bucket { return &bucket{Memory: remotetest.NewMemory(remotetest.AllTraits)} }

func (b *bucket) String() string { return "s3://models" }

// ask counts a request, and fails it where the test says so.
func (b *bucket) ask() error {
	b.asked.Add(1)
	if b.fail != nil {
		return b.fail()
	}
	return nil
}

func (b *bucket) Stat(ctx context.Context, name string) (int64, error) {
	if err := b.ask(); err != nil {
		return 0, err
	}
	return b.Memory.Stat(ctx, name)
}

func (b *bucket) Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := b.ask(); err != nil {
		return nil, err
	}
	return b.Memory.Read(ctx, name, offset, length)
}

func (b *bucket) Write(ctx context.Context, name string, content remote.Content, ifAbsent bool) error {
	if err := b.ask(); err != nil {
		return err
	}
	return b.Memory.Write(ctx, name, content, ifAbsent)
}

// cache is the cache of a user's store and the bucket, as a run has one.
func (b *bucket) cache(t *testing.T, w *world) *tiered.Cache {
	t.Helper()
	store, err := remote.New(b, remote.Options{Attempts: 1, Parallel: b.parallel})
	if err != nil {
		t.Fatal(err)
	}
	cache, err := tiered.New(w.store(), []tiered.Remote{{Store: store}}, tiered.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

// with is the configuration of a user with the bucket.
func (b *bucket) with(t *testing.T, w *world, user string) func(*engine.Config) {
	return func(c *engine.Config) { c.Remotes, c.User, c.Host = b.cache(t, w), user, "host-of-"+user }
}

// runWith runs the pipeline of a user with the bucket, and returns what was told.
func (b *bucket) runWith(t *testing.T, w *world, user string, options engine.RunOptions) (engine.Report, []dag.Event) {
	t.Helper()
	var events []dag.Event
	options.Budget, options.Listener = dag.Resources{CPU: 1}, func(e dag.Event) { events = append(events, e) }
	report, err := w.engineWith(b.with(t, w, user), w.specs()).Run(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	return report, events
}

func states(report engine.Report) (states []string) {
	for _, s := range report.Stages {
		states = append(states, s.State)
	}
	return states
}

func digests(report engine.Report) string {
	var b strings.Builder
	for _, s := range report.Stages {
		for name, output := range s.Outputs {
			fmt.Fprintln(&b, s.Name, name, output.Digest)
		}
	}
	return b.String()
}

func repeat(state string) []string { return []string{state, state, state, state} }

// Two checkouts, two users, one remote.
func TestOneRunsWhatAnotherRan(t *testing.T) {
	bucket, ann, bob := newBucket(), newWorld(t), newWorld(t)
	hers, events := bucket.runWith(t, ann, "ann", engine.RunOptions{})
	if got := states(hers); !reflect.DeepEqual(got, repeat("ran")) {
		t.Fatalf("ann's stages %v", got)
	}
	if hers.Shared == nil || hers.Shared.Uploaded != 4 || hers.Shared.Failed != 0 {
		t.Errorf("ann shared %+v", hers.Shared)
	}
	if last := events[len(events)-1]; last.Type != dag.Sharing || last.Done != last.Total || last.Total == 0 {
		t.Errorf("the last event is %+v", last)
	}

	// Before bob has anything, his status names what is there.
	status, err := bob.engineWith(bucket.with(t, bob, "bob"), bob.specs()).Status(context.Background(), nil, nil)
	if err != nil || !status.OK {
		t.Errorf("status is ok=%v, %v", status.OK, err)
	}
	for _, s := range status.Stages {
		if s.State != engine.StateRemote || !strings.HasPrefix(s.Reason, "computed by ann on host-of-ann on 20") || !strings.HasSuffix(s.Reason, ", from s3://models") {
			t.Errorf("status of %s: %s: %s", s.Name, s.State, s.Reason)
		}
	}
	if x, err := bob.engineWith(bucket.with(t, bob, "bob"), bob.specs()).Explain(context.Background(), "total"); err != nil || x.Remote == nil || x.Remote.Provenance.User != "ann" || x.Request == nil {
		t.Errorf("explanation %+v, %v", x, err)
	}

	his, events := bucket.runWith(t, bob, "bob", engine.RunOptions{})
	bob.expect(his, "")
	if got := states(his); !reflect.DeepEqual(got, repeat("downloaded")) {
		t.Errorf("bob's stages %v", got)
	}
	if digests(his) != digests(hers) {
		t.Errorf("digests differ:\n%s\n%s", digests(hers), digests(his))
	}
	for _, s := range his.Stages {
		if s.From != "s3://models" || s.FetchedBytes == 0 || s.SavedSeconds == 0 {
			t.Errorf("stage %s is from %q, %d bytes, saved %v s", s.Name, s.From, s.FetchedBytes, s.SavedSeconds)
		}
	}
	for _, e := range events {
		if e.Type == dag.StageStarted {
			t.Errorf("stage %s started", e.Stage)
		}
	}

	// A run in which nothing changed asks nobody.
	asked := bucket.asked.Load()
	again, _ := bucket.runWith(t, bob, "bob", engine.RunOptions{})
	if got := states(again); !reflect.DeepEqual(got, repeat("cached")) {
		t.Errorf("bob's stages the second time: %v", got)
	}
	if n := bucket.asked.Load() - asked; n != 0 {
		t.Errorf("%d requests by a run in which nothing changed", n)
	}

	// Ann changes a parameter; bob computes nothing that she had.
	ann.unit = 2
	changed, _ := bucket.runWith(t, ann, "ann", engine.RunOptions{})
	ann.expect(changed, "lengths total")
	bob.unit = 2
	his, _ = bucket.runWith(t, bob, "bob", engine.RunOptions{})
	bob.expect(his, "")
	if want := []string{"cached", "downloaded", "downloaded", "cached"}; !reflect.DeepEqual(states(his), want) {
		t.Errorf("bob's stages %v, want %v", states(his), want)
	}
}

// A result at a remote that no such stage can have made is told of, and replaced by
// who computes it.
func TestRemoteResultThatDoesNotFit(t *testing.T) {
	bucket, ann, bob, eve := newBucket(), newWorld(t), newWorld(t), newWorld(t)
	hers, _ := bucket.runWith(t, ann, "ann", engine.RunOptions{})
	ctx, key := context.Background(), hers.Stages[1].Key
	manifest, err := artifacts.LookupManifest(ctx, ann.store(), key)
	if err != nil {
		t.Fatal(err)
	}
	lengths := manifest.Outputs["lengths"]
	lengths.Columns[0].Name = "width" // those behind it read lengths
	manifest.Outputs["lengths"] = lengths
	if err := artifacts.Replace(ctx, ann.store(), manifest); err != nil {
		t.Fatal(err)
	}
	bucket.Set("ac/"+string(key), nil)
	cache := bucket.cache(t, ann)
	cache.Share(key)
	cache.Finish(ctx, true, nil)

	his, events := bucket.runWith(t, bob, "bob", engine.RunOptions{})
	if got, want := states(his), []string{"downloaded", "ran", "downloaded", "downloaded"}; !reflect.DeepEqual(got, want) {
		t.Errorf("bob's stages %v, want %v", got, want)
	}
	told := 0
	for _, e := range events {
		if e.Type == dag.Note && strings.Contains(e.Message, "WRONG") && strings.Contains(e.Message, "columns") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("bob was told %d times", told)
	}
	theirs, _ := bucket.runWith(t, eve, "eve", engine.RunOptions{})
	if got := states(theirs); !reflect.DeepEqual(got, repeat("downloaded")) {
		t.Errorf("eve's stages %v", got)
	}
}

func TestForcedAndOfflineAskNobody(t *testing.T) {
	bucket, ann, bob := newBucket(), newWorld(t), newWorld(t)
	bucket.runWith(t, ann, "ann", engine.RunOptions{})
	forced, _ := bucket.runWith(t, bob, "bob", engine.RunOptions{Force: []string{"read"}})
	bob.expect(forced, "read")
	if want := []string{"ran", "downloaded", "downloaded", "downloaded"}; !reflect.DeepEqual(states(forced), want) {
		t.Errorf("stages %v, want %v", states(forced), want)
	}

	eve := newWorld(t)
	asked := bucket.asked.Load()
	offline := func(c *engine.Config) {
		bucket.with(t, eve, "eve")(c)
		c.Offline = true
	}
	if _, err := eve.engineWith(offline, eve.specs()).Status(context.Background(), nil, nil); err != nil {
		t.Error(err)
	}
	report, err := eve.engineWith(offline, eve.specs()).Run(context.Background(), engine.RunOptions{Budget: dag.Resources{CPU: 1}})
	if err != nil {
		t.Fatal(err)
	}
	eve.expect(report, "read lengths total ids")
	if n := bucket.asked.Load() - asked; n != 0 {
		t.Errorf("%d requests by a run that may ask nobody", n)
	}
	if report.Shared != nil {
		t.Errorf("it shared %+v", report.Shared)
	}
}

// A result that was computed before there was a remote is shared by the next run.
func TestCachedResultsAreShared(t *testing.T) {
	bucket, ann, bob := newBucket(), newWorld(t), newWorld(t)
	ann.run("read lengths total ids")
	bucket.runWith(t, ann, "ann", engine.RunOptions{})
	his, _ := bucket.runWith(t, bob, "bob", engine.RunOptions{})
	bob.expect(his, "")
}

// A remote that never answers costs time and one note.
func TestRunBesideADeadRemote(t *testing.T) {
	bucket, ann := newBucket(), newWorld(t)
	bucket.fail = func() error { return errors.New("no route to host") }
	bucket.parallel = 1 // so that none is on its way when no more are to be made
	report, events := bucket.runWith(t, ann, "ann", engine.RunOptions{})
	ann.expect(report, "read lengths total ids")
	var notes []string
	for _, e := range events {
		if e.Type == dag.Note {
			notes = append(notes, e.Message)
		}
	}
	if len(notes) != 2 || !strings.Contains(notes[0], "s3://models") || !strings.Contains(notes[0], "no route to host") || !strings.Contains(notes[1], "4 results were not shared") {
		t.Errorf("notes %q", notes)
	}
	if n := bucket.asked.Load(); n > remote.DefaultBreaker {
		t.Errorf("%d requests to a dead remote", n)
	}
	// When it is there again, it gets what it missed.
	bucket.fail = nil
	if report, _ := bucket.runWith(t, ann, "ann", engine.RunOptions{}); report.Shared.Uploaded != 4 {
		t.Errorf("shared %+v", report.Shared)
	}
}

// rows of one are not computed by another, whatever becomes of the results.
func TestRowsAreShared(t *testing.T) {
	bucket, ann, bob := newBucket(), newRowsWorld(t), newRowsWorld(t)
	try := func(w *rowsWorld, user, computed string) engine.Report {
		t.Helper()
		w.shared = bucket.with(t, w.world, user)
		report, _, err := w.try(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		w.expectComputed(computed)
		return report
	}
	try(ann, "ann", "one three")
	bob.write("one seven three") // another result, of which two rows are known
	try(bob, "bob", "seven")
	ann.write("seven three nineteen")
	try(ann, "ann", "nineteen")
	bob.write("nineteen")
	try(bob, "bob", "")

	// An incomplete result of hers is entered again by him, with her rows.
	ann.write("one twenty")
	ann.incomplete = "1 of 2 failed"
	try(ann, "ann", "twenty")
	bob.write("one twenty")
	his := try(bob, "bob", "")
	if his.Stages[0].State != "ran" {
		t.Errorf("his stage is %s: %s", his.Stages[0].State, his.Stages[0].Reason)
	}
	// Now his is complete, and hers gives way to it.
	hers := try(ann, "ann", "")
	if hers.Stages[0].State != "downloaded" {
		t.Errorf("her stage is %s: %s", hers.Stages[0].State, hers.Stages[0].Reason)
	}
}
