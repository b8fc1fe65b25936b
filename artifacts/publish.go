package artifacts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

// A Publisher records results in a store, and signs them where it has a Signer.
type Publisher struct {
	Store  Store
	Signer Signer // nil signs nothing
}

// Publish is Publisher.Publish without a signature.
func Publish(ctx context.Context, s Store, m Manifest) (Manifest, error) {
	return Publisher{Store: s}.Publish(ctx, m)
}

// Replace is Publisher.Replace without a signature.
func Replace(ctx context.Context, s Store, m Manifest) error {
	return Publisher{Store: s}.Replace(ctx, m)
}

// Publish records a result under its key. Its outputs must be in the store
// already. It returns the manifest that now stands: the first one published
// stays, so that everyone who computes the same uses the same bytes.
//
// A result that differs from the one that stands, as two devices may produce,
// is kept beside it (see Alternatives). One that stands but lacks a part is
// no result, and is replaced. So is one that is incomplete, by a complete one;
// an incomplete one is kept neither in place of another nor beside it.
func (p Publisher) Publish(ctx context.Context, m Manifest) (Manifest, error) {
	action, err := p.store(ctx, m)
	if err != nil {
		return Manifest{}, err
	}
	if err := p.Store.PutAction(ctx, m.Key, action.Encode(), false); err != nil {
		return Manifest{}, fmt.Errorf("publishing result %s: %w", m.Key.Short(), err)
	}
	standing, err := lookupPresent(ctx, p.Store, m.Key)
	var miss *Miss
	switch {
	case errors.As(err, &miss):
		if err := p.Store.PutAction(ctx, m.Key, action.Encode(), true); err != nil {
			return Manifest{}, fmt.Errorf("publishing result %s in place of an unusable one (%s): %w", m.Key.Short(), miss.Reason, err)
		}
		return m, nil
	case err != nil:
		return Manifest{}, err
	case standing.Incomplete != "" && m.Incomplete == "":
		if err := p.Store.PutAction(ctx, m.Key, action.Encode(), true); err != nil {
			return Manifest{}, fmt.Errorf("publishing result %s in place of an incomplete one: %w", m.Key.Short(), err)
		}
		return m, nil
	case standing.sameOutputs(m) || m.Incomplete != "":
		return standing, nil
	}
	if err := keepAlternative(ctx, p.Store, m, action); err != nil {
		return Manifest{}, err
	}
	return standing, nil
}

// Replace records a result under its key in place of any that stands: for one
// that is known to be better, such as a complete one after an incomplete one.
func (p Publisher) Replace(ctx context.Context, m Manifest) error {
	action, err := p.store(ctx, m)
	if err != nil {
		return err
	}
	if err := p.Store.PutAction(ctx, m.Key, action.Encode(), true); err != nil {
		return fmt.Errorf("replacing result %s: %w", m.Key.Short(), err)
	}
	return nil
}

// store puts the manifest's blob and its signature, once all that the manifest
// names is there, and returns what is to be published.
func (p Publisher) store(ctx context.Context, m Manifest) (ActionResult, error) {
	encoded, err := m.Encode()
	if err != nil {
		return ActionResult{}, err
	}
	for name, out := range m.Outputs {
		if err := present(ctx, p.Store, out); err != nil {
			return ActionResult{}, fmt.Errorf("publishing result %s: output %s: %w", m.Key.Short(), name, err)
		}
	}
	manifest, err := putBlob(ctx, p.Store, ManifestPath, encoded)
	if err != nil {
		return ActionResult{}, fmt.Errorf("storing the manifest of %s: %w", m.Key.Short(), err)
	}
	action := m.action(manifest.Digest, manifest.Bytes)
	if p.Signer == nil {
		return action, nil
	}
	signature, err := putBlob(ctx, p.Store, SignaturePath, p.Signer.Sign(manifest.Digest))
	if err != nil {
		return ActionResult{}, fmt.Errorf("storing the signature of %s: %w", m.Key.Short(), err)
	}
	action.OutputFiles = append(action.OutputFiles, signature)
	return action, nil
}

