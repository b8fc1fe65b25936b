package tiered

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
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
