package tiered

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/disk"
	"github.com/prismflow/prismflow/artifacts/remote"
)

var ctx = context.Background()

func wantMiss(t *testing.T, err error) {
	t.Helper()
	var miss *artifacts.Miss
	if !errors.As(err, &miss) {
		t.Errorf("error is %v, want a miss", err)
	}
}

func TestOneFetchesWhatAnotherShared(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	made := ann.compute("split", "train", "test", "train") // one blob twice
	if got := ann.share(at(t, p), "split"); got.Uploaded != 1 || got.Failed != 0 || got.UploadedBytes == 0 {
		t.Errorf("ann's report is %+v", got)
	}

	c := bob.cache(at(t, p)...)
	found, from, err := c.Find(ctx, made.Key)
	if err != nil || from != "memory://bucket" || !reflect.DeepEqual(found, artifactsManifest(t, made)) {
		t.Fatalf("Find: %+v from %s, %v", found, from, err)
	}
	var last [2]int64
	m, from, err := c.Fetch(ctx, made.Key, func(done, total int64) { last = [2]int64{done, total} })
	if err != nil || from != "memory://bucket" {
		t.Fatalf("Fetch from %q: %v", from, err)
	}
	if want := [2]int64{9, 9}; last != want { // of each blob once
		t.Errorf("progress ended at %v, want %v", last, want)
	}
	if m.Provenance.User != "ann" {
		t.Errorf("it is %s's", m.Provenance.User)
	}
	if !bob.has("split") {
		t.Error("bob's store has no whole result")
	}
	theirs, _ := ann.store.GetAction(ctx, made.Key)
	if mine, err := bob.store.GetAction(ctx, made.Key); err != nil || !bytes.Equal(mine, theirs) {
		t.Errorf("bob's action is another one, %v", err)
	}
	if got := c.Finish(ctx, true, nil); got.Downloaded != 1 || got.DownloadedBytes < 9 {
		t.Errorf("bob's report is %+v", got)
	}
	_, _, err = newUser(t, "eve").cache(at(t, p)...).Fetch(ctx, keyOf(t, "nothing"), nil)
	wantMiss(t, err)
}

