package tiered

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
)

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
