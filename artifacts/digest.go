package artifacts

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// A Digest names bytes: the SHA-256 of a blob or, for a column, of its
// logical values. Its text form is "sha256:" and 64 lower-case hex digits.
// The zero Digest names nothing.
type Digest string

const digestPrefix = "sha256:"

// DigestOf is the digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return digestOfSum(sum[:])
}

// DigestOfHash is the digest of everything written to h, a SHA-256 hash.
func DigestOfHash(h hash.Hash) Digest { return digestOfSum(h.Sum(nil)) }

func digestOfSum(sum []byte) Digest { return Digest(digestPrefix + hex.EncodeToString(sum)) }

// ParseDigest checks s, which may come from outside, and returns it as a Digest.
func ParseDigest(s string) (Digest, error) {
	digits, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || !isHex64(digits) {
		return "", fmt.Errorf("%q is not a digest (want sha256: and 64 lower-case hex digits)", s)
	}
	return Digest(s), nil
}

// Hex is the digest's 64 hex digits, the name of its blob in every store.
// It panics for a digest that did not come from this package's constructors;
// ParseDigest is for text from outside.
func (d Digest) Hex() string {
	digits, ok := strings.CutPrefix(string(d), digestPrefix)
	if !ok || !isHex64(digits) {
		panic(fmt.Sprintf("artifacts: malformed digest %q", string(d)))
	}
	return digits
}

// Short is an abbreviation for people: the first twelve hex digits.
func (d Digest) Short() string { return short(strings.TrimPrefix(string(d), digestPrefix)) }

func short(s string) string {
	if len(s) > 12 {
		return s[:12]
	}
	return s
}

// isHex64 does without branches on the digits, which no processor can predict:
// it is called for each of the thousands of digests that a run reads.
func isHex64(s string) bool {
	if len(s) != 64 {
		return false
	}
	all := uint64(1)
	for i := range 64 {
		digit := (uint64(s[i]-'0') - 10) >> 63 // 1 where the difference is negative
		letter := (uint64(s[i]-'a') - 6) >> 63
		all &= digit | letter
	}
	return all == 1
}
