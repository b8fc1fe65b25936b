package tiered

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
)

// A run in which nothing changed asks a remote nothing about what it shared.
func TestWhatIsKnownToBeThereIsNotAsked(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	made := ann.compute("split", "train")
	ann.share(at(t, p), "split")
	if n := p.requests(""); n == 0 {
		t.Fatal("nothing was asked the first time")
	}
	ann.share(at(t, p), "split")
	if n := p.requests(""); n != 0 {
		t.Errorf("%d requests the second time", n)
	}
	c := bob.cache(at(t, p)...)
	if _, _, err := c.Fetch(ctx, made.Key, nil); err != nil {
		t.Fatal(err)
	}
	p.requests("")
	c.Share(made.Key)
	c.Finish(ctx, true, nil)
	if n := p.requests(""); n != 0 {
		t.Errorf("%d requests about what was just fetched", n)
	}
	// Until it is asked for, or a while has passed, or the result is another one.
	ann.opts.Recheck = true
	ann.share(at(t, p), "split")
	if n := p.requests(""); n != 3 {
		t.Errorf("%d requests when it is to be checked, want one for the action and each of two blobs", n)
	}
	for _, later := range []time.Duration{believeFor + time.Minute, -believeFor - time.Minute} {
		ann.opts = Options{Now: func() time.Time { return time.Now().Add(later) }}
		ann.share(at(t, p), "split")
		if n := p.requests(""); n != 1 {
			t.Errorf("%d requests %v later, want 1", n, later)
		}
	}
	ann.opts = Options{}
	if err := artifacts.Replace(ctx, ann.store, ann.manifest("split", "another")); err != nil {
		t.Fatal(err)
	}
	ann.share(at(t, p), "split")
	if n := p.requests(""); n == 0 {
		t.Error("another result was not looked for")
	}
}

// A remote that collects by age loses blobs before the action that names them. Who
// asks whether it has all sends what it lost, whoever's result it was.
func TestRecheckSendsWhatWasLost(t *testing.T) {
	for _, lost := range []string{"train", "manifest"} {
		p, ann, bob, eve := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob"), newUser(t, "eve")
		ann.compute("split", "train", "test")
		ann.share(at(t, p), "split")
		bob.compute("split", "train", "test")
		for name, user := range map[string]*user{"ann": ann, "bob": bob} {
			object := blob("train")
			if lost == "manifest" {
				action, _ := artifacts.DecodeActionResult(p.Object("ac/" + string(keyOf(t, "split"))))
				file, _ := action.File(artifacts.ManifestPath)
				object = "cas/" + file.Digest.Hex()
			}
			p.Set(object, nil)
			user.opts.Recheck = true
			if got := user.share(at(t, p), "split"); got.Uploaded != 1 || got.Failed != 0 {
				t.Errorf("%s lost, %s's report is %+v", lost, name, got)
			}
			if got := user.share(at(t, p), "split"); got.Uploaded != 0 {
				t.Errorf("%s lost, %s's second report is %+v", lost, name, got)
			}
		}
		if _, _, err := eve.cache(at(t, p)...).Fetch(ctx, keyOf(t, "split"), nil); err != nil || !eve.has("split") {
			t.Errorf("%s lost: %v", lost, err)
		}
	}
}

func TestUploadPolicies(t *testing.T) {
	for name, test := range map[string]struct {
		remote    Remote
		succeeded bool
		want      int
	}{
		"always":               {Remote{}, false, 1},
		"on-success, failure":  {Remote{Upload: OnSuccess}, false, 0},
		"on-success, success":  {Remote{Upload: OnSuccess}, true, 1},
		"never":                {Remote{Upload: Never}, true, 0},
		"read-only":            {Remote{ReadOnly: true}, true, 0},
		"read-only on success": {Remote{ReadOnly: true, Upload: OnSuccess}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, ann := newPlace("bucket"), newUser(t, "ann")
			ann.compute("split", "train")
			test.remote.Store = p.store(t)
			c := ann.cache(test.remote)
			c.Share(keyOf(t, "split"))
			if got := c.Finish(ctx, test.succeeded, nil); got.Uploaded != test.want {
				t.Errorf("%d results were sent, want %d", got.Uploaded, test.want)
			}
			if n := p.requests("write"); test.want == 0 && n > 0 {
				t.Errorf("%d writes", n)
			}
		})
	}
	if _, err := New(newUser(t, "ann").store, []Remote{{Store: newPlace("x").store(t), Upload: "sometimes"}}, Options{}); err == nil {
		t.Error("an unknown policy was taken")
	}
}

