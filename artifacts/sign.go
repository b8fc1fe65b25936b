package artifacts

import (
	"context"
	"errors"
	"fmt"
)

// A Signer vouches for results with a signature that names the digest of their
// manifest, and with it all that they consist of. See package trust.
type Signer interface {
	Sign(manifest Digest) (signature []byte)
}

// MaxSignature is the most bytes that are believed of a signature.
const MaxSignature = 4 << 10

// Signature is the signature of the result recorded under a key, and the digest
// of the manifest that it must be about. It is empty for a result that nobody
// signed. What it is worth is for package trust to say. The error is a *Miss
// where there is no result, or its signature cannot be read.
func Signature(ctx context.Context, s Store, k Key) (manifest Digest, signature []byte, err error) {
	encoded, err := s.GetAction(ctx, k)
	if errors.Is(err, ErrNotFound) {
		return "", nil, missed(ctx, k, nil, "no result recorded")
	}
	if err != nil {
		return "", nil, missed(ctx, k, err, "the recorded result cannot be read")
	}
	action, err := DecodeActionResult(encoded)
	if err != nil {
		return "", nil, missed(ctx, k, err, "the recorded result is corrupt")
	}
	file, ok := action.File(ManifestPath)
	if !ok {
		return "", nil, missed(ctx, k, nil, "the recorded result is not one of prismflow")
	}
	signature, err = action.Signature(ctx, s)
	if err != nil {
		return "", nil, missed(ctx, k, err, "the signature %s", state(err))
	}
	return file.Digest, signature, nil
}

// Signature is the signature that the action names, read from the store that it
// is of; empty when it names none.
func (a ActionResult) Signature(ctx context.Context, s Store) ([]byte, error) {
	file, ok := a.File(SignaturePath)
	if !ok {
		return nil, nil
	}
	signature, err := readAll(ctx, s, file.Digest, file.Bytes, MaxSignature)
	if err != nil {
		return nil, fmt.Errorf("reading a signature: %w", err)
	}
	return signature, nil
}
