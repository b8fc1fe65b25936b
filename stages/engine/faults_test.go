package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/remote/remotetest"
	"github.com/prismflow/prismflow/artifacts/tiered"
	"github.com/prismflow/prismflow/dag"
	"github.com/prismflow/prismflow/stages/engine"
)

// A fault is what a remote does in place of what it should. Either may be nil.
type fault struct {
	refuse func(ctx context.Context, n int, op, name string) error // the n-th request
	spoil  func(name string, b []byte) []byte                      // what is read
}

// A faulty remote is a bucket with a fault.
type faulty struct {
	*remotetest.Memory
	fault fault

	mu sync.Mutex // guards n
	n  int
}

func (f *faulty) String() string { return "s3://faulty" }

func (f *faulty) ask(ctx context.Context, op, name string) error {
	f.mu.Lock()
	f.n++
	n := f.n
	f.mu.Unlock()
	if f.fault.refuse == nil {
		return nil
	}
	return f.fault.refuse(ctx, n, op, name)
}

func (f *faulty) Stat(ctx context.Context, name string) (int64, error) {
	if err := f.ask(ctx, "stat", name); err != nil {
		return 0, err
	}
	return f.Memory.Stat(ctx, name)
}

func (f *faulty) Read(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := f.ask(ctx, "read", name); err != nil {
		return nil, err
	}
	r, err := f.Memory.Read(ctx, name, offset, length)
	if err != nil || f.fault.spoil == nil {
		return r, err
	}
	b, err := io.ReadAll(r)
	return io.NopCloser(bytes.NewReader(f.fault.spoil(name, b))), err
}

func (f *faulty) Write(ctx context.Context, name string, content remote.Content, ifAbsent bool) error {
	if err := f.ask(ctx, "write", name); err != nil {
		return err
	}
	return f.Memory.Write(ctx, name, content, ifAbsent)
}

// quickWorld is a world whose cache is in memory where that is possible: these
// tests write little and often, and every write is synced.
func quickWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	dir, err := os.MkdirTemp("/dev/shm", "prismflow-engine-")
	if err != nil {
		return w
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w.cache = dir
	return w
}

// run runs a user's pipeline beside a remote with a fault.
func (f fault) run(t *testing.T, memory *remotetest.Memory, w *world) (report engine.Report, requests int, err error) {
	t.Helper()
	driver := &faulty{Memory: memory, fault: f}
	store, err := remote.New(driver, remote.Options{
		Timeout: 300 * time.Millisecond, Attempts: 2,
		Sleep: func(time.Duration) <-chan time.Time { return time.After(time.Millisecond) },
	})
	if err != nil {
		t.Fatal(err)
	}
	own := w.store()
	cache, err := tiered.New(own, []tiered.Remote{{Store: store}}, tiered.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := w.engineWith(func(c *engine.Config) { c.Remotes, c.Store = cache, own }, w.specs())
	report, err = e.Run(context.Background(), engine.RunOptions{Budget: dag.Resources{CPU: 1}})
	return report, driver.n, err
}

// only is a fault of some requests.
func only(op, prefix string, err error) func(context.Context, int, string, string) error {
	return func(_ context.Context, _ int, asked, name string) error {
		if (op == "" || asked == op) && strings.HasPrefix(name, prefix) {
			return err
		}
		return nil
	}
}

func hang(ctx context.Context, _ int, _, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// Whatever a remote does, a run ends well, soon, with the right results, and
// leaves at the remote nothing that would harm others.
func TestRunsBesideFaults(t *testing.T) {
	broken := errors.New("connection reset by peer")
	faults := map[string]fault{
		"absent":              {refuse: only("", "", broken)},
		"hangs":               {refuse: hang},
		"forbidden":           {refuse: only("", "", remote.ErrForbidden)},
		"read-only":           {refuse: only("write", "", remote.ErrForbidden)},
		"full":                {refuse: only("write", "", remote.ErrFull)},
		"full for actions":    {refuse: only("write", "ac/", remote.ErrFull)},
		"no stat":             {refuse: only("stat", "", broken)},
		"blobs are gone":      {refuse: only("read", "cas/", artifacts.ErrNotFound)},
		"actions fail":        {refuse: only("read", "ac/", broken)},
		"says it exists":      {refuse: only("write", "", remote.ErrExists)},
		"answers empty":       {spoil: func(string, []byte) []byte { return nil }},
		"answers with a page": {spoil: func(string, []byte) []byte { return []byte("<html>please log in</html>") }},
		"answers too much":    {spoil: func(_ string, b []byte) []byte { return append(bytes.Clone(b), b...) }},
	}
	for i := range 10 {
		faults[fmt.Sprintf("cut at %d tenths", i)] = fault{spoil: func(_ string, b []byte) []byte { return b[:len(b)*i/10] }}
	}
	for i := range 4 {
		random := rand.New(rand.NewPCG(uint64(i), 7))
		var mu sync.Mutex
		faults[fmt.Sprintf("flipped bits, %d", i)] = fault{spoil: func(_ string, b []byte) []byte {
			mu.Lock()
			defer mu.Unlock()
			b = bytes.Clone(b)
			if len(b) > 0 {
				b[random.IntN(len(b))] ^= 1 << random.IntN(8)
			}
			return b
		}}
	}
	for name, f := range faults {
		inBubble(t, name, func(t *testing.T) {
			memory, ann := remotetest.NewMemory(remotetest.AllTraits), quickWorld(t)
			hers, _, err := fault{}.run(t, memory, ann)
			if err != nil {
				t.Fatal(err)
			}
			f.try(t, memory, digests(hers))
			f.try(t, remotetest.NewMemory(remotetest.AllTraits), digests(hers))
		})
	}
}

// inBubble runs a test in which time passes only where something waits for it: a
// slow machine makes no remote silent, and what a silent one costs is exact.
func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// try is what must hold of a user beside a fault, and of one after it.
func (f fault) try(t *testing.T, memory *remotetest.Memory, want string) {
	t.Helper()
	bob, eve := quickWorld(t), quickWorld(t)
	began := time.Now()
	his, _, err := f.run(t, memory, bob)
	if err != nil || !his.OK {
		t.Errorf("bob's run: %v\n%s", err, describe(his))
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := digests(his); got != want {
		t.Errorf("bob has\n%swant\n%s", got, want)
	}
	verify(t, bob.store())
	hers, _, err := fault{}.run(t, memory, eve)
	if err != nil || digests(hers) != want {
		t.Errorf("after it eve has %v\n%s", err, describe(hers))
	}
}

// Each request fails once, for good.
func TestEachRequestFailsOnce(t *testing.T) {
	memory, ann := remotetest.NewMemory(remotetest.AllTraits), quickWorld(t)
	hers, requests, err := fault{}.run(t, memory, ann)
	if err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= requests; at++ { // of an empty remote
		failing := fault{refuse: func(_ context.Context, n int, op, name string) error {
			if n == at || n == at+1 { // also the second attempt
				return errors.New("it fails once")
			}
			return nil
		}}
		failing.try(t, remotetest.NewMemory(remotetest.AllTraits), digests(hers))
	}
}

// A dead remote costs a few time-outs, however many stages there are.
func TestDeadRemoteCostsFewTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, requests, err := fault{refuse: hang}.run(t, remotetest.NewMemory(remotetest.AllTraits), quickWorld(t))
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); requests > 2*remote.DefaultBreaker || took > 5*time.Second {
			t.Errorf("%d requests in %v", requests, took)
		}
	})
}

