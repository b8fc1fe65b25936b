package trust

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/prismflow/prismflow/artifacts"
)

// A Key is the public key of somebody who signs results: "ed25519:" and the 32
// bytes of the key in base64.
type Key string

const keyPrefix = "ed25519:"

// ParseKey checks the text of a public key.
func ParseKey(text string) (Key, error) {
	encoded, ok := strings.CutPrefix(text, keyPrefix)
	if !ok {
		return "", fmt.Errorf("a public key begins with %q", keyPrefix)
	}
	if _, err := decode(encoded, ed25519.PublicKeySize); err != nil {
		return "", fmt.Errorf("public key: %w", err)
	}
	return Key(text), nil
}

func keyOf(public ed25519.PublicKey) Key { return Key(keyPrefix + encoding.EncodeToString(public)) }

// public is the key's bytes. The key was parsed.
func (k Key) public() ed25519.PublicKey {
	public, err := decode(strings.TrimPrefix(string(k), keyPrefix), ed25519.PublicKeySize)
	if err != nil {
		panic(err) // only ParseKey and keyOf make keys
	}
	return public
}

// encoding takes one text for each key alone: without Strict, the last character
// would have bits that mean nothing.
var encoding = base64.StdEncoding.Strict()

// decode reads base64 of so many bytes. Its errors do not repeat the text, which
// may be a secret in the wrong place.
func decode(text string, size int) ([]byte, error) {
	if want := encoding.EncodedLen(size); len(text) != want {
		return nil, fmt.Errorf("has %d characters of base64, must have %d", len(text), want)
	}
	b, err := encoding.DecodeString(text)
	if err != nil || len(b) != size || encoding.EncodeToString(b) != text {
		return nil, fmt.Errorf("is not base64 of %d bytes", size)
	}
	return b, nil
}

// message is what is signed: a text that means a manifest and nothing else that
// a key may ever sign.
func message(manifest artifacts.Digest) []byte {
	return []byte("prismflow manifest v1\n" + string(manifest))
}

// signatureHeader begins a signature's text and names its version.
const signatureHeader = "prismflow signature v1"

// A signature is a text of three lines: the header, the signer's public key, and
// the signature in base64. It is a blob beside the manifest.
type signature struct {
	key   Key
	bytes []byte
}

func (s signature) encode() []byte {
	return []byte(signatureHeader + "\n" + string(s.key) + "\n" + encoding.EncodeToString(s.bytes) + "\n")
}

// maxSignature is far more than a signature has, in bytes.
const maxSignature = 4 << 10

// parseSignature reads a signature that may come from outside. There is one text
// for each signature.
func parseSignature(b []byte) (signature, error) {
	if len(b) > maxSignature {
		return signature{}, fmt.Errorf("the signature has %d bytes, at most %d are believed", len(b), maxSignature)
	}
	text, ok := strings.CutSuffix(string(b), "\n")
	lines := strings.Split(text, "\n")
	if !ok || len(lines) != 3 || lines[0] != signatureHeader {
		return signature{}, fmt.Errorf("the signature is not of the form %q", signatureHeader)
	}
	key, err := ParseKey(lines[1])
	if err != nil {
		return signature{}, fmt.Errorf("the signature's %w", err)
	}
	bytes, err := decode(lines[2], ed25519.SignatureSize)
	if err != nil {
		return signature{}, fmt.Errorf("the signature %w", err)
	}
	return signature{key, bytes}, nil
}

// Verify is the key that made a signature of a manifest, or an error when that
// is no signature of this manifest.
func Verify(manifest artifacts.Digest, encoded []byte) (Key, error) {
	s, err := parseSignature(encoded)
	if err != nil {
		return "", err
	}
	if !ed25519.Verify(s.key.public(), message(manifest), s.bytes) {
		return "", fmt.Errorf("the signature is not one of the manifest %s", manifest.Short())
	}
	return s.key, nil
}
