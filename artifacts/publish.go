package artifacts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

// Publish records a result under its key. Its outputs must be in the store
// already. It returns the manifest that now stands: the first one published
// stays, so that everyone who computes the same uses the same bytes.
//
// A result that differs from the one that stands, as two devices may produce,
// is kept beside it (see Alternatives). One that stands but lacks a part is
// no result, and is replaced. So is one that is incomplete, by a complete one;
// an incomplete one is kept neither in place of another nor beside it.
func Publish(ctx context.Context, s Store, m Manifest) (Manifest, error) {
	blob, err := store(ctx, s, m)
	if err != nil {
		return Manifest{}, err
	}
	action := m.action(blob.Digest, blob.Bytes).Encode()
	if err := s.PutAction(ctx, m.Key, action, false); err != nil {
		return Manifest{}, fmt.Errorf("publishing result %s: %w", m.Key.Short(), err)
	}
	standing, err := lookupPresent(ctx, s, m.Key)
	var miss *Miss
	switch {
	case errors.As(err, &miss):
		if err := s.PutAction(ctx, m.Key, action, true); err != nil {
			return Manifest{}, fmt.Errorf("publishing result %s in place of an unusable one (%s): %w", m.Key.Short(), miss.Reason, err)
		}
		return m, nil
	case err != nil:
		return Manifest{}, err
	case standing.Incomplete != "" && m.Incomplete == "":
		if err := s.PutAction(ctx, m.Key, action, true); err != nil {
			return Manifest{}, fmt.Errorf("publishing result %s in place of an incomplete one: %w", m.Key.Short(), err)
		}
		return m, nil
	case standing.sameOutputs(m) || m.Incomplete != "":
		return standing, nil
	}
	if err := keepAlternative(ctx, s, m, blob); err != nil {
		return Manifest{}, err
	}
	return standing, nil
}

// Replace records a result under its key in place of any that stands: for one
// that is known to be better, such as a complete one after an incomplete one.
func Replace(ctx context.Context, s Store, m Manifest) error {
	blob, err := store(ctx, s, m)
	if err != nil {
		return err
	}
	if err := s.PutAction(ctx, m.Key, m.action(blob.Digest, blob.Bytes).Encode(), true); err != nil {
		return fmt.Errorf("replacing result %s: %w", m.Key.Short(), err)
	}
	return nil
}

// store puts the manifest's blob, once all that it names is there.
func store(ctx context.Context, s Store, m Manifest) (OutputFile, error) {
	encoded, err := m.Encode()
	if err != nil {
		return OutputFile{}, err
	}
	for name, out := range m.Outputs {
		if err := present(ctx, s, out); err != nil {
			return OutputFile{}, fmt.Errorf("publishing result %s: output %s: %w", m.Key.Short(), name, err)
		}
	}
	blob := OutputFile{Path: ManifestPath, Digest: DigestOf(encoded), Bytes: int64(len(encoded))}
	if err := s.Put(ctx, blob.Digest, blob.Bytes, bytes.NewReader(encoded)); err != nil {
		return OutputFile{}, fmt.Errorf("storing the manifest of %s: %w", m.Key.Short(), err)
	}
	return blob, nil
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
func keepAlternative(ctx context.Context, s Store, m Manifest, blob OutputFile) error {
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
	for _, f := range m.action(blob.Digest, blob.Bytes).OutputFiles {
		f.Path = blob.Digest.Short() + "/" + f.Path
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
