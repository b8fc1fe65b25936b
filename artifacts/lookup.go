package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// A Miss is the ordinary answer that a store has no usable result for a key,
// and why. The stage then runs.
type Miss struct {
	Key    Key
	Reason string // for people: "no result recorded", "output split is absent", …
	Err    error  // what was met, if anything
}

func (m *Miss) Error() string {
	if m.Err == nil {
		return fmt.Sprintf("result %s: %s", m.Key.Short(), m.Reason)
	}
	return fmt.Sprintf("result %s: %s: %v", m.Key.Short(), m.Reason, m.Err)
}

func (m *Miss) Unwrap() error { return m.Err }

// missed is a Miss, unless the search itself was called off.
func missed(ctx context.Context, k Key, err error, format string, args ...any) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &Miss{Key: k, Reason: fmt.Sprintf(format, args...), Err: err}
}

// Lookup is the manifest of the result recorded under a key, when every byte
// of it is in the store and verified. Any other state of the store, absent,
// truncated, corrupt or incomplete, is a *Miss.
//
// A result that is returned was found so:
//   - the store has an action under the key, and it can be read;
//   - the manifest that the action names is there, and is what its digest says;
//   - the manifest is of this key, and its request is what the key was made of;
//   - the action names the same outputs as the manifest, and no others;
//   - each output is there, has the size that the manifest says, and its bytes
//     were verified: by the store's Verified method where it has one, which
//     may trust an earlier verification, else by reading them here.
func Lookup(ctx context.Context, s Store, k Key) (Manifest, error) {
	m, err := LookupManifest(ctx, s, k)
	if err != nil {
		return Manifest{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(m.Outputs)) {
		if err := present(ctx, s, m.Outputs[name]); err != nil {
			return Manifest{}, missed(ctx, k, err, "output %s %s", name, state(err))
		}
		if err := verified(ctx, s, m.Outputs[name].Digest); err != nil {
			return Manifest{}, missed(ctx, k, err, "output %s %s", name, state(err))
		}
	}
	return m, nil
}

// LookupManifest is the manifest recorded under a key, without a look at the
// outputs: what explains a key, or says what to fetch from a remote. Errors
// are as those of Lookup.
func LookupManifest(ctx context.Context, s Store, k Key) (Manifest, error) {
	r, err := record(ctx, s, k)
	return r.Manifest, err
}

// A Record is what a store has recorded under a key: all of a result but the
// bytes of its outputs, in the form in which another store takes it over.
type Record struct {
	Action    []byte       // as it was published
	Files     []OutputFile // that the action names: the manifest, its signature if any, each output
	Manifest  Manifest
	Encoded   []byte // the manifest's bytes
	Signature []byte // of the manifest, whoever made it; nil where the action names none
}

// maxSignature is the most bytes that are believed of a signature.
const maxSignature = 64 << 10

// LookupRecord is LookupManifest for whoever passes a result on. A signature
// that the action names has to be there; nobody has looked who made it.
func LookupRecord(ctx context.Context, s Store, k Key) (Record, error) {
	r, err := record(ctx, s, k)
	if err != nil {
		return Record{}, err
	}
	file, ok := (ActionResult{OutputFiles: r.Files}).File(SignaturePath)
	if !ok {
		return r, nil
	}
	if r.Signature, err = readAll(ctx, s, file.Digest, file.Bytes, maxSignature); err != nil {
		return Record{}, missed(ctx, k, err, "the manifest's signature %s", state(err))
	}
	return r, nil
}

// record is a Record without its signature.
func record(ctx context.Context, s Store, k Key) (r Record, err error) {
	r.Action, err = s.GetAction(ctx, k)
	if errors.Is(err, ErrNotFound) {
		return Record{}, missed(ctx, k, nil, "no result recorded")
	}
	if err != nil {
		return Record{}, missed(ctx, k, err, "the recorded result cannot be read")
	}
	action, err := DecodeActionResult(r.Action)
	if err != nil {
		return Record{}, missed(ctx, k, wrong(err), "the recorded result is corrupt")
	}
	r.Files = action.OutputFiles
	file, ok := action.File(ManifestPath)
	if !ok || action.ExitCode != 0 {
		return Record{}, missed(ctx, k, ErrCorrupt, "the recorded result is not one of prismflow")
	}
	if r.Encoded, err = readAll(ctx, s, file.Digest, file.Bytes, maxManifest); err == nil {
		r.Manifest, err = decodeStored(r.Encoded)
	}
	if err != nil {
		return Record{}, missed(ctx, k, err, "the manifest %s", state(err))
	}
	if r.Manifest.Key != k {
		return Record{}, missed(ctx, k, ErrCorrupt, "the manifest is that of %s", r.Manifest.Key.Short())
	}
	if !r.Manifest.Agrees(action) {
		return Record{}, missed(ctx, k, ErrCorrupt, "the recorded result does not name the outputs of its manifest and those alone")
	}
	return r, nil
}

// decodeStored is DecodeManifest for bytes that a store named, which cannot be
// had in a better state from there.
func decodeStored(encoded []byte) (Manifest, error) {
	m, err := DecodeManifest(encoded)
	if err != nil {
		return Manifest{}, wrong(err)
	}
	return m, nil
}

// wrong says that what was read is what the store has, and is of no use.
func wrong(err error) error { return fmt.Errorf("%w: %w", ErrCorrupt, err) }

// Agrees says whether an action names the outputs of the manifest and nothing
// else: what it named beside them would be vouched for by no signature and no
// digest of the manifest, and yet be fetched and kept.
func (m Manifest) Agrees(a ActionResult) bool {
	more := 1 // the manifest
	if _, signed := a.File(SignaturePath); signed {
		more++
	}
	if len(a.OutputFiles) != len(m.Outputs)+more {
		return false
	}
	for name, out := range m.Outputs {
		f, ok := a.File(name)
		if !ok || f.Digest != out.Digest || f.Bytes != out.Bytes {
			return false
		}
	}
	return true
}

func readManifest(ctx context.Context, s Store, f OutputFile) (Manifest, error) {
	encoded, err := readAll(ctx, s, f.Digest, f.Bytes, maxManifest)
	if err != nil {
		return Manifest{}, err
	}
	return decodeStored(encoded)
}

// state names what err says of a part of a result.
func state(err error) string {
	switch {
	case errors.Is(err, ErrCorrupt): // before ErrNotFound: a store may have put it aside
		return "is corrupt"
	case errors.Is(err, ErrNotFound):
		return "is absent"
	}
	return "cannot be read"
}

// present says whether the store has an output, in the size that was recorded.
func present(ctx context.Context, s Store, out Output) error {
	size, err := s.Stat(ctx, out.Digest)
	if err == nil && size != out.Bytes {
		err = fmt.Errorf("blob %s: %d bytes and not %d: %w", out.Digest.Short(), size, out.Bytes, ErrCorrupt)
	}
	return err
}

// A verifier is a store that remembers which blobs it has verified.
type verifier interface {
	Verified(ctx context.Context, d Digest) (path string, err error)
}

func verified(ctx context.Context, s Store, d Digest) error {
	if v, ok := s.(verifier); ok {
		_, err := v.Verified(ctx, d)
		return err
	}
	r, err := s.Get(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}
