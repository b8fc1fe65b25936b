package tiered

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/remote"
	"github.com/prismflow/prismflow/artifacts/storetest"
)

// passPart is the size of the parts of the transfers below.
const passPart = 512 << 10

// inParts is a remote that sends what is larger than passPart in parts, one after
// another.
func inParts(t testing.TB, p *place) Remote {
	t.Helper()
	s, err := remote.New(p, remote.Options{PartBytes: passPart, Parallel: 1, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return Remote{Store: s}
}

// The ways of a blob from a remote into the local store.
var ways = map[string]string{
	"small":    string(storetest.Random(200_000, 1)),
	"stream":   string(storetest.Random(smallBlob+1, 2)),
	"parts":    string(storetest.Random(3*passPart+17, 3)),
	"packed":   hex.EncodeToString(storetest.Random(smallBlob, 4)),
	"packed 3": hex.EncodeToString(storetest.Random(2*passPart, 5)), // in parts
}

// wrongBlobs are the files of a local store that are not what they are called.
func (u *user) wrongBlobs() (wrong []string) {
	u.t.Helper()
	err := filepath.WalkDir(filepath.Join(u.store.Dir(), "cas"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if artifacts.DigestOf(b).Hex() != entry.Name() {
			wrong = append(wrong, entry.Name())
		}
		return err
	})
	if err != nil {
		u.t.Fatal(err)
	}
	return wrong
}

// objectOf is the name of a blob's object, in whichever form.
func objectOf(t testing.TB, p *place, content string) string {
	t.Helper()
	for _, name := range []string{blob(content), blob(content) + ".zst"} {
		if p.Object(name) != nil {
			return name
		}
	}
	t.Fatal("the place does not have the blob")
	return ""
}

// A wrong byte, wherever it is, is never published: the first and the last of the
// blob and of each part, and one in the middle.
func TestWrongByteAnywhere(t *testing.T) {
	for name, content := range ways {
		t.Run(name, func(t *testing.T) {
			p, ann := newPlace("bucket"), newUser(t, "ann")
			key := ann.compute("table", content).Key
			ann.share([]Remote{inParts(t, p)}, "table")
			object := objectOf(t, p, content)
			right := p.Object(object)
			for _, at := range edges(len(right)) {
				wrong := []byte(string(right))
				wrong[at] ^= 4
				p.Set(object, wrong)
				bob := newUser(t, "bob")
				_, _, err := bob.cache(inParts(t, p)).Fetch(ctx, key, nil)
				var miss *artifacts.Miss
				if !errors.As(err, &miss) && len(bob.wrongBlobs()) == 0 && object != blob(content) {
					continue // a byte that the packed form does not need
				}
				wantMiss(t, err)
				if got := bob.wrongBlobs(); got != nil || bob.has("table") {
					t.Errorf("byte %d of %d: published %q", at, len(right), got)
				}
				if _, err := bob.store.Stat(ctx, artifacts.DigestOf([]byte(content))); !errors.Is(err, artifacts.ErrNotFound) {
					t.Errorf("byte %d of %d: the blob is here, %v", at, len(right), err)
				}
			}
		})
	}
}

// edges are offsets at both sides of each border between parts.
func edges(size int) (at []int) {
	for from := 0; from < size; from += passPart {
		at = append(at, from, (from+min(from+passPart, size))/2, min(from+passPart, size)-1)
	}
	return at
}

// What an earlier attempt left is not believed either: not what a remote lied
// about, nor what the disk made of it.
func TestWrongByteInWhatWasFetchedBefore(t *testing.T) {
	content := ways["parts"]
	for _, at := range []int{0, passPart - 1, passPart, passPart + 100} {
		for name, test := range map[string]struct{ remote, disk bool }{"lied about": {remote: true}, "damaged": {disk: true}} {
			t.Run(fmt.Sprint(name, at), func(t *testing.T) {
				p, ann, bob := newPlace("bucket"), newUser(t, "ann"), newUser(t, "bob")
				key := ann.compute("table", content).Key
				ann.share([]Remote{inParts(t, p)}, "table")
				right := p.Object(blob(content))
				wrong := []byte(string(right))
				wrong[at] ^= 4
				if test.remote {
					p.Set(blob(content), wrong)
				}
				breakOff(t, p, bob, key, 2)
				p.Set(blob(content), right)
				if test.disk {
					spoilDownload(t, bob, content, at)
				}
				if _, _, err := bob.cache(inParts(t, p)).Fetch(ctx, key, nil); err != nil || !bob.has("table") {
					t.Errorf("the second attempt: %v", err)
				}
				if got := bob.wrongBlobs(); got != nil {
					t.Errorf("published %q", got)
				}
			})
		}
	}
}

// breakOff fetches so many parts of the blob behind a key.
func breakOff(t testing.TB, p *place, u *user, key artifacts.Key, parts int) {
	t.Helper()
	cut, stop := context.WithCancel(ctx)
	defer stop()
	reads := 0
	p.failWith(func(op, name string) error {
		if op != "read" || name != blob(ways["parts"]) {
			return nil
		}
		if reads++; reads <= parts {
			return nil
		}
		stop()
		return context.Canceled
	})
	defer p.failWith(nil)
	if _, _, err := u.cache(inParts(t, p)).Fetch(cut, key, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("the attempt that breaks off: %v", err)
	}
}

// spoilDownload changes a byte of what is here of a blob.
func spoilDownload(t testing.TB, u *user, content string, at int) {
	t.Helper()
	path := filepath.Join(downloads(u.store.StateDir()), fmt.Sprintf("%s-%d", artifacts.DigestOf([]byte(content)).Hex(), os.Getuid()))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{content[at] ^ 4}, int64(at)); err != nil {
		t.Fatal(err)
	}
}
