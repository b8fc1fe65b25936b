package tiered

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
)

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
		if _, known := c.room(); !known {
			t.Skip("the file system of temporary files does not say how much room it has")
		}
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