// putBlob stores bytes that an action names at path.
func putBlob(ctx context.Context, s Store, path string, content []byte) (OutputFile, error) {
	f := OutputFile{Path: path, Digest: DigestOf(content), Bytes: int64(len(content))}
	return f, s.Put(ctx, f.Digest, f.Bytes, bytes.NewReader(content))
}

// lookupPresent is Lookup without a verification of the outputs' bytes, which
// Publish has no use for.
func lookupPresent(ctx context.Context, s Store, k Key) (Manifest, error) {
	m, err := LookupManifest(ctx, s, k)
	if err != nil {
		return Manifest{}, err
	}
	for name, out := range m.Outputs {
		if err := present(ctx, s, out); err != nil {
			return Manifest{}, missed(ctx, k, err, "output %s %s", name, state(err))
		}
	}
	return m, nil
}

// maxAlternatives is how many differing results are kept beside the first.
// Who needs more has a stage that is not deterministic at all.
const maxAlternatives = 8

// Alternatives are the results published under a key that differ from the one
// that stands, oldest first. Those whose manifest is gone are left out.
func Alternatives(ctx context.Context, s Store, k Key) ([]Manifest, error) {
	action, err := alternatives(ctx, s, k)
	if err != nil {
		return nil, err
	}
	var out []Manifest
	for _, f := range action.OutputFiles {
		if !strings.HasSuffix(f.Path, "/"+ManifestPath) {
			continue
		}
		if m, err := readManifest(ctx, s, f); err == nil && m.Key == k {
			out = append(out, m)
		}
	}
	return out, ctx.Err()
}

// alternativesKey is where the alternatives of a key are recorded: an action
// of its own, so that losing an alternative, which a server that checks its
// actions answers by dropping the action, never costs the result that stands.
// Its paths are those of an ordinary action behind the manifest's short digest
// and a slash.
func alternativesKey(k Key) Key {
	sum := sha256.Sum256([]byte("alternatives of " + string(k)))
	return Key(digestOfSum(sum[:]).Hex())
}

func alternatives(ctx context.Context, s Store, k Key) (ActionResult, error) {
	encoded, err := s.GetAction(ctx, alternativesKey(k))
	if errors.Is(err, ErrNotFound) {
		return ActionResult{}, nil
	}
	if err != nil {
		return ActionResult{}, fmt.Errorf("alternatives of result %s: %w", k.Short(), err)
	}
	action, err := DecodeActionResult(encoded)
	if err != nil {
		return ActionResult{}, nil // unreadable: as good as none
	}
	return action, nil
}

// keepAlternative adds m to the alternatives of its key. Of two that are added
// at the same moment one may be lost: they are for people to compare.
func keepAlternative(ctx context.Context, s Store, m Manifest, its ActionResult) error {
	known, err := Alternatives(ctx, s, m.Key)
	if err != nil {
		return err
	}
	for _, k := range known {
		if k.sameOutputs(m) {
			return nil
		}
	}
	if len(known) >= maxAlternatives {
		return nil
	}
	action, err := alternatives(ctx, s, m.Key)
	if err != nil {
		return err
	}
	manifest, _ := its.File(ManifestPath)
	for _, f := range its.OutputFiles {
		f.Path = manifest.Digest.Short() + "/" + f.Path
		action.OutputFiles = append(action.OutputFiles, f)
	}
	if err := action.checkPaths(); err != nil {
		return nil // a dead alternative with this very manifest is listed: nothing to add
	}
	if err := s.PutAction(ctx, alternativesKey(m.Key), action.Encode(), true); err != nil {
		return fmt.Errorf("keeping an alternative to result %s: %w", m.Key.Short(), err)
	}
	return nil
}