// Nobody sees an action before all that it names is there.
func TestActionsComeLast(t *testing.T) {
	p, ann := newPlace("bucket"), newUser(t, "ann")
	if _, err := (artifacts.Publisher{Store: ann.store, Signer: sealer("ann")}).Publish(ctx, ann.manifest("split", "train", "test")); err != nil {
		t.Fatal(err)
	}
	encoded, _ := ann.store.GetAction(ctx, keyOf(t, "split"))
	action, _ := artifacts.DecodeActionResult(encoded)
	seen := false
	p.failWith(func(op, name string) error {
		if op == "write" && strings.HasPrefix(name, "ac/") {
			seen = true
			for _, f := range action.OutputFiles {
				if p.Object("cas/"+f.Digest.Hex()) == nil {
					t.Errorf("%s is not there yet", f.Path)
				}
			}
		}
		return nil
	})
	ann.share(at(t, p), "split")
	if !seen {
		t.Error("no action was written")
	}
}

// A remote that refuses, or is full, is asked once and named once.
func TestRemotesThatTakeNothing(t *testing.T) {
	for name, cause := range map[string]error{"forbidden": remote.ErrForbidden, "full": remote.ErrFull} {
		t.Run(name, func(t *testing.T) {
			p, ann := newPlace("bucket"), newUser(t, "ann")
			p.failWith(func(op, _ string) error {
				if op == "write" {
					return fmt.Errorf("bucket: %w", cause)
				}
				return nil
			})
			var all []string
			for i := range 50 {
				what := fmt.Sprint("stage", i)
				ann.compute(what, what)
				all = append(all, what)
			}
			report := ann.share(at(t, p), all...)
			if report.Failed != 50 {
				t.Errorf("the report is %+v", report)
			}
			if n := p.requests("write"); n > 4*sendersAtOnce {
				t.Errorf("%d writes", n)
			}
			if len(*ann.told) != 1 {
				t.Errorf("ann hears %q", *ann.told)
			}
			// The next run sends it, whatever it does itself.
			p.failWith(nil)
			ann.compute("last", "last")
			if report := ann.share(at(t, p), "last"); report.Uploaded != 51 {
				t.Errorf("the next report is %+v", report)
			}
		})
	}
}

func TestFinishCutShort(t *testing.T) {
	p, ann := newPlace("bucket"), newUser(t, "ann")
	blocked := make(chan struct{})
	t.Cleanup(func() { close(blocked) })
	held := p.store(t)
	ann.compute("split", "train")
	c := ann.cache(Remote{Store: mustStore(t, &stuck{place: p, until: blocked}), Upload: Always})
	c.Share(keyOf(t, "split"))
	if c.Pending() == 0 {
		t.Error("nothing is pending")
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if got := c.Finish(short, true, nil); got.Failed != 1 || got.Uploaded != 0 {
		t.Errorf("the report is %+v", got)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	if len(*ann.told) != 0 {
		t.Errorf("ann hears %q of what she called off herself", *ann.told)
	}
	ann.compute("other", "x")
	if got := ann.share([]Remote{{Store: held}}, "other"); got.Uploaded != 2 {
		t.Errorf("the next report is %+v", got)
	}
}

func mustStore(t *testing.T, d remote.Driver) *remote.Store {
	t.Helper()
	s, err := remote.New(d, remote.Options{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stuck is a place that takes nothing until its context ends.
type stuck struct {
	*place
	until chan struct{}
}

func (s *stuck) Write(ctx context.Context, name string, content remote.Content, ifAbsent bool) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.until:
		return errors.New("too late")
	}
}

func TestProgressOfFinish(t *testing.T) {
	p, ann := newPlace("bucket"), newUser(t, "ann")
	ann.compute("split", strings.Repeat("x", 1000), "y")
	ann.compute("there", "z")
	ann.share(at(t, p), "there")
	ann.opts.Recheck = true
	c := ann.cache(Remote{Store: p.store(t), Upload: OnSuccess})
	c.Share(keyOf(t, "split"))
	c.Share(keyOf(t, "there"))
	var done, total int64
	c.Finish(ctx, true, func(d, of int64) {
		if d < done || d > of {
			t.Errorf("progress went from %d to %d of %d", done, d, of)
		}
		done, total = d, of
	})
	if done != total || total < 1001 || c.Pending() != 0 {
		t.Errorf("progress ended at %d of %d, %d are pending", done, total, c.Pending())
	}
}