// artifactsManifest is a manifest as it is read back.
func artifactsManifest(t *testing.T, m artifacts.Manifest) artifacts.Manifest {
	t.Helper()
	encoded, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err = artifacts.DecodeManifest(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// blob is the name of a blob's object.
func blob(content string) string { return "cas/" + artifacts.DigestOf([]byte(content)).Hex() }

// What a remote can have in place of a result; the next remote is asked, and what
// is wrong is healed by whoever computes the result again.
func TestWrongEntries(t *testing.T) {
	flip := func(b []byte) []byte {
		b[len(b)/2] ^= 1
		return b
	}
	for name, test := range map[string]struct {
		damage func(p *place, action string, manifest string)
		quiet  bool // a cache may forget
	}{
		"a flipped bit":        {damage: func(p *place, _, _ string) { p.Set(blob("train"), flip(p.Object(blob("train")))) }},
		"a short blob":         {damage: func(p *place, _, _ string) { p.Set(blob("train"), []byte("tra")) }},
		"an empty blob":        {damage: func(p *place, _, _ string) { p.Set(blob("train"), []byte{}) }},
		"an absent blob":       {damage: func(p *place, _, _ string) { p.Set(blob("train"), nil) }, quiet: true},
		"an absent manifest":   {damage: func(p *place, _, m string) { p.Set(m, nil) }, quiet: true},
		"a flipped manifest":   {damage: func(p *place, _, m string) { p.Set(m, flip(p.Object(m))) }},
		"an action of garbage": {damage: func(p *place, a, _ string) { p.Set(a, []byte("garbage")) }},
		"an empty action":      {damage: func(p *place, a, _ string) { p.Set(a, []byte{}) }},
		"another key's action": {damage: func(p *place, a, _ string) { p.Set(a, p.Object("ac/"+string(keyOf(t, "other")))) }},
		"a lie about the size": {damage: func(p *place, a, _ string) { p.Set(a, resize(t, p.Object(a), "train", 4)) }},
		"an absent action":     {damage: func(p *place, a, _ string) { p.Set(a, nil) }, quiet: true},
		"a file that nobody signed": {damage: func(p *place, a, _ string) {
			p.Set(blob("stowaway"), []byte("stowaway"))
			p.Set(a, withFile(t, p.Object(a), "stowaway"))
		}},
		"an action of the size": {damage: func(p *place, a, _ string) { p.Set(a, resize(t, p.Object(a), "train", 1<<60)) }},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := newPlace("near"), newPlace("far")
			ann, bob := newUser(t, "ann"), newUser(t, "bob")
			made := ann.compute("split", "train", "test")
			ann.compute("other", "thing")
			ann.share(at(t, near, far), "split", "other")
			action := "ac/" + string(made.Key)
			decoded, _ := artifacts.DecodeActionResult(near.Object(action))
			file, _ := decoded.File(artifacts.ManifestPath)
			test.damage(near, action, "cas/"+file.Digest.Hex())

			c := bob.cache(at(t, near, far)...)
			_, from, err := c.Fetch(ctx, made.Key, nil)
			if err != nil || from != "memory://far" || !bob.has("split") {
				t.Errorf("fetched from %q: %v", from, err)
			}
			loud := strings.Contains(strings.Join(*bob.told, "\n"), "memory://near: ")
			if loud == test.quiet {
				t.Errorf("bob hears %q", *bob.told)
			}
			c.Share(made.Key)
			c.Finish(ctx, true, nil)

			eve := newUser(t, "eve")
			if _, _, err := eve.cache(at(t, near)...).Fetch(ctx, made.Key, nil); err != nil || !eve.has("split") {
				t.Errorf("it was not healed: %v, eve hears %q", err, *eve.told)
			}
		})
	}
}

// resize is an action in which the output of a content has another size.
func resize(t *testing.T, encoded []byte, content string, size int64) []byte {
	t.Helper()
	action, err := artifacts.DecodeActionResult(encoded)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range action.OutputFiles {
		if f.Digest == artifacts.DigestOf([]byte(content)) {
			action.OutputFiles[i].Bytes = size
		}
	}
	return action.Encode()
}

// withFile is an action that names one blob more.
func withFile(t *testing.T, encoded []byte, content string) []byte {
	t.Helper()
	action, err := artifacts.DecodeActionResult(encoded)
	if err != nil {
		t.Fatal(err)
	}
	file := artifacts.OutputFile{Path: content, Digest: artifacts.DigestOf([]byte(content)), Bytes: int64(len(content))}
	action.OutputFiles = append(action.OutputFiles, file)
	return action.Encode()
}

// A bucket whose only copy is wrong is healed also by a process that comes after
// the one that noticed.
func TestHealingSurvivesTheProcess(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	ann.compute("split", "train")
	ann.share(at(t, p), "split")
	p.Set(blob("train"), []byte("wrong"))

	c := bob.cache(at(t, p)...)
	_, _, err := c.Fetch(ctx, keyOf(t, "split"), nil)
	wantMiss(t, err)
	bob.compute("split", "train")
	p.failWith(func(op, _ string) error {
		if op == "write" {
			return errors.New("no route")
		}
		return nil
	})
	c.Share(keyOf(t, "split"))
	if got := c.Finish(ctx, true, nil); got.Failed != 1 {
		t.Errorf("the report is %+v", got)
	}
	p.failWith(nil)
	bob.compute("another")
	bob.share(at(t, p), "another")
	if got := string(p.Object(blob("train"))); got != "train" {
		t.Errorf("the bucket has %q", got)
	}
}

