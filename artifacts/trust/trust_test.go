package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/prismflow/prismflow/artifacts"
	"github.com/prismflow/prismflow/artifacts/memory"
)

// signerFrom is the signer whose seed is one byte repeated.
func signerFrom(t testing.TB, b byte) *Signer {
	t.Helper()
	s, err := NewSigner(bytes.NewReader(bytes.Repeat([]byte{b}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func setOf(members ...Member) *Set {
	set := &Set{}
	for _, m := range members {
		set.Add(m)
	}
	return set
}

// The form of a signature is a promise to those who signed before.
func TestGoldenSignature(t *testing.T) {
	s := signerFrom(t, 7)
	const key = "ed25519:6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw="
	if s.Key() != key {
		t.Errorf("the public key is %s", s.Key())
	}
	const golden = signatureHeader + "\n" + key + "\n" +
		"fyviPg8y4T6Cvu+XHibNSobnruJ4QLBgTJx3VNLBWG6eEMCbNFPxMdtXRIDamPd9YlBd7PeI0u2jJYXdwtaZAA==\n"
	if got := string(s.Sign(artifacts.DigestOf([]byte("x")))); got != golden {
		t.Errorf("the signature is\n%s", got)
	}
}

func TestCheck(t *testing.T) {
	ann, bob := signerFrom(t, 1), signerFrom(t, 2)
	manifest, other := artifacts.DigestOf([]byte("a")), artifacts.DigestOf([]byte("b"))
	set := setOf(Member{"ann", ann.Key()})
	if name, err := set.Check(manifest, ann.Sign(manifest)); name != "ann" || err != nil {
		t.Errorf("ann's own: %q, %v", name, err)
	}
	good := string(ann.Sign(manifest))
	lines := strings.Split(good, "\n")
	bobs := strings.Split(string(bob.Sign(manifest)), "\n")
	for name, test := range map[string]struct {
		signature string
		want      error // nil: any
	}{
		"none":                       {"", ErrUnsigned},
		"of somebody unknown":        {string(bob.Sign(manifest)), ErrUntrusted},
		"of another manifest":        {string(ann.Sign(other)), nil},
		"with the key of another":    {strings.Join([]string{bobs[0], lines[1], bobs[2], ""}, "\n"), nil},
		"another version":            {strings.Replace(good, "v1", "v2", 1), nil},
		"a line more":                {good + "\n", nil},
		"the last line cut":          {good[:len(good)-1], nil},
		"carriage returns":           {strings.ReplaceAll(good, "\n", "\r\n"), nil},
		"no base64":                  {strings.Replace(good, lines[2], strings.Repeat("!", len(lines[2])), 1), nil},
		"base64 of another alphabet": {strings.Replace(good, lines[2], strings.Repeat("-", len(lines[2])-2)+"==", 1), nil},
		"base64 too short":           {strings.Replace(good, lines[2], lines[2][4:], 1), nil},
		"spare bits set":             {strings.Replace(good, lines[1], strings.TrimSuffix(lines[1], "=")[:len(lines[1])-2]+"d=", 1), nil},
		"huge":                       {good + strings.Repeat("x", maxSignature), nil},
	} {
		got, err := set.Check(manifest, []byte(test.signature))
		if err == nil || got != "" {
			t.Errorf("%s: believed as %q", name, got)
		}
		if test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every byte of a signature counts, and no other text is the same signature.
func TestSignatureBits(t *testing.T) {
	ann := signerFrom(t, 1)
	set := setOf(Member{"ann", ann.Key()})
	manifest := artifacts.DigestOf([]byte("a"))
	good := ann.Sign(manifest)
	rapid.Check(t, func(t *rapid.T) {
		bad := bytes.Clone(good)
		bad[rapid.IntRange(0, len(bad)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if name, err := set.Check(manifest, bad); err == nil {
			t.Fatalf("believed as %s: %q", name, bad)
		}
	})
}

// A signature lies beside the manifest in the store, stays with alternatives,
// and means nothing under another key or beside another manifest.
func TestSignedResults(t *testing.T) {
	ctx := context.Background()
	store := memory.New()
	ann := signerFrom(t, 1)
	set := setOf(Member{"ann", ann.Key()})
	publish := func(seed int, content string, signer artifacts.Signer) artifacts.Manifest {
		t.Helper()
		out := artifacts.Output{Digest: artifacts.DigestOf([]byte(content)), Bytes: int64(len(content))}
		if err := store.Put(ctx, out.Digest, out.Bytes, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		m := artifacts.Manifest{Format: artifacts.ManifestFormat, Request: artifacts.Request{Kind: "k", Version: 1, Params: map[string]any{"seed": seed}},
			Outputs: map[string]artifacts.Output{"out": out}}
		var err error
		if m.Key, err = m.Request.Key(); err != nil {
			t.Fatal(err)
		}
		if _, err := (artifacts.Publisher{Store: store, Signer: signer}).Publish(ctx, m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	action := func(k artifacts.Key) artifacts.ActionResult {
		t.Helper()
		encoded, err := store.GetAction(ctx, k)
		if err != nil {
			t.Fatal(err)
		}
		a, err := artifacts.DecodeActionResult(encoded)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	check := func(k artifacts.Key) (string, error) {
		r, err := artifacts.LookupRecord(ctx, store, k)
		if err != nil {
			return "", err
		}
		return set.Check(artifacts.DigestOf(r.Encoded), r.Signature)
	}

	one, two := publish(1, "one", ann), publish(2, "two", nil)
	if name, err := check(one.Key); name != "ann" || err != nil {
		t.Errorf("a signed result: %q, %v", name, err)
	}
	if _, err := check(two.Key); !errors.Is(err, ErrUnsigned) {
		t.Errorf("an unsigned result: %v", err)
	}
	if m, err := artifacts.Lookup(ctx, store, one.Key); err != nil || len(m.Outputs) != 1 {
		t.Errorf("looking up a signed result: %+v, %v", m, err)
	}

	// Ann's signature beside another manifest.
	swapped := action(two.Key)
	signature, _ := action(one.Key).File(artifacts.SignaturePath)
	swapped.OutputFiles = append(swapped.OutputFiles, signature)
	put(t, store, two.Key, swapped)
	if _, err := check(two.Key); err == nil {
		t.Error("a signature of another manifest is believed")
	}
	// Ann's result under another key: the manifest is signed, and not of that key.
	put(t, store, two.Key, action(one.Key))
	var miss *artifacts.Miss
	if _, err := artifacts.Lookup(ctx, store, two.Key); !errors.As(err, &miss) {
		t.Errorf("a result under another key: %v", err)
	}
	// A signature that claims to be huge is not read.
	huge := action(one.Key)
	for i := range huge.OutputFiles {
		if huge.OutputFiles[i].Path == artifacts.SignaturePath {
			huge.OutputFiles[i].Bytes = 1 << 40
		}
	}
	put(t, store, one.Key, huge)
	if _, err := artifacts.LookupRecord(ctx, store, one.Key); !errors.As(err, &miss) {
		t.Errorf("a huge signature: %v", err)
	}
	// An alternative keeps its signature.
	three := publish(3, "three", nil)
	publish(3, "another three", ann)
	if others, err := artifacts.Alternatives(ctx, store, three.Key); err != nil || len(others) != 1 {
		t.Errorf("alternatives: %d, %v", len(others), err)
	}
}

func put(t *testing.T, store artifacts.Store, k artifacts.Key, a artifacts.ActionResult) {
	t.Helper()
	if err := store.PutAction(context.Background(), k, a.Encode(), true); err != nil {
		t.Fatal(err)
	}
}

func TestPrivateKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if _, err := ReadSigner(path); !errors.Is(err, ErrNoKey) {
		t.Errorf("no file: %v", err)
	}
	s := signerFrom(t, 3)
	if err := s.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
	if again, err := ReadSigner(path); err != nil || again.Key() != s.Key() {
		t.Errorf("read back: %v, %v", again, err)
	}
	if err := signerFrom(t, 4).WriteFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a key was overwritten: %v", err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSigner(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seed := strings.Split(string(secret), "\n")[1]
	for name, text := range map[string]string{
		"empty": "", "another header": "x\n" + seed + "\n", "short": privateHeader + "\n" + seed[:40] + "\n", "no base64": privateHeader + "\n!" + seed[1:] + "\n",
		"long": privateHeader + "\n" + seed + seed + "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadSigner(path)
		if err == nil || strings.Contains(err.Error(), seed[:20]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadSigner(t.TempDir()); err == nil {
		t.Error("a directory is a key")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if shown := fmt.Sprintf(verb, s); shown != string(s.Key()) {
			t.Errorf("%s shows %s", verb, shown)
		}
	}
}

func TestSetFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config", "trusted")
	ann, bob := Member{"ann", signerFrom(t, 1).Key()}, Member{"bob", signerFrom(t, 2).Key()}
	laptop := Member{"ann", signerFrom(t, 3).Key()}
	if set, err := ReadSet(path); err != nil || len(set.Members()) != 0 {
		t.Errorf("no file: %v, %v", set, err)
	}
	for i, m := range []Member{ann, bob, laptop, {"robert", bob.Key}} {
		if added, err := AddToFile(path, m); err != nil || added != (i < 3) {
			t.Errorf("adding %s: %v, %v", m.Name, added, err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append([]byte("# the team\n\n"), bytes.TrimSuffix(text, []byte("\n"))...), 0o666); err != nil {
		t.Fatal(err)
	}
	if removed, err := RemoveFromFile(path, "ann"); err != nil || removed != 2 {
		t.Errorf("removing ann: %d, %v", removed, err)
	}
	if removed, err := RemoveFromFile(path, "ann"); err != nil || removed != 0 {
		t.Errorf("removing ann again: %d, %v", removed, err)
	}
	if _, err := AddToFile(path, laptop); err != nil {
		t.Fatal(err)
	}
	want := "# the team\n\n" + bob.String() + "\n" + laptop.String() + "\n"
	if text, err = os.ReadFile(path); err != nil || string(text) != want {
		t.Errorf("the file is %q, %v", text, err)
	}
	broken := want + "carl\nd/e " + string(ann.Key) + "\nf ed25519:x\n"
	if err := os.WriteFile(path, []byte(broken), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = ReadSet(path)
	for _, place := range []string{"trusted:5: ", "trusted:6: ", "trusted:7: "} {
		if err == nil || !strings.Contains(err.Error(), place) {
			t.Errorf("the error has no %q: %v", place, err)
		}
	}
	if _, err := AddToFile(path, ann); err == nil {
		t.Error("a broken file is added to")
	}
}

func FuzzVerify(f *testing.F) {
	ann := signerFrom(f, 1)
	manifest := artifacts.DigestOf([]byte("a"))
	good := ann.Sign(manifest)
	f.Add(good)
	f.Add(signerFrom(f, 2).Sign(manifest))
	f.Add([]byte(signatureHeader + "\n" + keyPrefix + "\n\n"))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		s, err := parseSignature(encoded)
		if err == nil && !bytes.Equal(s.encode(), encoded) {
			t.Errorf("%q has another form, %q", encoded, s.encode())
		}
		key, err := Verify(manifest, encoded)
		if err == nil && key == ann.Key() && !bytes.Equal(encoded, good) {
			t.Errorf("a forgery: %q", encoded)
		}
	})
}