// Two users run, change what they ask, and lose their caches, beside a remote that
// now and then fails or loses bits. Each run ends well with what a run by itself
// would have made.
func TestAnyRunsBesideAnyFaults(t *testing.T) {
	want := map[string]string{}
	alone := func(unit int64, content string) string {
		id := fmt.Sprint(unit, content)
		if _, ok := want[id]; !ok {
			w := quickWorld(t)
			w.unit = unit
			w.write(content)
			report, err := w.engine().Run(context.Background(), engine.RunOptions{Budget: dag.Resources{CPU: 1}})
			if err != nil {
				t.Fatal(err)
			}
			want[id] = digests(report)
		}
		return want[id]
	}
	contents := []string{"1 one\n2 three\n", "1 one\n", "7 seventeen\n"}
	rapid.Check(t, func(rt *rapid.T) {
		memory := remotetest.NewMemory(remotetest.AllTraits)
		users := []*world{quickWorld(t), quickWorld(t)}
		for range rapid.IntRange(2, 5).Draw(rt, "runs") {
			who := rapid.IntRange(0, 1).Draw(rt, "who")
			if rapid.IntRange(0, 3).Draw(rt, "lost") == 0 {
				users[who] = quickWorld(t)
			}
			w := users[who]
			w.unit = rapid.Int64Range(1, 2).Draw(rt, "unit")
			content := rapid.SampledFrom(contents).Draw(rt, "content")
			w.write(content)
			report, _, err := anyFault(rt).run(t, memory, w)
			if err != nil || digests(report) != alone(w.unit, content) {
				rt.Fatalf("user %d has %v\n%s", who, err, describe(report))
			}
			if rapid.Bool().Draw(rt, "damage") {
				damage(rt, memory)
			}
		}
	})
}

// anyFault is a fault that some requests meet.
func anyFault(rt *rapid.T) fault {
	causes := []error{nil, errors.New("reset"), remote.ErrForbidden, remote.ErrFull, artifacts.ErrNotFound}
	cause := rapid.SampledFrom(causes).Draw(rt, "cause")
	every := rapid.IntRange(1, 8).Draw(rt, "every")
	return fault{refuse: func(_ context.Context, n int, _, _ string) error {
		if n%every == 0 {
			return cause
		}
		return nil
	}}
}

// damage changes or removes an object.
func damage(rt *rapid.T, memory *remotetest.Memory) {
	names := memory.Names()
	if len(names) == 0 {
		return
	}
	name := rapid.SampledFrom(names).Draw(rt, "object")
	b := memory.Object(name)
	if len(b) == 0 || rapid.Bool().Draw(rt, "remove") {
		memory.Set(name, nil)
		return
	}
	b[rapid.IntRange(0, len(b)-1).Draw(rt, "byte")] ^= 1
	memory.Set(name, b)
}