func TestIncompleteResults(t *testing.T) {
	p, q := newPlace("one"), newPlace("two")
	ann, bob, eve := newUser(t, "ann"), newUser(t, "bob"), newUser(t, "eve")
	key := keyOf(t, "images")
	half := ann.manifest("images", "half")
	half.Incomplete = "1 of 2 failed"
	ann.publish(half)
	bob.compute("images", "whole")
	ann.share(at(t, p), "images")
	bob.share(at(t, q), "images")

	if m, from, err := eve.cache(at(t, p, q)...).Find(ctx, key); err != nil || from != "memory://two" || m.Incomplete != "" {
		t.Errorf("found %q from %s, %v: want the complete one", m.Incomplete, from, err)
	}
	if m, _, err := eve.cache(at(t, p)...).Fetch(ctx, key, nil); err != nil || m.Incomplete == "" {
		t.Errorf("the incomplete one is not had in want of a better one: %v", err)
	}
	// It gives way to a complete one, here and there, but not the other way round.
	if _, _, err := eve.cache(at(t, q)...).Fetch(ctx, key, nil); err != nil {
		t.Error(err)
	}
	if m, err := artifacts.Lookup(ctx, eve.store, key); err != nil || m.Incomplete != "" {
		t.Errorf("eve still has %q, %v", m.Incomplete, err)
	}
	eve.share(at(t, p, q), "images")
	ann.share(at(t, q), "images")
	for _, at := range [][]Remote{at(t, p), at(t, q)} {
		if m, from, err := newUser(t, "max").cache(at...).Find(ctx, key); err != nil || m.Incomplete != "" {
			t.Errorf("%s has %q, %v", from, m.Incomplete, err)
		}
	}
}

func TestFirstResultStays(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	ann.compute("train", "ann's weights")
	bob.compute("train", "bob's weights")
	ann.share(at(t, p), "train")
	if got := bob.share(at(t, p), "train"); got.Uploaded != 0 {
		t.Errorf("bob's report is %+v", got)
	}
	if m, _, err := newUser(t, "eve").cache(at(t, p)...).Find(ctx, keyOf(t, "train")); err != nil || m.Provenance.User != "ann" {
		t.Errorf("%s's result stands, %v", m.Provenance.User, err)
	}
}

func TestTrust(t *testing.T) {
	p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
	ann.compute("split", "train")
	signed := ann.manifest("vocab", "words")
	if _, err := (artifacts.Publisher{Store: ann.store, Signer: sealer("ann")}).Publish(ctx, signed); err != nil {
		t.Fatal(err)
	}
	ann.share(at(t, p), "split", "vocab")

	bob.opts.Trusted = func(m artifacts.Digest, signature []byte) (string, error) {
		if !bytes.Equal(signature, sealer("ann").Sign(m)) {
			return "", fmt.Errorf("signed by %q", signature)
		}
		return "ann", nil
	}
	c := bob.cache(at(t, p)...)
	if _, _, err := c.Fetch(ctx, keyOf(t, "vocab"), nil); err != nil || !bob.has("vocab") {
		t.Errorf("a trusted result: %v", err)
	}
	for range 2 {
		_, _, err := c.Find(ctx, keyOf(t, "split"))
		wantMiss(t, err)
	}
	if len(*bob.told) != 1 || !strings.Contains((*bob.told)[0], "NOT TRUSTED") || !strings.Contains((*bob.told)[0], `signed by ""`) {
		t.Errorf("bob hears %q", *bob.told)
	}
	// What bob makes and does not sign takes no place: others may believe ann.
	dan := newUser(t, "dan")
	dan.opts = bob.opts
	dan.compute("split", "train")
	dan.share(at(t, p), "split")
	if m, _, err := newUser(t, "gus").cache(at(t, p)...).Find(ctx, keyOf(t, "split")); err != nil || m.Provenance.User != "ann" {
		t.Errorf("%s's result stands, %v", m.Provenance.User, err)
	}
	// What bob makes and signs takes the place of what nobody of his may use.
	bob.opts.Signer = sealer("ann")
	c = bob.cache(at(t, p)...)
	if _, _, err := c.Find(ctx, keyOf(t, "split")); err == nil {
		t.Error("it is trusted now")
	}
	if _, err := (artifacts.Publisher{Store: bob.store, Signer: sealer("ann")}).Publish(ctx, bob.manifest("split", "train")); err != nil {
		t.Fatal(err)
	}
	c.Share(keyOf(t, "split"))
	c.Finish(ctx, true, nil)
	eve := newUser(t, "eve")
	eve.opts = bob.opts
	if _, _, err := eve.cache(at(t, p)...).Fetch(ctx, keyOf(t, "split"), nil); err != nil {
		t.Error(err)
	}
}

