package artifacts

// A Signer vouches for results with a signature that names the digest of their
// manifest, and with it all that they consist of. See package trust.
type Signer interface {
	Sign(manifest Digest) (signature []byte)
}
