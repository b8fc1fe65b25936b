// Package trust says who made a result. Whoever publishes a result signs it with
// a key of their own (ed25519); whoever takes one from a remote asks a Set of
// public keys whether somebody whom they believe did:
//
//	signer, err := trust.ReadSigner(path)          // the private key, for artifacts.Publisher
//	set, err := trust.ReadSet(path)                // lines "ann ed25519:…"
//	name, err := set.Check(manifest, signature)    // "ann", or an error that says what is wrong
//
// What is signed is the digest of a manifest. The manifest names the request that
// its key is made of and the digest of every output, so a signature is worth
// nothing for another manifest, under another key, or for other bytes.
//
// The package does not say what was computed well: who signs vouches for having
// computed it, and no more. Nothing is revoked; a key that is no longer trusted
// is taken out of the set.
package trust