// Who makes a key and computes again what is shared unsigned, signs it for all.
func TestSignedLater(t *testing.T) {
	p, ann := newPlace("bucket"), newUser(t, "ann")
	ann.compute("split", "train")
	ann.share(at(t, p), "split")
	for _, outputs := range [][]string{{"train"}, {"another"}} {
		again := ann.manifest("split", outputs...)
		if err := (artifacts.Publisher{Store: ann.store, Signer: sealer("ann")}).Replace(ctx, again); err != nil {
			t.Fatal(err)
		}
		ann.share(at(t, p), "split")
		record, err := artifacts.LookupRecord(ctx, at(t, p)[0].Store, keyOf(t, "split"))
		if err != nil || record.Signature == nil || record.Manifest.Outputs["a"].Digest != artifacts.DigestOf([]byte("train")) {
			t.Errorf("signed as %q: %q with %v, %v", outputs, record.Signature, record.Manifest.Outputs, err)
		}
	}
}

// A sealer signs with its name, for tests.
type sealer string

func (s sealer) Sign(m artifacts.Digest) []byte { return []byte(string(s) + " " + string(m)) }

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
	if n := p.requests(""); n != 1 {
		t.Errorf("%d requests when it is to be checked, want 1", n)
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
	if took := time.Since(began); took > 5*time.Second {
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
	s, err := remote.New(d, remote.Options{})
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

// A remote may say any size: what cannot fit is not asked for, and costs neither
// the disk nor the run.
func TestSizesThatCannotBe(t *testing.T) {
	for _, bytes := range []int64{1 << 49, math.MaxInt64} {
		p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
		m := ann.manifest("split", "train", "test")
		for name, out := range m.Outputs {
			out.Bytes = bytes
			m.Outputs[name] = out
		}
		ann.plant(p, m)
		c := bob.cache(at(t, p)...)
		_, _, err := c.Fetch(ctx, m.Key, nil)
		wantMiss(t, err)
		if n := p.requests("read " + blob("train")); n != 0 {
			t.Errorf("%d bytes: %d requests for a blob that cannot fit", bytes, n)
		}
		if told := strings.Join(*bob.told, "\n"); !strings.Contains(told, "bytes that are free here") {
			t.Errorf("%d bytes: bob hears %q", bytes, told)
		}
		c.Finish(ctx, true, nil)
	}
}

// plant puts a result at a place that no store would publish.
func (u *user) plant(p *place, m artifacts.Manifest) {
	u.t.Helper()
	record, err := u.cache().pack(m)
	if err != nil {
		u.t.Fatal(err)
	}
	p.Set("cas/"+artifacts.DigestOf(record.Encoded).Hex(), record.Encoded)
	p.Set("ac/"+string(m.Key), record.Action)
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
		time.Sleep(5 * time.Millisecond) // for gc to get at it
		if !bob.has(what) {
			t.Errorf("%s was fetched and is gone", what)
		}
		c.Finish(ctx, true, nil)
		lease.Close()
	}
	close(stop)
	collecting.Wait()
}
